"""The journal says which server stood behind the label of a call.

Calls that are there already keep their links as they are: nobody knows any more who answered them. A downgrade
would take the new columns away, and with them the proof of the links that have them: it refuses where there are any.

Revision: 0015, after 0014
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from orchestrator.store.downgrades import keep_evidence

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "ix_tool_calls_server_address_created_at_call_id"
SERVER = ("server_address", "server_name", "server_version")
FACTS = (
    *("call_id", "response_id", "position", "turn", "owner", "token_id", "model_key", "tool"),
    *("provider_type", "provider_name", "definition_digest", "created_at"),
)
ASKED = ("arguments_text", "arguments", "reason", "arguments_salt")
OUTCOME = ("status", "is_error", "duration_ms", "settled_at")
ANSWERED = ("output", "structured", "shown", "output_salt", "output_digest", "structured_digest")


def upgrade() -> None:
    for name in SERVER:
        op.add_column("tool_calls", sa.Column(name, sa.Text()))
    op.create_index(INDEX, "tool_calls", ["server_address", "created_at", "call_id"])
    replace_rule((*FACTS, *SERVER))


def downgrade() -> None:
    known = " OR ".join(f"{name} IS NOT NULL" for name in SERVER)
    keep_evidence(revision, "which servers answered the calls of the journal", "tool_calls", known)
    replace_rule(FACTS)  # SQLite drops no column that a trigger speaks of
    op.drop_index(INDEX, "tool_calls")
    for name in reversed(SERVER):
        op.drop_column("tool_calls", name)


def replace_rule(facts: Sequence[str]) -> None:
    """The journal's trigger of 0009, with these facts among what never changes."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER tool_calls_update")
        op.execute(
            f"CREATE TRIGGER tool_calls_update BEFORE UPDATE ON tool_calls WHEN NOT ({journal_rule(facts, 'IS', '{}')})"
            " BEGIN SELECT RAISE(ABORT, 'a row of the journal changes once'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_one_outcome() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NOT ({journal_rule(facts, 'IS NOT DISTINCT FROM', '{}::text')}) THEN"
        " RAISE EXCEPTION 'a row of the journal changes once' USING ERRCODE = 'integrity_constraint_violation';"
        " END IF;"
        " IF OLD.arguments IS NOT NULL AND NEW.arguments IS NULL THEN"
        " DELETE FROM call_arguments WHERE call_id = OLD.call_id; END IF;"
        " RETURN NEW; END $$"
    )


def journal_rule(facts: Sequence[str], same: str, json_text: str) -> str:
    """What an update of a journal row must satisfy; `same` compares with NULLs, `json_text` makes JSON comparable."""

    def is_kept(column: str) -> str:
        form = json_text if column == "arguments" else "{}"
        return f"{form.format(f'NEW.{column}')} {same} {form.format(f'OLD.{column}')}"

    def may_only_go(column: str) -> str:
        return f"(NEW.{column} IS NULL OR {is_kept(column)})"

    name = f"({is_kept('model_name')} OR (OLD.tool IS NULL AND NEW.model_name = ''))"
    settled = " AND ".join([*map(is_kept, OUTCOME), *map(may_only_go, ANSWERED)])
    return " AND ".join(
        [*map(is_kept, facts), name, *map(may_only_go, ASKED), f"(OLD.settled_at IS NULL OR ({settled}))"]
    )
