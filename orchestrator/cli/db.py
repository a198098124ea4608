"""`orchestrator db`: bring the database to the tables of this version, look at its size, and make it smaller."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
import click
import rich_click

from orchestrator.cli.command_settings import DATABASE, make_data_dir, with_settings
from orchestrator.cli.output import print_json, print_table, size_text
from orchestrator.settings import Settings

if TYPE_CHECKING:  # it brings the database along: not for commands that only ask
    from orchestrator.store.database import Database
    from orchestrator.store.maintenance import DatabaseStatistics


@rich_click.group()
def db() -> None:
    """The database and its tables."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def upgrade(settings: Settings, as_json: bool) -> None:
    """Bring the database to the tables of this version. SQLite is upgraded at every start anyway."""
    from orchestrator.store import migrate

    make_data_dir(settings)
    before = anyio.run(migrate.current_revision, settings.database_url)
    anyio.run(migrate.upgrade, settings.database_url)
    after = anyio.run(migrate.current_revision, settings.database_url)
    if as_json:
        print_json({"before": before, "revision": after})
    else:
        click.echo(f"at revision {after}" + (", as before" if before == after else f", from {before or 'no tables'}"))


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def current(settings: Settings, as_json: bool) -> None:
    """Show the revision that the database is at, and the one that this version needs."""
    from orchestrator.store import migrate

    revision, needed = anyio.run(migrate.current_revision, settings.database_url), migrate.head_revision()
    if as_json:
        print_json({"revision": revision, "needed": needed})
    else:
        wanted = "which is what this version needs" if revision == needed else f"this version needs {needed}"
        click.echo(f"{revision or 'no tables yet'}, {wanted}")


def _moment(moment: datetime | None) -> str:
    return "none" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _exact(size: int | None) -> str:
    return "unknown" if size is None else f"{size_text(size)} ({size} bytes)"


async def _counted(settings: Settings) -> "DatabaseStatistics":
    from orchestrator.store.maintenance import statistics

    async with _opened(settings) as database:
        return await statistics(database)


@asynccontextmanager
async def _opened(settings: Settings) -> "AsyncGenerator[Database]":
    from orchestrator.store.database import open_database
    from orchestrator.store.migrate import prepare

    make_data_dir(settings)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        yield database
    finally:
        await database.aclose()


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def stats(settings: Settings, as_json: bool) -> None:
    """Show what the database holds, how large it is, and what waits in it."""
    found = anyio.run(_counted, settings)
    if as_json:
        print_json(asdict(found))
        return
    print_table(
        ("", found.kind),
        [
            ("size", _exact(found.bytes)),
            ("free in it", _exact(found.free_bytes)),
            ("blobs", _exact(found.blob_bytes)),
            ("index of words", _exact(found.search_bytes)),
            ("stored responses", str(found.stored_responses)),
            ("deleted responses", str(found.deleted_responses)),
            ("oldest stored", _moment(found.oldest_response)),
            ("newest stored", _moment(found.newest_response)),
            ("in progress", f"{found.in_progress}, of them with an expired lease: {found.expired_leases}"),
            ("waiting for approval", str(found.waiting_for_approval)),
        ],
    )
    print_table(
        ("table", "rows", "size with indexes"),
        [(table.name, str(table.rows), size_text(table.bytes)) for table in found.tables],
    )


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def vacuum(settings: Settings, as_json: bool) -> None:
    """Give back what is free, and leave nothing of what was deleted. On SQLite writers wait until it is done."""

    async def work() -> tuple[int, int]:
        from orchestrator.store.maintenance import statistics
        from orchestrator.store.maintenance import vacuum as vacuum_database

        async with _opened(settings) as database:
            before = (await statistics(database)).bytes
            await vacuum_database(database)
            return before, (await statistics(database)).bytes

    before, after = anyio.run(work)
    if as_json:
        print_json({"bytes_before": before, "bytes": after})
    else:
        click.echo(f"{_exact(before)} before, {_exact(after)} now")
