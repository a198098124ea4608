"""A real MCP server with tools for the tests; run as a program it speaks stdio."""

import base64
import os
import sys

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ImageContent, TextContent


def tool_server(cancelled: anyio.Event | None = None) -> MCPServer:
    """A server of its own state; `cancelled` is set when a call of `wait` is cancelled."""
    server = MCPServer("tool-server")
    noticed = cancelled or anyio.Event()

    @server.tool(title="Adder")
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def wait() -> str:
        """Wait for ever."""
        try:
            await anyio.sleep_forever()
        finally:
            noticed.set()
        return "never"

    @server.tool()
    async def was_cancelled() -> bool:
        """Whether a call of `wait` was cancelled; waits for it."""
        with anyio.move_on_after(5):
            await noticed.wait()
        return noticed.is_set()

    _add_tools_about_the_process(server)

    @server.tool()
    async def grow(name: str, context: Context) -> str:
        """Add a tool and tell everybody."""

        async def grown() -> str:
            return name

        server.add_tool(grown, name=name, description="Grown.")
        await context.notify_tools_changed()
        return "grown"

    return server


def _add_tools_about_the_process(server: MCPServer) -> None:
    @server.tool()
    async def die(status: int) -> str:
        """End the process at once."""
        os._exit(status)

    @server.tool()
    async def big(length: int) -> str:
        """A text of that length."""
        return "x" * length

    @server.tool()
    async def environment(name: str) -> str:
        """A variable of the server's environment."""
        return os.environ.get(name, "(unset)")

    @server.tool()
    async def folder() -> str:
        """The folder the server runs in."""
        return os.getcwd()

    @server.tool()
    async def process() -> int:
        """The server's process id."""
        return os.getpid()

    @server.tool()
    async def complain() -> CallToolResult:
        """A result that is an error."""
        return CallToolResult(content=[TextContent(type="text", text="no such thing")], is_error=True)

    @server.tool()
    async def picture(kilobytes: int = 0) -> CallToolResult:
        """A picture and a word."""
        data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(1000 * kilobytes)).decode()
        image = ImageContent(type="image", data=data, mime_type="image/png")
        return CallToolResult(content=[TextContent(type="text", text="look"), image])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stderr.write(f"{sys.argv[1]}\n")
    tool_server().run("stdio")
