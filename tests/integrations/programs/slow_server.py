"""A real MCP server that takes its time, with and without reporting progress."""

import time

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("slow")


@server.tool()
async def steps(seconds: float, context: Context) -> str:
    """Take so many seconds, and say so ten times a second."""
    for step in range(int(seconds * 10)):
        await context.report_progress(step, seconds * 10)
        await anyio.sleep(0.1)
    return "arrived"


@server.tool()
async def silent() -> str:
    """Say nothing for ever."""
    await anyio.sleep_forever()
    return "never"


@server.tool()
async def wedge() -> None:
    """Hold up the whole server: from here on it answers nothing."""
    time.sleep(100_000)  # noqa: ASYNC251 # that is the fault


if __name__ == "__main__":
    server.run("stdio")
