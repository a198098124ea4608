"""The tables by which responses are found, and those of threads."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from orchestrator.store.columns import SearchWords, UtcDateTime
from orchestrator.store.tables import metadata

response_labels: Final = Table(
    "response_labels",
    metadata,
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Index("ix_response_labels_number", "number"),
    sqlite_with_rowid=False,
)
"""By what a stored response is found beside its columns: a row for each `labels.py` gives it, and its number."""

response_search: Final = Table(
    "response_search",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("words", SearchWords, nullable=False),
)
"""The words of ended, stored responses. On SQLite the FTS5 table `response_words` indexes them."""

Index("ix_response_search_words", response_search.c.words, postgresql_using="gin")

threads: Final = Table(
    "threads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("newest_response_id", Text, ForeignKey("responses.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "owner", "updated_at", "id"),
)
"""Pointers to the newest response of a chain each."""
