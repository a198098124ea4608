"""Calls that wait for somebody's approval.

Revision: 0007, after 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("responses", sa.Column("expires_at", MOMENT))
    op.add_column("responses", sa.Column("suspension", sa.JSON()))
    waiting = sa.text("status = 'awaiting_approval'")
    op.create_index(
        "ix_responses_awaiting_approval",
        "responses",
        ["expires_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_table(
        "tool_call_approvals",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("arguments", sa.JSON()),
        sa.Column("owner", sa.Text()),
        sa.Column("token_id", sa.Text()),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["tool_calls.call_id"], name="fk_tool_call_approvals_call_id_tool_calls"),
        sa.PrimaryKeyConstraint("call_id", name="pk_tool_call_approvals"),
    )


def downgrade() -> None:
    op.drop_table("tool_call_approvals")
    op.drop_index("ix_responses_awaiting_approval", "responses")
    op.drop_column("responses", "suspension")
    op.drop_column("responses", "expires_at")
