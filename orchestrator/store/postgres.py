"""Postgres: one pool of connections; a read of several statements sees one snapshot."""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import anyio
from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.core.storable_text import storable
from orchestrator.store.failures import our_failures
from orchestrator.store.tables import metadata

CONNECTIONS: Final = 16
POOL_SECONDS: Final = 30
"""How long a unit of work waits for a connection."""

STATEMENT_SECONDS: Final = 60
"""How long a statement may take: a server that is gone without a word must not hold a run for ever."""

_T = TypeVar("_T")


def postgres_engine(url: URL, connections: int, statement_seconds: float | None) -> AsyncEngine:
    """An engine that finds broken connections before they are used; None lets a statement take what it takes."""
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        connect_args={"command_timeout": statement_seconds, "server_settings": {"application_name": "orchestrator"}},
    )

    def prepare(dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # A plan that was made while the tables were small reads them from end to end when they have
        # grown: a chain of 1,000 took 540 ms. Not a start-up parameter, which PgBouncer would refuse.
        cursor = dbapi_connection.cursor()
        cursor.execute("SET plan_cache_mode = force_custom_plan")
        cursor.close()
        dbapi_connection.commit()

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "before_cursor_execute", _without_nul, retval=True)
    return engine


def _without_nul(
    _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """Columns of ids are plain text, and whoever asks for an id may write NUL in it, which Postgres refuses.

    Written as `AnyText` writes it, it is the id of nothing.
    """
    return statement, _cleaned(parameters)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value) if "\0" in value else value
    if isinstance(value, tuple):
        given = cast("tuple[Any, ...]", value)
        return tuple(_cleaned(one) for one in given)
    if isinstance(value, list):
        return [_cleaned(one) for one in cast("list[Any]", value)]
    return value


class PostgresDatabase:
    """`Database` on a Postgres server."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._writer = postgres_engine(url, CONNECTIONS, STATEMENT_SECONDS)
        self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.write`."""
        return await _run(self._writer, work)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.read`."""
        return await _run(self._reader, work)

    async def overwrite_deleted(self) -> None:
        """See `Database.overwrite_deleted`: that is the server's autovacuum's to do."""

    async def vacuum(self) -> None:
        """See `Database.vacuum`: `VACUUM (ANALYZE)`, beside which everybody reads and writes."""
        engine = postgres_engine(self._url, 1, None)
        try:
            with our_failures():
                async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                    for table in metadata.tables:
                        await connection.exec_driver_sql(f'VACUUM (ANALYZE) "{table}"')
        finally:
            with anyio.CancelScope(shield=True):
                await engine.dispose()

    async def aclose(self) -> None:
        """See `Database.aclose`."""
        with anyio.CancelScope(shield=True):
            await self._writer.dispose()


async def _run(engine: AsyncEngine, work: Callable[[Connection], _T]) -> _T:
    with our_failures():
        connection = await engine.connect()
        # To be cancelled from here on would tear the connection down and leave open what was written.
        with anyio.CancelScope(shield=True):
            try:
                async with connection.begin():
                    return await connection.run_sync(work)
            finally:
                await connection.close()
    raise AssertionError("a scope that nobody cancels swallows nothing")
