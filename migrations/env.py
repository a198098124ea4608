"""How Alembic runs here: on the connection it is handed, inside the transaction that is already open on it."""

from collections import Counter
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, TypeDecorator, text

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store import derived_tables, download_tables, proof_tables, search_tables

TABLES = (derived_tables.metadata, download_tables.metadata, proof_tables.metadata, search_tables.metadata)
"""One and the same: each module adds its tables to it when it is imported."""

MIGRATION_LOCK = 0x6F72636800000001
"""The advisory lock that lets one process migrate at a time on Postgres; on SQLite the write lock does."""


def render_item(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """A drafted migration names plain types: it must mean the same when the code has moved on."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


def include_object(item: Any, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
    """SQLite's full-text index is made of tables of its own, and has no use for that of Postgres."""
    if kind == "table" and reflected and name is not None and name.startswith("response_words"):
        return False
    return not (kind == "index" and name == "ix_response_search_words" and not reflected and on_sqlite())


def on_sqlite() -> bool:
    """Whether it is an SQLite database that is migrated."""
    return context.get_context().dialect.name == "sqlite"


def migrate(connection: Connection) -> None:
    """Run what was asked for, all of it or nothing."""
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=TABLES[0],
        transactional_ddl=True,
        render_as_batch=is_sqlite,
        render_item=render_item,
        include_object=include_object,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        if not is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        # SQLite's keys are off here. Where there is nothing to do, as at most starts, nothing is looked through.
        checked = is_sqlite and goes_elsewhere()
        dangling = dangling_rows(connection) if checked else Counter[tuple[str, str]]()
        context.run_migrations()
        if checked:
            check_references(connection, dangling)


def goes_elsewhere() -> bool:
    """Whether the database is to be at another revision than it is at."""
    wanted = context.get_context().opts.get("destination_rev")
    head = context.get_head_revision()
    return wanted is not None and context.get_context().get_current_revision() != (head if wanted == "head" else wanted)


def dangling_rows(connection: Connection) -> Counter[tuple[str, str]]:
    """How many rows of which table refer to rows of which other one that are not there."""
    found = connection.exec_driver_sql("PRAGMA foreign_key_check")
    return Counter((row.table, row.parent) for row in found)


def check_references(connection: Connection, before: Counter[tuple[str, str]]) -> None:
    """See that a migration broke no reference. What somebody else broke before is the audit's to tell."""
    for (table, parent), count in (dangling_rows(connection) - before).items():
        message = (
            f"The migration left rows of '{table}' ({count}) that refer to rows of '{parent}' which are not there; the"
            " database is as it was. With the version that wrote it, run `orchestrator audit verify`: it says whether"
            " somebody changed the database."
        )
        raise OrchestratorError(ErrorKind.STORE_ERROR, message)


given = context.config.attributes.get("connection")
if not isinstance(given, Connection):
    raise OrchestratorError(ErrorKind.STORE_ERROR, "Migrations run through orchestrator.store.migrate.")
migrate(given)
