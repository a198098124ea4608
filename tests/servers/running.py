"""The servers, running at an address for as long as a test wants."""

import os
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from subprocess import DEVNULL, PIPE

import anyio
from anyio.streams.text import TextReceiveStream

from tests.servers.install import node_server

START_SECONDS = 30


@asynccontextmanager
async def everything_over_http() -> AsyncGenerator[str, None]:
    """`server-everything` over streamable HTTP; yields its URL.

    Raises:
        NodeMissingError: there is no Node.js.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*node_server("mcp-server-everything"), "streamableHttp"]
    environ = {**os.environ, "PORT": str(port)}
    async with await anyio.open_process(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environ) as process:
        assert process.stderr is not None
        lines = TextReceiveStream(process.stderr)
        try:
            said = ""
            with anyio.fail_after(START_SECONDS):
                while re.search(rf"listening on port {port}\b", said) is None:
                    said += await lines.receive()
            async with anyio.create_task_group() as reading:
                reading.start_soon(_drain, lines)
                yield f"http://127.0.0.1:{port}/mcp"
                reading.cancel_scope.cancel()
        finally:
            process.terminate()


async def _drain(lines: TextReceiveStream) -> None:
    with suppress(anyio.EndOfStream):
        while True:
            await lines.receive()
