"""Long chains are kept once more, in pieces that are read at once.

Revision: 0018, after 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Whoever loads a long chain puts its pieces away."""
    op.create_table(
        "chain_segments",
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("previous_id", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["response_id"], ["responses.id"], name=op.f("fk_chain_segments_response_id_responses")
        ),
        sa.PrimaryKeyConstraint("response_id", name=op.f("pk_chain_segments")),
    )
    if op.get_context().dialect.name == "postgresql":
        # To unpack a chain of 1,000 takes longer than to read it as it is.
        op.execute("ALTER TABLE chain_segments ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("chain_segments")
