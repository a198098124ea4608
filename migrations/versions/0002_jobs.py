"""Downloads of models.

Revision: 0002, after 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("quantization", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text()),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("downloaded_bytes", sa.BigInteger(), nullable=False),
        sa.Column("total_size_bytes", sa.BigInteger()),
        sa.Column("error_kind", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_param", sa.Text()),
        sa.Column("holder", sa.Text()),
        sa.Column("lease_until", MOMENT),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("completed_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    unfinished = "state IN ('queued', 'downloading', 'paused')"
    create_partial_index("uq_jobs_identity_unfinished", ["identity"], unfinished, unique=True)
    create_partial_index("ix_jobs_active", ["started_at"], "state IN ('queued', 'downloading')", unique=False)


def create_partial_index(name: str, columns: Sequence[str], where: str, *, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(name, "jobs", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    op.drop_table("jobs")
