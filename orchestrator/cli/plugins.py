"""`orchestrator plugins`: the MCP servers that are installed in `mcp.json`, and their developers' tools."""

import rich_click


@rich_click.group()
def plugins() -> None:
    """The MCP servers that are installed in mcp.json."""
