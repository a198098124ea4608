"""What a database says when it fails, in our words: never SQL, parameters or data, which its own words may hold."""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy import exc

from orchestrator.core.errors import ErrorKind, OrchestratorError

_SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another process keeps the database locked",
    sqlite3.SQLITE_LOCKED: "another process keeps the database locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the database file may not be written to",
    sqlite3.SQLITE_PERM: "the database file may not be written to",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk does not read or write",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the database file is not an SQLite database",
    sqlite3.SQLITE_CONSTRAINT: "what was to be written contradicts what is there",
    sqlite3.SQLITE_TOOBIG: "a value is too large",
}
"""By primary result code (https://www.sqlite.org/rescode.html)."""

_POSTGRES: Final[Mapping[str, str]] = {
    "08": "the connection to the database broke",
    "23": "what was to be written contradicts what is there",
    "28": "the database refuses the user or the password",
    "3D": "the database does not exist",
    "40": "another transaction stood in the way",
    "42": "the tables are not the ones this version needs, or may not be used",
    "53": "the database server has no room or no connection left",
    "54": "a value is too large",
    "55": "another transaction stood in the way",
    "57": "the database server is stopping or stopped the query",
    "58": "the database server's disk does not read or write",
}
"""By the class of the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

_FOREIGN: Final = (
    exc.StatementError,  # what the database or its driver raised, and values that cannot be sent to it
    exc.TimeoutError,
    asyncpg.PostgresError,  # these reach us unwrapped while connecting
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
)
"""Everything else that the libraries raise is a defect of this code and stays what it is."""


@contextmanager
def our_failures() -> Generator[None]:
    """Turn what the database libraries raise in this block into our error.

    Raises:
        OrchestratorError: `store_error`.
    """
    try:
        yield
    except _FOREIGN as error:
        raise OrchestratorError(ErrorKind.STORE_ERROR, f"The store failed: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, exc.TimeoutError):
        return "all connections to the database are in use"
    if isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError):
        return "a value cannot be stored"
    for cause in _causes(error):
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int):
            return _SQLITE.get(code & 0xFF, "the database refused")
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str):
            return _POSTGRES.get(state[:2], "the database refused")
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return "the connection to the database broke"
    if isinstance(error, OSError):
        return "the database server cannot be reached"
    return "the database refused"


def _causes(error: BaseException) -> Generator[BaseException]:
    """`error` and everything that it wraps."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__context__, cause.__cause__, getattr(cause, "orig", None)]
