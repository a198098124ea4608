"""The index of arguments is kept as the journal is: it loses a call's rows only when its arguments go.

Revision: 0012, after 0011
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TRIGGERS = ("call_arguments_update", "call_arguments_delete")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER call_arguments_update BEFORE UPDATE ON call_arguments"
            " BEGIN SELECT RAISE(ABORT, 'call_arguments is append-only'); END"
        )
        op.execute(
            "CREATE TRIGGER call_arguments_delete BEFORE DELETE ON call_arguments"
            " WHEN EXISTS (SELECT 1 FROM tool_calls WHERE call_id = OLD.call_id AND arguments IS NOT NULL)"
            " BEGIN SELECT RAISE(ABORT, 'call_arguments is append-only'); END"
        )
        return
    op.execute(
        "CREATE TRIGGER call_arguments_update BEFORE UPDATE ON call_arguments"
        " FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
    )
    # The journal's own trigger deletes before its row has changed: that it is a trigger is what tells it apart.
    op.execute(
        "CREATE TRIGGER call_arguments_delete BEFORE DELETE ON call_arguments"
        " FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_append_only()"
    )


def downgrade() -> None:
    on = "" if op.get_bind().dialect.name == "sqlite" else " ON call_arguments"
    for trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger}{on}")
