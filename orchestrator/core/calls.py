"""The judgement of a call: may it run, and if not, what are the model and the client told."""

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.items import InvalidToolCall, OutputEntry, Shown, ToolCall
from orchestrator.core.json_types import canonical_json, parse_object
from orchestrator.core.tools import OfferedTool, argument_problems, text_content

CUT_OFF = "The arguments were cut off before they were complete, so the call was not run."


def judge_call(call: PlacedCall, offered: Mapping[str, OfferedTool], *, cut: bool) -> PlacedCall:
    """`call` as the journal takes it: free to run (no outcome yet), or invalid with its reason.

    A call runs only where it names an offered tool and its arguments match that tool's schema.
    `cut` says that a limit ended the turn, so that arguments which do not parse are unfinished.
    """
    arguments = parse_object(call.arguments_text)
    call = replace(call, arguments=arguments)
    tool = offered.get(call.model_name)
    if tool is None:
        return _invalid(call, missing_tool(call.model_name, offered))
    call = replace(call, tool=tool.definition.name, provider=tool.provider, digest=tool.digest)
    if arguments is None:
        return cut_off(call) if cut else _invalid(call, f"The arguments of {call.model_name} are not a JSON object.")
    problems = argument_problems(tool.definition.input_schema, arguments)
    if problems is not None:
        return _invalid(call, f"The arguments do not match the input schema of {call.model_name}: {problems}")
    return call


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


def abandon(call: PlacedCall, why: str) -> PlacedCall:
    """`call`, under way when the run ended: it may have had its effect, its result is unknown."""
    return replace(call, outcome=Outcome("abandoned", text_content(why), why, is_error=True))


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
    shown = None if outcome.shown is None else Shown(placed.model_name, _shown_arguments(placed), outcome.shown)
    if outcome.status == "invalid":
        return OutputEntry(placed.turn, _invalid_item(placed), shown)
    assert placed.tool is not None and placed.provider is not None and placed.arguments is not None
    call = ToolCall(
        call_id=placed.call_id,
        tool=placed.tool,
        arguments=placed.arguments,
        output=outcome.output,
        provider=placed.provider,
        is_error=outcome.is_error,
        duration_ms=outcome.duration_ms,
    )
    return OutputEntry(placed.turn, call, shown)


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
