"""Connections: how they are made, and the units of work in which everything here happens.

SQLite: one connection writes, so that writers queue fairly within a process and only processes
compete for the file; `BEGIN IMMEDIATE` takes the lock before anything is read. Reads have their own
connections and see one snapshot. Postgres: one pool; reads are `REPEATABLE READ READ ONLY`, so that
a read of several statements sees one snapshot there too.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from sqlalchemy import URL, Connection, Executable, Table, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store.failures import our_failures

BUSY_SECONDS: Final = 20
"""How long a writer waits for another process to let go of an SQLite file."""

POOL_SECONDS: Final = 30
"""How long a unit of work waits for a connection."""

READERS: Final = 4
CONNECTIONS: Final = 16

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Database:
    """An open database. Units of work: `async with database.write() as connection`, or `read()`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader

    @property
    def is_sqlite(self) -> bool:
        return self._writer.dialect.name == "sqlite"

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: durable when the block has ended, undone when it raises.

        Raises:
            OrchestratorError: `store_error`; nothing was written, or whether it was is not known because
                the connection broke during the commit.
        """
        with our_failures():
            async with _transaction(self._writer) as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """One snapshot, in which nothing can be written.

        Raises:
            OrchestratorError: `store_error`.
        """
        with our_failures():
            async with _transaction(self._reader) as connection:
                yield connection

    async def aclose(self) -> None:
        """Close every connection."""
        with anyio.CancelScope(shield=True):
            await self._reader.dispose()
            await self._writer.dispose()


def database_url(text: str) -> URL:
    """`text` with the driver that is used here; `sqlite:///…` and `postgresql://…` are taken as well.

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
        raise OrchestratorError(
            ErrorKind.STORE_ERROR, f"A database URL begins with {known}, not with {url.drivername}."
        )
    if driver.startswith("sqlite") and url.database in (None, "", ":memory:"):
        raise OrchestratorError(ErrorKind.STORE_ERROR, "An SQLite database needs a file: sqlite+aiosqlite:///<path>.")
    return url.set(drivername=driver)


async def open_database(url: str) -> Database:
    """Open the database and see that it answers.

    Raises:
        OrchestratorError: `store_error`.
    """
    parsed = database_url(url)
    if parsed.drivername.startswith("sqlite"):
        writer = sqlite_engine(parsed, "BEGIN IMMEDIATE", 1)
        reader = sqlite_engine(parsed, "BEGIN", READERS, "query_only = ON")
    else:
        writer = create_async_engine(parsed, pool_pre_ping=True, **_pool(CONNECTIONS))
        reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    database = Database(writer, reader)
    try:
        async with database.write() as connection:
            await connection.exec_driver_sql("SELECT 1")
    except BaseException:
        await database.aclose()
        raise
    return database


def sqlite_engine(url: URL, begin: str, connections: int, *pragmas: str) -> AsyncEngine:
    """An engine whose transactions open with `begin`, and whose connections have the house's pragmas, then `pragmas`."""
    engine = create_async_engine(url, **_pool(connections))
    statements = [
        f"busy_timeout = {BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        *pragmas,
    ]

    def prepare(dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        dbapi_connection.isolation_level = None  # the driver begins nothing by itself: `begin` does
        cursor = dbapi_connection.cursor()
        for statement in statements:
            cursor.execute(f"PRAGMA {statement}")
        cursor.close()

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _pool(size: int) -> dict[str, int]:
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": POOL_SECONDS}


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    connection = engine.connect()
    await connection.start()
    try:
        await connection.begin()
        yield connection
        with anyio.CancelScope(shield=True):
            await connection.commit()
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()


async def insert_missing(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if rows:
        await connection.execute(_insert_or_nothing(connection, table), rows)


async def insert_if_missing(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> bool:
    """Insert the row unless its primary key is there already; whether it was inserted."""
    result = await connection.execute(_insert_or_nothing(connection, table), row)
    return result.rowcount == 1


def _insert_or_nothing(connection: AsyncConnection, table: Table) -> Executable:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing()
