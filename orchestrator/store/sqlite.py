"""SQLite: one connection writes, a few read, each in a thread.

A unit of work goes to its thread whole: a trip for every statement costs more than the statements.
A commit waits for the disk, and while it does more units come to wait; the next transaction then
takes all of them, each in a savepoint of its own, and one commit makes them durable together.
Only processes compete for the file: `BEGIN IMMEDIATE` takes its lock before anything is read.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import anyio
import anyio.to_thread
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.store.failures import our_failures

BUSY_SECONDS: Final = 20
"""How long a writer waits for another process to let go of the file."""

CHECKPOINT_SECONDS: Final = 1
"""How long a checkpoint waits for readers of what was there before."""

READERS: Final = 4

_T = TypeVar("_T")


def sqlite_engine(url: URL, begin: str, connections: int, *pragmas: str) -> Engine:
    """An engine whose transactions open with `begin`, and whose connections have the house's pragmas, then `pragmas`."""
    engine = create_engine(url, pool_size=connections, max_overflow=0)
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

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin_transaction)
    return engine


@dataclass(slots=True, eq=False)
class _Ticket(Generic[_T]):
    """A unit of work that waits to be done, and then what came of it."""

    work: Callable[[Connection], _T]
    done: bool = False
    result: _T | None = None
    failure: Exception | None = None


class SqliteDatabase:
    """`Database` in an SQLite file."""

    def __init__(self, url: URL) -> None:
        self._writer = sqlite_engine(url, "BEGIN IMMEDIATE", 1)
        self._reader = sqlite_engine(url, "BEGIN", READERS, "query_only = ON")
        self._file = url.database or ""
        self._is_uri = self._file.startswith("file:")
        self._waiting: list[_Ticket[Any]] = []
        self._turn = anyio.Lock()
        self._writing = threading.Lock()
        self._write_threads = anyio.CapacityLimiter(2)
        self._read_threads = anyio.CapacityLimiter(READERS)

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.write`."""
        ticket = _Ticket(work)
        self._waiting.append(ticket)
        try:
            async with self._turn:
                if not ticket.done:
                    # Whoever comes first takes everybody along; the others find themselves done.
                    group, self._waiting = self._waiting, []
                    await anyio.to_thread.run_sync(self._write_group, group, limiter=self._write_threads)
        except BaseException:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            raise
        with our_failures():
            if ticket.failure is not None:
                raise ticket.failure
        return cast(_T, ticket.result)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """See `Database.read`."""

        def run() -> _T:
            with self._reader.begin() as connection:
                return work(connection)

        with our_failures():
            return await anyio.to_thread.run_sync(run, limiter=self._read_threads)

    async def overwrite_deleted(self) -> None:
        """See `Database.overwrite_deleted`: the pages are overwritten by `secure_delete`, the log by a checkpoint."""
        with our_failures():
            await anyio.to_thread.run_sync(self._checkpoint, limiter=self._write_threads)

    async def vacuum(self) -> None:
        """See `Database.vacuum`: the whole file is written anew, and takes the free space of its size meanwhile."""
        with our_failures():
            await anyio.to_thread.run_sync(self._vacuum, limiter=self._write_threads)

    async def aclose(self) -> None:
        """See `Database.aclose`."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close, limiter=self._write_threads)

    def _write_group(self, group: list[_Ticket[Any]]) -> None:
        # An asker that is torn away leaves its thread behind: the next one waits here for it.
        with self._writing:
            try:
                if group:
                    self._run(group)
            except Exception as error:
                for ticket in group:
                    ticket.failure = ticket.failure or error
            finally:
                for ticket in group:
                    ticket.done = True

    def _run(self, group: list[_Ticket[Any]]) -> None:
        with self._writer.begin() as connection:
            if len(group) == 1:
                group[0].result = group[0].work(connection)
                return
            for ticket in group:
                try:
                    with connection.begin_nested():
                        ticket.result = ticket.work(connection)
                except Exception as error:
                    ticket.failure = error

    def _checkpoint(self) -> None:
        # On a connection of its own, and not for long: what reads just now would hold up every writer.
        with self._writing, closing(sqlite3.connect(self._file, uri=self._is_uri, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_SECONDS * 1000}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _vacuum(self) -> None:
        with self._writing, closing(sqlite3.connect(self._file, uri=self._is_uri, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("VACUUM")
            connection.execute("PRAGMA optimize")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _close(self) -> None:
        with self._writing:
            self._reader.dispose()
            self._writer.dispose()
