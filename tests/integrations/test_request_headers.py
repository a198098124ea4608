"""Which headers may be sent to a server."""

import pytest

from orchestrator.integrations.request_headers import LONGEST_VALUE, header_problem, repeated_header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer abc.def"),
        ("X-Api-Key", "k"),
        ("Cookie", "a=b; c=d"),
        ("x-empty", ""),
        ("User-Agent", "me\tyou"),
        ("!#$%&'*+-.^_`|~0a", "v"),
    ],
)
def test_ordinary_headers_may_be_sent(name: str, value: str) -> None:
    assert header_problem(name, value) is None


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "host", "HOST", "Content-Length", "Content-Type", "Content-Encoding", "Accept", "Accept-Encoding"),
        *("Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection", "TE", "Trailer"),
        *("Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Expect"),
        *("Mcp-Session-Id", "MCP-Protocol-Version", "mcp-method", "Mcp-Name", "Mcp-Param-x", "Last-Event-ID"),
        *("", "a b", "a:b", "a\r\nb", "ü", "a\0", "(x)", "a" * 257),
    ],
)
def test_headers_of_the_connection_of_the_protocol_and_broken_names_may_not(name: str) -> None:
    assert header_problem(name, "secret-value") is not None


@pytest.mark.parametrize(
    "value",
    ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "ü", "\x7f", "\x1b", " hush", "hush ", "\thush", "x" * (LONGEST_VALUE + 1)],
)
def test_values_that_could_break_out_of_their_line_may_not(value: str) -> None:
    problem = header_problem("X-Fine", value)
    assert problem is not None
    assert value not in problem


def test_the_same_header_in_another_spelling_is_noticed() -> None:
    assert repeated_header(["A", "b", "a"]) == "a"
    assert repeated_header(["A", "b"]) is None
