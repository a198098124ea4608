"""What `orchestrator audit verify` says."""

from dataclasses import asdict
from typing import Final

import click

from orchestrator.cli.output import print_json
from orchestrator.ports.audit import AuditVerification

NO_CALLS: Final = "there are no calls"
NOTHING: Final = "nothing is proven: there are no calls, and nothing here says whether there were any"


def print_verification(
    report: AuditVerification, unproved: str | None, *, of_file: bool, signed: bool, as_json: bool
) -> None:
    """Print what was proved; `unproved` is why nothing says that all is there, None: something does."""
    problem = report.problem
    if as_json:
        told = {"ok": problem is None, "complete": problem is None and unproved is None, "signature": signed or None}
        print_json(told | asdict(report))
        return
    proved = f"{report.links} links"
    proved += f" of calls, {report.responses} of responses" if report.responses else ""
    proved += f" and {report.events} events" if report.events else ""
    if problem is None:
        if unproved == NO_CALLS:
            click.echo(NOTHING + (f"; {report.events} events are as they were written" if report.events else ""))
            return
        verdict = "ok" if unproved is None else f"complete: not proven ({unproved}); each row by itself is right"
        said = f"{verdict}: {proved} are as they were written"
        erased = report.erased + report.responses_erased
        said += f", the content of {erased} is deleted" if erased else ""
        if of_file:
            said += f"; {_definitions(report.definitions)}"
        click.echo(said + ("; the signature is right" if signed else ""))
        return
    where = f"link {problem.sequence} of {problem.owner}" if problem.sequence else problem.owner or "the file"
    what = "" if problem.call_id is None else f", call {problem.call_id}"
    if problem.response_id is not None:
        where += "'s responses" if problem.sequence else ""
        what = f", response {problem.response_id}"
    click.echo(f"NOT ok: {where}{what}: {problem.what} ({proved} before it are as they were written)")


def _definitions(count: int | None) -> str:
    match count:
        case None:
            return "no definitions lie beside it"
        case 1:
            return "the definition beside it is what its digest stands for"
        case _:
            return f"the {count} definitions beside it are what their digests stand for"
