"""Starts the plugins as their users do: by the installed command, in a process of their own."""

import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters
from mcp.client.client import ConnectMode
from mcp_types import CallToolResult, TextContent

SECONDS_TO_START = 60
SECONDS_TO_END = 20


def command(name: str) -> str:
    """The path of a command that is installed beside the interpreter."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} is not installed"
    return found


def over_stdio(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None, mode: ConnectMode = "auto"
) -> Client:
    """A client that starts the plugin and speaks to it over its stdin and stdout."""
    return Client(
        StdioServerParameters(command=command(name), args=list(arguments), env=dict(environment or {})), mode=mode
    )


@asynccontextmanager
async def over_http(name: str, *arguments: str) -> AsyncGenerator[str]:
    """The URL of the plugin as a streamable HTTP server on a free port; a SIGTERM ends it, and it has to end well."""
    process = await anyio.open_process(
        [command(name), "--transport", "streamable-http", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    lines = BufferedByteReceiveStream(process.stderr)
    try:
        with anyio.fail_after(SECONDS_TO_START):
            line = await lines.receive_until(b"\n", 10_000)
        said = f"{name}: listening on "
        assert line.decode().startswith(said)
        yield line.decode().removeprefix(said)
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(SECONDS_TO_END):
            assert await process.wait() == 0
            # Nothing more was said: neither a traceback nor a warning.
            assert lines.buffer == b""
            assert [chunk async for chunk in process.stderr] == []
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


def text_of(result: CallToolResult) -> str:
    """The only text block of a result."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text
