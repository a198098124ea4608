"""The judgement of a call: may it run, and if not, what are the model and the client told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

from orchestrator.core.approvals import Approve, Decision, Deny, PendingApproval
from orchestrator.core.items import ClientProvider, FunctionCall, InvalidToolCall, OutputEntry, Shown, ToolCall
from orchestrator.core.json_types import JsonObject, canonical_json, parse_object
from orchestrator.core.markup import plain_markup
from orchestrator.core.placed import HANDED_OVER, Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.reading import shown_output
from orchestrator.core.request import Limits, RunRequest
from orchestrator.core.tools import (
    OfferedTool,
    ToolResult,
    argument_problems,
    bounded_result,
    text_content,
)

DENIED: Final = "The user denied this call; it was not run."
UNAPPROVABLE: Final = "it needs somebody's approval, and a response that is not stored cannot wait for it"
NOT_RUN: Final = "This call was not run: {why}."
ARGUMENTS_CHANGED: Final = "[The user changed the arguments of this call to "
CUT_OFF: Final = "The arguments were cut off before they were complete, so the call was not run."


def judge_call(call: PlacedCall, offered: Mapping[str, OfferedTool], *, cut: bool) -> PlacedCall:
    """`call` as the journal takes it: free to run (no outcome yet), or invalid with its reason.

    A call runs only where it names an offered tool and its arguments match that tool's schema. One of a function of the
    client's is handed over as the model wrote it, a strict one where it matches. `cut` says that a limit ended the turn, so that arguments which do not
    parse are unfinished.
    """
    arguments = parse_object(call.arguments_text)
    call = replace(call, arguments=arguments)
    tool = offered.get(call.model_name)
    if tool is None:
        return _invalid(call, missing_tool(call.model_name, offered))
    call = replace(call, tool=tool.definition.name, provider=tool.provider, digest=tool.digest, server=tool.server)
    of_client = isinstance(tool.provider, ClientProvider)
    if arguments is None and cut:
        return cut_off(call)
    if of_client and not tool.definition.strict:
        return replace(call, outcome=HANDED_OVER)
    if arguments is None:
        return _invalid(call, f"The arguments of {call.model_name} are not a JSON object.")
    problems = argument_problems(tool.definition.input_schema, arguments)
    if problems is not None:
        return _invalid(call, f"The arguments do not match the input schema of {call.model_name}: {problems}")
    return replace(call, outcome=HANDED_OVER) if of_client else replace(call, awaits_approval=tool.needs_approval)


def missing_tool(name: str, offered: Mapping[str, OfferedTool]) -> str:
    """What is said of a call to a tool that is not offered, be it unknown or not allowed."""
    names = ", ".join(offered) or "none"
    return f"Cannot find tool with name {name}. Available tools: {names}."


def cut_off(call: PlacedCall) -> PlacedCall:
    """`call` as one whose arguments never became complete; it stands in no later prompt."""
    outcome = Outcome("invalid", text_content(CUT_OFF), None, is_error=True)
    return replace(call, reason=CUT_OFF, outcome=outcome)


def refuse(call: PlacedCall, why: str) -> PlacedCall:
    """`call`, valid, but not run because of `why`."""
    return replace(call, outcome=Outcome("refused", text_content(why), why, is_error=True))


def refuse_all(
    items: Sequence[PlacedItem], why: str, *, only_waiting: bool = False
) -> tuple[list[PlacedItem], list[str]]:
    """`items` with every call refused that could run, or that could once it is approved; and the ids of those."""
    refused: list[str] = []
    settled: list[PlacedItem] = []
    for item in items:
        if isinstance(item, PlacedCall) and item.outcome is None and (item.awaits_approval or not only_waiting):
            refused.append(item.call_id)
            item = refuse(item, NOT_RUN.format(why=why))
        settled.append(item)
    return settled, refused


def refuse_what_cannot_be(
    items: Sequence[PlacedItem], earlier: Sequence[PlacedCall], request: RunRequest
) -> tuple[list[PlacedItem], list[str]]:
    """`items` with the calls refused that `request` rules out, those that ran `earlier` counted; and the ids of those."""
    settled, refused = [*items], list[str]()
    if not request.store:
        settled, refused = refuse_all(settled, UNAPPROVABLE, only_waiting=True)
    limit = request.limits.max_tool_calls
    if limit is not None:
        settled, beyond = _refuse_beyond(settled, earlier, limit)
        refused += beyond
    return settled, refused


def calls_left(earlier: Sequence[PlacedCall], limit: int) -> int:
    """How many calls of servers' tools may still be made after these, of `limit`."""
    return limit - sum(_takes_room(call) for call in earlier)


def _refuse_beyond(
    items: Sequence[PlacedItem], earlier: Sequence[PlacedCall], limit: int
) -> tuple[list[PlacedItem], list[str]]:
    room = calls_left(earlier, limit)
    settled: list[PlacedItem] = []
    refused: list[str] = []
    for item in items:
        if isinstance(item, PlacedCall) and item.outcome is None:
            if room <= 0:
                refused.append(item.call_id)
                item = refuse(item, NOT_RUN.format(why=f"this request may make {limit} tool calls, and has made them"))
            room -= 1
        settled.append(item)
    return settled, refused


def _takes_room(call: PlacedCall) -> bool:
    status = None if call.outcome is None else call.outcome.status
    return not call.is_of_client and status not in ("invalid", "refused")


def abandon(call: PlacedCall, why: str) -> PlacedCall:
    """`call`, under way when the run ended: it may have had its effect, its result is unknown."""
    return replace(call, outcome=Outcome("abandoned", text_content(why), why, is_error=True))


def decided(call: PlacedCall, decision: Decision, offered: Mapping[str, OfferedTool]) -> PlacedCall:
    """`call` after somebody decided about it: free to run (no outcome), or refused.

    What was approved runs only where its tool is still offered, as it was defined then, at the same address.
    """
    match decision:
        case Deny(reason):
            return refuse(call, DENIED if reason is None else f"{DENIED} The reason: {reason}")
        case Approve(arguments):
            call = replace(call, edited=None if arguments == call.arguments else arguments)
        case _:
            assert_never(decision)
    tool = offered.get(call.model_name)
    if tool is None or tool.digest != call.digest:
        what = "is not offered any more" if tool is None else "was changed by its server since it was called"
        return refuse(call, f"The call was approved but not run: the tool {call.model_name} {what}.")
    if call.server is not None and tool.server is not None and call.server.address != tool.server.address:
        what = "is at another address than when it was called"
        return refuse(call, f"The call was approved but not run: the server of {call.model_name} {what}.")
    problems = argument_problems(tool.definition.input_schema, executed_arguments(call))
    if problems is not None:
        return refuse(call, f"The call was not run: the edited arguments do not match its input schema: {problems}")
    return call


def executed_arguments(call: PlacedCall) -> JsonObject:
    """The arguments that the tool is, or was, called with."""
    return (call.arguments or {}) if call.edited is None else call.edited


def pending_approval(call: PlacedCall) -> PendingApproval:
    """`call`, valid and waiting, as people are asked about it."""
    assert call.tool is not None and call.provider is not None
    return PendingApproval(call.call_id, call.tool, call.arguments or {}, call.provider)


def returned(call: PlacedCall, result: ToolResult, limits: Limits, duration_ms: int, reader: str) -> PlacedCall:
    """`call` with the result of its tool, be that an error, cut to what the journal takes and to what the model does.

    `reader` is the name of the tool that reads on.
    """
    result = bounded_result(result, limits.max_tool_output_bytes)
    shown = _cut_for_model(call, result.text, limits, reader)
    took = duration_ms if result.status == "succeeded" else 0
    outcome = Outcome(result.status, result.content, shown, result.is_error, took, result.structured)
    return replace(call, outcome=outcome)


def _cut_for_model(call: PlacedCall, text: str, limits: Limits, reader: str) -> str:
    note = _shown(call, "")
    room = max(0, limits.max_tool_output_model_bytes - len(note.encode("utf-8", "replace")))
    text = text if limits.raw_results else plain_markup(text)
    return note + shown_output(text, call.call_id, room, reader)


def broke(call: PlacedCall, message: str, limits: Limits, duration_ms: int, reader: str) -> PlacedCall:
    """`call`, of which no result came; the message, which may be a server's, is cut as a result is."""
    result = bounded_result(ToolResult(text_content(message), message, is_error=True), limits.max_tool_output_bytes)
    shown = _cut_for_model(call, result.text, limits, reader)
    return replace(call, outcome=Outcome("failed", result.content, shown, is_error=True, duration_ms=duration_ms))


def _shown(call: PlacedCall, text: str) -> str:
    """`text`, the result of `call`, as the model is given it: it must know that it answers other arguments."""
    if call.edited is None:
        return text
    return f"{ARGUMENTS_CHANGED}{canonical_json(call.edited)}]\n{text}"


def identity(call: PlacedCall) -> str:
    """Equal for calls that ask for the same thing: the same name and equal arguments."""
    arguments = call.arguments_text if call.arguments is None else canonical_json(call.arguments)
    return f"{call.model_name} {arguments}"


def output_entry(placed: PlacedItem) -> OutputEntry:
    """A settled item as the reply, the prompt and the store's readers see it.

    Raises:
        ValueError: the call has no outcome yet.
    """
    if isinstance(placed, PlacedText):
        return OutputEntry(placed.turn, placed.item)
    outcome = placed.outcome
    if outcome is None:
        raise ValueError(f"{placed.call_id} is not settled")
    if placed.is_handed_over or is_cut_off_from_client(placed):
        return OutputEntry(placed.turn, function_call(placed), _shown_of_client(placed))
    shown = None if outcome.shown is None else Shown(placed.model_name, _shown_arguments(placed), outcome.shown)
    if outcome.status == "invalid":
        return OutputEntry(placed.turn, _invalid_item(placed), shown)
    assert placed.tool is not None and placed.provider is not None and placed.arguments is not None
    call = ToolCall(
        call_id=placed.call_id,
        tool=placed.tool,
        arguments=executed_arguments(placed),
        output=outcome.output,
        provider=placed.provider,
        is_error=outcome.is_error,
        duration_ms=outcome.duration_ms,
        requested=None if placed.edited is None else placed.arguments,
        source=outcome.status if outcome.status in ("edited", "replayed") else None,
        structured=outcome.structured,
    )
    return OutputEntry(placed.turn, call, shown)


def is_cut_off_from_client(placed: PlacedCall) -> bool:
    """Whether it is a call of a function of the client's that never became whole; of one that is wrong the model is told."""
    outcome = placed.outcome
    return placed.is_of_client and outcome is not None and outcome.status == "invalid" and outcome.shown is None


def function_call(placed: PlacedCall) -> FunctionCall:
    """A call of a function of the client's, as the client is told of it."""
    return FunctionCall(placed.call_id, placed.model_name, placed.arguments_text, complete=placed.is_handed_over)


def _shown_of_client(placed: PlacedCall) -> Shown | None:
    """What the model sees of it again: its result is in a later input."""
    return Shown(placed.model_name, _shown_arguments(placed), None) if placed.is_handed_over else None


def _invalid_item(placed: PlacedCall) -> InvalidToolCall:
    reason = placed.reason or ""
    if placed.tool is None:
        return InvalidToolCall(placed.call_id, "invalid_name", reason, placed.model_name)
    return InvalidToolCall(placed.call_id, "invalid_arguments", reason, placed.tool, placed.arguments, placed.provider)


def _invalid(call: PlacedCall, reason: str) -> PlacedCall:
    return replace(call, reason=reason, outcome=Outcome("invalid", text_content(reason), reason, is_error=True))


def _shown_arguments(placed: PlacedCall) -> str:
    """The model's own text where it is an object: templates refuse anything else."""
    return placed.arguments_text if placed.arguments is not None and placed.arguments_text.strip() else "{}"
