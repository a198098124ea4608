"""The decoder of chat-completions streams: one shape out, whatever the server and the network do."""

import json
from collections.abc import Sequence
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import CallArgumentsArrived, PromptProgressed, ReasoningArrived, TextArrived
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.engines import openai_stream
from orchestrator.engines.openai_stream import (
    CountedTokens,
    SseParser,
    StreamDecoder,
)
from orchestrator.engines.openai_wire import WireError, decode_chunk
from orchestrator.ports import CallBegun, GenerationChunk
from tests.engines.samples import fold

Calls: TypeAlias = tuple[tuple[str, str], ...]


def decoder_after(*chunks: JsonObject) -> tuple[StreamDecoder, list[GenerationChunk]]:
    decoder = StreamDecoder("The server")
    out: list[GenerationChunk] = []
    for chunk in chunks:
        out += decoder.feed(decode_chunk(json.dumps(chunk).encode()))
    return decoder, out


def delta(finish_reason: str | None = None, **fields: JsonValue) -> JsonObject:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def call(**fields: JsonValue) -> JsonObject:
    """A chunk with one fragment of a call."""
    name, arguments = fields.pop("name", None), fields.pop("arguments", None)
    function: JsonObject = {}
    if name is not None:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    return delta(tool_calls=[{**fields, "function": function}])


def calls_of(*chunks: JsonObject) -> Calls:
    decoder, out = decoder_after(*chunks)
    decoder.finish_reason()
    return fold(out).calls


# ---- server-sent events -----------------------------------------------------------------------

STREAM: Final = (
    b": ping\r\n\r\n"
    + 'data: {"a":"é\u2028ß"}\r\n\r\n'.encode()
    + b"event: x\ndata: one\ndata: two\n\nid: 7\ndata:tight\n\n\ndata: [DONE]\n\n"
)
EVENTS: Final = ['{"a":"é\u2028ß"}'.encode(), b"one\ntwo", b"tight", b"[DONE]"]


@st.composite
def fragmented(draw: st.DrawFn) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(1, len(STREAM) - 1))))
    return [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]


@given(fragmented())
def test_events_are_the_same_however_the_bytes_were_cut(fragments: list[bytes]) -> None:
    parser = SseParser()
    events = [event for fragment in fragments for event in parser.feed(fragment)]
    assert [*events, *parser.end()] == EVENTS


def test_an_event_without_its_blank_line_ends_with_the_stream() -> None:
    parser = SseParser()
    assert parser.feed(b"data: one\n\ndata: tw") == [b"one"]
    assert parser.feed(b"o") == []
    assert parser.end() == [b"two"]
    assert parser.end() == []


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_stream, "MAX_LINE_BYTES", 10)
    parser = SseParser()
    assert parser.feed(b"data: 1234") == []
    with pytest.raises(ValueError, match="more than 10 bytes"):
        parser.feed(b"5")


# ---- whole streams ----------------------------------------------------------------------------


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, str, list[tuple[str, str]]]:
    text = st.text(max_size=20)
    names = st.sampled_from(["get_time", "add", "x"])
    arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3).map(json.dumps)
    return draw(text), draw(text), draw(st.lists(st.tuples(names, arguments), max_size=3))


def pieces(draw: st.DrawFn, text: str) -> Sequence[str]:
    cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1)))) if len(text) > 1 else []
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[tuple[str, str, list[tuple[str, str]]], list[JsonObject]]:
    """An answer, and one of the many ways to stream it."""
    reasoning, text, calls = draw(answers())
    reasoning_field = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    chunks = [delta(**{reasoning_field: piece}) for piece in pieces(draw, reasoning)]
    chunks += [delta(content=piece) for piece in pieces(draw, text)]
    repeats = draw(st.booleans())
    for index, (name, arguments) in enumerate(calls):
        first, *rest = pieces(draw, arguments)
        identity: JsonObject = {"id": f"call_{index}", "name": name}
        chunks.append(call(index=index, arguments=first, **identity))
        chunks += [call(index=index, arguments=piece, **(identity if repeats else {})) for piece in rest]
    chunks.append(delta("tool_calls" if calls else "stop"))
    return (reasoning, text, calls), chunks


@given(streams())
def test_an_answer_is_the_same_however_it_was_fragmented(
    sample: tuple[tuple[str, str, list[tuple[str, str]]], list[JsonObject]],
) -> None:
    (reasoning, text, calls), chunks = sample
    decoder, out = decoder_after(*chunks)
    turn = fold(out)
    assert (turn.reasoning, turn.text, list(turn.calls)) == (reasoning, text, calls)
    assert decoder.finish_reason() == ("tool_calls" if calls else "stop")
    assert (decoder.finished, decoder.reasoning_text) == (True, reasoning)


# ---- tool calls of odd servers ----------------------------------------------------------------

TWO: Final[Calls] = (("a", '{"x":1}'), ("b", '{"y":2}'))


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(
            [
                call(index=0, id="1", name="a", arguments='{"x"'),
                call(index=1, id="2", name="b", arguments='{"y"'),
                call(index=0, arguments=":1}"),
                call(index=1, arguments=":2}"),
            ],
            id="interleaved fragments",
        ),
        pytest.param(
            [call(id="1", name="a", arguments='{"x":1}'), call(id="2", name="b", arguments='{"y":2}')],
            id="whole calls without an index",
        ),
        pytest.param(
            [call(name="a", arguments='{"x":1}'), call(name="b", arguments='{"y":2}')],
            id="whole calls with neither index nor id",
        ),
        pytest.param(
            [call(name="a"), call(arguments='{"x":1}'), call(name="b"), call(arguments='{"y":2}')],
            id="fragments with neither index nor id",
        ),
        pytest.param(
            [call(id="1", name="a"), call(id="1", arguments='{"x":1}'), call(id="2", name="b", arguments='{"y":2}')],
            id="fragments told apart by id alone",
        ),
        pytest.param(
            [
                call(index=0, id="1", name="a", arguments='{"x":1}'),
                call(index=0, id="2", name="b", arguments='{"y":2}'),
            ],
            id="one index for all calls",
        ),
        pytest.param(
            [
                call(index=0, arguments='{"x"'),
                call(index=0, id="1", name="a", arguments=":1}"),
                call(index=1, id="2", name="b", arguments='{"y":2}'),
            ],
            id="arguments before the name",
        ),
        pytest.param(
            [
                call(index=0, id="1", name="a", arguments=""),
                call(index=0, id="", name="", arguments='{"x":1}'),
                call(index=3, id="2", name="b", arguments='{"y":2}'),
            ],
            id="empty ids and names, gaps in the indexes",
        ),
        pytest.param(
            [
                call(index=0, id="1", name="a", arguments='{"x":'),
                call(index=0, id="1", name="a", arguments="1}"),
                call(index=1, id="2", name="b", arguments='{"y":2}'),
            ],
            id="the name in every fragment",
        ),
        pytest.param(
            [delta(tool_calls=[{"id": "1", "function": {"name": "a", "arguments": {"x": 1}}}, {"index": None, "id": "2", "function": {"name": "b", "arguments": '{"y":2}'}}])],
            id="arguments as an object",
        ),
    ],
)  # fmt: skip
def test_two_calls_are_two_calls_however_a_server_writes_them(chunks: list[JsonObject]) -> None:
    found = [(name, json.loads(arguments)) for name, arguments in calls_of(*chunks)]
    assert found == [(name, json.loads(arguments)) for name, arguments in TWO]


def test_a_call_without_arguments_begins_and_has_none() -> None:
    _, out = decoder_after(call(index=0, id="1", name="now", arguments=None))
    assert out == [CallBegun(0, "now")]


def test_a_call_that_never_gets_a_name_is_an_engine_error() -> None:
    decoder, out = decoder_after(call(index=0, id="1", arguments="{}"), delta("tool_calls"))
    assert out == []
    with pytest.raises(OrchestratorError) as caught:
        decoder.finish_reason()
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, "The server sent a tool call without a name.")


def test_calls_are_numbered_in_the_order_of_their_names() -> None:
    _, out = decoder_after(
        call(index=0, arguments="{"), call(index=1, name="b", arguments="{}"), call(index=0, name="a", arguments="}")
    )
    assert out == [
        CallBegun(0, "b"),
        CallArgumentsArrived(0, "{}"),
        CallBegun(1, "a"),
        CallArgumentsArrived(1, "{}"),
    ]


# ---- ends, counters, progress -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "has_call", "reason"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),  # vLLM with a forced tool
        ("tool_calls", True, "tool_calls"),
        ("tool_calls", False, "stop"),
        ("length", True, "length"),
        ("length", False, "length"),
        ("content_filter", False, "content_filter"),
        ("something_new", False, "stop"),
    ],
)
def test_the_reason_of_the_end_is_one_of_ours(wire: str, has_call: bool, reason: str) -> None:
    chunks = [call(index=0, name="a")] if has_call else []
    decoder, _ = decoder_after(*chunks, delta(wire))
    assert (decoder.finish_reason(), decoder.finished) == (reason, True)


def test_an_answer_that_comes_whole_is_read_like_a_stream() -> None:
    _, out = decoder_after({"choices": [{"message": {"content": "Hi", "reasoning": "hm"}, "finish_reason": "stop"}]})
    assert out == [ReasoningArrived("hm"), TextArrived("Hi")]


def test_openai_counters_are_taken_where_they_are_given() -> None:
    usage: JsonObject = {
        "prompt_tokens": 12,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    decoder, _ = decoder_after({"choices": [], "usage": None}, {"choices": None, "usage": usage})
    assert decoder.counted == CountedTokens(input=12, output=7, reasoning=3, cached=8)


def test_counters_that_nobody_gave_are_unknown() -> None:
    decoder, _ = decoder_after(delta(content="Hi"))
    assert decoder.counted == CountedTokens()
    decoder, _ = decoder_after({"usage": {"prompt_tokens": 1}})
    assert decoder.counted == CountedTokens(input=1)


def test_the_timings_of_llama_cpp_go_before_openai_counters() -> None:
    decoder, _ = decoder_after(
        {
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            "timings": {"cache_n": 51, "prompt_n": 1, "predicted_n": 38, "predicted_ms": 26.5},
        }
    )
    assert decoder.counted == CountedTokens(input=52, output=38, cached=51, decode_seconds=0.0265)


def test_prompt_progress_only_grows_and_the_chunk_after_it_is_the_first_token() -> None:
    def progress(total: int, processed: int) -> JsonObject:
        return {**delta(role="assistant", content=None), "prompt_progress": {"total": total, "processed": processed}}

    decoder, out = decoder_after(progress(10, 5), progress(10, 5), progress(10, 10), progress(0, 0))
    assert (out, decoder.first_token_seen) == ([PromptProgressed(0.5, 10), PromptProgressed(1.0, 10)], False)
    decoder.feed(decode_chunk(json.dumps(delta(role="assistant", content=None)).encode()))
    assert decoder.first_token_seen


def test_a_role_alone_is_no_token() -> None:
    decoder, out = decoder_after(delta(role="assistant", content=""))
    assert (out, decoder.first_token_seen) == ([], False)


# ---- what is no chunk -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ({"error": {"message": "no", "type": "t", "code": 500}}, WireError("no", "t", 500)),
        ({"error": {"message": "no", "code": "invalid"}}, WireError("no", None, "invalid")),
        ({"error": "no"}, WireError("no")),
        ({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, WireError("no", "BadRequestError", 400)),
        ({"detail": "Not Found"}, None),
        (delta(content="x"), None),
    ],
)  # fmt: skip
def test_an_error_is_told_from_a_chunk(body: JsonObject, failure: WireError | None) -> None:
    assert decode_chunk(json.dumps(body).encode()).failure() == failure


@pytest.mark.parametrize("data", [b"{", b"\xff\xff", b'"secret words"', b'{"choices": "secret words"}', b"[1]"])
def test_what_is_no_chunk_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        decode_chunk(data)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "stopped_at"),
    [
        ({"finish_reason": "stop", "stop_reason": "END"}, "END"),  # vLLM
        ({"finish_reason": "stop", "stop_reason": 128009}, None),
        ({"finish_reason": "stop", "stop_reason": None}, None),
        ({"finish_reason": "stop", "matched_stop": "END"}, "END"),  # SGLang
        ({"finish_reason": "stop", "matched_stop": 2}, None),
        ({"finish_reason": "stop"}, None),
    ],
)
def test_what_a_server_says_that_the_model_stopped_at_is_heard(told: JsonObject, stopped_at: str | None) -> None:
    decoder, _ = decoder_after(delta(content="Hi"), {"choices": [{"index": 0, "delta": {}, **told}]})
    assert (decoder.finish_reason(), decoder.stop_sequence) == ("stop", stopped_at)


@pytest.mark.parametrize(("word", "stopped_at"), [("END", "END"), ("", None)])
def test_llama_cpp_tells_it_in_what_it_adds_where_it_is_verbose(word: str, stopped_at: str | None) -> None:
    decoder, _ = decoder_after(
        {**delta("stop"), "__verbose": {"stop_type": "word", "stopping_word": word, "prompt": 1}}
    )
    assert decoder.stop_sequence == stopped_at
