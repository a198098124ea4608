"""`orchestrator plugins`: the MCP servers that are installed in `mcp.json`, and their developers' tools."""

import rich_click

from orchestrator.cli.plugins_install import add, import_, remove
from orchestrator.cli.plugins_login import login, logout


@rich_click.group()
def plugins() -> None:
    """The MCP servers that are installed in mcp.json."""


for command in (add, remove, import_, login, logout):
    plugins.add_command(command)
