"""Reading on in outputs that were cut for the model."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import (
    CallTool,
    ExtendOffer,
    Generate,
    JournalCalls,
    Outcome,
    PlacedCall,
    ReadOutput,
    RecordOutcome,
    SaveResponse,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    CallOpened,
    CallReturned,
    CallsJournaled,
    GenerationFinished,
    IntegrationsOpened,
    ModelReady,
    OfferExtended,
    OpenedIntegration,
    OutcomeRecorded,
    OutputRead,
    ResponseOpened,
    Start,
    StoreFailed,
)
from orchestrator.core.items import Message, OutputEntry, PluginProvider, TextInput, ToolCall
from orchestrator.core.prompt import PastResponse, PastSegment, opening_messages
from orchestrator.core.reading import (
    READER,
    SERVICE,
    read_on,
    reading_tool,
    reads_on,
    shown_output,
    told_segment,
    unread,
    was_cut,
)
from orchestrator.core.request import Limits, PluginRequest, RunRequest
from orchestrator.core.response import Counters
from orchestrator.core.run import Run
from orchestrator.core.tools import ToolDefinition, ToolResult, offer_tools, text_content

DESK = PluginProvider("mcp/desk")
LIMIT = 600
DUMP = ToolDefinition("dump", "Dump.", {"type": "object"})


def result(text: str) -> ToolResult:
    return ToolResult(text_content(text), text, is_error=False)


def settled(text: str, call_id: str = "call_1") -> OutputEntry:
    """A call of the chain with its output, as the model was shown it."""
    shown = shown_output(text, call_id, LIMIT, READER.name)
    outcome = Outcome("succeeded", text_content(text), shown, is_error=False)
    return output_entry(PlacedCall(0, 1, call_id, "dump", "{}", {}, "dump", DESK, "sha256:0", outcome=outcome))


def asked(limit: int = 900, **more: Any) -> RunRequest:
    """A request with integrations."""
    limits = Limits(max_tool_output_model_bytes=limit)
    return RunRequest(
        "resp_1", "m", "m", (TextInput("?"),), integrations=(PluginRequest("mcp/desk"),), limits=limits, **more
    )


def reading(call_id: str, offset: int) -> PlacedCall:
    return PlacedCall(1, 2, "call_2", READER.name, "", {"call_id": call_id, "offset": offset}, READER.name, SERVICE)


def test_a_short_output_is_shown_whole() -> None:
    assert shown_output("short", "call_1", LIMIT, READER.name) == "short"
    assert not was_cut("short")
    assert not was_cut(None)
    assert not reads_on(asked(), [settled("short")])


def test_where_there_is_little_room_nothing_can_be_read_on() -> None:
    shown = shown_output("x" * 200, "call_1", 100, READER.name)
    assert (len(shown), was_cut(shown)) == (100, False)


def test_a_long_output_says_how_to_read_on() -> None:
    text = "ä" * 5000
    shown = shown_output(text, "call_1", LIMIT, "desk_read")
    assert len(shown.encode()) <= LIMIT
    begun, _, notice = shown.partition("\n[cut")
    end = len(begun.encode())
    assert begun == "ä" * len(begun)
    assert notice == (
        f': the output goes on. {end} of 10000 bytes are shown; desk_read with call_id "call_1" and offset {end} reads on]'
    )
    assert reads_on(asked(), [settled(text)])
    assert not reads_on(asked(tool_choice="none"), [settled(text)])


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3000), st.integers(1, 900))
def test_reading_on_gives_every_part_and_comes_to_an_end(text: str, limit: int) -> None:
    parts: list[str] = []
    offset, total = 0, len(text.encode())
    for _ in range(total + 1):
        said = read_on(reading("call_1", offset), asked(limit), [settled(text)]).shown or ""
        head, _, rest = said.partition("\n")
        part, _, last = rest.rpartition("\n")
        parts.append(part)
        if last == "[end of the output]":
            break
        following = int(last.split()[-1].rstrip("]"))
        assert head == f"[bytes {offset} to {following} of {total}]"
        assert following > offset
        offset = following
    assert "".join(parts) == text


def test_reading_starts_at_the_character_that_the_offset_is_in() -> None:
    said = read_on(reading("call_1", 3), asked(), [settled("äöü")]).shown
    assert said == "[bytes 2 to 6 of 6]\nöü\n[end of the output]"


def test_what_is_over_or_unknown_is_said_so() -> None:
    assert read_on(reading("call_1", 99), asked(), [settled("text")]) == Outcome(
        "succeeded",
        text_content("[nothing more: the output has 4 bytes]"),
        "[nothing more: the output has 4 bytes]",
        is_error=False,
    )
    unknown = read_on(reading("call_9", 0), asked(), [settled("text")])
    assert (unknown.is_error, unknown.shown) == (True, 'There is no tool call with the id "call_9" in this chat.')


def test_outputs_of_earlier_responses_are_read_too() -> None:
    past = PastResponse((TextInput("?"),), (settled("from before"),))
    said = read_on(reading("call_1", 5), asked(history=(past,)), []).shown
    assert said == "[bytes 5 to 11 of 11]\nbefore\n[end of the output]"


def test_outputs_of_earlier_responses_that_are_told_already_are_got_from_the_store() -> None:
    unseen = replace(settled("unseen", "call_0"), shown=None)
    past = PastResponse((TextInput("?"),), (OutputEntry(1, Message("Wait.")), unseen, settled("from before")))
    told = told_segment([past])
    assert told == PastSegment(tuple(past.messages(vision=False)), cut=False, calls=("call_1",))
    assert told.messages(vision=True) == told.told
    request = asked(history=(told,))
    assert unread(reading("call_1", 5), request, []) == "call_1"
    said = read_on(reading("call_1", 5), request, [], text_content("from before")).shown
    assert said == "[bytes 5 to 11 of 11]\nbefore\n[end of the output]"
    assert read_on(reading("call_1", 5), request, []).is_error, "its content is deleted"
    for call_id in ("call_0", "call_9"):
        assert unread(reading(call_id, 5), request, []) is None
        assert read_on(reading(call_id, 5), request, []).is_error


def test_an_output_that_was_cut_is_read_on_whether_its_response_is_told_already_or_not() -> None:
    cut = PastResponse((TextInput("?"),), (settled("x" * 2000),))
    whole = PastResponse((TextInput("?"),), (settled("x"),))
    for past, has_cut in ((cut, True), (whole, False)):
        for history in ((past,), (told_segment([past]),), (told_segment([whole]), past)):
            assert reads_on(asked(history=history), []) is has_cut
    assert not reads_on(replace(asked(history=(told_segment([cut]),)), integrations=()), [])
    assert opening_messages(None, (told_segment([cut, whole]),), ()) == opening_messages(None, (cut, whole), ())


def test_the_reader_steps_aside_where_a_server_has_its_name() -> None:
    theirs = offer_tools([(0, DESK, [ToolDefinition(READER.name, "Theirs.", {"type": "object"})])], {})
    ours = reading_tool(theirs, {})
    assert (ours.name, ours.provider) == ("orchestrator_read_tool_output", SERVICE)
    assert reading_tool((), {("plugin:orchestrator", READER.name): "given_before"}).name == "given_before"


TEXT = "x" * 2000


def run_to_tools(limits: Limits | None = None) -> Run:
    """A run whose first turn calls `dump`, which is journaled."""
    limits = limits or Limits(max_tool_output_model_bytes=LIMIT)
    run = Run(
        RunRequest("resp_1", "m", "m", (TextInput("?"),), integrations=(PluginRequest("mcp/desk"),), limits=limits)
    )
    run.feed(Start())
    run.feed(IntegrationsOpened((OpenedIntegration(DESK, (DUMP,)),)))
    run.feed(ResponseOpened())
    run.feed(ModelReady())
    call(run, "dump", "{}", "call_1")
    return run


def call(run: Run, tool: str, arguments: str, call_id: str) -> None:
    """The model's turn is a call."""
    run.feed(CallOpened(0, tool, call_id))
    run.feed(CallArgumentsArrived(0, arguments))
    finished = run.feed(GenerationFinished("tool_calls", Counters()))
    assert any(isinstance(emission, JournalCalls) for emission in finished)


def test_the_reader_is_offered_once_something_was_cut_and_answers_without_a_server() -> None:
    run = run_to_tools()
    (begun,) = run.feed(CallsJournaled())
    assert isinstance(begun, CallTool)
    run.feed(CallReturned("call_1", result(TEXT), 3))
    *_, extended = run.feed(OutcomeRecorded("call_1"))
    assert isinstance(extended, ExtendOffer)
    assert [tool.name for tool in extended.offered] == ["dump", "read_tool_output"]
    assert extended.tool_names == {
        ("plugin:mcp/desk", "dump"): "dump",
        ("plugin:orchestrator", READER.name): READER.name,
    }
    *_, generate = run.feed(OfferExtended())
    assert isinstance(generate, Generate)
    assert [tool.name for tool in generate.tools] == ["dump", "read_tool_output"]

    call(run, READER.name, '{"call_id": "call_1", "offset": 1990}', "call_2")
    (recorded,) = run.feed(CallsJournaled())
    assert isinstance(recorded, RecordOutcome)
    assert (recorded.call_id, recorded.outcome.shown) == (
        "call_2",
        "[bytes 1990 to 2000 of 2000]\nxxxxxxxxxx\n[end of the output]",
    )
    *_, generate = run.feed(OutcomeRecorded("call_2"))
    assert isinstance(generate, Generate)  # the offer is as it was: nothing is written anew


def test_a_store_that_cannot_note_the_reader_ends_the_run() -> None:
    run = run_to_tools()
    run.feed(CallsJournaled())
    run.feed(CallReturned("call_1", result(TEXT), 3))
    run.feed(OutcomeRecorded("call_1"))
    *_, save = run.feed(StoreFailed(ErrorInfo(ErrorKind.STORE_ERROR, "full")))
    assert isinstance(save, SaveResponse)


@pytest.mark.parametrize("integrations", [(), (PluginRequest("mcp/desk"),)])
def test_a_later_request_has_the_reader_where_it_has_tools(integrations: tuple[PluginRequest, ...]) -> None:
    past = PastResponse((TextInput("?"),), (settled(TEXT),))
    run = Run(RunRequest("resp_1", "m", "m", (TextInput("?"),), history=(past,), integrations=integrations))
    run.feed(Start())
    opened = tuple(OpenedIntegration(DESK, (DUMP,)) for _ in integrations)
    run.feed(IntegrationsOpened(opened))
    run.feed(ResponseOpened())
    *_, generate = run.feed(ModelReady())
    assert isinstance(generate, Generate)
    assert [tool.name for tool in generate.tools] == (["dump", "read_tool_output"] if integrations else [])


def run_that_reads_history(stored: str | None) -> tuple[list[Any], list[Any]]:
    """What is said of a call that reads in an output which only the store has whole."""
    before = settled(TEXT)
    past = PastResponse((TextInput("?"),), (replace(before, item=replace(before.item, output="")),))  # pyright: ignore[reportCallIssue] it is a call
    run = Run(
        RunRequest("resp_1", "m", "m", (TextInput("?"),), history=(past,), integrations=(PluginRequest("mcp/desk"),))
    )
    run.feed(Start())
    run.feed(IntegrationsOpened((OpenedIntegration(DESK, (DUMP,)),)))
    run.feed(ResponseOpened())
    run.feed(ModelReady())
    run.feed(CallOpened(0, "dump", "call_2"))
    run.feed(CallArgumentsArrived(0, "{}"))
    run.feed(CallOpened(1, READER.name, "call_3"))
    run.feed(CallArgumentsArrived(1, '{"call_id": "call_1", "offset": 1990}'))
    run.feed(GenerationFinished("tool_calls", Counters()))
    begun = run.feed(CallsJournaled())
    with pytest.raises(IllegalInputError):
        run.feed(OutputRead("call_2", stored))  # a call of a server is not read
    return begun, run.feed(OutputRead("call_3", stored))


def test_an_output_that_the_chain_came_without_is_read_from_the_store() -> None:
    (_, wanted), (recorded,) = run_that_reads_history(text_content(TEXT))
    assert wanted == ReadOutput("call_3", "call_1")
    assert recorded.outcome.shown == "[bytes 1990 to 2000 of 2000]\nxxxxxxxxxx\n[end of the output]"


def test_an_output_that_was_deleted_meanwhile_is_not_there() -> None:
    _, (recorded,) = run_that_reads_history(None)
    assert recorded.outcome.shown == 'There is no tool call with the id "call_1" in this chat.'


def test_structured_output_is_read_on_like_any_other() -> None:
    entry = settled(TEXT)
    assert isinstance(entry.item, ToolCall)
    bare = replace(entry, item=replace(entry.item, output="[]", structured=TEXT))
    assert unread(reading("call_1", 0), asked(), [bare]) is None
    read = read_on(reading("call_1", 1990), asked(), [bare])
    assert read.shown == "[bytes 1990 to 2000 of 2000]\nxxxxxxxxxx\n[end of the output]"
    left_out = replace(bare, item=replace(bare.item, structured=None))  # pyright: ignore[reportCallIssue] it is a call
    assert unread(reading("call_1", 0), asked(), [left_out]) == "call_1"


def test_only_parts_are_json_text() -> None:
    assert json.loads(read_on(reading("call_1", 0), asked(), [settled("a")]).output) == [
        {"type": "text", "text": "[bytes 0 to 1 of 1]\na\n[end of the output]"}
    ]


def test_an_output_that_the_model_was_not_shown_is_not_read() -> None:
    unseen = replace(settled("unseen", "call_0"), shown=None)
    past = PastResponse((TextInput("?"),), (unseen, OutputEntry(2, Message("Hm.")), settled("from before")))
    request = asked(history=(past,))
    assert read_on(reading("call_1", 5), request, []).shown == "[bytes 5 to 11 of 11]\nbefore\n[end of the output]"
    assert read_on(reading("call_0", 5), request, []).is_error
