"""Prompts grow at their end only."""

from dataclasses import replace

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import PlacedCall
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError, Overrun
from orchestrator.core.items import (
    EphemeralProvider,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InvalidToolCall,
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
    input_messages,
    lacks_pictures,
    latest_heads,
    opening_messages,
    turn_messages,
)
from orchestrator.core.request import EphemeralRequest, PluginRequest, requested_provider
from orchestrator.core.response import Cancelled, Completed, Failed, Incomplete, ending_status
from orchestrator.core.tools import text_content
from tests.core.dialogue import CLOCK

CALL = ToolCall("call_0", "add", {}, "[]", CLOCK, is_error=False, duration_ms=1)
INVALID = InvalidToolCall("call_1", "invalid_name", "no", "fly")


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
        UserMessage((TextInput("first"), ImageInput("data:image/png;base64,AA=="))),
        AssistantMessage("think", "let me see", (PromptToolCall("call_0", "add", '{"a": 1}'),)),
        ToolMessage("call_0", "add", "2"),
        AssistantMessage("", "two", ()),
        UserMessage((TextInput("second"),)),
    )


PICTURES = (
    '[{"type":"text","text":"a"},{"type":"image","data":"AAAA","mimeType":"image/PNG"},'
    '{"type":"resource","resource":{"uri":"x:y","blob":"BBBB","mimeType":"image/webp"}},'
    '{"type":"resource","resource":{"uri":"x:z","blob":"CCCC","mimeType":"application/pdf"}},'
    '{"type":"image","data":"not base64!","mimeType":"image/png"}]'
)


def shot(output: str, shown: str = "described") -> OutputEntry:
    return OutputEntry(1, replace(CALL, output=output), Shown("add", "{}", shown))


def test_a_model_that_sees_is_shown_the_pictures_of_results_after_all_of_them() -> None:
    entries = [shot(PICTURES), shot(""), shot("[]"), OutputEntry(1, INVALID, Shown("add", "", "no"))]
    told = turn_messages(entries)
    assert turn_messages(entries, vision=True) == [
        *told,
        UserMessage(
            (
                TextInput("[images in the result of add, call call_0]"),
                ImageInput("data:image/png;base64,AAAA"),
                ImageInput("data:image/webp;base64,BBBB"),
            )
        ),
    ]
    past = PastResponse((), (shot(PICTURES),))
    assert opening_messages(None, (past,), (), vision=True)[1:] == tuple(turn_messages([shot(PICTURES)], vision=True))


@pytest.mark.parametrize(
    ("entry", "lacks"),
    [
        (shot("", "[image, image/png, 3 bytes]"), True),
        (shot("", "begun\n[cut: 9 bytes in all, gone]"), True),
        (shot("", "text"), False),
        (shot("[]", "[image, image/png, 3 bytes]"), False),
        (OutputEntry(1, replace(CALL, output=""), None), False),
        (OutputEntry(1, Message("[image, ]")), False),
    ],
)
def test_pictures_may_be_missing_where_a_long_output_is(entry: OutputEntry, lacks: bool) -> None:
    assert lacks_pictures(entry) == lacks


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


def test_an_error_is_raised_again_with_all_that_it_says() -> None:
    info = ErrorInfo(ErrorKind.EXCEED_CONTEXT_SIZE, "Too long.", "input", 2, Overrun(5000, 4096))
    again = OrchestratorError.of(info).info
    assert (again, again.retry_after_seconds, again.overrun) == (info, 2, Overrun(5000, 4096))


def test_what_a_prompt_has_of_a_response_is_made_once_and_is_no_part_of_its_value() -> None:
    past = PastResponse((TextInput("Hello."),), (OutputEntry(1, Message("Hi.")),))
    for vision in (True, False):
        told = past.messages(vision=vision)
        assert told == (*input_messages(past.input), *turn_messages(past.output, vision=vision))
        assert past.messages(vision=vision) is told
        assert opening_messages(None, [past, past], (), vision=vision) == (*told, *told, UserMessage(()))
    assert past == PastResponse(past.input, past.output)


def test_nobody_has_to_speak_where_the_model_goes_on_from_results() -> None:
    asked = PastResponse((TextInput("Time?"),), (OutputEntry(1, CALL, Shown("add", "{}", "2")),))
    answered = PastResponse((), (OutputEntry(1, Message("Noon.")),))
    kinds = [type(message).__name__ for message in opening_messages(None, [asked, answered], ())]
    assert kinds == ["UserMessage", "AssistantMessage", "ToolMessage", "AssistantMessage", "UserMessage"]
    assert opening_messages(None, [asked], ())[-1] == ToolMessage("call_0", "add", "2")
    assert opening_messages("Be brief.", [], ()) == (SystemMessage("Be brief."), UserMessage(()))


def test_a_call_that_failed_with_its_client_is_shown_as_one_that_did_and_those_of_servers_as_they_were() -> None:
    said = (
        FunctionCallInput("call_1", "read", "{}"),
        FunctionOutput("call_1", text_content("No such file."), is_error=True, name="read"),
        FunctionOutput("call_2", "[]", is_error=True, name="read"),
        FunctionOutput("call_3", text_content("Error: down."), is_error=True, name="now", of_server=True),
    )
    _, *results = opening_messages(None, [], said)
    assert results == [
        ToolMessage("call_1", "read", "[The call failed.]\nNo such file."),
        ToolMessage("call_2", "read", "[The call failed.]"),
        ToolMessage("call_3", "now", "Error: down."),
    ]


def of_system(content: str, *, heads: bool = True) -> TextInput:
    return TextInput(content, speaker="system", begins=True, heads=heads)


def test_what_heads_a_chat_stands_behind_the_system_prompt_and_the_newest_of_it_counts() -> None:
    first = PastResponse((of_system("one"), of_system("two"), TextInput("a")), (OutputEntry(1, Message("b")),))
    second = PastResponse((of_system("three"), TextInput("c")), (OutputEntry(1, Message("d")),))
    said = (UserMessage((TextInput("a"),)), AssistantMessage("", "b", ()))
    assert opening_messages("sys", (first,), (TextInput("e"),)) == (
        SystemMessage("sys\n\none\n\ntwo"),
        *said,
        UserMessage((TextInput("e"),)),
    )
    assert opening_messages(None, (first, second), (TextInput("e"),))[0] == SystemMessage("three")
    assert latest_heads((first, second), (of_system("four"),)) == (of_system("four"),)
    assert opening_messages(None, (first,), (of_system(""), TextInput("e"))) == (*said, UserMessage((TextInput("e"),)))


def test_what_the_system_says_at_the_beginning_is_one_message_and_later_a_message_each() -> None:
    late = of_system("late", heads=False)
    assert opening_messages("sys", (), (of_system("early", heads=False), TextInput("a"), late)) == (
        SystemMessage("sys\n\nearly"),
        UserMessage((TextInput("a"),)),
        SystemMessage("late"),
    )


def test_a_prompt_may_have_nothing_but_instructions() -> None:
    said = TextInput("Short.", speaker="system", begins=True)
    assert opening_messages("Be.", (), (said,)) == (SystemMessage("Be.\n\nShort."),)
