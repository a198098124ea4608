"""Decisions about calls stand in the audit chain, and durations are found in order.

Revision: 0008, after 0007
"""

import secrets
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# The format of a link is a promise: what was chained once is verified for ever.
from orchestrator.core.storable_text import original
from orchestrator.store import audit_links as links
from orchestrator.store.downgrades import keep_evidence

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("tool_call_approvals", sa.Column("salt", sa.LargeBinary()))
    chain_decisions()
    create_triggers()
    op.drop_index("ix_tool_calls_duration_ms", "tool_calls")
    columns = ["duration_ms", "created_at", "call_id"]
    op.create_index("ix_tool_calls_duration_ms_created_at_call_id", "tool_calls", columns)


def chain_decisions() -> None:
    """Put the decisions that are there at the end of their owners' chains, as they stand."""
    connection = op.get_bind()
    names = ("tool_calls", "tool_call_approvals", "audit_chain", "audit_heads")
    calls, approvals, chain, heads = (sa.Table(name, sa.MetaData(), autoload_with=connection) for name in names)
    query = sa.select(approvals, calls.c.owner.label("whose")).join_from(
        approvals, calls, calls.c.call_id == approvals.c.call_id
    )
    for row in connection.execute(query.order_by(approvals.c.decided_at, approvals.c.call_id)).mappings().all():
        salt = secrets.token_bytes(links.SALT_BYTES)
        decision = {
            "call_id": row["call_id"],
            "decision": row["decision"],
            "decision_reason": None if row["reason"] is None else original(row["reason"]),
            "decided_by": row["owner"],
            "decided_token_id": row["token_id"],
            "decided_at": row["decided_at"],
        }
        content = links.decided_content(decision, links.argument_text(row["arguments"]))
        digest = links.salted_digest(salt, content)
        head = connection.execute(sa.select(heads).where(heads.c.owner == row["whose"])).mappings().one()
        sequence, previous = head["sequence"] + 1, bytes(head["hash"])
        facts = links.decided_facts(decision, digest)
        link = {
            "owner": row["whose"],
            "sequence": sequence,
            "kind": "decided",
            "call_id": row["call_id"],
            "content_digest": digest,
            "previous": previous,
            "hash": links.link_hash(row["whose"], sequence, previous, "decided", facts),
        }
        connection.execute(sa.insert(chain), link)
        moved = {"sequence": sequence, "hash": link["hash"]}
        connection.execute(sa.update(heads).where(heads.c.owner == row["whose"]).values(moved))
        connection.execute(sa.update(approvals).where(approvals.c.call_id == row["call_id"]).values(salt=salt))


FACTS = ("call_id", "decision", "owner", "token_id", "decided_at")
CONTENT = ("reason", "arguments", "salt")


def decision_rule(same: str, json_text: str) -> str:
    """What an update of a decision must satisfy: its content may go, nothing else changes."""
    kept = [f"NEW.{column} {same} OLD.{column}" for column in FACTS]
    for column in CONTENT:
        form = json_text if column == "arguments" else "{}"
        kept.append(f"(NEW.{column} IS NULL OR {form.format(f'NEW.{column}')} {same} {form.format(f'OLD.{column}')})")
    return " AND ".join(kept)


def create_triggers() -> None:
    table = "tool_call_approvals"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        op.execute(
            f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} WHEN NOT ({decision_rule('IS', '{}')})"
            " BEGIN SELECT RAISE(ABORT, 'a decision does not change'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION audit_one_decision() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NOT ({decision_rule('IS NOT DISTINCT FROM', '{}::text')}) THEN"
        " RAISE EXCEPTION 'a decision does not change' USING ERRCODE = 'integrity_constraint_violation';"
        " END IF; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_one_decision()"
    )


def downgrade() -> None:
    keep_evidence(revision, "the proof of the decisions about calls", "tool_call_approvals")
    op.drop_index("ix_tool_calls_duration_ms_created_at_call_id", "tool_calls")
    op.create_index("ix_tool_calls_duration_ms", "tool_calls", ["duration_ms"])
    on = "" if op.get_bind().dialect.name == "sqlite" else " ON tool_call_approvals"
    for trigger in ("tool_call_approvals_delete", "tool_call_approvals_update"):
        op.execute(f"DROP TRIGGER {trigger}{on}")
    if on:
        op.execute("DROP FUNCTION audit_one_decision()")
    op.drop_column("tool_call_approvals", "salt")
