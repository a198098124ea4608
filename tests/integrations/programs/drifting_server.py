"""An MCP server whose one tool is described by a file, read when it starts: `python drifting_server.py FILE`."""

import sys
from pathlib import Path

from mcp.server import MCPServer


def drifting_server(description: str) -> MCPServer:
    """A server with `greet`."""
    server = MCPServer("drifting", version="1.0", instructions="Greet politely.")

    @server.tool(description=description)
    async def greet(name: str, times: int = 1) -> str:
        if times < 1:
            raise ValueError("that is no greeting")
        return ", ".join(["hello " + name] * times)

    return server


if __name__ == "__main__":
    sys.stderr.write("the drifting server began\n")
    sys.stderr.flush()
    drifting_server(Path(sys.argv[1]).read_text()).run("stdio")
