"""Running a whole chain again: each of its responses as a replay that continues the replay of the one before it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.replay_report import ChainReplayReport, ReplayReport
from orchestrator.core.request import EphemeralRequest, IntegrationRequest
from orchestrator.core.response import Cancelled, ChatResult, Failed
from orchestrator.core.tools import provider_label
from orchestrator.ports import ResponseGraph, ResponseStore, StoredResponse, StoredRun
from orchestrator.service.branches import MOST, BranchService
from orchestrator.service.callers import Caller
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.replays import ReplayRequest, ReplayService

ROOT: Final = "root"
"""What stands for the first response of the chain in a request."""


class ChainReplayService:
    """Runs chains again, for one caller at a time."""

    def __init__(
        self, replays: ReplayService, branches: BranchService, graph: ResponseGraph, store: ResponseStore
    ) -> None:
        self._replays = replays
        self._branches = branches
        self._graph = graph
        self._store = store

    async def replay(
        self,
        request: ReplayRequest,
        first: str,
        caller: Caller,
        follow: Callable[[LiveRun], Awaitable[ChatResult]],
    ) -> ChainReplayReport:
        """Run the chain from `first`, an ancestor's id or `root`, to the response of the request; what came of it.

        `follow` waits for the end of each run. It stops where a replay fails: nothing can continue it.

        Raises:
            OrchestratorError: as `ReplayService.start`, before anything is run; `invalid_value` on `from`.
        """
        links = await self._links(request, first, caller)
        reports: list[ReplayReport] = []
        previous: str | None = None
        for place, link in enumerate(links):
            try:
                run = await self._replays.start(replace(link, previous_response_id=previous), caller)
                result = await follow(run)
            except OrchestratorError as error:
                if not reports:
                    raise
                return ChainReplayReport(tuple(reports), _ids(links[place:]), error.info.message)
            previous = result.response_id
            assert previous is not None  # replays are stored
            reports.append(await self._branches.report(previous, None, caller))
            if isinstance(result.ending, Failed | Cancelled):
                ending = result.ending
                reason = ending.error.message if isinstance(ending, Failed) else ending.reason
                return ChainReplayReport(tuple(reports), _ids(links[place + 1 :]), reason)
        return ChainReplayReport(tuple(reports))

    async def _links(self, request: ReplayRequest, first: str, caller: Caller) -> list[ReplayRequest]:
        """What is to be run, once all of it can be."""
        caller.require("chat", "The API token has no permission to chat.")
        path = await self._graph.read_path(request.response_id, caller.owner)
        if path is None:
            raise _not_found()
        if first != ROOT and first not in path:
            raise _wrong("from", f"'{first}' is no response of this chain: name one of its ids, or '{ROOT}'.")
        ids = path if first == ROOT else path[path.index(first) :]
        if len(ids) > MOST:
            raise _wrong("from", f"These are more than {MOST} responses: begin at a later one.")
        links: list[ReplayRequest] = []
        for response_id in ids:
            stored = await self._store.get_response(response_id, caller.owner)
            run = await self._store.read_run(response_id, caller.owner)
            if stored is None or run is None:
                raise _not_found()
            if stored.status in ("in_progress", "awaiting_approval"):
                message = f"The response '{response_id}' is {stored.status}: only one that is over can be run again."
                raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="response_id")
            links.append(_link(request, stored, run))
        _check_used(request, links)
        return links


def _link(request: ReplayRequest, stored: StoredResponse, run: StoredRun) -> ReplayRequest:
    """A response of the chain with what of the request is about it: not each offers every tool, or has every server."""
    offered = {f"{provider_label(tool.provider)}/{tool.definition.name}" for tool in run.offered}
    entries = cast("Sequence[Mapping[str, Any]]", stored.parameters.get("integrations") or ())
    servers = {entry.get("server_label", entry.get("id")) for entry in entries}
    return replace(
        request,
        response_id=stored.id,
        allow_tools=tuple(name for name in request.allow_tools if name in offered),
        integrations=tuple(each for each in request.integrations if _label(each) in servers),
    )


def _label(integration: IntegrationRequest) -> str:
    return integration.server_label if isinstance(integration, EphemeralRequest) else integration.id


def _check_used(request: ReplayRequest, links: Sequence[ReplayRequest]) -> None:
    """See that everything that is asked for is about some response of the chain."""
    tools = {name for link in links for name in link.allow_tools}
    for place, name in enumerate(request.allow_tools):
        if name not in tools:
            raise _wrong(f"allow_tools.{place}", f"No response of the chain was offered a tool '{name}'.")
    used = {_label(each) for link in links for each in link.integrations}
    for place, integration in enumerate(request.integrations):
        if _label(integration) not in used:
            raise _wrong(f"integrations.{place}", "No response of the chain was begun with this integration.")


def _ids(links: Sequence[ReplayRequest]) -> tuple[str, ...]:
    return tuple(link.response_id for link in links)


def _wrong(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)


def _not_found() -> OrchestratorError:
    message = "There is no such response, or it is not stored, or it is somebody else's."
    return OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
