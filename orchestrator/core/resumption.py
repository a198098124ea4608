"""Taking a run up where it was put away, or where another response is left for a branch of its own. Pure."""

from collections.abc import Mapping, Sequence

from orchestrator.core.approvals import Approve, Decision
from orchestrator.core.calls import decided, judge_call, output_entry, pending_approval
from orchestrator.core.commands import RecordOutcome
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.ledger import Ledger
from orchestrator.core.placed import PlacedCall
from orchestrator.core.prompt import PromptMessage, answered, opening_messages, turn_messages
from orchestrator.core.redaction import holds_marker
from orchestrator.core.request import Resumed, RunRequest
from orchestrator.core.stream import ChatStart, StreamEvent, ToolCallArguments, ToolCallStart, Warned
from orchestrator.core.tools import OfferedTool


def last_turn(resumed: Resumed) -> int:
    """The number of the turn that was written last, 0 where none was."""
    items = resumed.items if resumed.call is None else (*resumed.items, resumed.call)
    return max((item.turn for item in items), default=0)


def coming_call(resumed: Resumed, offered: Mapping[str, OfferedTool]) -> PlacedCall | None:
    """The call that the client itself puts next, as the journal takes it."""
    call = resumed.call
    return call if call is None or call.outcome is not None else judge_call(call, offered, cut=False)


def unusable_call(resumed: Resumed, offered: Mapping[str, OfferedTool]) -> ErrorInfo | None:
    """Why that call cannot be made: it is the client who wrote its arguments, so no model is told."""
    if resumed.call is not None and resumed.call.outcome is None and holds_marker(resumed.call.arguments_text):
        message = "The stored arguments of this call were redacted, so it cannot be made again with them: give others."
        return ErrorInfo(ErrorKind.INVALID_VALUE, message, "arguments")
    call = coming_call(resumed, offered)
    if call is None or call.outcome is None or call.outcome.status != "invalid":
        return None
    return ErrorInfo(ErrorKind.INVALID_VALUE, call.reason or "", "arguments")


def first_messages(request: RunRequest, ledger: Ledger) -> list[PromptMessage]:
    """The prompt up to the turn whose calls are still to be settled, or up to the next one to be written."""
    messages = list(opening_messages(request.system_prompt, request.history, request.input, vision=request.vision))
    resumed = request.resumed
    if resumed is None:
        return answered(messages)
    unfinished = last_turn(resumed) if resumed.call is not None or ledger.unsettled() else None
    settled = [item for item in ledger.items if item.turn != unfinished]
    return answered(messages + turn_messages((output_entry(item) for item in settled), vision=request.vision))


def opening_events(request: RunRequest, ledger: Ledger, warnings: Sequence[str]) -> tuple[StreamEvent, ...]:
    """How the stream begins: its start, warnings, and calls that another stream began, so that it can tell of their end."""
    start = ChatStart(request.model_instance_id, request.response_id if request.store else None)
    decisions = (request.resumed or Resumed()).decisions
    warned = (Warned(message) for message in warnings)
    return start, *warned, *(event for call in ledger.unsettled() for event in begun(call, decisions.get(call.call_id)))


def begun(call: PlacedCall, decision: Decision | None) -> list[StreamEvent]:
    """The events that stand before the result of `call`; its arguments are those that it will run with."""
    pending = pending_approval(call)
    edited = decision.arguments if isinstance(decision, Approve) else None
    arguments = pending.arguments if edited is None else edited
    return [
        ToolCallStart(pending.call_id, pending.tool, pending.provider),
        ToolCallArguments(pending.call_id, pending.tool, arguments, pending.provider),
    ]


def carry_out_decisions(resumed: Resumed, ledger: Ledger, offered: Mapping[str, OfferedTool]) -> list[RecordOutcome]:
    """Put what was decided into the ledger; a call that will not run has its outcome, which is to be recorded."""
    refusals: list[RecordOutcome] = []
    for call in ledger.unsettled():
        if call.call_id not in resumed.decisions:
            continue
        call = decided(call, resumed.decisions[call.call_id], offered)
        ledger.put(call)
        if call.outcome is not None:
            refusals.append(RecordOutcome(call.call_id, call.outcome))
    return refusals
