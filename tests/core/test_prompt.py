"""Prompts grow at their end only."""

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import PlacedCall
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import (
    EphemeralProvider,
    ImageInput,
    Message,
    OutputEntry,
    Reasoning,
    Shown,
    TextInput,
    ToolCall,
)
from orchestrator.core.prompt import (
    AssistantMessage,
    PastResponse,
    PromptToolCall,
    SystemMessage,
    ToolMessage,
    UserMessage,
    opening_messages,
    turn_messages,
)
from orchestrator.core.request import EphemeralRequest, PluginRequest, requested_provider
from orchestrator.core.response import Cancelled, Completed, Failed, Incomplete, ending_status
from tests.core.dialogue import CLOCK

CALL = ToolCall("call_0", "add", {}, "[]", CLOCK, is_error=False, duration_ms=1)


def test_a_chain_is_told_from_its_root_with_every_turn_and_result() -> None:
    past = PastResponse(
        (TextInput("first"), ImageInput("data:image/png;base64,AA==")),
        (
            OutputEntry(1, Reasoning("think")),
            OutputEntry(1, Message("let me see")),
            OutputEntry(1, CALL, Shown("add", '{"a": 1}', "2")),
            OutputEntry(2, Message("two")),
        ),
    )
    assert opening_messages("sys", (past,), (TextInput("second"),)) == (
        SystemMessage("sys"),
        UserMessage(past.input),
        AssistantMessage("think", "let me see", (PromptToolCall("call_0", "add", '{"a": 1}'),)),
        ToolMessage("call_0", "add", "2"),
        AssistantMessage("", "two", ()),
        UserMessage((TextInput("second"),)),
    )


def test_a_call_that_was_cut_stands_in_no_prompt() -> None:
    assert turn_messages([OutputEntry(1, CALL, None)]) == []


def test_without_a_system_prompt_there_is_no_system_message() -> None:
    for nothing in (None, ""):
        assert opening_messages(nothing, (), (TextInput("x"),)) == (UserMessage((TextInput("x"),)),)


def test_a_call_without_an_outcome_is_no_output() -> None:
    with pytest.raises(ValueError, match="call_0 is not settled"):
        output_entry(PlacedCall(0, 1, "call_0", "add", "{}", {}))


def test_words_of_the_wire() -> None:
    error = ErrorInfo(ErrorKind.ENGINE_ERROR, "x")
    endings = [Completed(), Incomplete("deadline"), Failed(error), Cancelled("why")]
    assert [ending_status(ending) for ending in endings] == ["completed", "incomplete", "failed", "cancelled"]
    assert requested_provider(PluginRequest("mcp/clock")) == CLOCK
    ephemeral = EphemeralRequest("hub", "http://h/mcp", headers={"Authorization": "canary"})
    assert requested_provider(ephemeral) == EphemeralProvider("hub")
    assert "canary" not in repr(ephemeral)
    raised = OrchestratorError(ErrorKind.RATE_LIMITED, "later", param="p", retry_after_seconds=2)
    assert (raised.info, raised.retry_after_seconds, str(raised)) == (
        ErrorInfo(ErrorKind.RATE_LIMITED, "later", "p"),
        2,
        "later",
    )
