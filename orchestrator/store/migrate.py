"""Bringing a database to the tables of this version, with Alembic and no ini file."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import anyio.to_thread
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store.database import Database, database_url, open_database
from orchestrator.store.downgrades import LOSE_EVIDENCE
from orchestrator.store.failures import our_failures
from orchestrator.store.postgres import postgres_engine
from orchestrator.store.sqlite import sqlite_engine

_NEWER: Final = "The database cannot be migrated ({}); a newer version may have written it."

_T = TypeVar("_T")


def migration_folder() -> Path:
    """Where the scripts lie: beside this module in an installed package, at the top of a checkout."""
    here = Path(__file__).resolve().parent
    return next(folder for folder in (here / "migrations", here.parents[1] / "migrations") if folder.is_dir())


def alembic_config(connection: Connection | None = None, folder: Path | None = None) -> Config:
    """Alembic's configuration for the scripts in `folder`; `env.py` works on `connection`."""
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(folder or migration_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`, in one transaction; nothing happens where it is there already.

    Raises:
        OrchestratorError: `store_error`; the database is as it was.
    """
    await _migrate(url, lambda connection: command.upgrade(alembic_config(connection), revision))


async def downgrade(url: str, revision: str, *, lose_evidence: bool = False) -> None:
    """Take the database back to `revision` (`base`: no tables), in one transaction.

    `lose_evidence` lets go of what the audit could prove until now and never again.

    Raises:
        OrchestratorError: `store_error`; the database is as it was. Without `lose_evidence` also where there is any.
    """

    def work(connection: Connection) -> None:
        config = alembic_config(connection)
        config.attributes[LOSE_EVIDENCE] = lose_evidence
        command.downgrade(config, revision)

    await _migrate(url, work)


async def check(url: str) -> None:
    """See that `tables` and the migrated database are the same.

    Raises:
        OrchestratorError: `store_error`, which names the differences.
    """
    await _migrate(url, lambda connection: command.check(alembic_config(connection)))


async def draft(url: str, revision: str, message: str, folder: Path | None = None) -> None:
    """Write a migration from the database, which is at the last one, to `tables`; to be polished by hand.

    Raises:
        OrchestratorError: `store_error`.
    """
    await _migrate(
        url,
        lambda connection: command.revision(
            alembic_config(connection, folder), message, autogenerate=True, rev_id=revision
        ),
    )


async def current_revision(url: str) -> str | None:
    """The revision that the database is at, None for one without tables; an SQLite file is not made.

    Raises:
        OrchestratorError: `store_error`.
    """
    if _new_file(database_url(url)):
        return None
    return await _migrate(url, lambda connection: MigrationContext.configure(connection).get_current_revision())


def head_revision() -> str | None:
    """The revision that this version needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


async def is_current(url: str) -> bool:
    """Whether the database is at the revision that this version needs.

    Raises:
        OrchestratorError: `store_error`.
    """
    return await current_revision(url) == head_revision()


async def prepare(url: str) -> None:
    """What a start does: SQLite is upgraded; any other database must have been, by command.

    Raises:
        OrchestratorError: `store_error`, which says what to do.
    """
    if database_url(url).drivername == "sqlite":
        await upgrade(url)
        return
    found = await current_revision(url)
    if found != head_revision():
        _refuse(found)


async def open_as_it_is(url: str) -> Database:
    """Open a database that nothing is to be changed in, not even by a migration.

    Raises:
        OrchestratorError: `store_error`: it is at another revision than this version needs, or cannot be opened.
    """
    if _new_file(database_url(url)):
        raise OrchestratorError(ErrorKind.STORE_ERROR, f"There is no database file '{database_url(url).database}'.")
    database = await open_database(url)
    try:
        found = await database.read(lambda connection: MigrationContext.configure(connection).get_current_revision())
        if found != head_revision():
            _refuse(found)
    except BaseException:
        await database.aclose()
        raise
    return database


def _refuse(found: str | None) -> NoReturn:
    """Raise what is to be done about a database that is at another revision."""
    if found is not None and found not in _revisions():
        raise OrchestratorError(ErrorKind.STORE_ERROR, _NEWER.format(f"it is at revision '{found}'"))
    state = "has no tables yet" if found is None else f"is at revision {found}"
    message = f"The database {state}; this version needs revision {head_revision()}. Run: orchestrator db upgrade"
    raise OrchestratorError(ErrorKind.STORE_ERROR, message)


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}


async def _migrate(url: str, work: Callable[[Connection], _T]) -> _T:
    parsed = database_url(url)
    try:
        with our_failures():
            if parsed.drivername == "sqlite":
                return await anyio.to_thread.run_sync(_in_sqlite, parsed, work)
            return await _in_postgres(parsed, work)
    except CommandError as error:
        # Alembic's own words: mostly that it does not know the revision.
        raise OrchestratorError(ErrorKind.STORE_ERROR, _NEWER.format(error)) from error


def _in_sqlite(url: URL, work: Callable[[Connection], _T]) -> _T:
    if url.database is not None and _new_file(url):
        try:
            # Chats are private: the file is its owner's alone, and SQLite gives its journals the same mode.
            os.close(os.open(url.database, os.O_CREAT | os.O_RDONLY, 0o600))
        except OSError as error:
            message = f"The database file '{url.database}' cannot be made: {error.strerror}."
            raise OrchestratorError(ErrorKind.STORE_ERROR, message) from error
    # A table that is rebuilt is dropped first, which enforced foreign keys would take for a deletion.
    engine = sqlite_engine(url, "BEGIN IMMEDIATE", 1, "foreign_keys = OFF")
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def _new_file(url: URL) -> bool:
    """Whether this is an SQLite file that is not there yet."""
    file = url.database
    return url.drivername == "sqlite" and not (file or "").startswith("file:") and not Path(file or "").exists()


async def _in_postgres(url: URL, work: Callable[[Connection], _T]) -> _T:
    engine = postgres_engine(url, 1, None)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()
