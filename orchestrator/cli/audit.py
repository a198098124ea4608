"""`orchestrator audit`: the journal of tool calls, read, exported and proved in the database directly."""

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

import anyio
import click
import rich_click

from orchestrator.cli.audit_database import audit_store, export_to, verify_database
from orchestrator.cli.audit_output import NO_CALLS, print_verification
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import DATABASE, with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.core.moments import in_utc
from orchestrator.core.tools import provider_label
from orchestrator.ports.audit import (
    ArgumentPattern,
    AuditedCall,
    CallFilter,
    CallPlace,
    ListedCall,
    plugin_of,
)
from orchestrator.service.audit import summarised
from orchestrator.service.audit_export import EXPORT_FORMATS, ExportFormat, require_parquet
from orchestrator.settings import Settings

FOUND_WANTING: Final = 1
"""The exit status of `verify` when something is not as it was chained."""

NOT_PROVED_WHOLE: Final = 3
"""The exit status of `verify` when each row is as it was chained, and nothing says that none is missing."""


class Moment(click.ParamType[datetime]):
    """A moment; one without a zone is in UTC."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, or a usage error."""
        try:
            return in_utc(datetime.fromisoformat(str(value)))
        except ValueError:
            self.fail(f"{value!r} is no moment; write 2026-03-01 or 2026-03-01T12:00:00Z", param, ctx)


class Plugin(click.ParamType[str]):
    """A plugin's id, with or without `mcp/`."""

    name = "plugin"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id."""
        return plugin_of(str(value))


class ResponseId(click.ParamType[str]):
    """The id of a response."""

    name = "response"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id, or a usage error."""
        if not str(value).startswith("resp_"):
            self.fail(f"{value!r} is no id of a response; they begin with resp_", param, ctx)
        return str(value)


class Digest(click.ParamType[str]):
    """The digest of a definition, with or without `sha256:`."""

    name = "digest"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The digest, or a usage error."""
        digits = str(value).removeprefix("sha256:").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digits, re.ASCII):
            self.fail(f"{value!r} is no whole digest: 'sha256:' and 64 hexadecimal digits", param, ctx)
        return f"sha256:{digits}"


class Argument(click.ParamType[ArgumentPattern]):
    """An argument by its path, and what it is like: `path=/etc/*`."""

    name = "argument"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ArgumentPattern:
        """The pattern, or a usage error."""
        path, equals, glob = str(value).partition("=")
        if not path or not equals:
            self.fail(f"{value!r} names no argument; write path=/etc/*", param, ctx)
        return ArgumentPattern(path.removeprefix("arguments."), glob)


_FILTERS: Final = (
    click.option("--owner", metavar="OWNER", help="Whose calls; everybody's if absent."),
    click.option("--tool", metavar="NAME", help="The server's own name of the tool."),
    click.option("--plugin", "plugin_id", type=Plugin(), metavar="ID", help="A plugin, such as mcp/clock."),
    click.option("--server-label", metavar="LABEL", help="A server that a request brought along."),
    click.option(
        "--server",
        "server_address",
        metavar="ADDRESS",
        help="The server that was called: origin and path of its URL, or its program's name.",
    ),
    click.option(
        "--status",
        metavar="STATUS",
        help="succeeded, failed, refused, invalid, abandoned, edited, replayed or journaled.",
    ),
    click.option("--error/--no-error", "is_error", default=None, help="Whether it ended as an error."),
    click.option("--response", "response_id", type=ResponseId(), metavar="ID", help="Calls of one response."),
    click.option("--model", metavar="KEY", help="The model that asked for the call."),
    click.option(
        "--definition",
        "definition_digest",
        type=Digest(),
        metavar="DIGEST",
        help="The definition that was offered, sha256:….",
    ),
    click.option("--from", "since", type=Moment(), metavar="MOMENT", help="Journaled at this moment or later."),
    click.option("--to", "until", type=Moment(), metavar="MOMENT", help="Journaled before this moment."),
    click.option("--min-ms", "duration_min", type=int, metavar="MS", help="At least so many milliseconds."),
    click.option("--max-ms", "duration_max", type=int, metavar="MS", help="At most so many milliseconds."),
    click.option(
        "--argument",
        "arguments",
        type=Argument(),
        multiple=True,
        metavar="PATH=GLOB",
        help="Calls with such an argument: path=/etc/*. May be given several times.",
    ),
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@rich_click.group()
def audit() -> None:
    """The journal of tool calls: who called what with what, what came back, and the proof of it."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many calls.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest instead of the newest.")
@_JSON
@_filtered
@with_settings(*DATABASE)
def list_(settings: Settings, limit: int, oldest_first: bool, as_json: bool, **asked: Any) -> None:
    """List tool calls, the newest first."""

    async def read() -> list[ListedCall]:
        found: list[ListedCall] = []
        place: CallPlace | None = None
        async with audit_store(settings, "list", CallFilter(**asked).given()) as store:
            while len(found) < limit:
                size = min(500, limit - len(found))
                page = await store.list_calls(CallFilter(**asked), place, size, newest_first=not oldest_first)
                found += page.calls
                place = page.next
                if place is None:
                    break
        return found

    calls = anyio.run(read)
    if as_json:
        print_json({"tool_calls": [asdict(call) for call in calls]})
        return
    if not calls:
        click.echo("no calls match" if CallFilter(**asked).given() else "no calls")
        return
    rows = [
        (
            f"{call.created_at:%Y-%m-%d %H:%M:%S}",
            call.call_id,
            call.owner,
            "" if call.provider is None else provider_label(call.provider),
            call.tool or f"({call.model_name})",
            call.status + (" (error)" if call.is_error and call.status == "succeeded" else ""),
            "" if call.duration_ms is None else f"{call.duration_ms} ms",
        )
        for call in calls
    ]
    print_table(("time (UTC)", "call", "owner", "server", "tool", "status", "took"), rows)


@audit.command()
@click.argument("call_id")
@_JSON
@with_settings(*DATABASE)
def show(settings: Settings, call_id: str, as_json: bool) -> None:
    """Show the call CALL_ID whole: its arguments, its output, its definition and its links of the chain."""

    async def read() -> AuditedCall | None:
        async with audit_store(settings, "get", {"call_id": call_id}) as store:
            return await store.get_call(call_id, None)

    call = anyio.run(read)
    if call is None:
        raise CommandError(f"there is no tool call {call_id!r}; `orchestrator audit list` shows their ids")
    whole = asdict(call)
    facts = whole.pop("listed") | whole
    if as_json:
        print_json(facts)
        return
    links = facts.pop("links")
    rows = [(name, "" if value is None else str(value)) for name, value in facts.items()]
    rows += [(f"link {link['sequence']}", f"{link['kind']} {link['hash']}") for link in links]
    print_table(("", "value"), rows)


@audit.command()
@click.option(
    "--bucket", type=click.IntRange(1), metavar="SECONDS", help="Tell stretches of time of this length apart."
)
@_JSON
@_filtered
@with_settings(*DATABASE)
def stats(settings: Settings, bucket: int | None, as_json: bool, **asked: Any) -> None:
    """Show how many calls there were, how many failed and how long they took, by server and tool."""

    async def read() -> Any:
        async with audit_store(settings, "stats", CallFilter(**asked).given()) as store:
            return summarised(await store.count_calls(CallFilter(**asked), bucket), bucket)

    found = anyio.run(read)
    if as_json:
        print_json({"stats": [asdict(row) for row in found]})
        return
    rows = [
        (
            "" if row.since is None else f"{row.since:%Y-%m-%d %H:%M:%S}",
            "" if row.provider is None else provider_label(row.provider),
            row.tool or "(no such tool)",
            str(row.calls),
            f"{100 * row.errors / row.calls:.1f} %",
            *("" if value is None else f"{value} ms" for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
        )
        for row in found
    ]
    print_table(("since (UTC)", "server", "tool", "calls", "errors", "p50", "p95", "p99"), rows)


@audit.command()
@click.option("--format", "form", type=click.Choice(EXPORT_FORMATS), help="By the name of the file if absent.")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The file to write.")
@click.option("--sign", type=click.Path(path_type=Path), metavar="KEYFILE", help="An Ed25519 private key (PEM).")
@_JSON
@_filtered
@with_settings(*DATABASE)
def export(
    settings: Settings, form: ExportFormat | None, output: Path, sign: Path | None, as_json: bool, **asked: Any
) -> None:
    """Export tool calls, whole, and beside them their definitions, and a manifest that tells whether anything is missing.

    Without filters the export is evidence: `audit verify --file` proves it, to the last call, without the database.
    """
    from orchestrator.store import audit_files, audit_keys
    from orchestrator.store.audit_definition_files import DEFINITIONS, described

    form = form or cast(ExportFormat, audit_files.form_of(output))
    definitions = output.with_name(output.name + DEFINITIONS)
    for file in (output, definitions):
        if file.exists():
            raise CommandError(
                f"{file} is there already, and an export overwrites nothing: give another --output, or move it away"
            )
    if form == "parquet":
        require_parquet()
    if sign is not None:
        audit_keys.check_key(sign)
    wanted = CallFilter(**asked)
    filters = {name: str(value) for name, value in wanted.given().items() if name != "owner"}
    try:
        heads = anyio.run(export_to, settings, wanted, form, output, definitions)
    except OSError as error:
        raise CommandError(f"{error.filename or output} cannot be written: {error.strerror}") from None
    rows = sum(1 for _ in audit_files.read_rows(output, form))
    manifest = audit_files.new_manifest(output, form, rows, filters, heads, beside=described(definitions))
    beside = audit_files.write_manifest(output, manifest, sign)
    if as_json:
        files = {"file": str(output), "definitions": str(definitions), "manifest": str(beside)}
        print_json({**files, "rows": rows, "signed": sign is not None})
    else:
        click.echo(f"{rows} calls in {output}, {'signed' if sign else 'unsigned'} manifest in {beside}")
        click.echo(f"their definitions in {definitions}")


@audit.command()
@click.option("--owner", metavar="OWNER", help="One owner's chain; every owner's if absent.")
@click.option(
    "--from",
    "first",
    metavar="N|MOMENT",
    help="From this link, or from the calls of this moment, on. A link's number is of one chain: where there are "
    "several, it needs --owner. A moment is of all of them.",
)
@click.option("--to", "last", metavar="N|MOMENT", help="Up to this link, or to the calls of this moment.")
@click.option("--since", type=click.Path(path_type=Path), metavar="MANIFEST", help="From the heads of an export on.")
@click.option("--file", type=click.Path(path_type=Path), metavar="EXPORT", help="An export, instead of the database.")
@click.option("--public-key", type=click.Path(path_type=Path), metavar="PEM", help="Who must have signed the manifest.")
@_JSON
@with_settings(*DATABASE)
def verify(
    settings: Settings,
    owner: str | None,
    first: str | None,
    last: str | None,
    since: Path | None,
    file: Path | None,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Prove that the journal is what it was when it was written, and name the first call that is not.

    The exit status is 1 when something was changed, removed or slipped in, and 3 where there is no call to prove, and
    for an export that is a selection, or has no manifest beside it: each of its calls is proved, and nothing says that
    none is missing.
    """
    from orchestrator.store import audit_files

    if public_key is not None and file is None and since is None:
        raise CommandError("--public-key goes with --file or --since, whose manifest is signed")
    unproved: str | None = None
    if file is not None:
        beside = file.with_name(file.name + audit_files.MANIFEST)
        needed = public_key is not None or beside.exists()
        manifest = audit_files.read_manifest(beside, public_key) if needed else None
        report = audit_files.verify_file(file, manifest)
        if manifest is None:
            unproved = "there is no manifest beside it"
        elif manifest.filters:
            unproved = "the export is a selection"
    else:
        heads = () if since is None else audit_files.read_manifest(since, public_key).heads
        report = anyio.run(verify_database, settings, owner, first, last, heads)
    if not report.links and not report.responses:
        unproved = NO_CALLS
    print_verification(report, unproved, of_file=file is not None, signed=public_key is not None, as_json=as_json)
    if report.problem is not None:
        click.get_current_context().exit(FOUND_WANTING)
    if unproved is not None:
        click.get_current_context().exit(NOT_PROVED_WHOLE)


@audit.command()
@click.argument("path", type=click.Path(path_type=Path))
@_JSON
@with_settings()
def keygen(_settings: Settings, path: Path, as_json: bool) -> None:
    """Make an Ed25519 key pair to sign exports with: PATH, which is a secret, and PATH.pub, which verifies."""
    from orchestrator.store import audit_keys

    public = audit_keys.make_keys(path)
    if as_json:
        print_json({"private_key": str(path), "public_key": str(public)})
    else:
        click.echo(f"made {path} (keep it secret) and {public} (give it to whoever verifies)")
