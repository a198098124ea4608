"""Requests whose bytes could be taken for other requests than they are, over real sockets: framing, trailers, paths, tokens."""

import json
import os
from typing import Any

import anyio
import anyio.lowlevel
import psutil
import pytest

from orchestrator.api.limits import RequestLimits
from tests.api.house import CHAT, House, chat_body
from tests.cli.test_http_protocol import HEAD, HURRIED, PATIENT, SECONDS, everything, sent, serving, told

pytestmark = pytest.mark.anyio

LIMITS = RequestLimits(body_bytes=4096, url_bytes=1000, header_bytes=1000)
END = b"Connection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
MOST_SENT = 64 * 1024 * 1024
MOST_GROWTH = 32 * 1024 * 1024


def post(path: str = CHAT, *headers: bytes) -> bytes:
    """The head of a request with a body."""
    start = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    return start + b"".join(headers) + b"\r\n"


def get(path: str, *headers: bytes) -> bytes:
    """A request without a body, the only one of its connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + b"".join(headers) + END


def answered(answer: bytes) -> tuple[int, Any]:
    """Status and content of an ordinary answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def code(answer: bytes) -> tuple[int, str]:
    """Status and code of an error."""
    status, body = answered(answer)
    return status, body["error"]["code"]


FLOODS = {
    "many trailers": (b"2\r\n{}\r\n0\r\n", b"X-A: a\r\n" * 8000),
    "one trailer": (b"2\r\n{}\r\n0\r\nX-A: ", b"a" * 65536),
    "the name of a trailer": (b"2\r\n{}\r\n0\r\n", b"a" * 65536),
    "the extension of a chunk": (b"1;", b"a" * 65536),
    "extensions of many chunks": (b"", b"1;" + b"a" * 500 + b"\r\n{\r\n"),
}


@pytest.mark.parametrize("path", [CHAT, "/nope"])
@pytest.mark.parametrize("name", FLOODS)
async def test_what_comes_beside_a_body_without_an_end_is_refused_and_its_connection_closed(
    path: str, name: str
) -> None:
    begin, more = FLOODS[name]
    more *= max(1, 65536 // len(more))
    process = psutil.Process(os.getpid())
    async with serving(LIMITS, require_authentication=True) as (_, port):
        before = process.memory_info().rss
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(post(path, CHUNKED) + begin)
            written = 0
            with anyio.fail_after(SECONDS):
                try:
                    while written < MOST_SENT:
                        await stream.send(more)
                        written += len(more)
                except anyio.BrokenResourceError:
                    pass
        assert process.memory_info().rss - before < MOST_GROWTH
    assert written < MOST_SENT


@pytest.mark.parametrize("name", FLOODS)
async def test_who_sends_too_much_beside_a_body_is_told_so(name: str) -> None:
    begin, more = FLOODS[name]
    async with serving(LIMITS) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(post(CHAT, CHUNKED) + begin)
        for _ in range(50):
            await stream.send(more[:2048])
            await anyio.lowlevel.checkpoint()
        assert told(await everything(stream)) == (431, "headers_too_large")


async def test_a_body_in_tiny_chunks_with_a_few_trailers_is_taken() -> None:
    body = json.dumps(chat_body()).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    async with serving(LIMITS) as (api, port):
        answer = await sent(port, post(CHAT, CHUNKED, b"Connection: close\r\n"), chunks, b"0\r\nX-Checksum: 1\r\n\r\n")
        assert len(api.engine.requests) == 1
    assert answered(answer)[0] == 200


async def test_no_trailer_becomes_a_header() -> None:
    """Whatever arrives together: the outcome must not depend on the timing of packets."""
    async with serving(LIMITS, require_authentication=True) as (api, port):
        token = (await api.tokens.create_token("a", ["admin"]))[1].encode()
        key = b"x-api-key: %s\r\n" % token
        close = b"Connection: close\r\n"
        answers = [
            await sent(port, b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\n" + close + CHUNKED + b"\r\n0\r\n" + key + b"\r\n"),
            await sent(port, b"GET /health HTTP/1.1\r\n" + close + CHUNKED + b"\r\n0\r\nHost: localhost\r\n\r\n"),
            await sent(
                port,
                f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n".encode() + key + close + CHUNKED
                + b"\r\n2\r\n{}\r\n0\r\nContent-Type: application/json\r\n\r\n",
            ),
        ]  # fmt: skip
    assert [code(answer) for answer in answers] == [
        (401, "invalid_api_key"),
        (403, "forbidden_origin"),
        (415, "unsupported_media_type"),
    ]


INVALID = (400, "invalid_http")
BAD_FRAMING: dict[str, tuple[bytes, tuple[int, str]]] = {
    "a size that is no number": (post(CHAT, CHUNKED) + b"zz\r\n", INVALID),
    "a negative size": (post(CHAT, CHUNKED) + b"-1\r\n", INVALID),
    "a size beyond all numbers": (post(CHAT, CHUNKED) + b"f" * 20 + b"\r\n", INVALID),
    "a chunk longer than it says": (post(CHAT, CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n", INVALID),
    "a chunk ended by a bare LF": (post(CHAT, CHUNKED) + b"2\n{}\r\n0\r\n\r\n", INVALID),
    "a NUL in a trailer": (post(CHAT, CHUNKED) + b"2\r\n{}\r\n0\r\nX: \0\r\n\r\n", INVALID),
    "a length and chunks": (post(CHAT, b"Content-Length: 5\r\n", CHUNKED) + b"0\r\n\r\n", INVALID),
    "chunks and a length": (post(CHAT, CHUNKED, b"Content-Length: 5\r\n") + b"0\r\n\r\n", INVALID),
    "two lengths": (post(CHAT, b"Content-Length: 5\r\nContent-Length: 6\r\n") + b"aaaaaa", INVALID),
    "the same length twice": (post(CHAT, b"Content-Length: 5\r\nContent-Length: 5\r\n") + b"aaaaa", INVALID),
    "a list of lengths": (post(CHAT, b"Content-Length: 5, 5\r\n") + b"aaaaa", INVALID),
    "a length with a sign": (post(CHAT, b"Content-Length: +5\r\n") + b"aaaaa", INVALID),
    "a negative length": (post(CHAT, b"Content-Length: -5\r\n") + b"aaaaa", INVALID),
    "a hexadecimal length": (post(CHAT, b"Content-Length: 0x5\r\n") + b"aaaaa", INVALID),
    "a length beyond all numbers": (post(CHAT, b"Content-Length: " + b"9" * 30 + b"\r\n"), INVALID),
    "a folded header": (post(CHAT, b"X-A: b\r\n c\r\n"), INVALID),
    "a blank before the colon": (post(CHAT, b"X-A : b\r\n"), INVALID),
    "a bare LF": (post(CHAT, b"X-A: a\nX-B: c\r\n"), INVALID),
    "a bare CR": (post(CHAT, b"X-A: a\rX-B: c\r\n"), INVALID),
    "a NUL in a value": (post(CHAT, b"X-A: a\0b\r\n"), INVALID),
    "a NUL in a name": (post(CHAT, b"X\0A: b\r\n"), INVALID),
    "no name": (post(CHAT, b": b\r\n"), INVALID),
    "chunks in HTTP/1.0": (post(CHAT, CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n", INVALID),
    "HTTP/2 without a word": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", INVALID),
    "HTTP/9.9": (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", INVALID),
    "HTTP/0.9": (b"GET /health\r\n\r\n", INVALID),
    "a tunnel": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", INVALID),
    "a tunnel to a path": (b"CONNECT /health HTTP/1.1\r\nHost: localhost\r\n\r\n", INVALID),
    "the address of another host": (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", INVALID),
    "an address with a user": (b"GET http://a@localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", INVALID),
    "an unknown coding": (post(CHAT, b"Transfer-Encoding: xchunked\r\n") + b"0\r\n\r\n", (501, "not_implemented")),
    "a coding in chunks": (post(CHAT, b"Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n", (501, "not_implemented")),
    "codings in two headers": (
        post(CHAT, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        (501, "not_implemented"),
    ),
    "chunks in chunks": (post(CHAT, b"Transfer-Encoding: chunked, chunked\r\n") + b"0\r\n\r\n", INVALID),
    "a coding that is not the last": (post(CHAT, b"Transfer-Encoding: chunked, gzip\r\n"), INVALID),
    "the identity": (post(CHAT, b"Transfer-Encoding: identity\r\n"), (501, "not_implemented")),
}  # fmt: skip


def refused(answer: bytes) -> tuple[int, str]:
    """Status and code, or type where there is no code."""
    status, body = answered(answer)
    assert b"connection: close" in answer.lower()
    return status, body["error"].get("code") or body["error"]["type"]


@pytest.mark.parametrize("name", BAD_FRAMING)
async def test_what_could_be_read_in_two_ways_is_refused_with_an_envelope(name: str) -> None:
    request, expected = BAD_FRAMING[name]
    hidden = get("/health")
    async with serving(LIMITS) as (api, port):
        whole = await sent(port, request)
        in_pieces = await sent(port, *(request[at : at + 7] for at in range(0, len(request), 7)))
        followed = await sent(port, request + hidden)
        assert api.engine.requests == []
    assert [refused(answer) for answer in (whole, in_pieces, followed)] == [expected] * 3


async def test_the_body_of_a_refused_request_is_not_the_next_request() -> None:
    inner = get("/health")
    length = b"Content-Length: %d\r\n" % len(inner)
    async with serving(LIMITS) as (_, port):
        answers = [
            await sent(port, post("/nope", length, b"Connection: close\r\n") + inner),
            await sent(port, post("/nope", length, b"Connection: close\r\n"), inner),
        ]
    assert [answer.count(b"HTTP/1.1 ") for answer in answers] == [1, 1]
    assert [code(answer) for answer in answers] == [(404, "unknown_endpoint")] * 2


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0", b"h2c, websocket"])
@pytest.mark.parametrize("together", [True, False])
async def test_an_offer_of_another_protocol_is_ignored_and_its_body_is_read(protocol: bytes, together: bool) -> None:
    """A reader that stops at the offer would take the body for the next request."""
    body = json.dumps(chat_body()).encode()
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "
        + protocol
        + b"\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    )
    head = post(CHAT, offer, b"Content-Length: %d\r\n" % len(body))
    async with serving(PATIENT) as (api, port):
        pieces = [head + body + get("/health")] if together else [head, body, get("/health")]
        answer = await sent(port, *pieces)
        assert len(api.engine.requests) == 1
    assert (answer.count(b"HTTP/1.1 "), answer.count(b"HTTP/1.1 200 OK")) == (2, 2)


async def test_a_body_that_was_offered_and_never_sent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.http_protocol.MARGIN_SECONDS", 0.5)
    async with serving(HURRIED) as (_, port):
        answer = await sent(port, post(CHAT, b"Expect: 100-continue\r\nContent-Length: 10\r\n"))
    go_on, _, rest = answer.partition(b"\r\n\r\n")
    assert (go_on, code(rest)) == (b"HTTP/1.1 100 Continue", (408, "request_timeout"))


async def test_requests_in_a_row_are_answered_in_their_order_and_only_so_many_wait() -> None:
    one = HEAD + b"\r\n"
    async with serving(PATIENT) as (_, port):
        few = await sent(port, one * 20 + get("/nope"))
        many = await sent(port, one * 4000)
    assert [
        few.count(b"HTTP/1.1 200"),
        few.count(b"HTTP/1.1 404"),
        few.rindex(b"HTTP/1.1 404") > few.rindex(b"HTTP/1.1 200"),
    ] == [20, 1, True]
    assert many.count(b"HTTP/1.1 200") < 40


OTHER_SPELLINGS = ["/api%2fv1%2fmodels", "//api/v1/models", "/api//v1/models", "/api/v1//models", "/api/v1%2Fmodels", "/api/v1/models%2f",
                   "/api/v1/models//", "/api/v1/../v1/models", "/api/v1/./models", "/api/v1/%2e/models", "/api/v1%5cmodels", "/api/v1/models;a",
                   "/api/v1%252Fmodels", "/API/v1/models", "/api%2fv1/plugins/mcp/calc", "/api/v1//plugins", "/api/v1/plugins//mcp/calc",
                   "//health", "/%2fhealth", "/v1%2fmodels", "//v1/models", "/v1//models", "/v1/models//x"]  # fmt: skip


@pytest.mark.parametrize("path", OTHER_SPELLINGS)
async def test_another_spelling_of_a_path_is_no_path(path: str) -> None:
    async with serving(PATIENT) as (_, port):
        status, body = answered(await sent(port, get(path)))
    assert (status, body["error"]["code"] in ("unknown_endpoint", "model_not_found")) == (404, True)


async def keys(api: House) -> tuple[bytes, bytes]:
    """Two good tokens."""
    one, other = [(await api.tokens.create_token(name, ["admin"]))[1].encode() for name in "ab"]
    return one, other


async def test_two_different_tokens_in_one_request_are_refused_and_the_same_one_twice_is_not() -> None:
    async with serving(PATIENT, require_authentication=True) as (api, port):
        one, other = await keys(api)
        key, bearer = b"x-api-key: %s\r\n", b"Authorization: Bearer %s\r\n"
        asked = [
            [key % one, key % other],
            [bearer % one, bearer % other],
            [bearer % one, key % other],
            [bearer % b"x", key % one],
            [key % one, bearer % one],
            [key % one, b"Authorization: Basic eDp5\r\n"],
        ]
        answers = [answered(await sent(port, get("/api/v1/models", *headers))) for headers in asked]
    said = "The request has two different tokens. Send one, as 'Authorization: Bearer …' or as 'x-api-key: …'."
    assert [status for status, _ in answers] == [401, 401, 401, 401, 200, 200]
    assert [(body["error"]["message"], body["error"]["code"]) for _, body in answers[:4]] == [
        (said, "invalid_api_key")
    ] * 4
