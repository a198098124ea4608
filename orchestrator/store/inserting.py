"""Inserting what may be there already: by primary key, on both databases."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.store.search_tables import response_labels
from orchestrator.store.tables import blobs


def insert_missing(connection: Connection, table: Table, values: Sequence[dict[str, Any]]) -> bool:
    """Insert the rows whose primary key is not there yet; whether that was so, asked of a single row."""
    if not values:
        return False
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement: Executable = dialect.insert(table).on_conflict_do_nothing()
    return connection.execute(statement, values if len(values) > 1 else values[0]).rowcount == 1


def keep_blobs(connection: Connection, contents: Mapping[str, str]) -> None:
    """See that these texts, by digest, are among the blobs, and that nobody removes them before this is committed."""
    if not contents:
        return
    # In one order everywhere, so that no two writers wait for each other.
    values = [{"digest": digest, "content": contents[digest]} for digest in sorted(contents)]
    if connection.dialect.name == "sqlite":
        insert_missing(connection, blobs, values)
        return
    # A row that was there is written again, unchanged, because that locks it.
    new = postgresql.insert(blobs)
    connection.execute(
        new.on_conflict_do_update(index_elements=["digest"], set_={"digest": new.excluded.digest}), values
    )


def add_labels(connection: Connection, number: int, labels: Iterable[int]) -> None:
    """Let a response be found by these labels; those that it has are no error."""
    insert_missing(connection, response_labels, [{"label": label, "number": number} for label in labels])
