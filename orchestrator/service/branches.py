"""Branches beside each other: what differs between two, and what a replay found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final, Literal, cast

from anyio import to_thread

from orchestrator.core.calls import executed_arguments
from orchestrator.core.comparison import (
    BranchNode,
    ComparedTool,
    ResponseComparison,
    compare_branches,
    compare_responses,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue
from orchestrator.core.placed import CallStatus, PlacedCall
from orchestrator.core.redaction import holds_marker
from orchestrator.core.replay_report import ChainReplayReport, NotRun, NotRunReason, ReplayReport, differences
from orchestrator.core.tools import provider_label
from orchestrator.ports import ResponseDetail, ResponseGraph, ResponseStore, StoredRun
from orchestrator.service.callers import Caller
from orchestrator.service.graph import GraphService
from orchestrator.service.recorded_answers import key_of

MOST: Final = 100
"""Responses of a branch behind the last one that both have, which are read and compared."""

REPLAY: Final = "replay"
"""The parameter in which a replay says how it was asked for."""


@dataclass(frozen=True, slots=True)
class BranchComparison:
    """Two branches: their last common response, how many whole ones they have in common, and what comes after.

    Where one left the other inside a response, or both left the same one, that is their last common response, and they
    have its first `shared_items` output items in common.
    """

    a: str
    b: str
    common_ancestor: str | None
    shared_responses: int
    responses: tuple[ResponseComparison, ...]
    shared_items: int | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return all(compared.standing == "equal" for compared in self.responses)


class BranchService:
    """Compares what is stored, for one caller at a time."""

    def __init__(self, readers: GraphService, graph: ResponseGraph, store: ResponseStore) -> None:
        self._readers = readers
        self._graph = graph
        self._store = store

    async def diff(self, a: str, b: str, owner: str | None, caller: Caller) -> BranchComparison:
        """The branch that ends in `a` beside the one that ends in `b`.

        Raises:
            OrchestratorError: `response_not_found` on `a` or `b`, one error for every id that is not there;
                `invalid_value` for branches that are too long; `permission_denied`.
        """
        whose = await self._readers.whose(owner, caller, "diff", f"{a} {b}")
        paths = [await self._path(response_id, whose, param) for param, response_id in (("a", a), ("b", b))]
        shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False))]
        rests = [path[len(shared) :] for path in paths]
        if max(map(len, rests)) > MOST:
            message = (
                f"These branches have more than {MOST} responses behind the last common one: compare earlier ones."
            )
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="a" if len(rests[0]) > MOST else "b")
        first, second = [await self._nodes(rest, whose, param) for param, rest in zip("ab", rests, strict=True)]
        # Long branches take seconds of work.
        compared = await to_thread.run_sync(compare_branches, first, second)
        left = _left(first, second)
        ancestor = left[0] if left is not None else shared[-1] if shared else None
        return BranchComparison(a, b, ancestor, len(shared), compared, None if left is None else left[1])

    async def report(self, replay_id: str, owner: str | None, caller: Caller) -> ReplayReport:
        """What the replay `replay_id` found.

        Raises:
            OrchestratorError: `response_not_found`, also where the original is deleted by now;
                `invalid_value` for a response that is no replay; `permission_denied`.
        """
        return await self._report(replay_id, await self._readers.whose(owner, caller, "replay", replay_id))

    async def chain_report(self, replay_id: str, owner: str | None, caller: Caller) -> ChainReplayReport:
        """What the replays found that stand at the end of the chain of `replay_id`, which is the last of them.

        Raises:
            OrchestratorError: as `report`.
        """
        whose = await self._readers.whose(owner, caller, "replay", replay_id)
        reports = [await self._report(replay_id, whose)]
        path = await self._path(replay_id, whose, "response_id")
        for response_id in reversed(path[-MOST:-1]):
            if (await self._detail(response_id, whose, "response_id")).response.replay_of is None:
                break
            reports.append(await self._report(response_id, whose))
        return ChainReplayReport(tuple(reversed(reports)))

    async def _report(self, replay_id: str, whose: str | None) -> ReplayReport:
        replay = await self._detail(replay_id, whose, "response_id")
        original_id = replay.response.replay_of
        if original_id is None:
            message = f"The response '{replay_id}' is no replay of another one."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_id")
        original = await self._graph.read_detail(original_id, whose)
        if original is None:
            message = f"The response '{original_id}', which it ran again, is deleted."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        whoever = replay.response.owner
        runs = [await self._store.read_run(each, whoever) for each in (original_id, replay_id)]
        compared = await to_thread.run_sync(compare_responses, _node(original), _node(replay))
        asked = cast("Mapping[str, Any]", replay.response.parameters)[REPLAY]
        tools: Literal["live", "stored"] = asked["tools"]
        return ReplayReport(
            replay_id,
            original_id,
            tools,
            replay.response.status,
            differences(compared),
            _not_run(tools, asked["allow_tools"], *(run for run in runs if run is not None)),
        )

    async def _path(self, response_id: str, owner: str | None, param: str) -> Sequence[str]:
        path = await self._graph.read_path(response_id, owner)
        if path is None:
            raise _not_found(param)
        return path

    async def _nodes(self, path: Sequence[str], owner: str | None, param: str) -> list[BranchNode]:
        nodes: list[BranchNode] = []
        for response_id in path:
            detail = await self._detail(response_id, owner, param)
            run = await self._store.read_run(response_id, detail.response.owner)
            items = () if run is None else run.items
            calls = [item for item in items if isinstance(item, PlacedCall)]
            statuses = {call.call_id: call.outcome.status for call in calls if call.outcome is not None}
            nodes.append(replace(_node(detail), statuses=statuses))
        return nodes

    async def _detail(self, response_id: str, owner: str | None, param: str) -> ResponseDetail:
        detail = await self._graph.read_detail(response_id, owner)
        if detail is None:
            raise _not_found(param)
        return detail


def _left(a: Sequence[BranchNode], b: Sequence[BranchNode]) -> tuple[str, int] | None:
    """The response that one branch left inside it, or both, and how many of its items they both have."""
    if not a or not b:
        return None
    one, other = a[0], b[0]
    if one.forked_from is not None and one.forked_from[0] == other.id:
        return one.forked_from
    if other.forked_from is not None and other.forked_from[0] == one.id:
        return other.forked_from
    if one.forked_from is None or other.forked_from is None or one.forked_from[0] != other.forked_from[0]:
        return None
    return one.forked_from[0], min(one.forked_from[1], other.forked_from[1])


def _node(detail: ResponseDetail) -> BranchNode:
    response = detail.response
    facts: dict[str, JsonValue] = {
        "model": response.model_key,
        "system_prompt": response.system_prompt,
        "status": response.status,
        "incomplete_reason": response.incomplete_reason,
        "stop_sequence": response.stop_sequence,
        "error": None if response.error is None else response.error.message,
    }
    fork = response.forked_from
    return BranchNode(
        response.id,
        {name: value for name, value in facts.items() if value is not None},
        {name: value for name, value in response.parameters.items() if name != REPLAY},
        response.input,
        tuple(entry.item for entry in response.output),
        tuple(ComparedTool(tool.tool, tool.provider, tool.digest) for tool in detail.offered),
        None if fork is None else (fork.response_id, fork.position),
    )


def _not_run(
    tools: Literal["live", "stored"], allowed: Sequence[str], original: StoredRun, replay: StoredRun
) -> tuple[NotRun, ...]:
    """The calls of the replay that reached no server, be it that the store had their answers or that it had none."""
    before = {key_of(item): item for item in original.items if isinstance(item, PlacedCall)}
    read_only = {
        (tool.provider, tool.definition.name) for tool in replay.offered if tool.definition.annotations.read_only
    }
    found: list[NotRun] = []
    for call in replay.items:
        if not isinstance(call, PlacedCall) or call.tool is None or call.provider is None:
            continue
        now, then = _status(call), _status(before.get(key_of(call)))
        named = f"{provider_label(call.provider)}/{call.tool}" in allowed
        reason: NotRunReason
        if now == "refused" and then is None:
            reason = "nothing_stored"
        elif now != "replayed":
            continue
        elif tools == "stored":
            reason = "tools_stored"
        elif holds_marker(executed_arguments(call)):
            reason = "redacted"
        elif then in _FIXED:
            reason = _FIXED[then]
        else:
            free = named or (call.provider, call.tool) in read_only
            reason = "needs_approval" if free else "not_read_only"
        found.append(NotRun(call.call_id, call.position, call.tool, call.provider, reason))
    return tuple(found)


_FIXED: Final[dict[CallStatus | None, NotRunReason]] = {"refused": "not_run_before", "edited": "edited_before"}


def _status(call: PlacedCall | None) -> CallStatus | None:
    return None if call is None or call.outcome is None else call.outcome.status


def _not_found(param: str) -> OrchestratorError:
    message = "There is no such response, or it is not stored, or it is somebody else's."
    return OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param=param)
