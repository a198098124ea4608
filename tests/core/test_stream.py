"""The fold puts a reply together from nothing but its stream."""

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import InvalidToolCall, Message, Reasoning, ToolCall
from orchestrator.core.response import ChatResult, Completed, Stats
from orchestrator.core.stream import (
    ChatEnd,
    ChatStart,
    ErrorEvent,
    MessageDelta,
    MessageEnd,
    MessageStart,
    PromptProcessingStart,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    StreamFold,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallStart,
    ToolCallSuccess,
)
from tests.core.dialogue import CLOCK


def test_items_stand_where_the_model_opened_them_whenever_they_settle() -> None:
    call = ToolCall("call_0", "add", {"a": 1}, "[]", CLOCK, is_error=False, duration_ms=3)
    fold = StreamFold()
    for event in (
        ChatStart("m", "resp_1"),
        PromptProcessingStart(),
        ReasoningStart(),
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningEnd(),
        ToolCallStart("call_0", "add", CLOCK),
        ToolCallFailure("call_1", "invalid_name", "no such tool", "nope", None, None),
        ToolCallStart("call_2", "add", CLOCK),
        ToolCallArguments("call_0", "add", {"a": 1}, CLOCK),
        ToolCallFailure("call_2", "invalid_arguments", "bad", "add", {"b": 1}, CLOCK),
        MessageStart(),
        MessageDelta("hi"),
    ):
        fold.apply(event)
    invalid_name = InvalidToolCall("call_1", "invalid_name", "no such tool", "nope")
    invalid_arguments = InvalidToolCall("call_2", "invalid_arguments", "bad", "add", {"b": 1}, CLOCK)
    assert fold.output() == (Reasoning("ab"), invalid_name, invalid_arguments)
    result = ChatResult("m", (), Stats(), Completed(), None)
    for event in (
        MessageEnd(),
        ToolCallSuccess(call),
        ErrorEvent(ErrorInfo(ErrorKind.ENGINE_ERROR, "x")),
        ChatEnd(result),
    ):
        fold.apply(event)
    assert fold.output() == (Reasoning("ab"), call, invalid_name, invalid_arguments, Message("hi"))
    assert fold.result == result
