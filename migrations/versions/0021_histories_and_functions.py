"""Input items say whose they are and which call they answer; a response has the digest of its conversation.

Responses that are there already have no digest. One that continues them is digested from its root.

Revision: 0021, after 0020
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "ix_responses_owner_transcript_digest_number"


def upgrade() -> None:
    op.add_column("input_items", sa.Column("details", sa.JSON()))
    op.add_column("responses", sa.Column("transcript_digest", sa.Text()))
    told = sa.text("transcript_digest IS NOT NULL")
    op.create_index(
        INDEX,
        "responses",
        ["owner", "transcript_digest", "number"],
        sqlite_where=told,
        postgresql_where=told,
    )


def downgrade() -> None:
    """What a client's history had beyond texts and pictures is lost, and with it its place in prompts."""
    op.execute("DELETE FROM input_items WHERE type NOT IN ('text', 'image')")
    op.drop_index(INDEX, "responses")
    op.drop_column("responses", "transcript_digest")
    op.drop_column("input_items", "details")
