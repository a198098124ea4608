"""The servers, running at an address for as long as a test wants."""

import os
import signal
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
import anyio.abc

from tests.servers.install import chromium, node_server, python_server

START_SECONDS = 60
POLL_SECONDS = 0.05


@asynccontextmanager
async def everything_over_http(transport: str = "streamableHttp", path: str = "/mcp") -> AsyncGenerator[str, None]:
    """`server-everything` over streamable HTTP, or over `sse`; yields its URL.

    Raises:
        NodeMissingError: there is no Node.js.
    """
    port = free_port()
    command = [*node_server("mcp-server-everything"), transport]
    async with _running(command, port, PORT=str(port)):
        yield f"http://127.0.0.1:{port}{path}"


@asynccontextmanager
async def playwright_over_http() -> AsyncGenerator[str, None]:
    """`@playwright/mcp` over streamable HTTP; yields its URL, whose host it insists on.

    Raises:
        NodeMissingError, BrowserMissingError: something is missing.
    """
    port = free_port()
    async with _running([*playwright_command(), "--port", str(port)], port):
        yield f"http://localhost:{port}/mcp"


@asynccontextmanager
async def proxied(command: Sequence[str]) -> AsyncGenerator[str, None]:
    """A stdio server behind `mcp-proxy`; yields its origin, where `/mcp` and `/sse` are served."""
    port = free_port()
    async with _running([python_server("mcp-proxy"), "--port", str(port), "--", *command], port):
        yield f"http://127.0.0.1:{port}"


def playwright_command() -> list[str]:
    """The command of `@playwright/mcp` with the system's Chromium.

    Raises:
        NodeMissingError, BrowserMissingError: something is missing.
    """
    flags = ("--headless", "--no-sandbox", "--isolated", "--executable-path", chromium())
    return [*node_server("playwright-mcp"), *flags]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def _running(command: Sequence[str], port: int, **environ: str) -> AsyncGenerator[None, None]:
    """Run `command` until the context is left; entered once it listens on `port`."""
    # Where pip brought Node, `node` is a program that starts another: the group ends both.
    async with await anyio.open_process(
        command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, **environ},
        start_new_session=True,
    ) as process:
        said = bytearray()
        async with anyio.create_task_group() as reading:
            reading.start_soon(_listen, process, said)
            try:
                with anyio.fail_after(START_SECONDS):
                    while not _answers(port):
                        if process.returncode is not None:
                            raise RuntimeError(f"{command[0]} ended: {said.decode(errors='replace')[-2000:]}")
                        await anyio.sleep(POLL_SECONDS)
                yield
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGTERM)
                reading.cancel_scope.cancel()


def _answers(port: int) -> bool:
    for host in ("127.0.0.1", "::1"):  # `localhost` is whichever the server resolves it to
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            if probe.connect_ex((host, port)) == 0:
                return True
    return False


async def _listen(process: anyio.abc.Process, said: bytearray) -> None:
    assert process.stdout is not None
    async for chunk in process.stdout:
        said += chunk
