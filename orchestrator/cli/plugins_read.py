"""`orchestrator plugins read` and `prompt`: what a plugin has beside tools, without a chat."""

import base64
import binascii
from pathlib import Path
from typing import Any

import click
import rich_click
from msgspec import UNSET

from orchestrator.api.wire_materials import GetPromptBody, PromptReply, ReadResourceBody, ResourceReply
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import SERVER, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, PLUGIN, URL, ask, plugin_path
from orchestrator.cli.plugins_output import console, say
from orchestrator.cli.terminal_text import one_line, visible
from orchestrator.settings import Settings

_CHAIN = click.option("--previous-response-id", metavar="ID", help="Ask in this chain, whose plugins keep their state.")


@rich_click.command()
@PLUGIN
@click.argument("uri")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a file, byte for byte."
)
@_CHAIN
@URL
@JSON
@with_settings(*SERVER)
def read(
    settings: Settings,
    plugin_id: str,
    uri: str,
    output: Path | None,
    previous_response_id: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Read the resource URI of a plugin, be it a listed one or a template with its values put in."""
    body = ReadResourceBody(uri, previous_response_id or UNSET)
    path = plugin_path(plugin_id, "resources", "read")
    reply = ask(settings, url, lambda client: client.ask("POST", path, ResourceReply, body))
    if output is not None:
        try:
            output.write_bytes(b"".join(_bytes(part) for part in reply.contents))
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        print_json(reply)
    elif output is None:
        for part in reply.contents:
            console().print(visible(_text(part)), markup=False, soft_wrap=True)


@rich_click.command()
@PLUGIN
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@_CHAIN
@URL
@JSON
@with_settings(*SERVER)
def prompt(
    settings: Settings,
    plugin_id: str,
    name: str,
    arguments: tuple[str, ...],
    previous_response_id: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Fill in the prompt NAME of a plugin, and show what it makes the user and the model say."""
    body = GetPromptBody(dict(_pair(argument) for argument in arguments), previous_response_id or UNSET)
    path = plugin_path(plugin_id, "prompts", name, "get")
    reply = ask(settings, url, lambda client: client.ask("POST", path, PromptReply, body))
    if as_json:
        print_json(reply)
        return
    out = console()
    for message in reply.messages:
        say(out, message.role, "bold")
        out.print(visible(_text(message.content)), markup=False, soft_wrap=True)


def _pair(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise click.UsageError(f"An argument is written NAME=VALUE, not {argument!r}.")
    return name, value


def _bytes(part: dict[str, Any]) -> bytes:
    text, blob = part.get("text"), part.get("blob")
    if isinstance(text, str) or not isinstance(blob, str):
        return str(text or "").encode()
    try:
        return base64.b64decode(blob, validate=True)
    except binascii.Error:
        raise CommandError("the server sent bytes that are not base64") from None


def _text(part: dict[str, Any]) -> str:
    """What a terminal can show of it: of pictures and other bytes what they are."""
    inner = part.get("resource")
    if isinstance(inner, dict):
        return _text(inner)  # pyright: ignore[reportUnknownArgumentType] - a server's own JSON
    text = part.get("text")
    if isinstance(text, str):
        return text
    data = part.get("blob") or part.get("data") or ""
    kind = one_line(str(part.get("mimeType") or part.get("type") or "bytes"))
    where = one_line(str(part.get("uri") or ""))
    return f"({kind}, {len(str(data)) * 3 // 4} bytes{', ' if where else ''}{where})"
