"""API tokens: when they end, what they use up, and the key of their digests.

Revision: 0006, after 0005
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("tokens", sa.Column("limits", sa.JSON()))
    op.add_column("tokens", sa.Column("secret_key_id", sa.Text()))
    op.create_table(
        "token_usage",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "day", name="pk_token_usage"),
    )


def downgrade() -> None:
    op.drop_table("token_usage")
    with op.batch_alter_table("tokens") as tokens:
        tokens.drop_column("secret_key_id")
        tokens.drop_column("limits")
        tokens.drop_column("expires_at")
