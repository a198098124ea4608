"""`orchestrator serve`: run the service in the foreground."""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVarTuple, Unpack

import anyio
import click
import msgspec
import rich_click
from rich.console import Console
from rich.text import Text

from orchestrator.cli.command_settings import EVERY, make_data_dir, service_url, with_settings
from orchestrator.cli.http_service import HttpService, listen, single_exception
from orchestrator.cli.plugin_files import plugin_ids
from orchestrator.cli.terminal_text import visible
from orchestrator.cli.tokens import bootstrap_token
from orchestrator.core.redaction import Redaction
from orchestrator.settings import Settings
from orchestrator.telemetry import configure_logging

Ts = TypeVarTuple("Ts")
CLOCK = "mcp/clock"
CLOCK_PROMPT = 'Use get_current_time with timezone="Asia/Tokyo"'


@rich_click.command()
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as one line of JSON.")
@with_settings(*EVERY)
def serve(settings: Settings, as_json: bool) -> None:
    """Run the service until Ctrl-C or SIGTERM. Requests in flight may finish; a second signal does not wait."""
    service, settings = open_service(settings)
    first_token = bootstrap_token(settings) if settings.require_authentication else None

    def on_ready() -> None:
        if as_json:
            told = {} if first_token is None else {"bootstrap_token": first_token}
            click.echo(msgspec.json.encode({**summary(settings), **told}))
        else:
            announce(settings, Console(highlight=False), first_token)

    run_service(service.serve, on_ready)


def open_service(settings: Settings) -> tuple[HttpService, Settings]:
    """The service on sockets that listen already, and the settings with the port that is really used.

    Raises:
        CommandError: the port is taken, or the data directory cannot be made.
    """
    from orchestrator.app import open_app, request_limits  # it brings everything along: not for commands that only ask

    redaction = Redaction(settings.redact_patterns, settings.redact_paths)
    configure_logging(settings.log_level, settings.log_format, redaction=redaction)
    sockets, settings = listen(settings)
    make_data_dir(settings)
    return HttpService(open_app(settings), sockets, request_limits(settings)), settings


def run_service(main: Callable[[Unpack[Ts]], Awaitable[None]], *arguments: *Ts) -> None:
    """Run `main` on uvloop; an error inside of its task groups comes out as itself."""
    try:
        anyio.run(main, *arguments, backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        raise single_exception(group) from None


def summary(settings: Settings) -> dict[str, object]:
    """What a person or a program wants to know of a service that has just started."""
    return {
        "url": service_url(settings),
        "database": database_text(settings),
        "plugins": plugin_ids(settings),
        "authentication": settings.require_authentication,
    }


def announce(settings: Settings, console: Console, first_token: str | None = None) -> None:
    """Say where it listens, what it works with, and what to try next."""
    url = service_url(settings)
    plugins = plugin_ids(settings) if settings.allow_plugins else []
    off = "" if settings.allow_plugins else " (ALLOW_PLUGINS is off)"
    lines = [
        f"Listening on {url}" + ("" if settings.on_loopback else f" and beyond this machine, as {settings.host}"),
        f"  database  {database_text(settings)}",
        f"  plugins   {', '.join(plugins) or 'none'}{off}",
        f"  API       {api_text(settings)}",
    ]
    if first_token is not None:
        lines.append(f"  token     {first_token}  (the first one; it may do everything and is not shown again)")
    elif settings.require_authentication:
        lines.append("  token     orchestrator tokens create --name me --permissions chat,models.read,plugins")
    lines.append(f"  try       orchestrator chat {try_next(plugins)}{port_flag(settings)}")
    console.print(Text(visible("\n".join(lines))), soft_wrap=True)


def api_text(settings: Settings) -> str:
    """Where the API is described."""
    return (
        "that of LM Studio (STRICT_LMSTUDIO is on)" if settings.strict_lmstudio else f"{service_url(settings)}/schema"
    )


def database_text(settings: Settings) -> str:
    """The database without its password."""
    scheme, _, rest = settings.database_url.partition("://")
    if scheme.startswith("sqlite"):
        return f"SQLite {rest.removeprefix('/')}"
    where = rest.rpartition("@")[2].partition("?")[0]
    return f"Postgres {where}"


def try_next(plugins: Sequence[str]) -> str:
    """Arguments of `orchestrator chat` that even the smallest model makes something of."""
    return f"{shlex.quote(CLOCK_PROMPT)} --integration {CLOCK}" if CLOCK in plugins else "Hello"


def port_flag(settings: Settings) -> str:
    """What a command needs to find this service."""
    return "" if settings.port == 1234 else f" --port {settings.port}"
