"""Following responses: those that run, those that ran a moment ago, and those that only the store knows."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.items import (
    ClientProvider,
    FunctionCall,
    InvalidToolCall,
    Message,
    OutputEntry,
    OutputItem,
    Reasoning,
    ToolCall,
)
from orchestrator.core.response import (
    Cancelled,
    ChatResult,
    Close,
    Completed,
    Failed,
    Incomplete,
    Suspended,
)
from orchestrator.core.stream import (
    ChatEnd,
    ChatStart,
    ErrorEvent,
    FunctionCallDelta,
    FunctionCallEnd,
    FunctionCallStart,
    MessageDelta,
    MessageEnd,
    MessageStart,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    StreamEvent,
    ToolCallApprovalRequired,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallStart,
    ToolCallSuccess,
)
from orchestrator.core.tools import OfferedTool
from orchestrator.ports import JournaledCall, ResponseStore, StoredResponse
from orchestrator.service.callers import Caller
from orchestrator.service.graph import GraphService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.runs import RunService

LOOK_SECONDS: Final = 0.5
"""How often a response that another process runs is looked at."""


@dataclass(frozen=True, slots=True)
class StoredTelling:
    """A stored response with all that a telling of it needs: what was offered, and which calls somebody decided about.

    `calls` are its rows of the journal.
    """

    response: StoredResponse
    offered: tuple[OfferedTool, ...] = ()
    decided: frozenset[str] = frozenset()
    calls: tuple[JournaledCall, ...] = ()

    def events(self) -> list[StreamEvent]:
        """The stream of it, told again: every text in one piece. Without an end while it runs."""
        return retold(self.response, self.decided)


class StoredRunStream:
    """A response that this process does not have in its memory, to be read as a run is.

    One that another process runs is waited for.
    """

    def __init__(self, tellings: "TellingService", telling: StoredTelling, caller: Caller) -> None:
        self._tellings = tellings
        self._caller = caller
        self.telling = telling

    async def events(self) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """What it said, once it is over."""
        while self.telling.response.status == "in_progress":
            await anyio.sleep(LOOK_SECONDS)
            self.telling = await self._tellings.stored(self.telling.response.id, self._caller)
        for number, event in enumerate(self.telling.events(), 1):
            yield number, event

    def disconnect(self) -> None:
        """Nothing of it ends with whoever reads."""


class TellingService:
    """Tells callers of their responses again."""

    def __init__(self, graph: GraphService, store: ResponseStore, runs: RunService) -> None:
        self._graph = graph
        self._store = store
        self._runs = runs

    async def stored(self, response_id: str, caller: Caller) -> StoredTelling:
        """What is stored of the caller's response.

        Raises:
            OrchestratorError: `response_not_found`, `permission_denied`.
        """
        detail = await self._graph.detail(response_id, None, caller)
        run = await self._store.read_run(response_id, caller.owner)
        calls = await self._store.list_calls(response_id, caller.owner)
        decided = frozenset(call.call_id for call in calls if call.decision is not None)
        return StoredTelling(detail.response, () if run is None else run.offered, decided, tuple(calls))

    async def follow(self, response_id: str, caller: Caller) -> LiveRun | StoredRunStream:
        """The response, to be read from its beginning: event by event where this process has it.

        Raises:
            OrchestratorError: as `stored`.
        """
        telling = await self.stored(response_id, caller)
        live = self._runs.find_told(response_id)
        if live is not None and live.owner == caller.owner and live.response_id is not None:
            return live
        return StoredRunStream(self, telling, caller)


def retold(response: StoredResponse, decided: frozenset[str] = frozenset()) -> list[StreamEvent]:
    """The stream of a stored response; the calls that were `decided` about are asked about before they are made.

    Calls begin where the model began them. What it wrote in one turn comes before what became of the calls of that turn,
    as it does in a stream that is told as it happens.
    """
    events: list[StreamEvent] = [ChatStart(response.model_instance_id, response.id)]
    for items in _turns(response.output):
        late: list[StreamEvent] = []
        for item in items:
            told = told_item(item, decided)
            at_once = 1 if _comes_late(item) and isinstance(told[0], ToolCallStart) else len(told)
            events += told[:at_once]
            late += told[at_once:]
        events += late
    events += [ToolCallApprovalRequired(pending) for pending in response.pending]
    ending = _ending(response)
    if ending is None:
        return events
    output = tuple(entry.item for entry in response.output)
    result = ChatResult(response.model_instance_id, output, response.stats, ending, response.id)
    failed = [ErrorEvent(ending.error)] if isinstance(ending, Failed) else []
    return [*events, *failed, ChatEnd(result)]


def _turns(output: Sequence[OutputEntry]) -> list[list[OutputItem]]:
    turns: dict[int, list[OutputItem]] = {}
    for entry in output:
        turns.setdefault(entry.turn, []).append(entry.item)
    return [turns[number] for number in sorted(turns)]


def _comes_late(item: OutputItem) -> bool:
    """Whether it is told what becomes of it when the turn is over: calls of tools are judged then."""
    return isinstance(item, ToolCall) or (isinstance(item, InvalidToolCall) and item.kind == "invalid_arguments")


def told_item(item: OutputItem, decided: frozenset[str] = frozenset()) -> list[StreamEvent]:
    """The events that an item was told in; a call that was `decided` about is asked about first."""
    match item:
        case Message(content, logprobs):
            return [MessageStart(), MessageDelta(content, logprobs), MessageEnd()]
        case Reasoning(content):
            return [ReasoningStart(), ReasoningDelta(content), ReasoningEnd()]
        case ToolCall():
            waited = item.call_id in decided
            start: list[StreamEvent] = [ToolCallStart(item.call_id, item.tool, item.provider, waited)]
            if waited:
                written = item.arguments if item.requested is None else item.requested
                pending = PendingApproval(item.call_id, item.tool, written, item.provider)
                start.append(ToolCallApprovalRequired(pending))
            arguments = ToolCallArguments(item.call_id, item.tool, item.arguments, item.provider)
            return [*start, arguments, ToolCallSuccess(item)]
        case InvalidToolCall(call_id, kind, reason, tool_name, arguments, provider):
            failure = ToolCallFailure(call_id, kind, reason, tool_name, arguments, provider)
            return (
                [failure]
                if provider is None or isinstance(provider, ClientProvider)
                else [ToolCallStart(call_id, tool_name, provider), failure]
            )
        case FunctionCall(call_id, name, arguments):
            delta = [FunctionCallDelta(call_id, arguments)] if arguments else []
            return [FunctionCallStart(call_id, name), *delta, FunctionCallEnd(item)]


def _ending(response: StoredResponse) -> Close | None:
    """How it ended, None while it runs."""
    match response.status:
        case "in_progress":
            return None
        case "awaiting_approval":
            assert response.expires_at is not None
            return Suspended(response.pending, response.expires_at)
        case "completed":
            return Completed(response.stop_sequence)
        case "incomplete":
            return Incomplete(response.incomplete_reason or "process_died")
        case "failed":
            assert response.error is not None
            return Failed(response.error)
        case "cancelled":
            return Cancelled(response.cancel_reason or "it was cancelled")
