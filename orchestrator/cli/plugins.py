"""`orchestrator plugins`: the MCP servers that are installed in `mcp.json`, and their developers' tools."""

import rich_click

from orchestrator.cli.plugins_approve import approve
from orchestrator.cli.plugins_call import call, restart
from orchestrator.cli.plugins_check import check
from orchestrator.cli.plugins_install import add, import_, remove
from orchestrator.cli.plugins_login import login, logout
from orchestrator.cli.plugins_read import prompt, read
from orchestrator.cli.plugins_show import list_, logs, show


@rich_click.group()
def plugins() -> None:
    """The MCP servers that are installed in mcp.json."""


for command in (list_, show, check, call, read, prompt, restart, logs, approve, add, remove, import_, login, logout):
    plugins.add_command(command)
