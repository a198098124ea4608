"""A conversation that a client sends whole is known again by what such a client sees of it."""

from orchestrator.core.items import (
    FunctionCall,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    Origin,
    OutputItem,
    PluginProvider,
    Reasoning,
    ReasoningInput,
    TextInput,
    ToolCall,
)
from orchestrator.core.tools import text_content
from orchestrator.core.transcript import EMPTY, chain_transcript, extended_transcript, transcript_prefixes

CLOCK = PluginProvider("mcp/clock")
TOLD = ToolCall("call_0", "now", {}, text_content("noon"), CLOCK, is_error=False, duration_ms=1)


def digest(*turns: tuple[tuple[InputItem, ...], tuple[OutputItem, ...]]) -> str:
    """That of a chain of responses."""
    found = EMPTY
    for said, output in turns:
        found = extended_transcript(found, said, output)
    return found


def prefixes(*items: InputItem) -> dict[str, int]:
    return dict(transcript_prefixes(items))


def test_a_history_is_known_by_its_longest_part_that_something_comes_after() -> None:
    first = digest(((TextInput("When?"),), (Reasoning("hm"), Message("Let me see. "), TOLD, Message("Noon."))))
    second = extended_transcript(first, (TextInput("And then?"),), (Message("One."),))
    history = (
        TextInput("When?", begins=True),
        ReasoningInput("hm", begins=True),
        TextInput("Let me see.\n\nNoon.", speaker="assistant"),
        TextInput("And then?", begins=True),
        TextInput("One.", speaker="assistant", begins=True),
        TextInput("Thanks.", begins=True),
    )
    found = transcript_prefixes(history)
    assert found == ((second, 5), (first, 3))
    assert transcript_prefixes(history[:1]) == ()
    assert transcript_prefixes(()) == ()


def test_a_response_that_was_asked_nothing_goes_on_with_the_message_before_it() -> None:
    asked: tuple[InputItem, ...] = (TextInput("When?"),)
    said = (Message("Let me see."), TOLD)
    whole = digest((asked, (*said, Message("Noon."))))
    assert chain_transcript(EMPTY, [(asked, said), ((), [Message("Noon.")])]) == whole
    later = ((TextInput("And then?"),), [Message("One.")])
    assert chain_transcript(EMPTY, [(asked, said), ((), [Message("Noon.")]), later]) == extended_transcript(
        whole, *later
    )
    assert chain_transcript(EMPTY, []) == chain_transcript(EMPTY, [((), ())]) == EMPTY


def test_calls_of_functions_and_their_results_count_however_their_json_is_written() -> None:
    said = digest(
        (
            (TextInput("?"),),
            (FunctionCall("call_1", "f", '{"a": 1, "b": 2}'), FunctionCall("x", "f", "", complete=False)),
        )
    )
    answered = extended_transcript(said, (FunctionOutput("call_1", text_content("3"), name="f"),), (Message("3"),))
    history = (
        TextInput("?"),
        FunctionCallInput("call_1", "f", '{"b":2,"a":1}'),
        FunctionOutput("call_1", '[{"text": "3", "type": "text"}]'),
        TextInput("3", speaker="assistant"),
        TextInput("!"),
    )
    assert prefixes(*history)[said] == 2 and prefixes(*history)[answered] == 4
    other = (TextInput("?"), FunctionCallInput("call_2", "f", '{"b":2,"a":1}'), TextInput("!"))
    assert said not in prefixes(*other)
    assert digest(((TextInput("?"),), (FunctionCall("call_1", "f", "{"),))) in prefixes(
        TextInput("?"), FunctionCallInput("call_1", "f", "{"), TextInput("!")
    )


def test_what_others_say_counts_as_it_stands_message_by_message() -> None:
    one = digest(((TextInput("a"), TextInput("b")), (Message("c"),)))
    assert one in prefixes(TextInput("a\nb"), TextInput("c", speaker="assistant"), TextInput("d"))
    apart = (TextInput("a", begins=True), TextInput("b", begins=True))
    assert one not in prefixes(*apart, TextInput("c", speaker="assistant"), TextInput("d"))
    assert digest((apart, (Message("c"),))) in prefixes(*apart, TextInput("c", speaker="assistant"), TextInput("d"))
    system = TextInput("Be brief.", speaker="system")
    assert digest(((system, TextInput("a")), ())) in prefixes(
        TextInput("Be brief.", speaker="developer"), TextInput("a"), TextInput("d", begins=True)
    )
    assert len({digest(((TextInput(text),), ())) for text in ("a b", "ab", "a  b")}) == 3


def test_pictures_count_in_their_places() -> None:
    red, blue = ImageInput("data:image/png;base64,AA=="), ImageInput("data:image/png;base64,AQ==")
    different = [(TextInput("a"), red), (red, TextInput("a")), (TextInput("a"), blue), (red, blue), (red,)]
    assert len({digest((said, ())) for said in different}) == len(different)


def test_what_clients_do_not_send_back_does_not_count() -> None:
    taken = TextInput("secret", Origin(CLOCK, "resource", "file:///x"))
    quoted = TextInput("quoted", Origin(CLOCK, "prompt", "p"), "assistant")
    assert digest(((taken, quoted, TextInput("a")), (Message("b"),))) == digest(((TextInput("a"),), (Message("b"),)))
    assert digest(((taken,), (TOLD, Message(" \n")))) == EMPTY
    assert transcript_prefixes((taken, TextInput("a", begins=True))) == ()


def test_what_servers_were_asked_and_answered_counts_no_more_in_a_history_than_in_a_response() -> None:
    stored = digest(((TextInput("When?"),), (Message("I look."), TOLD, Message("Noon."))))
    history = (
        TextInput("When?"),
        TextInput("I look.", speaker="assistant"),
        FunctionCallInput("call_0", "now", "{}", of_server=True),
        FunctionOutput("call_0", text_content("noon"), of_server=True),
        TextInput("Noon.", speaker="assistant"),
        TextInput("Sure?"),
    )
    assert prefixes(*history)[stored] == 5
    assert digest((history[:-1], ())) == extended_transcript(stored, (), ())


def test_what_ended_without_a_word_is_not_what_the_history_has_another_answer_of() -> None:
    silent = digest(((TextInput("When?"),), (TOLD,)))
    rest = TextInput("Go on.", begins=True)
    assert prefixes(TextInput("When?", begins=True), rest)[silent] == 1
    assert prefixes(TextInput("When?", begins=True), ReasoningInput("hm", begins=True), rest)[silent] == 2
    assert silent not in prefixes(TextInput("When?", begins=True), TextInput("Noon.", speaker="assistant"), rest)


def test_what_heads_a_history_is_no_part_of_it() -> None:
    heads = (
        TextInput("Be brief.", speaker="system", heads=True),
        TextInput("And kind.", speaker="developer", heads=True),
    )
    known = digest((((*heads, TextInput("When?"))), (Message("Noon."),)))
    assert known == digest(((TextInput("When?"),), (Message("Noon."),)))
    history = (*heads, TextInput("When?"), TextInput("Noon.", speaker="assistant"), TextInput("Thanks."))
    assert prefixes(*history)[known] == 4
