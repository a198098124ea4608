"""An MCP server that writes down durably what it is asked, before it answers."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mcp.server import MCPServer

from tests.e2e.running import ROOT, free_port, wait_for_port

server = MCPServer("receiver")
file = os.open(os.environ.get("RECEIVED", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@server.tool()
def note(text: str) -> str:
    """Write a text down."""
    os.write(file, f"{text}\n".encode())
    os.fsync(file)
    return f"noted {text}"


@contextmanager
def running_receiver(received: Path) -> Generator[str]:
    """Start it on a free port of the loopback interface; yields its URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.receiver", str(port)],
        cwd=ROOT,
        env=os.environ | {"RECEIVED": str(received)},
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
