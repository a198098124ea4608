"""Clients that are slow, greedy or not speaking HTTP, over real sockets."""

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from orchestrator.api.limits import RequestLimits
from orchestrator.cli.http_service import HttpService
from orchestrator.testing import Say, ScriptedEngine, Stall
from tests.api.house import CHAT, House, chat_body, house
from tests.api.test_disconnect import Watched, status_of_the_only_response

pytestmark = pytest.mark.anyio

PATIENT = RequestLimits(url_bytes=1000, header_bytes=1000)
HURRIED = RequestLimits(head_seconds=0.3, body_seconds=0.3, stall_seconds=0.5)
SECONDS = 20
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def serving(
    limits: RequestLimits, engine: ScriptedEngine | None = None, **settings: Any
) -> AsyncGenerator[tuple[House, int]]:
    """The application behind our own server, with limits of its own."""
    store = Watched()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        async with (
            house(engine, store=store, request_limits=limits, **settings) as api,
            anyio.create_task_group() as tasks,
        ):

            @asynccontextmanager
            async def opened() -> AsyncGenerator[Any]:
                yield api.app

            service = HttpService(opened(), [listening], limits)
            ready = anyio.Event()
            tasks.start_soon(service.serve, ready.set)
            with anyio.fail_after(SECONDS):
                await ready.wait()
                yield api, listening.getsockname()[1]
                service.stop()
                service.stop()


async def everything(stream: SocketStream) -> bytes:
    """What comes until the other side closes."""
    told = b""
    with anyio.fail_after(SECONDS):
        try:
            while True:
                told += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return told


async def sent(port: int, *pieces: bytes) -> bytes:
    """The answer to these bytes, up to the end of the connection."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        try:
            for piece in pieces:
                await stream.send(piece)
        except anyio.BrokenResourceError:  # it has heard enough
            pass
        return await everything(stream)


def told(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer that is an envelope with everything that every answer has."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["content-length"] == str(len(body))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"].startswith("req_")
    return int(lines[0].split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "garbage",
    [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET /h\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["words", "TLS", "bytes in a path"],
)  # fmt: skip
async def test_what_is_not_http_gets_an_envelope(garbage: bytes) -> None:
    async with serving(PATIENT) as (_, port):
        assert told(await sent(port, garbage)) == (400, "invalid_http")


@pytest.mark.parametrize("piece", [b"X-A: " + b"a" * 90 + b"\r\n", b"a" * 99], ids=["many headers", "one header"])
async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    async with serving(PATIENT) as (_, port):
        answer = await sent(port, HEAD + b"X-B: ", *[piece * 1000] * 100)
    assert told(answer) == (431, "headers_too_large")


async def test_below_v1_a_refusal_is_told_as_openai_does() -> None:
    async with serving(HURRIED) as (_, port):
        answer = await sent(port, b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n")
    told_there = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (told_there["type"], told_there["code"]) == ("invalid_request_error", "request_timeout")


async def test_an_address_without_an_end_is_refused_too() -> None:
    async with serving(PATIENT) as (_, port):
        assert told(await sent(port, b"GET /", *[b"a" * 65536] * 100)) == (431, "headers_too_large")


@pytest.mark.parametrize("begun", [HEAD, b"G"], ids=["in the headers", "in the first line"])
async def test_a_head_that_does_not_come_is_given_up(begun: bytes) -> None:
    async with serving(HURRIED) as (_, port):
        assert told(await sent(port, begun)) == (408, "request_timeout")


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_that_asks_for_nothing_is_closed(said: bytes) -> None:
    async with serving(HURRIED) as (_, port):
        assert await sent(port, said) == b""


async def test_a_trickle_of_headers_is_given_up_all_the_same() -> None:
    async with serving(HURRIED) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        answers: list[bytes] = []

        async def trickle() -> None:
            try:
                await stream.send(HEAD)
                while not answers:
                    await stream.send(b"X-A: b\r\n")
                    await anyio.sleep(0.05)
            except anyio.BrokenResourceError:
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trickle)
            answers.append(await everything(stream))
            tasks.cancel_scope.cancel()
    assert told(answers[0]) == (408, "request_timeout")


POST = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n".encode()


async def test_a_body_that_does_not_come_is_told_and_its_connection_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.http_protocol.MARGIN_SECONDS", 0.5)
    async with serving(HURRIED) as (api, port):
        answer = await sent(port, POST + b"{")
        assert api.engine.requests == []
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout")
    assert json.loads(body)["error"]["code"] == "request_timeout"


async def test_connections_are_kept_while_their_requests_are_answered() -> None:
    """Longer than any of the times, and the next request comes in the middle."""
    go_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once"), Stall(go_on), Say(" more.")]])
    async with serving(HURRIED, engine) as (api, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        body = json.dumps(chat_body()).encode()
        await stream.send(POST.replace(b"1000", str(len(body)).encode()) + body)
        await api.generating(1)
        await stream.send(HEAD)
        await anyio.sleep(2.5)  # more than one look of the server
        go_on.set()
        answer = b""
        while b"Once more." not in answer:
            answer += await stream.receive()
        await stream.send(b"\r\n")
        while b'"ok"' not in answer:
            answer += await stream.receive()
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_a_reader_that_takes_nothing_is_cut_and_its_request_ends() -> None:
    engine = ScriptedEngine([[*[Say("x" * 10_000)] * 3000, Stall(anyio.Event())]])
    limits = replace(HURRIED, head_seconds=20)
    async with serving(limits, engine) as (api, port):
        stream = await anyio.connect_tcp("127.0.0.1", port)
        async with stream:
            stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = json.dumps(chat_body(stream=True)).encode()
            await stream.send(POST.replace(b"1000", str(len(body)).encode()) + body)
            assert isinstance(api.store, Watched)
            ended = await status_of_the_only_response(api, api.store)
    assert ended[:2] == ("incomplete", "client_gone")
