"""A real MCP server with what is beside plain tools: resources, a prompt, structured output, an odd name."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import BaseModel

PIXEL = b"\x89PNG\r\n\x1a\n"


class Count(BaseModel):
    """What counting gives."""

    n: int


def shelf_server() -> MCPServer:
    """The server."""
    server = MCPServer("shelf")

    @server.resource("shelf://list", mime_type="text/plain")
    async def books() -> str:
        return "Emma\nUlysses"

    @server.resource("shelf://cover", mime_type="image/png")
    async def cover() -> bytes:
        return PIXEL

    @server.resource("shelf://book/{title}")
    async def book(title: str) -> str:
        return f"The text of {title}."

    @server.prompt()
    async def review(title: str, tone: str = "kind") -> str:
        """Ask for a review."""
        return f"Write a {tone} review of {title}."

    @server.tool(name="books/count")
    async def count() -> Count:
        """Count the books."""
        return CallToolResult(content=[], structured_content={"n": 5})  # pyright: ignore[reportReturnType] - as the SDK allows

    @server.tool()
    async def dust(context: Context) -> str:
        """Dust the shelf, board by board."""
        for board in (1, 2):
            await context.report_progress(board, 2, f"board {board}")
        return "dusted"

    return server


if __name__ == "__main__":
    shelf_server().run("stdio")
