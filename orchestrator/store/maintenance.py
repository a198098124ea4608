"""What the database holds and how large it is, and making it as small as what it holds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    case,
    func,
    inspect,
    literal,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.exc import OperationalError

from orchestrator.store.database import Database
from orchestrator.store.tables import blobs, metadata, responses

_SHADOWS: Final = ("data", "idx", "content", "docsize", "config")
"""The tables in which SQLite's FTS5 keeps an index."""

_WORDS: Final = "response_words"
_OPTIMIZE: Final = text(f"INSERT INTO {_WORDS}({_WORDS}) VALUES ('optimize')")


@dataclass(frozen=True, slots=True)
class TableSize:
    """Rows of a table, and bytes of it with its indexes; None where the database cannot tell."""

    name: str
    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """`bytes` is the whole database, `free_bytes` what a vacuum can give back of it (None: nobody knows).

    `search_bytes` is the index of words, `blob_bytes` what blobs hold. `in_progress` responses have a lease,
    `expired_leases` of them one that is over. `waiting_for_approval` have none.
    """

    kind: str
    bytes: int
    free_bytes: int | None
    tables: tuple[TableSize, ...]
    blob_bytes: int
    search_bytes: int | None
    stored_responses: int
    deleted_responses: int
    oldest_response: datetime | None
    newest_response: datetime | None
    in_progress: int
    expired_leases: int
    waiting_for_approval: int


async def statistics(database: Database) -> DatabaseStatistics:
    """Count everything, on one snapshot.

    Raises:
        OrchestratorError: `store_error`.
    """
    return await database.read(lambda connection: _statistics(connection, datetime.now(UTC)))


async def vacuum(database: Database) -> None:
    """Rewrite the index of words without what was deleted, and the database without what is free.

    Takes as long as reading and writing all of it; on SQLite nobody else writes meanwhile.

    Raises:
        OrchestratorError: `store_error`.
    """
    await database.write(_optimize)
    await database.vacuum()


def _optimize(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(_OPTIMIZE)


def _statistics(connection: Connection, now: datetime) -> DatabaseStatistics:
    is_sqlite = connection.dialect.name == "sqlite"
    sizes = _sqlite_sizes(connection) if is_sqlite else _postgres_sizes(connection)
    names = sorted({*metadata.tables, *inspect(connection).get_table_names()})
    shadows = {f"{_WORDS}_{name}" for name in _SHADOWS}
    rows = {
        name: connection.execute(select(func.count()).select_from(table(name))).scalar_one()
        for name in names
        if name not in shadows and name != _WORDS
    }
    stored = responses.c.stored.is_(True)
    running = responses.c.status == "in_progress"
    counted = connection.execute(
        select(
            _count(stored),
            _count(responses.c.deleted_at.is_not(None)),
            func.min(case((stored, responses.c.created_at)), type_=responses.c.created_at.type),
            func.max(case((stored, responses.c.created_at)), type_=responses.c.created_at.type),
            _count(running),
            _count(running & (responses.c.lease_until < literal(now, responses.c.lease_until.type))),
            _count(responses.c.status == "awaiting_approval"),
        )
    ).one()
    # SQLite has `octet_length` since 3.43 only; the length of a blob is counted in bytes.
    octets = "length(CAST(content AS BLOB))" if is_sqlite else "octet_length(content)"
    held: ColumnElement[int] = func.coalesce(func.sum(literal_column(octets, BigInteger)), 0)
    total, free = _sqlite_pages(connection) if is_sqlite else (_postgres_size(connection), None)
    words = sum(sizes.get(name, 0) for name in shadows) if is_sqlite and sizes else None
    return DatabaseStatistics(
        "sqlite" if is_sqlite else "postgres",
        total,
        free,
        tuple(TableSize(name, count, sizes.get(name)) for name, count in rows.items()),
        int(connection.execute(select(held).select_from(blobs)).scalar_one()),
        words if is_sqlite else sizes.get("ix_response_search_words"),
        *counted,
    )


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _sqlite_sizes(connection: Connection) -> dict[str, int]:
    """Bytes by table, its indexes among them; nothing where SQLite was built without `dbstat`."""
    query = text(
        "SELECT coalesce(m.tbl_name, s.name) AS name, sum(s.pgsize) AS size FROM dbstat s LEFT JOIN sqlite_master m ON m.name = s.name"
        " GROUP BY 1"
    )
    try:
        return {row.name: row.size for row in connection.execute(query)}
    except OperationalError:
        return {}


def _sqlite_pages(connection: Connection) -> tuple[int, int]:
    pages, free, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return pages * size, free * size


def _postgres_sizes(connection: Connection) -> dict[str, int]:
    query = text(
        "SELECT relname AS name,"
        " CASE relkind WHEN 'r' THEN pg_total_relation_size(oid) ELSE pg_relation_size(oid) END AS size"
        " FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = current_schema()::regnamespace"
    )
    return {row.name: row.size for row in connection.execute(query)}


def _postgres_size(connection: Connection) -> int:
    size: int = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return size
