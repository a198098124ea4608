"""The index of arguments has nothing of calls without arguments: it had a null of each from before there was a chain.

Revision: 0013, after 0012
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SURPLUS = "DELETE FROM call_arguments WHERE call_id IN (SELECT call_id FROM tool_calls WHERE arguments IS NULL)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(SURPLUS)
        return
    op.execute("ALTER TABLE call_arguments DISABLE TRIGGER call_arguments_delete")
    op.execute(SURPLUS)
    op.execute("ALTER TABLE call_arguments ENABLE TRIGGER call_arguments_delete")


def downgrade() -> None:
    """What was removed was wrong."""
