"""A small MCP server whose answers change between two calls: what the file that it is given says."""

import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("station")
SKY = Path(sys.argv[1])
CHANGED = SKY.with_name("changed").exists()


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def forecast(city: str) -> str:
    """Say what the weather will be."""
    return f"{city}: {SKY.read_text()}"


def observe(city: str) -> str:
    """Write down that somebody looked."""
    with SKY.with_name("observed").open("a") as log:
        log.write(f"{city}\n")
    return "written down"


if CHANGED:
    observe.__doc__ = "Write down that somebody looked, and when."
server.tool()(observe)
server.run("stdio")
