"""What the store's in-memory twin keeps of a response, and how it is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.core.approvals import Approve
from orchestrator.core.calls import output_entry, pending_approval
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.items import Message, OutputEntry, OutputItem, ToolCall
from orchestrator.core.placed import HANDED_OVER
from orchestrator.core.response import (
    Cancelled,
    Completed,
    Ending,
    Failed,
    Incomplete,
    ResponseStatus,
    Stats,
    ending_status,
)
from orchestrator.ports import LONG_TEXT, CallDecision, JournaledCall, NewResponse, StoredResponse, Suspension


@dataclass(slots=True)
class CallTimes:
    created_at: datetime
    settled_at: datetime | None = None


@dataclass(slots=True)
class PointedThread:
    """A thread, and the id of the response that it points to."""

    owner: str
    created_at: datetime
    newest: str = ""
    updated_at: datetime = field(init=False)


@dataclass(slots=True)
class Node:
    """A response. `items` are as they were given; what is not stored is left out when it is read."""

    new: NewResponse
    number: int
    root_id: str
    depth: int
    lease_until: datetime
    cancel_reason: str | None = None
    items: dict[int, PlacedItem] = field(default_factory=dict[int, PlacedItem])
    calls: dict[str, CallTimes] = field(default_factory=dict[str, CallTimes])
    ending: Ending | None = None
    stats: Stats = field(default_factory=Stats)
    ended_at: datetime | None = None
    suspension: Suspension | None = None
    warnings: tuple[str, ...] = ()
    decisions: dict[str, CallDecision] = field(default_factory=dict[str, CallDecision])
    asked: str = ""

    @property
    def status(self) -> ResponseStatus:
        if self.ending is not None:
            return ending_status(self.ending)
        return "in_progress" if self.suspension is None else "awaiting_approval"

    def waiting(self) -> list[PlacedCall]:
        """Calls that nobody has decided about."""
        calls = (call for call in self.placed_calls() if call.outcome is None and call.awaits_approval)
        return [call for call in calls if call.call_id not in self.decisions]

    def ordered(self) -> list[PlacedItem]:
        return [self.items[position] for position in sorted(self.items)]

    def call(self, call_id: str) -> PlacedCall | None:
        return next((call for call in self.placed_calls() if call.call_id == call_id), None)

    def placed_calls(self) -> Iterator[PlacedCall]:
        for item in self.ordered():
            if isinstance(item, PlacedCall):
                decision = self.decisions.get(item.call_id)
                edited = decision.decision.arguments if decision and isinstance(decision.decision, Approve) else None
                yield replace(item, edited=edited)

    def output(self) -> tuple[OutputEntry, ...]:
        calls = {call.position: call for call in self.placed_calls()}
        items = (calls.get(item.position, item) for item in self.ordered())
        settled = (item for item in items if isinstance(item, PlacedText) or item.outcome is not None)
        return tuple(output_entry(item) for item in settled)

    def whole(self) -> StoredResponse:
        """The response as it is read."""
        new, ending = self.new, self.ending
        return StoredResponse(
            id=new.id,
            previous_response_id=new.previous_response_id,
            root_id=self.root_id,
            depth=self.depth,
            owner=new.owner,
            model_key=new.model_key,
            model_instance_id=new.model_instance_id,
            system_prompt=new.system_prompt,
            parameters=new.parameters,
            metadata=new.metadata,
            status=self.status,
            incomplete_reason=ending.reason if isinstance(ending, Incomplete) else None,
            stop_sequence=ending.stop_sequence if isinstance(ending, Completed) and new.stored else None,
            cancel_reason=ending.reason if isinstance(ending, Cancelled) and new.stored else None,
            error=ending.error if isinstance(ending, Failed) else None,
            stats=self.stats,
            input=new.input,
            output=self.output(),
            created_at=new.created_at,
            ended_at=self.ended_at,
            pending=tuple(pending_approval(call) for call in self.waiting()) if self.suspension is not None else (),
            expires_at=None if self.suspension is None else self.suspension.expires_at,
            forked_from=new.forked_from,
            replay_of=new.replay_of,
            warnings=self.warnings,
        )

    def journaled(self, call: PlacedCall, *, held: bool) -> JournaledCall:
        """The call's row in the journal; `held` says that a stored response still has the call."""
        outcome = call.outcome
        times = self.calls[call.call_id]
        return JournaledCall(
            call_id=call.call_id,
            response_id=self.new.id,
            position=call.position,
            turn=call.turn,
            model_name=call.model_name if held or call.tool is not None else "",
            tool=call.tool,
            provider=call.provider,
            definition_digest=call.digest,
            arguments=call.arguments if held else None,
            status=("awaiting_approval" if call.awaits_approval else "journaled")
            if outcome is None
            else outcome.status,
            output=outcome.output if held and outcome is not None and outcome != HANDED_OVER else None,
            is_error=outcome is not None and outcome.is_error,
            duration_ms=None if outcome is None or outcome == HANDED_OVER else outcome.duration_ms,
            created_at=times.created_at,
            settled_at=times.settled_at,
            decision=self.decisions.get(call.call_id),
        )


def take_back_threads(threads: dict[str, PointedThread], failed: Node, at: datetime) -> None:
    """Threads that point to this response point to the one before it; without one they are gone."""
    kept = failed.new.previous_response_id
    for thread_id, thread in list(threads.items()):
        if thread.newest == failed.new.id and kept is None:
            del threads[thread_id]
        elif thread.newest == failed.new.id and kept is not None:
            thread.newest, thread.updated_at = kept, at


def shortened(output: tuple[OutputEntry, ...]) -> tuple[OutputEntry, ...]:
    """Without the long outputs of calls, and how likely the tokens of messages were."""
    return tuple(replace(entry, item=_shortened_item(entry.item)) for entry in output)


def _shortened_item(item: OutputItem) -> OutputItem:
    if isinstance(item, Message):
        return Message(item.content)
    return _shortened_call(item) if isinstance(item, ToolCall) else item


def _shortened_call(call: ToolCall) -> ToolCall:
    structured = call.structured if len(call.structured or "") <= LONG_TEXT else None
    return replace(call, output="" if len(call.output) > LONG_TEXT else call.output, structured=structured)


def settle(node: Node, call: PlacedCall, outcome: Outcome, at: datetime) -> None:
    """The call has that outcome from now on."""
    node.items[call.position] = replace(call, outcome=outcome)
    node.calls[call.call_id].settled_at = at


def kept_items(node: Node, items: Sequence[PlacedItem]) -> list[PlacedItem]:
    """What the store keeps of items: of a response that is not stored, only its calls."""
    return [item for item in items if node.new.stored or isinstance(item, PlacedCall)]


def kept(outcome: Outcome, node: Node) -> Outcome:
    """What the store keeps of an outcome."""
    return outcome if node.new.stored else replace(outcome, output="", shown=None, structured=None)


def same_ending(one: Ending, other: Ending, node: Node) -> bool:
    """Whether both are one, as far as the store keeps them."""
    if node.new.stored:
        return one == other
    match one, other:
        case Failed(error), Failed(ErrorInfo(kind=kind)):
            return error.kind == kind
        case (Cancelled(), Cancelled()) | (Completed(), Completed()):
            return True
        case _:
            return one == other
