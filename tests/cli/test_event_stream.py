"""Server-sent events as bytes; cited from the HTML standard, "Parsing an event stream"."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.event_stream import EventStreamDecoder


def decoded(*chunks: bytes) -> list[bytes]:
    decoder = EventStreamDecoder()
    return [data for chunk in chunks for data in decoder.feed(chunk)]


def test_an_event_is_whole_at_its_blank_line_and_not_before() -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(b"event: a\nid: 1\ndata: one\n") == []
    assert decoder.feed(b"\n") == [b"one"]


def test_lines_of_data_are_joined_and_one_space_is_taken_off() -> None:
    assert decoded(b"data: a\ndata:b\ndata:  c\n\n") == [b"a\nb\n c"]


def test_comments_and_events_without_data_are_passed_over() -> None:
    assert decoded(b": keep-alive\n\nevent: x\n\ndata: y\n\n") == [b"y"]


def test_every_end_of_line_of_the_standard_counts_and_no_other() -> None:
    text = "a\u2028b\u0085c\x0bd\x0c".encode()
    assert decoded(b"data: 1\r\rdata: 2\r\n\r\ndata: " + text + b"\n\n") == [b"1", b"2", text]


def test_a_carriage_return_at_the_end_of_a_chunk_waits_for_its_line_feed() -> None:
    assert decoded(b"data: 1\r", b"\n\r", b"\ndata: 2\n\n") == [b"1", b"2"]


@given(
    events=st.lists(st.text(max_size=20), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 200), max_size=8),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_however_the_stream_is_cut_the_events_are_the_same(events: list[str], cuts: list[int], end: bytes) -> None:
    data = [json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass") for event in events]
    stream = b"".join(b"event: e" + end + b"data: " + part + end + end for part in data)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[start:stop] for start, stop in itertools.pairwise(places)]
    assert decoded(*chunks) == data
