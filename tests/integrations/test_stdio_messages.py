"""The lines of a stdio server and the messages in them."""

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.integrations.stdio_messages import LineSplitter, LineTooLongError, read_message


@given(st.lists(st.binary(max_size=20)))
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert lines == b"".join(chunks).split(b"\n")[:-1]


@pytest.mark.parametrize("chunks", [[b"12345"], [b"123", b"45"], [b"1\n2\n12345\n"], [b"1234", b"5\n"]])
def test_a_line_beyond_the_limit_is_refused_before_it_is_whole(chunks: list[bytes]) -> None:
    splitter = LineSplitter(limit=4)
    with pytest.raises(LineTooLongError):
        for chunk in chunks:
            splitter.feed(chunk)


def test_a_line_at_the_limit_is_taken() -> None:
    assert LineSplitter(limit=4).feed(b"1234\n1234\n") == [b"1234", b"1234"]


def test_a_message_is_read() -> None:
    assert read_message(b'{"jsonrpc":"2.0","id":7,"result":{"a":null}}') == types.JSONRPCResponse(
        jsonrpc="2.0", id=7, result={"a": None}
    )


@pytest.mark.parametrize(
    "line", [b"Listening...", b"{", b"[]", b"null", b'{"a":1}', b'{"id":true,"result":{}}', b"\xff"]
)
def test_what_is_no_message_is_none(line: bytes) -> None:
    assert read_message(line) is None


def test_halves_of_surrogate_pairs_do_not_lose_the_message() -> None:
    message = read_message(b'{"jsonrpc":"2.0","id":1,"result":{"t":"a\\ud800b"}}')
    assert message == types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"t": "a\N{REPLACEMENT CHARACTER}b"})


def test_bytes_that_are_not_utf8_do_not_lose_the_message() -> None:
    message = read_message(b'{"jsonrpc":"2.0","id":1,"result":{"t":"a\xffb"}}')
    assert message == types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"t": "a\N{REPLACEMENT CHARACTER}b"})


@pytest.mark.parametrize(
    "line", [b'{"jsonrpc":"2.0","id":3,"result":5}', b'{"id":3}', b'{"jsonrpc":"1.0","id":3,"error":"no"}']
)
def test_a_broken_answer_becomes_an_error_for_whoever_waits(line: bytes) -> None:
    message = read_message(line)
    assert isinstance(message, types.JSONRPCError)
    assert (message.id, message.error.code) == (3, types.PARSE_ERROR)
