"""A response keeps what it was warned about.

Revision: 0017, after 0016
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("responses", sa.Column("warnings", sa.JSON()))


def downgrade() -> None:
    op.drop_column("responses", "warnings")
