"""Tables of what other tables say already, kept so that it is read faster."""

from typing import Final

from sqlalchemy import Column, ForeignKey, LargeBinary, Table, Text

from orchestrator.store.search_tables import metadata

chain_segments: Final = Table(
    "chain_segments",
    metadata,
    # The last response of the segment, and that of the segment before it.
    Column("response_id", Text, ForeignKey("responses.id"), primary_key=True),
    Column("previous_id", Text),
    Column("content", LargeBinary, nullable=False),
)
"""Pieces of long chains as prompts tell them: `chain_segments.py`. They go with their last response."""
