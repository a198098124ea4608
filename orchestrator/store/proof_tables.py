"""Tables of the proof that responses are as they were written; that of calls is in `tables.py`."""

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, UniqueConstraint

from orchestrator.store.search_tables import metadata

response_chain: Final = Table(
    "response_chain",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("response_id", Text, nullable=False),
    Column("content_digest", LargeBinary),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("response_id", "kind"),
    sqlite_with_rowid=False,
)
"""The links of responses, one chain an owner: `response_links.py`. Triggers keep it append-only."""

response_heads: Final = Table(
    "response_heads",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # The head that the last checkpoint has.
    Column("checkpointed", BigInteger, nullable=False),
)
"""The last link of every chain of responses, which whoever appends locks, after that of the calls."""
