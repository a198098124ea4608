"""An MCP server that tells everything that it was given: over HTTP its headers and address, else its environment."""

import json
import os
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError


def given(context: Context) -> str:
    if context.headers is None:
        return json.dumps(dict(os.environ))
    return json.dumps(dict(context.headers))


def new_server() -> MCPServer:
    """One that nobody has used."""
    server = MCPServer("tell-tale")

    @server.tool()
    def echo(text: str) -> str:
        """Say it again."""
        return text

    @server.tool()
    def login(user: str, password: str, context: Context) -> str:
        """Log in."""
        return json.dumps({"user": user, "token": f"token-of-{password}", "said": password})

    @server.tool()
    def tell(context: Context) -> str:
        """Tell what was given."""
        sys.stderr.write(given(context) + "\n")
        sys.stderr.flush()
        return given(context)

    @server.tool()
    def fail(context: Context) -> str:
        """Fail, and tell what was given."""
        raise ToolError(given(context))

    @server.tool()
    def die(context: Context) -> str:
        """Tell what was given, and be gone."""
        sys.stderr.write(given(context) + "\n")
        sys.stderr.flush()
        os._exit(3)

    return server


if __name__ == "__main__":
    if "--at-once" in sys.argv:
        sys.stderr.write(json.dumps(dict(os.environ)) + "\n")
        sys.exit(3)
    new_server().run("stdio")
