"""Downloads have owners. Those that are there belong to the service without authentication, and admins see them.

Revision: 0016, after 0015
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "download_claims",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("quantization", sa.Text()),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("downloaded_bytes", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_download_claims_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_download_claims"),
    )
    op.create_index("ix_download_claims_owner_asked_at", "download_claims", ["owner", "asked_at"])
    op.create_index("ix_download_claims_job_id", "download_claims", ["job_id"])
    op.execute(
        "INSERT INTO download_claims (id, owner, job_id, model, quantization, asked_at, wish, downloaded_bytes)"
        " SELECT id, 'local', id, model, quantization, started_at,"
        " CASE WHEN state IN ('paused', 'cancelled') THEN state ELSE 'wanted' END,"
        " CASE WHEN state IN ('paused', 'cancelled') THEN downloaded_bytes END FROM jobs"
    )


def downgrade() -> None:
    op.drop_table("download_claims")
