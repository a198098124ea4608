"""Servers that say nothing, each at another moment of a connection."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.abc
import pytest

NAME = "silent.test"


@contextmanager
def silent_port() -> Generator[str]:
    """An address whose connections are never made: its queue is full, and nobody takes from it."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filling in (first, second):
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def silent_tls() -> AsyncGenerator[str]:
    """An address that takes connections and does not say a word."""

    async def hold(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for _ in stream:
                pass

    async with _listening(hold) as address:
        yield f"https://{address}"


@asynccontextmanager
async def hanging_up() -> AsyncGenerator[str]:
    """An address that ends every connection once it was asked for something."""

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()

    async with _listening(hang_up) as address:
        yield f"http://{address}"


@contextmanager
def nobody() -> Generator[str]:
    """An address that nobody listens at, and nobody will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent_name() -> Generator[str]:
    """A name whose look-up takes for ever."""
    look_up = asyncio.BaseEventLoop.getaddrinfo

    async def wait(self: asyncio.BaseEventLoop, host: Any, port: Any, **rest: Any) -> Any:
        if host in (NAME, NAME.encode()):
            await anyio.sleep_forever()
        return await look_up(self, host, port, **rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio.BaseEventLoop, "getaddrinfo", wait)
        yield f"http://{NAME}"


@asynccontextmanager
async def _listening(serve: Any) -> AsyncGenerator[str]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(listener.serve, serve))
            yield f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            tasks.cancel_scope.cancel()
