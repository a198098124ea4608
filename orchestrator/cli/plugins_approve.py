"""`orchestrator plugins approve`: letting a plugin show other definitions than those that were pinned."""

import click
import rich_click

from orchestrator.api.wire_plugins import ApproveBody, ApproveReply, DefinitionsReply, DriftInfo
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import SERVER, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, PLUGIN, URL, ask, plugin_path
from orchestrator.cli.plugins_output import console, print_changes, say
from orchestrator.cli.terminal_text import one_line
from orchestrator.settings import Settings


@rich_click.command()
@PLUGIN
@click.option("--tool", metavar="T", help="Approve the change of this tool alone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@URL
@JSON
@with_settings(*SERVER)
def approve(settings: Settings, plugin_id: str, tool: str | None, yes: bool, url: str | None, as_json: bool) -> None:
    """Show how the definitions of a plugin's tools changed, and approve them as they were shown here."""
    definitions = ask(
        settings, url, lambda client: client.ask("GET", plugin_path(plugin_id, "definitions"), DefinitionsReply)
    )
    open_ones = _open(definitions, tool)
    out = console()
    if not as_json:
        wanted = {(one.tool, one.new_digest) for one in open_ones}
        print_changes(out, [one for one in definitions.history if (one.tool, one.new_digest) in wanted])
    if not open_ones:
        if as_json:
            print_json(ApproveReply(definitions.id, []))
        else:
            say(out, f"nothing of {one_line(definitions.id)} waits for an approval")
        return
    if not (yes or as_json):
        click.confirm("\nApprove?", abort=True)

    async def approved(client: ServiceClient) -> list[DriftInfo]:
        found: list[DriftInfo] = []
        for one in open_ones:
            # The digest that was shown: what has changed again meanwhile is not approved unseen.
            body = ApproveBody(one.tool, one.new_digest) if one.new_digest else ApproveBody(one.tool)
            path = plugin_path(plugin_id, "definitions", "approve")
            found += (await client.ask("POST", path, ApproveReply, body)).approved
        return found

    done = ask(settings, url, approved)
    if as_json:
        print_json(ApproveReply(definitions.id, done))
    else:
        say(out, f"approved: {one_line(', '.join(one.tool for one in done))}", "green")


def _open(definitions: DefinitionsReply, tool: str | None) -> list[DriftInfo]:
    """What differs now; of a plugin that is not connected, the newest change of each tool that is not settled."""
    found = {one.tool: one for one in reversed(definitions.drift)}
    for change in definitions.history:
        if change.outcome is None and not definitions.drift:
            one = DriftInfo(change.tool, change.kind, change.old_digest, change.new_digest)
            found.setdefault(change.tool, one)
    return [found[name] for name in sorted(found) if tool in (None, name)]
