"""The results of functions that clients run, matched to the calls that they are of."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import FunctionCallInput, FunctionOutput, InputItem
from orchestrator.core.prompt import AssistantMessage, Past, PromptMessage, ToolMessage, UserMessage


def named_results(said: Sequence[InputItem], history: Sequence[Past]) -> tuple[InputItem, ...] | ErrorInfo:
    """`said` with the name of its function in every result; or which result is of no call that waits for one."""
    if not any(isinstance(item, FunctionOutput) for item in said):
        return tuple(said)
    names: dict[str, str] = {}
    for past in history:
        _go_through(past.messages(vision=False), names)
    named: list[InputItem] = []
    for item in said:
        if isinstance(item, FunctionCallInput):
            names[item.call_id] = item.name
        if isinstance(item, FunctionOutput):
            name = names.pop(item.call_id, None)
            if name is None:
                message = f"There is no function call '{item.call_id}' that waits for a result."
                return ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")
            item = replace(item, name=name)
        named.append(item)
    return tuple(named)


def unanswered_call(said: Sequence[InputItem], history: Sequence[Past]) -> str | None:
    """The first function call that `said` leaves without its result: its own, or one that the chain ends with."""
    waiting: dict[str, str] = {}
    for past in history[-1:]:
        for message in past.messages(vision=False):
            if isinstance(message, UserMessage):  # what was called before it was left for good
                waiting.clear()
            _go_through([message], waiting)
    for item in said:
        if isinstance(item, FunctionCallInput) and not item.of_server:
            waiting[item.call_id] = item.name
        elif isinstance(item, FunctionOutput):
            waiting.pop(item.call_id, None)
    return next(iter(waiting), None)


def _go_through(messages: Iterable[PromptMessage], names: dict[str, str]) -> None:
    """Note in `names` what is called, by the ids of the calls, and forget what is answered."""
    for message in messages:
        if isinstance(message, AssistantMessage):
            names |= {call.call_id: call.name for call in message.calls}
        elif isinstance(message, ToolMessage):
            names.pop(message.call_id, None)
