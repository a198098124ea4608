"""`orchestrator plugins list`, `show` and `logs`: how the plugins of a running service are."""

from collections.abc import Sequence
from typing import Final, TypeVar

import anyio
import click
import rich_click
from msgspec import UNSET

from orchestrator.api.wire_plugins import DefinitionsReply, LogLine, PluginDetail, PluginList
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, PLUGIN, PLUGINS, URL, ask, plugin_path
from orchestrator.cli.plugins_output import console, print_changes, print_detail, print_summaries, say
from orchestrator.cli.terminal_text import one_line, visible
from orchestrator.settings import Settings

FOLLOW_SECONDS: Final = 1.0
INTERRUPTED: Final = 130

T = TypeVar("T")


@rich_click.command("list")
@URL
@JSON
@with_settings(*SERVER)
def list_(settings: Settings, url: str | None, as_json: bool) -> None:
    """List the installed plugins, and how each is. Starts none of them."""
    reply = ask(settings, url, lambda client: client.ask("GET", PLUGINS, PluginList))
    if as_json:
        print_json(reply)
        return
    print_summaries(reply.plugins)
    out = console()
    config = reply.config
    if config is UNSET:
        return
    for file in config.files:
        if file.error is not None:
            say(out, f"! {one_line(file.path)} is not in use as it is now: {one_line(file.error)}", "red")
    for warning in config.warnings:
        say(out, f"! {one_line(warning)}", "yellow")


@rich_click.command()
@PLUGIN
@URL
@JSON
@with_settings(*SERVER)
def show(settings: Settings, plugin_id: str, url: str | None, as_json: bool) -> None:
    """Show a plugin: its server, tools and what they cost, how its definitions changed, its last words."""

    async def question(client: ServiceClient) -> tuple[PluginDetail, DefinitionsReply]:
        detail = await client.ask("GET", plugin_path(plugin_id), PluginDetail)
        return detail, await client.ask("GET", plugin_path(plugin_id, "definitions"), DefinitionsReply)

    detail, definitions = ask(settings, url, question)
    if as_json:
        print_json({"plugin": detail, "definitions": definitions})
        return
    out = console()
    print_detail(out, detail)
    print_changes(out, [change for change in definitions.history if change.outcome is None])


@rich_click.command()
@PLUGIN
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@URL
@JSON
@with_settings(*SERVER)
def logs(settings: Settings, plugin_id: str, follow: bool, url: str | None, as_json: bool) -> None:
    """Print the last lines that a plugin wrote to its standard error, and its MCP log messages."""
    if follow and as_json:
        raise click.UsageError("--follow prints lines, not JSON.")

    async def question(client: ServiceClient) -> tuple[list[str], list[LogLine]]:
        detail = await client.ask("GET", plugin_path(plugin_id), PluginDetail)
        return list(detail.stderr or []), list(detail.log or [])

    async def followed() -> None:
        async with ServiceClient(url or service_url(settings)) as client:
            before: tuple[list[str], list[LogLine]] = [], []
            while True:
                stderr, log = await question(client)
                _print(new_lines(before[0], stderr), new_lines(before[1], log))
                before = stderr, log
                await anyio.sleep(FOLLOW_SECONDS)

    if follow:
        try:
            anyio.run(followed)
        except KeyboardInterrupt:
            click.get_current_context().exit(INTERRUPTED)
    stderr, log = ask(settings, url, question)
    if as_json:
        print_json({"stderr": stderr, "log": log})
    else:
        _print(stderr, log)


def new_lines(before: Sequence[T], now: Sequence[T]) -> Sequence[T]:
    """What stands in `now` behind what stood in `before`: a ring forgets from its front."""
    for kept in range(min(len(before), len(now)), 0, -1):
        if list(before[-kept:]) == list(now[:kept]):
            return now[kept:]
    return now


def _print(stderr: Sequence[str], log: Sequence[LogLine]) -> None:
    out = console()
    for line in stderr:
        say(out, visible(line))
    for message in log:
        say(out, f"{message.at:%H:%M:%S} [{one_line(message.level)}] {visible(message.text)}", "dim")
