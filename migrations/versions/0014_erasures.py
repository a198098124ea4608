"""The service's chain names the calls whose content is gone: what was deleted before is named as it stands.

Revision: 0014, after 0013
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

# The format of a link is a promise: what was chained once is verified for ever.
from orchestrator.core.json_types import canonical_json
from orchestrator.store import audit_links as links

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

AT_ONCE = 1_000
CHAINED = (
    "EXISTS (SELECT 1 FROM audit_chain WHERE audit_chain.call_id = tool_calls.call_id AND audit_chain.kind = '{}'"
    " AND audit_chain.content_digest IS NOT NULL)"
)
GONE = (
    "SELECT call_id FROM tool_calls"
    f" WHERE (arguments_salt IS NULL AND {CHAINED.format('journaled')})"
    f" OR (output_salt IS NULL AND {CHAINED.format('settled')})"
    " OR (EXISTS (SELECT 1 FROM tool_call_approvals WHERE tool_call_approvals.call_id = tool_calls.call_id"
    f" AND tool_call_approvals.salt IS NULL) AND {CHAINED.format('decided')})"
    " ORDER BY call_id"
)


def upgrade() -> None:
    connection = op.get_bind()
    events, heads = (
        sa.Table(name, sa.MetaData(), autoload_with=connection) for name in ("audit_events", "audit_heads")
    )
    gone = connection.execute(sa.text(GONE)).scalars().all()
    named: set[str] = set()
    for details in connection.execute(sa.select(events.c.details).where(events.c.kind == "erasure")).scalars():
        named |= {*json.loads(details)["call_ids"]}  # from before a downgrade
    unnamed = [call_id for call_id in gone if call_id not in named]
    mine = heads.c.owner == links.SERVICE
    for start in range(0, len(unnamed), AT_ONCE):
        head = connection.execute(sa.select(heads.c.sequence, heads.c.hash).where(mine)).one_or_none()
        sequence, previous = (0, links.NO_LINK) if head is None else (head.sequence, bytes(head.hash))
        row = {
            "sequence": sequence + 1,
            "kind": "erasure",
            "at": datetime.now(UTC),
            "actor": links.SERVICE,
            "token_id": None,
            "details": canonical_json({"call_ids": unnamed[start : start + AT_ONCE]}),
            "previous": previous,
        }
        row["hash"] = links.link_hash(links.SERVICE, sequence + 1, previous, "erasure", links.event_facts(row))
        connection.execute(sa.insert(events), row)
        moved = {"sequence": sequence + 1, "hash": row["hash"]}
        if head is None:
            connection.execute(sa.insert(heads), {"owner": links.SERVICE, "checkpointed": 0, **moved})
        else:
            connection.execute(sa.update(heads).where(mine).values(moved))


def downgrade() -> None:
    """Events stay: the chain is append-only."""
