"""`orchestrator db`: bring the database to the tables of this version."""

import anyio
import click
import rich_click

from orchestrator.cli.command_settings import DATABASE, make_data_dir, with_settings
from orchestrator.cli.output import print_json
from orchestrator.settings import Settings


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
