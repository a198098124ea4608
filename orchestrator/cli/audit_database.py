"""The audit's commands at work on the database."""

import getpass
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click

from orchestrator.cli.command_settings import make_data_dir
from orchestrator.core.json_types import JsonObject
from orchestrator.ports.audit import AuditHead, AuditStore, AuditVerification, CallFilter
from orchestrator.service.audit import EXPORT_ROWS
from orchestrator.service.audit_export import ExportFormat, definition_lines, written
from orchestrator.settings import Settings


def reader() -> str:
    """Who sits at the command line, as the audit names them."""
    try:
        return f"command line: {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "command line"


@asynccontextmanager
async def audit_store(settings: Settings, use: str, asked: Mapping[str, object]) -> AsyncGenerator[AuditStore]:
    """The audit of the database that the settings name, once it is recorded who reads what in it."""
    from orchestrator.store.audit import SqlAuditStore
    from orchestrator.store.database import open_database
    from orchestrator.store.migrate import prepare
    from orchestrator.store.read_only import evidence, is_read_only

    if is_read_only(settings.database_url):
        async with evidence(settings.database_url) as (database, note):
            click.echo(f"note: {note}, and who read it is not recorded", err=True)
            yield SqlAuditStore(database)
        return
    make_data_dir(settings)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        store = SqlAuditStore(database)
        told: JsonObject = {"use": use, "asked": {name: str(value) for name, value in asked.items()}}
        await store.record_event("reading", datetime.now(UTC), reader(), None, told)
        yield store
    finally:
        await database.aclose()


async def export_to(
    settings: Settings, wanted: CallFilter, form: ExportFormat, path: Path, definitions: Path
) -> Sequence[AuditHead]:
    """Write an export to `path` and its definitions beside it; the heads of the chains as they were when it began."""
    async with audit_store(settings, "export", wanted.given()) as store:
        heads = await store.heads()
        async with await anyio.open_file(path, "xb") as file:
            async for piece in written(store.export_calls(wanted, EXPORT_ROWS), form):
                await file.write(piece)
        # Read after the calls: a definition is never removed, so none of theirs is missing.
        async with await anyio.open_file(definitions, "xb") as file:
            async for piece in definition_lines(store.export_definitions(wanted)):
                await file.write(piece)
    return [head for head in heads if wanted.owner in (None, head.owner)]


async def verify_database(
    settings: Settings, owner: str | None, first: str | None, last: str | None, since: Sequence[AuditHead]
) -> AuditVerification:
    """Prove the chains of the database; `first` and `last` are sequence numbers or moments.

    Raises:
        OrchestratorError: the database is of another version, or the range means nothing in it.
    """
    from orchestrator.store.audit_ranges import ranges
    from orchestrator.store.audit_verify import verify
    from orchestrator.store.read_only import evidence

    # Nothing is made, migrated or recorded in it.
    async with evidence(settings.database_url) as (database, note):
        if note is not None:
            click.echo(f"note: {note}", err=True)
        proved = AuditVerification(0, 0, 0, (), None)
        for part in await ranges(database, owner, first, last):
            found = await verify(database, part, [head for head in since if part.owner in (None, head.owner)])
            proved = AuditVerification(
                proved.links + found.links,
                proved.events + found.events,
                proved.erased + found.erased,
                (*proved.heads, *found.heads),
                found.problem,
                responses=proved.responses + found.responses,
                responses_erased=proved.responses_erased + found.responses_erased,
            )
            if found.problem is not None:
                break
        return proved
