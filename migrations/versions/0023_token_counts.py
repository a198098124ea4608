"""What API tokens use up is counted for all processes together, and goes on through rotation.

Tokens that are there already are each the first of their own account.

Revision: 0023, after 0022
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("lineage", sa.Text()))
    op.create_table(
        "token_accounts",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_token_accounts"),
    )
    op.create_table(
        "token_requests",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "slot", name="pk_token_requests"),
    )
    op.create_table(
        "token_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reserved", sa.BigInteger()),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_token_runs"),
    )
    op.create_index("ix_token_runs_account", "token_runs", ["account"])


def downgrade() -> None:
    op.drop_table("token_runs")
    op.drop_table("token_requests")
    op.drop_table("token_accounts")
    op.drop_column("tokens", "lineage")
