"""A message keeps how likely its tokens were, where its client asked.

Messages that are there already have none. A downgrade lets go of them.

Revision: 0024, after 0023
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("output_items", sa.Column("logprobs", sa.Text()))


def downgrade() -> None:
    op.drop_column("output_items", "logprobs")
