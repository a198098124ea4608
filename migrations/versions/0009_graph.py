"""Listing, searching and deleting responses; long texts apart; threads.

Revision: 0009, after 0008
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

from orchestrator.core.items import EphemeralProvider, PluginProvider
from orchestrator.core.listing import listing_number
from orchestrator.core.search import BREAK, words_of
from orchestrator.core.storable_text import original, storable
from orchestrator.store.columns import SearchWords, UtcDateTime
from orchestrator.store.labels import call_labels, opening_labels, owner_word

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
BATCH = 500
PREVIEW = 200
STORED_INDEXES = (
    ("ix_responses_stored_number", ["number"]),
    ("ix_responses_owner_number", ["owner", "number"]),
    ("ix_responses_owner_status_number", ["owner", "status", "number"]),
    ("ix_responses_status_number", ["status", "number"]),
    ("ix_responses_root_id_depth_number", ["root_id", "depth", "number"]),
)


def is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def upgrade() -> None:
    create_tables()
    op.drop_index("ix_responses_owner_created_at_id", "responses")
    for name, kind in (
        ("number", sa.BigInteger()),
        ("input_preview", sa.Text()),
        ("output_preview", sa.Text()),
        ("cancel_reason", sa.Text()),
        ("deleted_at", MOMENT),
    ):
        op.add_column("responses", sa.Column(name, kind))
    carry_over(op.get_bind())
    with op.batch_alter_table("responses") as responses:
        responses.alter_column("number", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("ix_responses_number", "responses", ["number"], unique=True)
    for name, columns in STORED_INDEXES:
        op.create_index(
            name, "responses", columns, sqlite_where=sa.text("stored IS 1"), postgresql_where=sa.text("stored IS true")
        )
    drop_triggers()
    with op.batch_alter_table("tool_calls") as calls:
        for name in ("output_digest", "structured_digest"):
            calls.add_column(sa.Column(name, sa.Text()))
            calls.create_foreign_key(f"fk_tool_calls_{name}_blobs", "blobs", [name], ["digest"])
    for name in ("output_digest", "structured_digest"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_tool_calls_{name}", "tool_calls", [name], sqlite_where=there, postgresql_where=there)
    create_triggers((*ANSWERED, *DIGESTS))


# ---- the journal's triggers -------------------------------------------------------------------
# Those of 0005, with the new columns among the content that may go. SQLite loses them with the table
# that a batch rebuilds.

DIGESTS = ("output_digest", "structured_digest")
FACTS = (
    *("call_id", "response_id", "position", "turn", "owner", "token_id", "model_key", "tool"),
    *("provider_type", "provider_name", "definition_digest", "created_at"),
)
ASKED = ("arguments_text", "arguments", "reason", "arguments_salt")
OUTCOME = ("status", "is_error", "duration_ms", "settled_at")
ANSWERED = ("output", "structured", "shown", "output_salt")


def drop_triggers() -> None:
    if is_sqlite():
        for trigger in ("tool_calls_update", "tool_calls_delete", "tool_calls_arguments_gone"):
            op.execute(f"DROP TRIGGER {trigger}")


def create_triggers(answered: Sequence[str]) -> None:
    if not is_sqlite():
        op.execute(
            "CREATE OR REPLACE FUNCTION audit_one_outcome() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NOT ({journal_rule(answered, 'IS NOT DISTINCT FROM', '{}::text')}) THEN"
            " RAISE EXCEPTION 'a row of the journal changes once' USING ERRCODE = 'integrity_constraint_violation';"
            " END IF;"
            " IF OLD.arguments IS NOT NULL AND NEW.arguments IS NULL THEN"
            " DELETE FROM call_arguments WHERE call_id = OLD.call_id; END IF;"
            " RETURN NEW; END $$"
        )
        return
    op.execute(
        "CREATE TRIGGER tool_calls_delete BEFORE DELETE ON tool_calls"
        " BEGIN SELECT RAISE(ABORT, 'tool_calls is append-only'); END"
    )
    op.execute(
        f"CREATE TRIGGER tool_calls_update BEFORE UPDATE ON tool_calls WHEN NOT ({journal_rule(answered, 'IS', '{}')})"
        " BEGIN SELECT RAISE(ABORT, 'a row of the journal changes once'); END"
    )
    op.execute(
        "CREATE TRIGGER tool_calls_arguments_gone AFTER UPDATE OF arguments ON tool_calls"
        " WHEN OLD.arguments IS NOT NULL AND NEW.arguments IS NULL"
        " BEGIN DELETE FROM call_arguments WHERE call_id = OLD.call_id; END"
    )


def journal_rule(answered: Sequence[str], same: str, json_text: str) -> str:
    """What an update of a journal row must satisfy; `same` compares with NULLs, `json_text` makes JSON comparable."""

    def is_kept(column: str) -> str:
        form = json_text if column == "arguments" else "{}"
        return f"{form.format(f'NEW.{column}')} {same} {form.format(f'OLD.{column}')}"

    def may_only_go(column: str) -> str:
        return f"(NEW.{column} IS NULL OR {is_kept(column)})"

    name = f"({is_kept('model_name')} OR (OLD.tool IS NULL AND NEW.model_name = ''))"
    settled = " AND ".join([*map(is_kept, OUTCOME), *map(may_only_go, answered)])
    return " AND ".join(
        [*map(is_kept, FACTS), name, *map(may_only_go, ASKED), f"(OLD.settled_at IS NULL OR ({settled}))"]
    )


def create_tables() -> None:
    op.create_table(
        "response_labels",
        sa.Column("label", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("label", "number", name="pk_response_labels"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_response_labels_number", "response_labels", ["number"])
    op.create_table(
        "response_search",
        sa.Column("number", sa.Integer() if is_sqlite() else sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("words", sa.Text() if is_sqlite() else TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_response_search"),
    )
    if is_sqlite():
        op.execute(
            "CREATE VIRTUAL TABLE response_words USING fts5"
            "(words, content='response_search', content_rowid='number', columnsize=0, tokenize='ascii')"
        )
    else:
        op.create_index("ix_response_search_words", "response_search", ["words"], postgresql_using="gin")
    op.create_table(
        "threads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("newest_response_id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_threads"),
        sa.ForeignKeyConstraint(
            ["newest_response_id"], ["responses.id"], name="fk_threads_newest_response_id_responses"
        ),
    )
    op.create_index("ix_threads_newest_response_id", "threads", ["newest_response_id"])
    op.create_index("ix_threads_owner_updated_at_id", "threads", ["owner", "updated_at", "id"])


def carry_over(connection: sa.Connection) -> None:
    """Give the responses that are there their numbers, previews, labels and words."""
    taken: set[int] = set()
    for batch in batches(connection):
        for row in batch:
            number = listing_number(row.created_at, row.id)
            while number in taken:
                number += 1
            taken.add(number)
            carry_response(connection, row, number)


def batches(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    query = sa.text(
        "SELECT id, owner, stored, status, model_key, metadata, created_at FROM responses"
        f" WHERE id > :after ORDER BY id LIMIT {BATCH}"
    ).columns(metadata=sa.JSON(none_as_null=True), created_at=UtcDateTime())
    after = ""
    while batch := connection.execute(query, {"after": after}).all():
        yield batch
        after = batch[-1].id


def carry_response(connection: sa.Connection, row: sa.Row[Any], number: int) -> None:
    asked = {"id": row.id}
    said = connection.execute(
        sa.text("SELECT content FROM input_items WHERE response_id = :id AND type = 'text' ORDER BY position"), asked
    )
    inputs = [original(text) for text in said.scalars()]
    written = connection.execute(
        sa.text(
            "SELECT i.type, i.content, c.tool, c.arguments_text, c.shown, c.provider_type, c.provider_name"
            " FROM output_items i LEFT JOIN tool_calls c ON c.call_id = i.call_id"
            " WHERE i.response_id = :id ORDER BY i.position"
        ),
        asked,
    ).all()
    messages = [original(item.content) for item in written if item.type == "message"]
    values = {
        "id": row.id,
        "number": number,
        "said": storable(inputs[0][:PREVIEW]) if inputs else "",
        "written": storable(messages[-1][:PREVIEW]) if messages else "",
    }
    if not row.stored:
        values |= {"said": None, "written": None}
    elif row.status == "in_progress":
        values["written"] = None
    connection.execute(
        sa.text(
            "UPDATE responses SET number = :number, input_preview = :said, output_preview = :written WHERE id = :id"
        ),
        values,
    )
    if row.stored:
        labels = [
            *opening_labels(row.owner, row.model_key, row.metadata or {}),
            *call_labels(row.owner, [(item.tool, provider(item)) for item in written if item.tool is not None]),
        ]
        insert = sa.text("INSERT INTO response_labels (label, number) VALUES (:label, :number)")
        connection.execute(insert, [{"label": label, "number": number} for label in sorted(set(labels))])
    if row.stored and row.status != "in_progress":
        texts = [
            text for item in written for text in (item.content, item.tool, item.arguments_text, item.shown) if text
        ]
        words = [owner_word(row.owner), BREAK, *words_of([*inputs, *map(original, texts)])]
        index(connection, number, words)


def provider(item: sa.Row[Any]) -> PluginProvider | EphemeralProvider:
    kind = PluginProvider if item.provider_type == "plugin" else EphemeralProvider
    return kind(original(item.provider_name))


def index(connection: sa.Connection, number: int, words: list[str]) -> None:
    search = sa.table("response_search", sa.column("number"), sa.column("words", SearchWords()))
    connection.execute(sa.insert(search), {"number": number, "words": words})
    if is_sqlite():
        connection.execute(
            sa.text("INSERT INTO response_words(rowid, words) VALUES (:number, :words)"),
            {"number": number, "words": " ".join(words)},
        )


def downgrade() -> None:
    connection = op.get_bind()
    if is_sqlite():
        drop_triggers()
    else:
        op.execute("ALTER TABLE tool_calls DISABLE TRIGGER USER")
    # What is long goes back to where it was before.
    for name in ("output", "structured"):
        connection.execute(
            sa.text(
                f"UPDATE tool_calls SET {name} = (SELECT content FROM blobs WHERE digest = tool_calls.{name}_digest)"
                f" WHERE {name}_digest IS NOT NULL"
            )
        )
        op.drop_index(f"ix_tool_calls_{name}_digest", "tool_calls")
    connection.execute(
        sa.text(
            "UPDATE input_items SET content = (SELECT content FROM blobs WHERE digest = input_items.blob_digest),"
            " blob_digest = NULL WHERE type = 'text' AND blob_digest IS NOT NULL"
        )
    )
    with op.batch_alter_table("tool_calls") as calls:
        for name in ("output_digest", "structured_digest"):
            calls.drop_constraint(f"fk_tool_calls_{name}_blobs", type_="foreignkey")
            calls.drop_column(name)
    create_triggers(ANSWERED)
    if not is_sqlite():
        op.execute("ALTER TABLE tool_calls ENABLE TRIGGER USER")
    connection.execute(
        sa.text(
            "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM input_items WHERE input_items.blob_digest = blobs.digest)"
        )
    )
    op.drop_table("threads")
    if is_sqlite():
        op.execute("DROP TABLE response_words")
    op.drop_table("response_search")
    op.drop_table("response_labels")
    for name, _ in STORED_INDEXES:
        op.drop_index(name, "responses")
    op.drop_index("ix_responses_number", "responses")
    with op.batch_alter_table("responses") as responses:
        for name in ("number", "input_preview", "output_preview", "cancel_reason", "deleted_at"):
            responses.drop_column(name)
    op.create_index("ix_responses_owner_created_at_id", "responses", ["owner", "created_at", "id"])
