"""`orchestrator plugins check`: a dry run of plugins, by a running service or without one."""

from collections.abc import Generator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import click
import rich_click
import structlog

from orchestrator.api.encode_plugins import check_reply
from orchestrator.api.wire_plugins import CheckBody, CheckReply
from orchestrator.api.wire_requests import EphemeralIntegration, IntegrationEntry
from orchestrator.cli.command_error import complain
from orchestrator.cli.command_settings import EVERY, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, LABEL, URL, ask
from orchestrator.cli.plugins_output import console, print_check
from orchestrator.settings import Settings

CHECK: Final = "/api/v1/integrations/check"
SUSPICIOUS: Final = 3


@rich_click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PLUGIN|FILE|ADDRESS...")
@click.option("--offline", is_flag=True, help="Ask no service: start the plugins of the settings' files here.")
@click.option(
    "--strict",
    is_flag=True,
    help=f"End with status {SUSPICIOUS} where a definition is suspicious or cannot be used, or mcp.json names a tool that is not there.",
)
@URL
@JSON
@with_settings(*EVERY)
def check(
    settings: Settings, targets: tuple[str, ...], offline: bool, strict: bool, url: str | None, as_json: bool
) -> None:
    """Connect plugins as a chat would, and say what they would offer, what it costs, and what is wrong.

    A FILE in the notation of mcp.json is checked here, without a service, and so is everything with --offline.
    Nothing is called, generated or pinned here. Ends with status 1 where a chat with these plugins would not begin.
    """
    files = [Path(target) for target in targets if _is_file(target)]
    if files and len(files) < len(targets):
        raise click.UsageError("Check files by themselves: they are checked without a service.")
    if files:
        reply = anyio.run(_checked_here, settings, files, None)
    elif offline:
        reply = anyio.run(_checked_here, settings, None, targets)
    else:
        body = CheckBody([_entry(target) for target in targets])
        reply = ask(settings, url, lambda client: client.ask("POST", CHECK, CheckReply, body))
    if as_json:
        print_json(reply)
    else:
        print_check(console(), reply)
    if not reply.ok:
        click.get_current_context().exit(1)
    if strict and any(entry.problems or any(tool.suspicions for tool in entry.tools) for entry in reply.integrations):
        click.get_current_context().exit(SUSPICIOUS)


def _is_file(target: str) -> bool:
    return target.endswith((".json", ".jsonc")) or (not target.startswith(LABEL) and Path(target).is_file())


def _is_address(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _entry(target: str) -> IntegrationEntry:
    if _is_address(target):
        return EphemeralIntegration("server", target)
    return target if target.startswith(LABEL) else LABEL + target


async def _checked_here(settings: Settings, files: Sequence[Path] | None, targets: Sequence[str] | None) -> CheckReply:
    from orchestrator.api.chat_request import integration_requests
    from orchestrator.app import open_checks
    from orchestrator.service.callers import Caller

    # What the log would say stands in the reply, and standard output is for that alone.
    with _silent_log():
        async with open_checks(settings, files) as (checks, installed, problems):
            for problem in problems:
                complain(problem)
            wanted = installed if targets is None else targets
            entries = [_entry(target) for target in wanted]
            return check_reply(await checks.check(integration_requests(entries), Caller()))


@contextmanager
def _silent_log() -> Generator[None]:
    processors: list[structlog.typing.Processor] = structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [_drop]  # in place: loggers that were made before hold this very list
    try:
        yield
    finally:
        processors[:] = before


def _drop(logger: object, method: str, event: MutableMapping[str, Any]) -> NoReturn:
    raise structlog.DropEvent
