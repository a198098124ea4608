"""A branch keeps the rest of the turn whose call it makes anew, and branches are found by what they left.

Whoever deletes a response is told who still has its content. Branches that are there already have no such rest.

Revision: 0019, after 0018
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = ("forked_from", "replay_of")


def upgrade() -> None:
    op.add_column("responses", sa.Column("forked_rest", sa.Integer()))
    for column in COLUMNS:
        made = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_responses_{column}", "responses", [column], sqlite_where=made, postgresql_where=made)


def downgrade() -> None:
    for column in reversed(COLUMNS):
        op.drop_index(f"ix_responses_{column}", "responses")
    op.drop_column("responses", "forked_rest")
