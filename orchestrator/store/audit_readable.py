"""Reading rows of which anything may have been made: one that cannot be read is named, and stands in nobody's way."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select
from sqlalchemy.exc import DBAPIError

UNREADABLE: Final = (
    ValueError,  # broken JSON, moments and digits, lone surrogates
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,  # JSON as deep as nobody writes it
    msgspec.MsgspecError,
)
"""What decoding a value raises that is of another type than its column, or is none of that type's values."""


def readable_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], *key: ColumnElement[Any]
) -> tuple[Sequence[Row[*tuple[Any, ...]]], tuple[Any, ...] | None]:
    """The rows of `query`, which is ordered and bounded, up to the first one that cannot be read; and the key of that.

    `key` names a row, in columns that are read as they are; what of it cannot be read is None, but for the first.
    """
    try:
        return connection.execute(query).all(), None
    except (*UNREADABLE, DBAPIError):  # SQLite's driver itself reads no text that is not UTF-8
        keys = _keys(connection, query, key)
    found: list[Row[*tuple[Any, ...]]] = []
    for place, name in enumerate(keys):
        try:
            found += connection.execute(query.limit(1).offset(place)).all()
        except (*UNREADABLE, DBAPIError):
            return found, name
    return found, None


def _keys(
    connection: Connection, query: Select[*tuple[Any, ...]], key: Sequence[ColumnElement[Any]]
) -> list[tuple[Any, ...]]:
    for count in range(len(key), 1, -1):
        try:
            return _keys_of(connection, query, key[:count], len(key))
        except DBAPIError:
            continue
    return _keys_of(connection, query, key[:1], len(key))


def _keys_of(
    connection: Connection, query: Select[*tuple[Any, ...]], key: Sequence[ColumnElement[Any]], length: int
) -> list[tuple[Any, ...]]:
    rows = connection.execute(query.with_only_columns(*key, maintain_column_froms=True))
    return [(*row, *[None] * (length - len(key))) for row in rows]
