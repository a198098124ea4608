"""Takes the resources and prompts that a request wants of its servers, before the response is opened."""

import re
from collections.abc import Sequence
from typing import Final

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.materials import Material, Piece
from orchestrator.core.request import IntegrationRequest, Limits, WantedPrompt
from orchestrator.core.tools import provider_label
from orchestrator.ports import IntegrationSession

_AT_ONCE: Final = 8
_TEMPLATE: Final = re.compile(r"\{[^{}]*\}")
"""No URI has braces: https://datatracker.ietf.org/doc/html/rfc6570 has."""
_NOT_THERE: Final = (ErrorKind.RESOURCE_NOT_FOUND, ErrorKind.PROMPT_NOT_FOUND)


def opened_integration(session: IntegrationSession, materials: tuple[Material, ...] = ()) -> OpenedIntegration:
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
        session.removed,
        session.problems,
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
                kind = ErrorKind.INVALID_VALUE if error.info.kind in _NOT_THERE else error.info.kind
                failures[server, place] = OrchestratorError(kind, error.info.message, param=param)

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
    return Material("resource", uri, await read_resource(session, uri, limits))


async def _prompt(session: IntegrationSession, integration: IntegrationRequest, limits: Limits) -> Material:
    wanted = integration.prompt
    assert wanted is not None
    return Material("prompt", wanted.name, await get_prompt(session, wanted, limits))


async def read_resource(session: IntegrationSession, uri: str, limits: Limits) -> tuple[Piece, ...]:
    """What a resource holds, in the server's order.

    Raises:
        OrchestratorError: `resource_not_found`; `invalid_value`: the server refuses, or it is empty or too long; or as
            `IntegrationSession.read_resource`.
    """
    if _TEMPLATE.search(uri):
        message = f"'{uri}' is a template of resources: put values in the place of what stands in braces."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="uri")
    return _bounded(await session.read_resource(uri), f"The resource '{uri}'", limits)


async def get_prompt(session: IntegrationSession, wanted: WantedPrompt, limits: Limits) -> tuple[Piece, ...]:
    """The messages of a prompt, in order.

    Raises:
        OrchestratorError: `prompt_not_found`; `invalid_value` on `arguments` where some are missing or unknown; or
            as `read_resource`.
    """
    try:
        pieces = await session.get_prompt(wanted.name, wanted.arguments)
    except OrchestratorError as error:
        if error.info.kind is not ErrorKind.INVALID_VALUE:
            raise
        raise await _why_no_prompt(session, wanted, error) from None
    return _bounded(pieces, f"The prompt '{wanted.name}'", limits)


async def _why_no_prompt(
    session: IntegrationSession, wanted: WantedPrompt, refusal: OrchestratorError
) -> OrchestratorError:
    """What is wrong with what was asked, by the server's own list: many servers do not say."""
    try:
        listed = await session.list_prompts()
    except OrchestratorError:
        return refusal
    label = provider_label(session.provider)
    prompt = next((one for one in listed if one.name == wanted.name), None)
    if prompt is None:
        names = ", ".join(one.name for one in listed) or "none"
        message = f"'{label}' has no prompt '{wanted.name}'. Its prompts: {names}."
        return OrchestratorError(ErrorKind.PROMPT_NOT_FOUND, message)
    known = [one.name for one in prompt.arguments]
    missing = [one.name for one in prompt.arguments if one.required and one.name not in wanted.arguments]
    strange = [name for name in wanted.arguments if name not in known]
    problems = [
        f"{what} {', '.join(names)}" for what, names in (("it needs", missing), ("it does not know", strange)) if names
    ]
    if not problems:
        return refusal
    takes = ", ".join(f"{one.name}{'' if one.required else ' (optional)'}" for one in prompt.arguments) or "none"
    message = f"The arguments of the prompt '{wanted.name}' of '{label}' do not fit: {'; '.join(problems)}. Its arguments: {takes}."
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="arguments")


def _bounded(pieces: tuple[Piece, ...], what: str, limits: Limits) -> tuple[Piece, ...]:
    """Refuse what is empty or longer than an output of a tool may be: input is not cut."""
    if not pieces:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"{what} is empty.")
    size = sum(len(piece.text.encode("utf-8", "replace")) + len(piece.data_url or "") for piece in pieces)
    if size > limits.max_tool_output_bytes:
        message = f"{what} has {size} bytes; at most {limits.max_tool_output_bytes} can be taken."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message)
    return pieces
