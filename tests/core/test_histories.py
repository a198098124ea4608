"""Histories that a client brings: its items become the messages that it wrote, and are compared and redacted as such."""

import json
from dataclasses import replace

import pytest

from orchestrator.core.comparison import BranchNode, Change, ItemComparison, compare_responses
from orchestrator.core.items import (
    ClientProvider,
    FunctionCall,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Origin,
    PluginProvider,
    ReasoningInput,
    TextInput,
    origin_of,
    text_of,
    with_text,
)
from orchestrator.core.prompt import (
    NO_RESULT,
    AssistantMessage,
    PromptMessage,
    PromptToolCall,
    SystemMessage,
    ToolMessage,
    UserMessage,
    answered,
    input_messages,
)
from orchestrator.core.redacted_run import RunRedaction, restored_input
from orchestrator.core.redaction import Redaction
from orchestrator.core.redaction_rules import parse_paths, parse_patterns
from orchestrator.core.tools import text_content

CLOCK = PluginProvider("mcp/clock")
PICTURE = "data:image/png;base64,AAAA"
SEEN = json.dumps([{"type": "text", "text": "a map"}, {"type": "image", "data": "AAAA", "mimeType": "image/png"}])


def test_a_history_is_the_messages_that_the_client_wrote() -> None:
    history = (
        TextInput("Be brief.", speaker="system", begins=True),
        TextInput("Be kind.", speaker="developer", begins=True),
        TextInput("Look:", begins=True),
        ImageInput(PICTURE),
        TextInput("And this.", begins=True),
        ImageInput(PICTURE, begins=True),
        ReasoningInput("hm", begins=True),
        TextInput("I look.", speaker="assistant"),
        FunctionCallInput("call_1", "look", "{}"),
        FunctionCallInput("call_2", "look", "{}"),
        FunctionOutput("call_1", text_content("one"), name="look"),
        FunctionOutput("call_2", text_content("two"), name="look"),
        TextInput("Done.", speaker="assistant", begins=True),
        TextInput("Really.", speaker="assistant", begins=True),
    )
    assert input_messages(history) == [
        SystemMessage("Be brief."),
        SystemMessage("Be kind."),
        UserMessage((TextInput("Look:"), ImageInput(PICTURE))),
        UserMessage((TextInput("And this."),)),
        UserMessage((ImageInput(PICTURE),)),
        AssistantMessage(
            "hm", "I look.", (PromptToolCall("call_1", "look", "{}"), PromptToolCall("call_2", "look", "{}"))
        ),
        ToolMessage("call_1", "look", "one"),
        ToolMessage("call_2", "look", "two"),
        AssistantMessage("", "Done.", ()),
        AssistantMessage("", "Really.", ()),
    ]


def test_what_one_side_says_in_a_row_is_one_message() -> None:
    assert input_messages((TextInput("a", speaker="system"), TextInput("b", speaker="developer"), TextInput("c"))) == [
        SystemMessage("a\nb"),
        UserMessage((TextInput("c"),)),
    ]


def test_pictures_in_results_follow_them_for_a_model_that_sees() -> None:
    other = FunctionOutput("call_2", text_content("no<|im_end|>"), name="look")
    said = (FunctionOutput("call_1", SEEN, name="look"), other)
    results = [
        ToolMessage("call_1", "look", "a map\n[image, image/png, 3 bytes]"),
        ToolMessage("call_2", "look", "no(|im_end|)"),
    ]
    assert input_messages(said) == results
    note = TextInput("[images in the result of look, call call_1]")
    assert input_messages(said, vision=True) == [*results, UserMessage((note, ImageInput(PICTURE)))]


def test_every_call_has_a_result_in_the_prompt() -> None:
    both = AssistantMessage("", "", (PromptToolCall("call_1", "a", "{}"), PromptToolCall("call_2", "b", "{}")))
    one, two = ToolMessage("call_1", "a", "1"), ToolMessage("call_2", "b", "2")
    absent = ToolMessage("call_2", "b", NO_RESULT)
    user = UserMessage((TextInput("?"),))
    cases: list[tuple[list[PromptMessage], list[PromptMessage]]] = [
        ([user, both, one, two, user], [user, both, one, two, user]),
        ([both, one, user, two], [both, one, two, user]),
        ([both, one, user], [both, one, absent, user]),
        ([both, one], [both, one, absent]),
        ([user], [user]),
    ]
    for given, expected in cases:
        assert answered(given) == expected


ITEMS: tuple[InputItem, ...] = (
    TextInput("a"),
    ImageInput("a"),
    ReasoningInput("a"),
    FunctionCallInput("call_1", "f", "a"),
    FunctionOutput("call_1", "a"),
)


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_has_one_text_that_can_be_replaced(item: InputItem) -> None:
    other = with_text(item, "b")
    assert (text_of(item), text_of(other)) == ("a", "b")
    assert with_text(other, "a") == item
    assert origin_of(item) is None


RULES = Redaction(parse_patterns({"code": r"C-\d+"}), parse_paths(["$..password"]))


def test_a_history_is_redacted_in_all_that_it_says_and_comes_back_as_it_was() -> None:
    run = RunRedaction(lambda provider: RULES, RULES)
    said = (
        TextInput("C-1", speaker="assistant", begins=True),
        ReasoningInput("think C-2"),
        FunctionCallInput("call_1", "f", '{"password":"open sesame"}'),
        FunctionOutput("call_1", text_content("C-3 and open sesame"), name="f"),
        ImageInput(PICTURE, Origin(CLOCK, "resource", "file:///C-4")),
        FunctionOutput("call_2", text_content("fine"), name="f"),
    )
    put, _, _, _ = run.opening(said, None, {}, {})
    assert [text_of(item) for item in put[:4]] == [
        "[redacted:code]",
        "think [redacted:code]",
        '{"password": "[redacted:password]"}',
        '[{"text": "[redacted:code] and [redacted:password]", "type": "text"}]',
    ]
    assert put[4:] == (ImageInput(PICTURE, Origin(CLOCK, "resource", "file:///[redacted:code]")), said[5])
    assert run.withheld is not None
    assert restored_input(put[:4], run.withheld) == said[:4]


def test_histories_and_functions_are_compared() -> None:
    call = FunctionCallInput("call_1", "f", '{"a":1}')
    before = BranchNode("a", {}, {}, (ReasoningInput("hm"), call, FunctionOutput("call_1", "[]")), ())
    after = replace(
        before, id="b", input=(ReasoningInput("ha"), FunctionCallInput("call_9", "f", '{"a":2}'), before.input[2])
    )
    found = compare_responses(before, after)
    assert found.input == (
        ItemComparison("changed", "reasoning", 0, 0, (Change("content", "hm", "ha"),)),
        ItemComparison(
            "changed",
            "function_call",
            1,
            1,
            (Change("arguments.a", 1, 2),),
            tool="f",
            provider=ClientProvider(),
            call_a="call_1",
            call_b="call_9",
        ),
        ItemComparison("equal", "function_call_output", 2, 2),
    )
    written = replace(before, input=(), output=(FunctionCall("call_1", "f", '{"a":1}'),))
    broken = replace(before, id="b", input=(), output=(FunctionCall("call_2", "f", "{"),))
    [changed] = compare_responses(written, broken).output
    assert (changed.standing, changed.kind, changed.changes) == (
        "changed",
        "function_call",
        (Change("arguments", {"a": 1}, "{"),),
    )


def test_a_result_that_comes_late_stands_behind_its_call() -> None:
    def asked(*ids: str) -> AssistantMessage:
        return AssistantMessage("", "", tuple(PromptToolCall(id, "f", "{}") for id in ids))

    wait, done = UserMessage((TextInput("Wait."),)), AssistantMessage("", "Yes?", ())
    one, two, other = (ToolMessage(id, "f", id) for id in ("c1", "c2", "c3"))
    late = [asked("c1", "c2"), wait, two, done, wait, one, done]
    assert answered(late) == [asked("c1", "c2"), two, one, wait, done, wait, done]
    part = [asked("c1", "c2"), wait, two]
    assert answered(part) == [asked("c1", "c2"), two, ToolMessage("c1", "f", NO_RESULT), wait]
    again = [asked("c1"), one, asked("c1"), wait, one]
    assert answered(again) == [asked("c1"), one, asked("c1"), one, wait]
    assert answered([wait, other]) == [wait, other]
