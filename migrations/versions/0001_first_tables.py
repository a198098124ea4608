"""The graph of responses, the journal of tool calls, and tokens.

Revision: 0001, the first
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_tools()
    create_responses()
    create_journal()
    create_items()
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )


def create_tools() -> None:
    op.create_table(
        "tool_definitions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tool_definitions"),
    )
    op.create_table(
        "tool_offers",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("tool_names", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tool_offers"),
    )
    op.create_table(
        "offered_tools",
        sa.Column("offer_digest", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("provider_type", sa.Text(), nullable=False),
        sa.Column("provider_name", sa.Text(), nullable=False),
        sa.Column("definition_digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("offer_digest", "position", name="pk_offered_tools"),
        sa.ForeignKeyConstraint(
            ["offer_digest"], ["tool_offers.digest"], name="fk_offered_tools_offer_digest_tool_offers"
        ),
        sa.ForeignKeyConstraint(
            ["definition_digest"],
            ["tool_definitions.digest"],
            name="fk_offered_tools_definition_digest_tool_definitions",
        ),
    )
    op.create_index("ix_offered_tools_definition_digest", "offered_tools", ["definition_digest"])


def create_responses() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("previous_response_id", sa.Text()),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text()),
        sa.Column("model_key", sa.Text(), nullable=False),
        sa.Column("model_instance_id", sa.Text(), nullable=False),
        sa.Column("stored", sa.Boolean(), nullable=False),
        sa.Column("system_prompt", sa.Text()),
        sa.Column("parameters", sa.JSON()),
        sa.Column("metadata", sa.JSON()),
        sa.Column("offer_digest", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ending_reason", sa.Text()),
        sa.Column("error_kind", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_param", sa.Text()),
        sa.Column("stats", sa.JSON()),
        sa.Column("holder", sa.Text()),
        sa.Column("lease_until", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_responses"),
        sa.ForeignKeyConstraint(
            ["previous_response_id"], ["responses.id"], name="fk_responses_previous_response_id_responses"
        ),
        sa.ForeignKeyConstraint(["offer_digest"], ["tool_offers.digest"], name="fk_responses_offer_digest_tool_offers"),
    )
    op.create_index("ix_responses_previous_response_id", "responses", ["previous_response_id"])
    op.create_index("ix_responses_owner_created_at_id", "responses", ["owner", "created_at", "id"])
    create_partial_index("ix_responses_in_progress", "responses", ["holder", "lease_until"], "status = 'in_progress'")


def create_journal() -> None:
    op.create_table(
        "tool_calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text()),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("arguments_text", sa.Text()),
        sa.Column("arguments", sa.JSON()),
        sa.Column("tool", sa.Text()),
        sa.Column("provider_type", sa.Text()),
        sa.Column("provider_name", sa.Text()),
        sa.Column("definition_digest", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("structured", sa.Text()),
        sa.Column("shown", sa.Text()),
        sa.Column("is_error", sa.Boolean(), nullable=False),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("settled_at", MOMENT),
        sa.PrimaryKeyConstraint("call_id", name="pk_tool_calls"),
        sa.UniqueConstraint("response_id", "position", name="uq_tool_calls_response_id_position"),
        sa.ForeignKeyConstraint(["response_id"], ["responses.id"], name="fk_tool_calls_response_id_responses"),
        sa.ForeignKeyConstraint(
            ["definition_digest"], ["tool_definitions.digest"], name="fk_tool_calls_definition_digest_tool_definitions"
        ),
    )
    op.create_index("ix_tool_calls_created_at_call_id", "tool_calls", ["created_at", "call_id"])


def create_items() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_table(
        "input_items",
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("content", sa.Text()),
        sa.Column("blob_digest", sa.Text()),
        sa.PrimaryKeyConstraint("response_id", "position", name="pk_input_items"),
        sa.ForeignKeyConstraint(["response_id"], ["responses.id"], name="fk_input_items_response_id_responses"),
        sa.ForeignKeyConstraint(["blob_digest"], ["blobs.digest"], name="fk_input_items_blob_digest_blobs"),
        sqlite_with_rowid=False,
    )
    create_partial_index("ix_input_items_blob_digest", "input_items", ["blob_digest"], "blob_digest IS NOT NULL")
    op.create_table(
        "output_items",
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("content", sa.Text()),
        sa.Column("call_id", sa.Text()),
        sa.PrimaryKeyConstraint("response_id", "position", name="pk_output_items"),
        sa.ForeignKeyConstraint(["response_id"], ["responses.id"], name="fk_output_items_response_id_responses"),
        sa.ForeignKeyConstraint(["call_id"], ["tool_calls.call_id"], name="fk_output_items_call_id_tool_calls"),
        sqlite_with_rowid=False,
    )
    create_partial_index("ix_output_items_call_id", "output_items", ["call_id"], "call_id IS NOT NULL")


def create_partial_index(name: str, table: str, columns: Sequence[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for table in (
        "output_items",
        "input_items",
        "blobs",
        "tool_calls",
        "responses",
        "offered_tools",
        "tool_offers",
        "tool_definitions",
        "tokens",
    ):
        op.drop_table(table)
