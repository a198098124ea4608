"""How Alembic runs here: on the connection it is handed, inside the transaction that is already open on it."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, TypeDecorator, text

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store import search_tables

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
        target_metadata=search_tables.metadata,
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
        context.run_migrations()
        if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise OrchestratorError(ErrorKind.STORE_ERROR, "A migration left rows that refer to nothing.")


given = context.config.attributes.get("connection")
if not isinstance(given, Connection):
    raise OrchestratorError(ErrorKind.STORE_ERROR, "Migrations run through orchestrator.store.migrate.")
migrate(given)
