"""Input that was taken from a server's resource or prompt says so.

Revision: 0011, after 0010
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("input_items", sa.Column("origin", sa.JSON()))


def downgrade() -> None:
    op.drop_column("input_items", "origin")
