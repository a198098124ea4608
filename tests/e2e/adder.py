"""A small MCP server over streamable HTTP, in a process of its own."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("adder")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def subtract(a: int, b: int) -> str:
    """Subtract b from a."""
    return str(a - b)


@server.tool()
async def wait(seconds: int) -> str:
    """Wait for some seconds."""
    await anyio.sleep(seconds)
    return f"waited {seconds}"


@server.tool()
def badge(number: int, ctx: Context) -> str:
    """Say who asks, by the header X-Badge."""
    return f"{number}: {(ctx.headers or {}).get('x-badge')}"


@contextmanager
def running_adder() -> Generator[str]:
    """Start it on a free port of the loopback interface; yields its URL."""
    from tests.e2e.running import ROOT, free_port, wait_for_port

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.adder", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
