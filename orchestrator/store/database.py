"""An open database, and the units of work in which everything in it happens."""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store.postgres import PostgresDatabase
from orchestrator.store.sqlite import SqliteDatabase

_T = TypeVar("_T")

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Database(Protocol):
    """A database, whichever it is.

    A unit of work is a function of a connection. It can be cancelled until it begins; once begun it
    runs to its end, whatever becomes of who asked for it.
    """

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` in a transaction of its own: durable when this returns, undone when `work` raises.

        Raises:
            OrchestratorError: `store_error`. Nothing was written; where the connection broke during the
                commit, that is not known.
        """
        ...

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` on one snapshot, in which it cannot write.

        Raises:
            OrchestratorError: `store_error`.
        """
        ...

    async def overwrite_deleted(self) -> None:
        """Let nothing of what was deleted be left in the files, as far as the readers of the moment allow it."""
        ...

    async def vacuum(self) -> None:
        """Write the database anew without what is free in it, however long that takes.

        Raises:
            OrchestratorError: `store_error`, as when somebody else holds an SQLite file for too long.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def database_url(text: str) -> URL:
    """`text` with the driver that is used here.

    Raises:
        OrchestratorError: `store_error`, without the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise OrchestratorError(ErrorKind.STORE_ERROR, "The database URL cannot be read.") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        known = "sqlite+aiosqlite:///… or postgresql+asyncpg://…"
        message = f"A database URL begins with {known}, not with {url.drivername}."
        raise OrchestratorError(ErrorKind.STORE_ERROR, message)
    if driver == "sqlite" and url.database in (None, "", ":memory:"):
        raise OrchestratorError(ErrorKind.STORE_ERROR, "An SQLite database needs a file: sqlite+aiosqlite:///<path>.")
    return url.set(drivername=driver)


async def open_database(url: str) -> Database:
    """Open the database and see that it answers.

    Raises:
        OrchestratorError: `store_error`.
    """
    parsed = database_url(url)
    database = SqliteDatabase(parsed) if parsed.drivername == "sqlite" else PostgresDatabase(parsed)
    try:
        await database.write(lambda connection: connection.exec_driver_sql("SELECT 1").close())
    except BaseException:
        await database.aclose()
        raise
    return database
