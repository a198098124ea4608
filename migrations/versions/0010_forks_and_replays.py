"""Branches that begin inside a response, and responses that are another one run again.

Revision: 0010, after 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("responses", sa.Column("forked_from", sa.Text()))
    op.add_column("responses", sa.Column("forked_position", sa.Integer()))
    op.add_column("responses", sa.Column("replay_of", sa.Text()))


def downgrade() -> None:
    for column in ("replay_of", "forked_position", "forked_from"):
        op.drop_column("responses", column)
