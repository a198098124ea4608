"""Where the commands about plugins find the service, and how they name a plugin to it."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import click

from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import service_url
from orchestrator.settings import Settings

PLUGINS = "/api/v1/plugins"
LABEL = "mcp/"

T = TypeVar("T")

URL = click.option("--url", help="The service's address, where it is not the one of the settings.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")
PLUGIN = click.argument("plugin_id", metavar="PLUGIN")


def plugin_path(plugin_id: str, *rest: str) -> str:
    """The path of a plugin, or of what belongs to it; the `mcp/` of its id may be left out."""
    parts = [plugin_id.removeprefix(LABEL), *rest]
    return "/".join([PLUGINS, "mcp", *(escaped(part) for part in parts)])


def escaped(name: str) -> str:
    """A name as one part of a path: its slashes are written so that they do not become the path's."""
    return quote(name.replace("/", "%2F"), safe="")


def ask(settings: Settings, url: str | None, question: Callable[[ServiceClient], Awaitable[T]]) -> T:
    """What the service answers.

    Raises:
        CommandError: no service answers, or it refuses.
    """

    async def asked() -> T:
        async with ServiceClient(url or service_url(settings)) as client:
            return await question(client)

    answered: Callable[[], Awaitable[Any]] = asked
    return anyio.run(answered)
