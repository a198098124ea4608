"""A name belongs to one valid API token at a time, and the database sees to it.

Doubles that are there already all stay valid. Of those of one name the newest that has not expired holds it, else
the newest; the others go on as those whose grace runs after a rotation: revoking the name ends them all.

Revision: 0022, after 0021
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HOLD = """
UPDATE tokens SET live_name = name WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY name
            ORDER BY expires_at IS NULL OR expires_at > CURRENT_TIMESTAMP DESC, created_at DESC, id DESC
        ) AS place FROM tokens WHERE revoked_at IS NULL
    ) AS placed WHERE place = 1
)
"""


def upgrade() -> None:
    op.add_column("tokens", sa.Column("live_name", sa.Text()))
    op.execute(HOLD)
    with op.batch_alter_table("tokens") as tokens:
        tokens.create_unique_constraint("uq_tokens_live_name", ["live_name"])


def downgrade() -> None:
    with op.batch_alter_table("tokens") as tokens:
        tokens.drop_constraint("uq_tokens_live_name", type_="unique")
        tokens.drop_column("live_name")
