"""Takes the resources and prompts that a request wants of its servers, before the response is opened."""

from collections.abc import Sequence
from typing import Final

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.materials import Material, Piece
from orchestrator.core.request import IntegrationRequest, Limits
from orchestrator.ports import IntegrationSession

_AT_ONCE: Final = 8


def opened_integration(session: IntegrationSession, materials: tuple[Material, ...]) -> OpenedIntegration:
    """A session as a run is told of it, with what the request takes of its server."""
    return OpenedIntegration(
        session.provider,
        session.tools,
        session.withheld,
        session.drifted,
        session.approval,
        materials,
        session.server,
        session.changed,
    )


async def take_materials(
    integrations: Sequence[IntegrationRequest], sessions: Sequence[IntegrationSession], limits: Limits
) -> list[tuple[Material, ...]]:
    """What each integration wants of its session: its resources in their order, then its prompt.

    Raises:
        OrchestratorError: something could not be had; `param` is `integrations.N.resources.M` or
            `integrations.N.prompt`.
    """
    taken: dict[tuple[int, int], Material] = {}
    failures: dict[tuple[int, int], OrchestratorError] = {}
    few = anyio.Semaphore(_AT_ONCE)

    async def take(server: int, place: int) -> None:
        integration, session = integrations[server], sessions[server]
        async with few:
            try:
                if place < len(integration.resources):
                    taken[server, place] = await _resource(session, integration.resources[place], limits)
                else:
                    taken[server, place] = await _prompt(session, integration, limits)
            except OrchestratorError as error:
                which = f"resources.{place}" if place < len(integration.resources) else "prompt"
                param = f"integrations.{server}.{which}"
                failures[server, place] = OrchestratorError(error.info.kind, error.info.message, param=param)

    async with anyio.create_task_group() as tasks:
        for server, integration in enumerate(integrations):
            for place in range(len(integration.resources) + (integration.prompt is not None)):
                tasks.start_soon(take, server, place)
    if failures:
        raise failures[min(failures)]
    return [
        tuple(material for (server, _), material in sorted(taken.items(), key=lambda item: item[0]) if server == index)
        for index in range(len(integrations))
    ]


async def _resource(session: IntegrationSession, uri: str, limits: Limits) -> Material:
    return Material("resource", uri, _bounded(await session.read_resource(uri), f"The resource '{uri}'", limits))


async def _prompt(session: IntegrationSession, integration: IntegrationRequest, limits: Limits) -> Material:
    wanted = integration.prompt
    assert wanted is not None
    pieces = await session.get_prompt(wanted.name, wanted.arguments)
    return Material("prompt", wanted.name, _bounded(pieces, f"The prompt '{wanted.name}'", limits))


def _bounded(pieces: tuple[Piece, ...], what: str, limits: Limits) -> tuple[Piece, ...]:
    """Refuse what is empty or longer than an output of a tool may be: input is not cut."""
    if not pieces:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"{what} is empty.")
    size = sum(len(piece.text.encode("utf-8", "replace")) + len(piece.data_url or "") for piece in pieces)
    if size > limits.max_tool_output_bytes:
        message = f"{what} has {size} bytes; at most {limits.max_tool_output_bytes} can be taken."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message)
    return pieces
