"""The server of the contract suite, over MCP; run as a program it speaks stdio."""

import anyio
from mcp.server import MCPServer
from mcp_types import CallToolResult, TextContent


def contract_server() -> MCPServer:
    """A server with `echo`, `fail` and `wait`."""
    server = MCPServer("contract")

    @server.tool(description="Say it again.")
    async def echo(text: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=text)])

    @server.tool(description="Fail.")
    async def fail() -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="it failed")], is_error=True)

    @server.tool(description="Wait for ever.")
    async def wait() -> CallToolResult:
        await anyio.sleep_forever()
        raise AssertionError("for ever is over")

    return server


if __name__ == "__main__":
    contract_server().run("stdio")
