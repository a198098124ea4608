"""The links of responses, made in the unit of work that writes what they are about."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from orchestrator.store import response_links as links
from orchestrator.store.audit_links import SALT_BYTES, salted_digest
from orchestrator.store.chain_writer import ChainWriter, Entry
from orchestrator.store.proof_tables import response_chain, response_heads
from orchestrator.store.rows import Row
from orchestrator.store.tables import output_items, responses

RESPONSES: Final = ChainWriter(response_chain, response_heads, "response_id")

_ENDED: Final = select(responses).where(responses.c.id == bindparam("response_id"))
_WRITTEN: Final = (
    select(output_items).where(output_items.c.response_id == bindparam("response_id")).order_by(output_items.c.position)
)


def salt_of(*, stored: bool) -> bytes | None:
    """A salt for content; none where none is kept."""
    return secrets.token_bytes(SALT_BYTES) if stored else None


def opened_link(row: Row, said: Sequence[Row]) -> Entry:
    """The link of a response that begins; `row` and `said` are those of the response, with its salt, and its input."""
    return _entry("opened", {"removed_parent_id": None, **row}, said)


def ended_link(connection: Connection, response_id: str) -> Entry:
    """The link of a response that is over, as it stands in the database: its salt and all of its items too."""
    row: Row = dict(connection.execute(_ENDED, {"response_id": response_id}).mappings().one())
    written = connection.execute(_WRITTEN, {"response_id": response_id}).mappings().all() if row["stored"] else ()
    return _entry("ended", row, [dict(item) for item in written])


def _entry(kind: links.ResponseLinkKind, row: Row, items: Sequence[dict[str, Any]]) -> Entry:
    salt: bytes | None = row[links.SALTS[kind]]
    digest = None if salt is None else salted_digest(salt, links.CONTENTS[kind](row, items))
    return Entry(kind, row["id"], links.FACTS[kind](row, digest), digest)
