"""What servers ask of the user and of the model, and the events that tell of it."""

import pytest

from orchestrator.core.content import content_text, described
from orchestrator.core.errors import IllegalInputError
from orchestrator.core.inputs import (
    CallProgressed,
    CallsJournaled,
    ModelSampled,
    OfferExtended,
    UserAnswered,
    UserAsked,
)
from orchestrator.core.items import ImageInput, Origin, PluginProvider, TextInput
from orchestrator.core.materials import Material, Piece, material_items
from orchestrator.core.prompt import AssistantMessage, UserMessage, input_messages
from orchestrator.core.server_requests import (
    CANCELLED,
    DECLINED,
    Elicitation,
    ElicitationAnswer,
    Progress,
    SamplingReply,
    SamplingRequest,
    checked_answer,
    clipped,
    consent_to_sample,
    form_defaults,
)
from orchestrator.core.stream import ElicitationRequested, ElicitationResolved, SamplingCompleted, ToolCallProgress
from tests.core.test_reading import run_to_tools

DESK = PluginProvider("mcp/desk")
FORM = Elicitation(
    "Who?",
    schema={
        "type": "object",
        "properties": {"name": {"type": "string", "default": "Ada"}, "age": {"type": "integer"}, "odd": True},
        "required": ["age"],
    },
)


@pytest.mark.parametrize(
    ("asked", "answer", "checked"),
    [
        (FORM, ElicitationAnswer("accept", {"age": 3}), ElicitationAnswer("accept", {"name": "Ada", "age": 3})),
        (
            FORM,
            ElicitationAnswer("accept", {"age": 3, "name": "B"}),
            ElicitationAnswer("accept", {"name": "B", "age": 3}),
        ),
        (FORM, ElicitationAnswer("accept"), 'it does not match the requested schema: "age" is a required property'),
        (FORM, DECLINED, DECLINED),
        (FORM, ElicitationAnswer("cancel", {"age": 3}), "only an accepted form has content"),
        (
            Elicitation("Go.", "url", url="https://x.example"),
            ElicitationAnswer("accept", {}),
            ElicitationAnswer("accept"),
        ),
        (Elicitation("?", schema={}), ElicitationAnswer("accept", {"a": 1}), ElicitationAnswer("accept", {"a": 1})),
    ],
)
def test_an_answer_is_checked_and_completed(
    asked: Elicitation, answer: ElicitationAnswer, checked: ElicitationAnswer | str
) -> None:
    assert checked_answer(asked, answer) == checked


def test_a_form_without_fields_has_no_defaults() -> None:
    assert form_defaults({"type": "object"}) == {}


def test_the_user_sees_what_a_server_would_have_the_model_read() -> None:
    request = SamplingRequest(
        (UserMessage((TextInput("Hi."), ImageInput("data:image/png;base64,AA"))), AssistantMessage("", "Ho.", ())),
        7,
        "Be.",
    )
    assert consent_to_sample(request) == Elicitation(
        "The server wants the model to answer this, in up to 7 tokens:\n"
        "system: Be.\nuser: Hi.\nuser: [image]\nassistant: Ho.",
        "sampling",
    )
    assert "system" not in consent_to_sample(SamplingRequest((), 7)).message


def test_long_notes_are_clipped() -> None:
    assert (clipped("abc", 3), clipped("abcd", 3)) == ("abc", "ab…")


def test_pictures_are_shown_to_models_that_see_and_described_to_others() -> None:
    taken = [Material("resource", "file:///p", (Piece("[image, image/png, 1 bytes]", "data:image/png;base64,AA"),))]
    origin = Origin(DESK, "resource", "file:///p")
    assert material_items(DESK, taken, vision=True) == (ImageInput("data:image/png;base64,AA", origin),)
    assert material_items(DESK, taken, vision=False) == (TextInput("[image, image/png, 1 bytes]", origin),)


def test_a_prompt_may_end_with_the_assistant_or_be_all_there_is() -> None:
    said = TextInput("Hello.", Origin(DESK, "prompt", "greet"), "assistant")
    assert input_messages([TextInput("a"), said]) == [
        UserMessage((TextInput("a"),)),
        AssistantMessage("", "Hello.", ()),
    ]
    assert input_messages([said]) == [AssistantMessage("", "Hello.", ())]
    assert input_messages([]) == [UserMessage(())]


def test_what_servers_say_during_a_call_is_told_and_changes_nothing() -> None:
    run = run_to_tools()
    with pytest.raises(IllegalInputError):
        run.feed(CallProgressed("call_1", Progress(1)))
    run.feed(CallsJournaled())
    state = run.state
    asked = UserAsked("elicit_1", "call_1", DESK, FORM, 5.0)
    reply = SamplingReply("hi", "m", "endTurn")
    assert run.feed(CallProgressed("call_1", Progress(1))) == [ToolCallProgress("call_1", Progress(1))]
    assert run.feed(CallProgressed("call_9", Progress(1))) == []
    assert run.feed(asked) == [ElicitationRequested("elicit_1", "call_1", DESK, FORM, 5.0)]
    assert run.feed(UserAnswered("elicit_1", CANCELLED.action)) == [ElicitationResolved("elicit_1", "cancel")]
    assert run.feed(ModelSampled("call_1", DESK, reply)) == [SamplingCompleted("call_1", DESK, reply)]
    with pytest.raises(IllegalInputError):
        run.feed(OfferExtended())
    assert run.state == state


def test_content_is_described_part_by_part() -> None:
    assert content_text('[{"type":"text","text":"a"},{"type":"image","data":"AAAA","mimeType":"image/png"}]') == (
        "a\n[image, image/png, 3 bytes]"
    )
    assert described({"type": "resource", "resource": {"blob": "AAAA"}}) == "[resource, no uri, unknown type, 3 bytes]"
    assert described({"type": "resource", "resource": {"text": "t"}}) == "t"
    assert described({"type": "resource_link", "uri": "u", "name": "n"}) == "[resource link, n, u]"
    assert described({"type": "resource_link", "uri": "u", "description": "d"}) == "[resource link, unnamed, u] d"
    assert described({"type": "new"}) == "[content of type new]"
    assert described(7) == "[content of unknown type]"


def test_the_text_of_a_resource_is_framed_by_its_name() -> None:
    items = [
        TextInput("alpha", Origin(DESK, "resource", "file:///a")),
        TextInput("Hi.", Origin(DESK, "prompt", "greet")),
    ]
    assert input_messages(items) == [
        UserMessage(
            (TextInput("[resource file:///a of mcp/desk]\nalpha\n[end of resource file:///a of mcp/desk]"), items[1])
        )
    ]
