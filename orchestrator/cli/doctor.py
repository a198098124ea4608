"""`orchestrator doctor`: what a start will find, asked before or beside it."""

import anyio
import click
import rich_click
from rich.console import Console
from rich.text import Text

from orchestrator.cli.command_settings import EVERY, with_settings
from orchestrator.cli.doctor_checks import Finding, examine
from orchestrator.cli.output import print_json
from orchestrator.cli.terminal_text import one_line
from orchestrator.settings import Settings

STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


@rich_click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*EVERY)
def doctor(settings: Settings, as_json: bool) -> None:
    """Check what the service needs. Changes nothing; the exit status is 1 where something will not work."""
    findings = anyio.run(examine, settings)
    if as_json:
        print_json({"findings": findings})
    else:
        _show(findings)
    if any(finding.status == "problem" for finding in findings):
        click.get_current_context().exit(1)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        line = Text.assemble(
            (f"{finding.status:8}", STYLES[finding.status]), f"{finding.about:16}", one_line(finding.text)
        )
        console.print(line, soft_wrap=True)
