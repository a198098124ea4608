"""Texts of the journal that are kept among the blobs because they are long."""

from typing import Literal

from sqlalchemy import ScalarSelect, select

from orchestrator.store.tables import blobs, tool_calls


def long_text(name: Literal["output", "structured"]) -> ScalarSelect[str]:
    """What `tool_calls.<name>` is where that column is NULL because the text is long; NULL otherwise.

    The whole text is `func.coalesce(tool_calls.c.output, long_text("output"))`.
    """
    own = blobs.alias()
    digest = tool_calls.c[f"{name}_digest"]
    return select(own.c.content).where(own.c.digest == digest).correlate(tool_calls).scalar_subquery()
