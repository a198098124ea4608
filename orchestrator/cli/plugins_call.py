"""`orchestrator plugins call` and `restart`: using a plugin without a model, and starting it anew."""

import json
import sys
from contextlib import aclosing
from typing import cast

import click
import msgspec
import rich_click
from msgspec import UNSET, UnsetType

from orchestrator.api.wire import ChatReply, PluginProviderInfo, ToolCallOutput
from orchestrator.api.wire_events import ChatEnd, ChatStart, ElicitationRequested, ToolCallFailure, ToolCallProgress
from orchestrator.api.wire_plugins import DirectCallBody, DirectCallReply, PluginDetail
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import SERVER, with_settings
from orchestrator.cli.elicitations import answering
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, PLUGIN, URL, ask, plugin_path
from orchestrator.cli.plugins_output import STATE_STYLES, console, say
from orchestrator.cli.terminal_stream import TerminalStream
from orchestrator.cli.terminal_text import one_line, result_text, visible
from orchestrator.core.json_types import JsonObject, JsonValue, parse_object
from orchestrator.settings import Settings


@rich_click.command()
@PLUGIN
@click.argument("tool")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--arguments", "arguments_text", metavar="JSON", help="All arguments as one JSON object.")
@click.option("--previous-response-id", metavar="ID", help="Call it in this chain, whose plugins keep their state.")
@URL
@JSON
@with_settings(*SERVER)
def call(
    settings: Settings,
    plugin_id: str,
    tool: str,
    arguments: tuple[str, ...],
    arguments_text: str | None,
    previous_response_id: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Call a TOOL of a plugin without a model. The call is journaled like any other.

    A VALUE that is JSON is taken as JSON (5, true, [1, 2]), anything else as text. Ends with status 1 where the
    tool answers with an error. On a terminal, progress is shown and what the server asks is answered here.
    """
    body = DirectCallBody(_arguments(arguments, arguments_text), previous_response_id or UNSET)
    path = plugin_path(plugin_id, "tools", tool, "call")
    if sys.stdin.isatty() and not as_json:
        reply = ask(settings, url, lambda client: _watched(client, path, body, plugin_id))
    else:
        reply = ask(settings, url, lambda client: client.ask("POST", path, DirectCallReply, body))
    if as_json:
        print_json(reply)
    else:
        _print(reply)
    if reply.is_error is True or reply.output is UNSET:
        click.get_current_context().exit(1)


@rich_click.command()
@PLUGIN
@URL
@JSON
@with_settings(*SERVER)
def restart(settings: Settings, plugin_id: str, url: str | None, as_json: bool) -> None:
    """Connect a plugin anew; starts it where it does not run. Calls under way finish on the old connection."""
    path = plugin_path(plugin_id, "restart")
    reply = ask(settings, url, lambda client: client.ask("POST", path, PluginDetail))
    if as_json:
        print_json(reply)
        return
    tools = "" if reply.tools is None else f" with {len(reply.tools)} tools"
    say(console(), f"{one_line(reply.id)} is {reply.state}{tools}", STATE_STYLES.get(reply.state, ""))


async def _watched(client: ServiceClient, path: str, body: DirectCallBody, plugin_id: str) -> DirectCallReply:
    """The call, with its progress and its questions on the terminal."""
    answer, response_id, terminal = answering(client), "", TerminalStream()
    failure: str | None = None
    async with aclosing(client.stream(path, msgspec.structs.replace(body, stream=True), extensions=True)) as events:
        async for event in events:
            match event:
                case ChatStart():
                    response_id = event.response_id or ""
                case ToolCallProgress():
                    for piece in terminal.pieces(event):
                        click.echo(piece.text, nl=False, err=True)
                case ElicitationRequested() if answer is not None:
                    await answer(str(response_id), event)
                case ToolCallFailure():
                    failure = event.reason
                case ChatEnd(result):
                    if failure is not None:
                        raise CommandError(f"{client.url} refused: {failure}")
                    return _direct_reply(result, plugin_id)
                case _:
                    pass
    raise AssertionError("a stream ends with chat.end or raises")


def _direct_reply(result: ChatReply, plugin_id: str) -> DirectCallReply:
    response_id = str(result.response_id or "")
    for made in result.output:
        if isinstance(made, ToolCallOutput):
            return DirectCallReply(
                response_id,
                result.status,
                made.tool,
                made.provider_info,
                made.call_id,
                made.arguments,
                made.output,
                made.is_error,
                made.duration_ms,
                made.structured_output,
                result.warnings,
            )
    return DirectCallReply(
        response_id,
        result.status,
        "",
        PluginProviderInfo(plugin_id),
        warnings=result.warnings,
        pending_approvals=result.pending_approvals,
    )


def _arguments(pairs: tuple[str, ...], text: str | None) -> JsonObject:
    found: JsonObject = {}
    if text is not None:
        given = parse_object(text)
        if given is None:
            raise click.UsageError("--arguments must be a JSON object.")
        found.update(given)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"An argument is written NAME=VALUE, not {pair!r}.")
        found[name] = _value(value)
    return found


def _value(text: str) -> JsonValue:
    try:
        return cast(JsonValue, json.loads(text))
    except ValueError:
        return text


def _print(reply: DirectCallReply) -> None:
    out = console()
    if reply.output is UNSET:
        say(out, f"the call has not been made: its response {reply.response_id} is {reply.status}", "yellow")
        if reply.status == "awaiting_approval":
            click.echo(f"orchestrator approvals show {reply.response_id}", err=True)
        return
    out.print(visible(result_text(reply.output, reply.structured_output)), markup=False, soft_wrap=True)
    for warning in () if isinstance(reply.warnings, UnsetType) else reply.warnings:
        click.echo(click.style(f"warning: {one_line(warning)}", fg="yellow"), err=True)
    failed = "the tool answered with an error, " if reply.is_error is True else ""
    took = "" if reply.duration_ms is UNSET else f"{reply.duration_ms} ms, "
    error = click.style(f"{failed}{took}journaled as {reply.call_id} of {reply.response_id}", dim=True)
    click.echo(error, err=True)
