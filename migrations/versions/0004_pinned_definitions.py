"""Pins of tool definitions, and how they changed.

Revision: 0004, after 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "pinned_definitions",
        sa.Column("plugin_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pinned_at", MOMENT, nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.PrimaryKeyConstraint("plugin_id", "tool", name="pk_pinned_definitions"),
        sa.ForeignKeyConstraint(
            ["digest"], ["tool_definitions.digest"], name="fk_pinned_definitions_digest_tool_definitions"
        ),
    )
    op.create_table(
        "definition_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("plugin_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("old_digest", sa.Text()),
        sa.Column("new_digest", sa.Text()),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("settled_at", MOMENT),
        sa.Column("settled_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_definition_changes"),
        sa.ForeignKeyConstraint(
            ["old_digest"], ["tool_definitions.digest"], name="fk_definition_changes_old_digest_tool_definitions"
        ),
        sa.ForeignKeyConstraint(
            ["new_digest"], ["tool_definitions.digest"], name="fk_definition_changes_new_digest_tool_definitions"
        ),
    )
    op.create_index("ix_definition_changes_plugin_id_id", "definition_changes", ["plugin_id", "id"])


def downgrade() -> None:
    op.drop_table("definition_changes")
    op.drop_table("pinned_definitions")
