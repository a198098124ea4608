"""A server on loopback that answers as a test tells it to, and remembers what it was asked."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio
import h11
from anyio.abc import SocketStream

from orchestrator.core.json_types import JsonValue

NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; `body` is None where there was none."""

    method: str
    path: str
    body: JsonValue


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends here, without the end of the reply."""


Piece: TypeAlias = bytes | anyio.Event | Cut
"""What a reply consists of; an event is waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, sent piece by piece."""

    pieces: Iterable[Piece] | AsyncIterable[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": NDJSON})


Answering: TypeAlias = Callable[[Asked], Awaitable[Answer]]


class LoopbackServer:
    """`asked` are the requests in order; `left` is set when a client went away before its reply was whole."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.asked: list[Asked] = []
        self.left = anyio.Event()
        self.host = ""

    async def serve(self, stream: SocketStream) -> None:
        """One connection, one request."""
        async with stream:
            try:
                await self._serve(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                self.left.set()

    async def _serve(self, stream: SocketStream) -> None:
        wire = h11.Connection(h11.SERVER)
        asked = await _read_request(wire, stream)
        self.asked.append(asked)
        answer = await self._answering(asked)
        headers = [*answer.headers.items(), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
        await _send(wire, stream, h11.Response(status_code=answer.status, headers=headers))
        async for piece in _each(answer.pieces):
            match piece:
                case bytes():
                    await _send(wire, stream, h11.Data(data=piece))
                case anyio.Event():
                    if not await self._came(piece, stream):
                        return
                case Cut():
                    return
        await _send(wire, stream, h11.EndOfMessage())

    async def _came(self, event: anyio.Event, stream: SocketStream) -> bool:
        """Wait for `event`; False where the client leaves before it."""
        came = False
        async with anyio.create_task_group() as waiting:

            async def wait() -> None:
                nonlocal came
                await event.wait()
                came = True
                waiting.cancel_scope.cancel()

            waiting.start_soon(wait)
            try:
                await stream.receive()
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                waiting.cancel_scope.cancel()
        if not came:
            self.left.set()
        return came


@asynccontextmanager
async def loopback(answering: Answering) -> AsyncGenerator[LoopbackServer]:
    """A server that lives as long as the context."""
    server = LoopbackServer(answering)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    server.host = f"http://127.0.0.1:{port}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        try:
            yield server
        finally:
            tasks.cancel_scope.cancel()


async def _each(pieces: Iterable[Piece] | AsyncIterable[Piece]) -> AsyncGenerator[Piece]:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


async def _read_request(wire: h11.Connection, stream: SocketStream) -> Asked:
    method, path, body = "", "", b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await stream.receive())
        elif isinstance(event, h11.Request):
            method, path = event.method.decode(), event.target.decode()
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            return Asked(method, path, json.loads(body) if body else None)


async def _send(wire: h11.Connection, stream: SocketStream, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
    data = wire.send(event)
    if data:
        await stream.send(data)
