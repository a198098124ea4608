"""Ollama's NDJSON, cut into lines and turned into chunks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.inputs import CallArgumentsArrived, GenerationFinished, ReasoningArrived, TextArrived
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Counters
from orchestrator.engines.ollama import decode
from orchestrator.engines.ollama.decode import LineSplitter, TurnDecoder
from orchestrator.engines.ollama.failures import Peer, Subject
from orchestrator.ports import CallBegun, GenerationChunk

DONE: JsonObject = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
CALL: JsonObject = {"function": {"name": "a", "arguments": {}}}


def decoded(*lines: JsonObject | str, seconds: float = 1.0) -> list[GenerationChunk]:
    decoder = TurnDecoder(Peer("http://ollama"), Subject("m"))
    chunks: list[GenerationChunk] = []
    for line in lines:
        chunks += decoder.feed((line if isinstance(line, str) else json.dumps(line)).encode(), seconds)
    return [*chunks, decoder.finish()]


def says(**message: object) -> str:
    return json.dumps({"message": {"role": "assistant", "content": "", **message}, "done": False})


def end(reason: str = "stop", **counters: object) -> GenerationFinished:
    counted = {"output_tokens": 0, "reasoning_tokens": 0, "first_token_seconds": 1.0, **counters}
    return GenerationFinished(reason, Counters(**counted))  # pyright: ignore[reportArgumentType] - field names are the tests' own


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6)), st.data())
def test_lines_do_not_depend_on_how_their_bytes_were_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(lines)
    splitter, found, rest = LineSplitter(), list[bytes](), whole
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += splitter.feed(rest[:size])
        rest = rest[size:]
    assert found + splitter.end() == [line for line in whole.split(b"\n") if line.strip()]


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_LINE_BYTES", 10)
    splitter = LineSplitter()
    assert splitter.feed(b"0123456789") == []
    with pytest.raises(ValueError, match="a line of more than 10 bytes"):
        splitter.feed(b"0")


def test_text_and_reasoning_come_as_they_are_written() -> None:
    assert decoded(says(thinking="Hm"), says(thinking="."), says(content="Yes"), DONE) == [
        ReasoningArrived("Hm"),
        ReasoningArrived("."),
        TextArrived("Yes"),
        end(reasoning_tokens=None),
    ]


def test_calls_are_numbered_in_their_order_whatever_the_server_says() -> None:
    arguments: JsonObject = {"b": 1, "a": [2.0, "é"]}
    one: JsonObject = {"id": "x", "function": {"index": 0, "name": "a", "arguments": arguments}}
    two: JsonObject = {"function": {"index": 0, "name": "b"}}
    chunks = decoded(says(content="Look:", tool_calls=[one]), says(tool_calls=[two, two]), DONE)
    assert chunks == [
        TextArrived("Look:"),
        CallBegun(0, "a"),
        CallArgumentsArrived(0, json.dumps(arguments)),
        CallBegun(1, "b"),
        CallArgumentsArrived(1, "{}"),
        CallBegun(2, "b"),
        CallArgumentsArrived(2, "{}"),
        end("tool_calls"),
    ]


def test_a_call_may_come_in_the_last_line() -> None:
    last: JsonObject = {**DONE, "message": {"content": "", "tool_calls": [CALL]}}
    assert decoded(last) == [CallBegun(0, "a"), CallArgumentsArrived(0, "{}"), end("tool_calls")]


@pytest.mark.parametrize(
    ("done_reason", "reason"), [("stop", "stop"), ("length", "length"), ("", "stop"), (None, "stop"), ("new", "stop")]
)
def test_every_reason_ends_the_turn(done_reason: str | None, reason: str) -> None:
    assert decoded(says(content="Hi"), {**DONE, "done_reason": done_reason})[-1] == end(reason)


def test_a_turn_that_was_cut_ends_with_length_also_where_it_called_a_tool() -> None:
    call = says(tool_calls=[CALL])
    assert decoded(call, {**DONE, "done_reason": "length"})[-1] == end("length")


def test_counters_are_the_servers_own() -> None:
    counted: JsonObject = {
        "total_duration": 5_000_000_000,
        "load_duration": 1_000_000_000,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 300_000_000,
        "eval_count": 290,
        "eval_duration": 2_000_000_000,
    }
    assert decoded(says(content="Hi"), {**DONE, **counted}, seconds=1.5)[-1] == GenerationFinished(
        "stop", Counters(26, 290, 0, None, 2.0, 0.5)
    )


def test_a_tool_call_that_was_held_back_does_not_delay_the_first_token() -> None:
    counted: JsonObject = {
        "total_duration": 5_000_000_000,
        "load_duration": 1_000_000_000,
        "eval_duration": 3_000_000_000,
    }
    call = says(tool_calls=[CALL])
    assert decoded(call, {**DONE, **counted}, seconds=4.9)[-1] == end(
        "tool_calls", decode_seconds=3.0, first_token_seconds=1.0
    )


def test_a_turn_without_a_word_has_a_first_token_only_where_the_server_timed_it() -> None:
    assert decoded(DONE) == [end(first_token_seconds=None)]
    assert decoded({**DONE, "total_duration": 2_000_000_000}) == [end(first_token_seconds=2.0)]


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_bytes_are_chunks_or_an_error_of_ours(line: bytes) -> None:
    decoder = TurnDecoder(Peer("http://ollama"), Subject("m"))
    try:
        decoder.feed(line, 0.0)
    except OrchestratorError as error:
        assert repr(line) not in error.info.message


def held(*lines: JsonObject | str, limit: int | None = None) -> tuple[list[GenerationChunk], bool]:
    """As `decoded`, of a turn with a format, each line 0.5 s after the one before it; and whether it was cut."""
    decoder = TurnDecoder(Peer("http://ollama"), Subject("m"), held=True, limit=limit)
    chunks: list[GenerationChunk] = []
    for number, line in enumerate(lines, 2):
        chunks += decoder.feed((line if isinstance(line, str) else json.dumps(line)).encode(), number / 2)
        if decoder.is_cut:
            break
    return [*chunks, decoder.finish()], decoder.is_cut


THINKS = (says(thinking="Hm"), says(thinking="so"), says(thinking="."))
ANSWERS = (says(content="{"), says(content="}"))
TWO = {**DONE, "eval_count": 3, "eval_duration": 2_000_000_000}


def test_what_was_thought_before_a_held_answer_is_counted_with_it() -> None:
    chunks, cut = held(*THINKS, *ANSWERS, TWO)
    assert chunks[-1] == end(output_tokens=6, reasoning_tokens=3, decode_seconds=2.0 + 1.0)
    assert not cut
    alone, _ = held(*THINKS, TWO)  # it never came to the answer: the counters are of all that there was
    assert alone[-1] == end(output_tokens=3, reasoning_tokens=None, decode_seconds=2.0)


def test_a_held_answer_ends_where_both_parts_together_have_the_limit() -> None:
    chunks, cut = held(*THINKS, *ANSWERS, TWO, limit=4)
    assert chunks[3:] == [TextArrived("{"), end("length", output_tokens=4, reasoning_tokens=3, decode_seconds=1.0)]
    assert cut
    whole, cut = held(*THINKS, *ANSWERS, TWO, limit=5)
    assert (whole[-2], cut) == (TextArrived("}"), False)
