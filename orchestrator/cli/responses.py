"""`orchestrator responses`: what a running service has stored, read, pruned and branched."""

from datetime import datetime
from typing import Any, Final, get_args
from urllib.parse import quote, urlencode

import click
import rich_click

from orchestrator.api.wire import Status
from orchestrator.api.wire_graph import (
    CancellationReply,
    DeletionReply,
    ResponseDetailReply,
    ResponseEntry,
    ResponseListReply,
)
from orchestrator.cli.audit import Moment
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import SERVER, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, URL, ask
from orchestrator.cli.plugins_output import console
from orchestrator.cli.responses_branches import diff, fork, replay
from orchestrator.cli.responses_client import OWNER, RESPONSE, RESPONSES, response_path
from orchestrator.cli.responses_output import print_list, print_response, print_tree
from orchestrator.settings import Settings

LIST_PAGE, TREE_PAGE = 100, 2_000
_FILTERS: Final = ("model", "status", "plugin", "server_label", "tool", "text", "owner")


@rich_click.group()
def responses() -> None:
    """What a running service has stored: responses, their branches, and what differs between them."""


@responses.command("list")
@click.option("--text", metavar="WORDS", help='Input and output have these words; "a phrase", begin*.')
@click.option("--model", metavar="KEY", help="The model that wrote it.")
@click.option("--status", type=click.Choice(get_args(Status)), help="What became of it.")
@click.option("--plugin", metavar="ID", help="A tool of this plugin was called, such as mcp/clock.")
@click.option(
    "--server-label", metavar="LABEL", help="A tool of this server, which a request brought along, was called."
)
@click.option("--tool", metavar="NAME", help="This tool was called.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="It has this metadata; repeatable.")
@click.option("--from", "since", type=Moment(), metavar="MOMENT", help="It began at this moment or later.")
@click.option("--to", "until", type=Moment(), metavar="MOMENT", help="It began before this moment.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest instead of the newest.")
@OWNER
@URL
@JSON
@with_settings(*SERVER)
def list_(
    settings: Settings,
    metadata: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
    oldest_first: bool,
    url: str | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """List stored responses, the newest first."""
    asked = {name: value for name in _FILTERS if (value := given.get(name)) is not None}
    for pair in metadata:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--metadata takes KEY=VALUE, not {pair!r}")
        asked[f"metadata.{key}"] = value
    asked |= {name: moment.isoformat() for name, moment in (("from", since), ("to", until)) if moment is not None}
    asked["order"] = "asc" if oldest_first else "desc"
    found = ask(settings, url, lambda client: _pages(client, RESPONSES, asked, LIST_PAGE, limit))
    if as_json:
        print_json({"responses": found})
    else:
        print_list(found)


@responses.command()
@RESPONSE
@OWNER
@URL
@JSON
@with_settings(*SERVER)
def show(settings: Settings, response_id: str, owner: str | None, url: str | None, as_json: bool) -> None:
    """Show the response RESPONSE_ID whole: its facts, its input and output by their positions, its calls' ids."""
    path = response_path(response_id, owner=owner)
    reply = ask(settings, url, lambda client: client.ask("GET", path, ResponseDetailReply))
    if as_json:
        print_json(reply)
    else:
        print_response(console(), reply)


@responses.command()
@RESPONSE
@OWNER
@URL
@JSON
@with_settings(*SERVER)
def tree(settings: Settings, response_id: str, owner: str | None, url: str | None, as_json: bool) -> None:
    """Show all branches of the chat that RESPONSE_ID belongs to, forks and replays among them."""
    asked = {} if owner is None else {"owner": owner}
    path = response_path(response_id, "tree")
    found = ask(settings, url, lambda client: _pages(client, path, asked, TREE_PAGE, None))
    if as_json:
        print_json({"responses": found})
    else:
        print_tree(console(), found, response_id)


@responses.command()
@RESPONSE
@click.option("--subtree", is_flag=True, help="Delete what continues it, too.")
@URL
@JSON
@with_settings(*SERVER)
def delete(settings: Settings, response_id: str, subtree: bool, url: str | None, as_json: bool) -> None:
    """Take the content of RESPONSE_ID out of the store. That its tools were called stays in the journal."""
    path = response_path(response_id, subtree="true" if subtree else None)
    reply = ask(settings, url, lambda client: client.ask("DELETE", path, DeletionReply))
    if as_json:
        print_json(reply)
        return
    for deleted in reply.deleted_responses:
        click.echo(f"deleted {deleted}")
    for other in reply.kept_by:
        click.echo(f"{other} still has some of this content: a fork or a replay shares it; delete that too")


@responses.command()
@RESPONSE
@URL
@JSON
@with_settings(*SERVER)
def cancel(settings: Settings, response_id: str, url: str | None, as_json: bool) -> None:
    """End RESPONSE_ID where it runs or waits; what was generated stays."""
    path = response_path(response_id, "cancel")
    reply = ask(settings, url, lambda client: client.ask("POST", path, CancellationReply))
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{reply.response_id} is {reply.status}")


for command in (fork, diff, replay):
    responses.add_command(command)


async def _pages(
    client: ServiceClient, path: str, asked: dict[str, str], page: int, limit: int | None
) -> list[ResponseEntry]:
    """As many as there are, or `limit`."""
    found: list[ResponseEntry] = []
    cursor: dict[str, Any] = {}
    while limit is None or len(found) < limit:
        size = page if limit is None else min(page, limit - len(found))
        query = urlencode({**asked, **cursor, "limit": size}, quote_via=quote)
        reply = await client.ask("GET", f"{path}?{query}", ResponseListReply)
        found += reply.responses
        if reply.next_cursor is None:
            break
        cursor = {"cursor": reply.next_cursor}
    return found
