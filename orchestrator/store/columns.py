"""Column types that keep every value the same on SQLite and Postgres, to the byte and the microsecond."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from orchestrator.core.storable_text import original, storable


class AnyText(TypeDecorator[str]):
    """Text that people, models and servers write: any Python string comes back as it was."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else original(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware in Python, UTC in the database. A naive datetime is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SearchWords(TypeDecorator[Sequence[str]]):
    """Words for full-text search, in order, as `core/search.py` cuts them. To be searched and not to be read back."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(TSVECTOR() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return None if value is None else " ".join(value)
        places: dict[str, list[int]] = {}
        for position, word in enumerate(value, 1):
            places.setdefault(word, []).append(position)
        # A word is letters and digits: nothing in it wants quoting.
        return " ".join(f"'{word}':{','.join(map(str, at))}" for word, at in places.items())


def json_column() -> TypeEngine[Any]:
    """JSON as text, keys in their order and numbers as they were written; None is SQL NULL.

    Not JSONB: it would reorder keys, turn 1.0 into 1 and refuse an escaped NUL.
    """
    return JSON(none_as_null=True)
