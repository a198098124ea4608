"""The table of who asked for which download."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from orchestrator.store.columns import AnyText, UtcDateTime
from orchestrator.store.tables import metadata

download_claims: Final = Table(
    "download_claims",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", AnyText, nullable=False),
    Column("job_id", Text, ForeignKey("jobs.id"), nullable=False),
    Column("model", AnyText, nullable=False),
    Column("quantization", AnyText),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("wish", Text, nullable=False),
    Column("downloaded_bytes", BigInteger),
    Index(None, "owner", "asked_at"),
    Index(None, "job_id"),
)
"""What each owner asked for; the transfer, which they share, is the job."""
