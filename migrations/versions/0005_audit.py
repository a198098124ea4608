"""The audit: a hash chain over the journal, the indexes that it is read by, and triggers that keep it as it is.

The calls that are there already are put into the chain as they stand, in the order in which they were made.

Revision: 0005, after 0004
"""

import secrets
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

# The format of a link is a promise: what was chained once is verified for ever.
from orchestrator.store import audit_links as links
from orchestrator.store.audit_arguments import argument_leaves
from orchestrator.store.columns import original, storable
from orchestrator.store.downgrades import keep_evidence

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
PAGE = 2_000

INDEXES = (
    ("owner",),
    ("tool",),
    ("provider_name",),
    ("model_key",),
    ("definition_digest",),
    ("status",),
)

FACTS = (
    *("call_id", "response_id", "position", "turn", "owner", "token_id", "model_key", "tool"),
    *("provider_type", "provider_name", "definition_digest", "created_at"),
)
ASKED = ("arguments_text", "arguments", "reason", "arguments_salt")
OUTCOME = ("status", "is_error", "duration_ms", "settled_at")
ANSWERED = ("output", "structured", "shown", "output_salt")


def upgrade() -> None:
    create_tables()
    add_columns()
    chain_what_is_there()
    for columns in INDEXES:
        name = f"ix_tool_calls_{columns[0]}_created_at_call_id"
        op.create_index(name, "tool_calls", [*columns, "created_at", "call_id"])
    op.create_index("ix_tool_calls_duration_ms", "tool_calls", ["duration_ms"])
    where = sa.text("is_error")
    op.create_index(
        "ix_tool_calls_is_error", "tool_calls", ["created_at", "call_id"], sqlite_where=where, postgresql_where=where
    )
    create_triggers()


def create_tables() -> None:
    compared_by_byte = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "call_arguments",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("value", compared_by_byte, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("path", "value", "created_at", "call_id", name="pk_call_arguments"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_chain",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary()),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "sequence", name="pk_audit_chain"),
        sa.UniqueConstraint("call_id", "kind", name="uq_audit_chain_call_id_kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_heads",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("checkpointed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_audit_heads"),
    )
    op.create_table(
        "audit_events",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text()),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_events"),
    )


def add_columns() -> None:
    with op.batch_alter_table("tool_calls") as table:
        table.add_column(sa.Column("model_key", sa.Text()))
        table.add_column(sa.Column("arguments_salt", sa.LargeBinary()))
        table.add_column(sa.Column("output_salt", sa.LargeBinary()))
    op.execute(
        "UPDATE tool_calls SET model_key ="
        " (SELECT responses.model_key FROM responses WHERE responses.id = tool_calls.response_id)"
    )
    with op.batch_alter_table("tool_calls") as table:
        table.alter_column("model_key", existing_type=sa.Text(), nullable=False)


# ---- the calls that are there -----------------------------------------------------------------


def chain_what_is_there() -> None:
    connection = op.get_bind()
    tables = {
        name: sa.Table(name, sa.MetaData(), autoload_with=connection)
        for name in ("tool_calls", "responses", "audit_chain", "audit_heads", "call_arguments")
    }
    for owner, calls in groupby(calls_in_order(connection, tables), key=lambda row: row["owner"]):
        sequence, head = 0, links.NO_LINK
        for page in pages(calls):
            rows: list[dict[str, Any]] = []
            for call in page:
                for kind in ("journaled", "settled"):
                    if kind == "settled" and call["settled_at"] is None:
                        continue
                    digest, facts = entry(call, kind)
                    sequence += 1
                    previous, head = head, links.link_hash(owner, sequence, head, kind, facts)
                    rows.append(
                        {
                            "owner": owner,
                            "sequence": sequence,
                            "kind": kind,
                            "call_id": call["call_id"],
                            "content_digest": digest,
                            "previous": previous,
                            "hash": head,
                        }
                    )
            connection.execute(sa.insert(tables["audit_chain"]), rows)
            write_salts(connection, tables["tool_calls"], page)
            write_arguments(connection, tables["call_arguments"], page)
        last = {"owner": owner, "sequence": sequence, "hash": head, "checkpointed": 0}
        connection.execute(sa.insert(tables["audit_heads"]), last)


def calls_in_order(connection: sa.Connection, tables: dict[str, sa.Table]) -> Iterator[dict[str, Any]]:
    """Every call with whether its content is kept, owner by owner, each with the salts that it is to have."""
    calls, responses = tables["tool_calls"], tables["responses"]
    key = sa.tuple_(calls.c.owner, calls.c.created_at, calls.c.call_id)
    query = (
        sa.select(calls, responses.c.stored)
        .join_from(calls, responses, responses.c.id == calls.c.response_id)
        .order_by(*key)
        .limit(PAGE)
    )
    after: sa.ColumnElement[bool] = sa.true()
    while page := [dict(row) for row in connection.execute(query.where(after)).mappings()]:
        for row in page:
            row |= {name: original(value) for name, value in row.items() if isinstance(value, str)}
            row["arguments_salt"] = secrets.token_bytes(links.SALT_BYTES) if row["stored"] else None
            settled = row["settled_at"] is not None
            row["output_salt"] = secrets.token_bytes(links.SALT_BYTES) if row["stored"] and settled else None
            yield row
        last = page[-1]
        after = key > sa.tuple_(
            *(sa.literal(last[name], calls.c[name].type) for name in ("owner", "created_at", "call_id"))
        )


def pages(calls: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    for call in calls:
        page.append(call)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def entry(call: dict[str, Any], kind: str) -> tuple[bytes | None, dict[str, Any]]:
    if kind == "journaled":
        salt = call["arguments_salt"]
        content = links.journaled_content(call, links.argument_text(call["arguments"]))
        digest = None if salt is None else links.salted_digest(salt, content)
        return digest, links.journaled_facts(call, digest)
    salt = call["output_salt"]
    digest = None if salt is None else links.salted_digest(salt, links.settled_content(call))
    return digest, links.settled_facts(call, digest)


def write_salts(connection: sa.Connection, calls: sa.Table, page: list[dict[str, Any]]) -> None:
    salted = [call for call in page if call["arguments_salt"] is not None]
    if not salted:
        return
    statement = (
        sa.update(calls)
        .where(calls.c.call_id == sa.bindparam("the_call"))
        .values(arguments_salt=sa.bindparam("asked"), output_salt=sa.bindparam("answered"))
    )
    connection.execute(
        statement,
        [
            {"the_call": call["call_id"], "asked": call["arguments_salt"], "answered": call["output_salt"]}
            for call in salted
        ],
    )


def write_arguments(connection: sa.Connection, table: sa.Table, page: list[dict[str, Any]]) -> None:
    rows = [
        {"path": storable(path), "value": storable(value), "created_at": call["created_at"], "call_id": call["call_id"]}
        for call in page
        for path, value in argument_leaves(call["arguments"])
    ]
    if rows:
        connection.execute(sa.insert(table), rows)


# ---- triggers ---------------------------------------------------------------------------------


def create_triggers() -> None:
    op.create_index("ix_call_arguments_call_id", "call_arguments", ["call_id"])
    if op.get_bind().dialect.name == "sqlite":
        create_sqlite_triggers()
    else:
        create_postgres_triggers()


def journal_rule(same: str, json_text: str) -> str:
    """What an update of a journal row must satisfy; `same` compares with NULLs, `json_text` makes JSON comparable."""

    def is_kept(column: str) -> str:
        form = json_text if column == "arguments" else "{}"
        return f"{form.format(f'NEW.{column}')} {same} {form.format(f'OLD.{column}')}"

    def may_only_go(column: str) -> str:
        return f"(NEW.{column} IS NULL OR {is_kept(column)})"

    name = f"({is_kept('model_name')} OR (OLD.tool IS NULL AND NEW.model_name = ''))"
    settled = " AND ".join([*map(is_kept, OUTCOME), *map(may_only_go, ANSWERED)])
    return " AND ".join(
        [*map(is_kept, FACTS), name, *map(may_only_go, ASKED), f"(OLD.settled_at IS NULL OR ({settled}))"]
    )


def create_sqlite_triggers() -> None:
    for table in ("audit_chain", "audit_events", "tool_calls"):
        if table != "tool_calls":
            op.execute(
                f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        op.execute(
            f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
    op.execute(
        f"CREATE TRIGGER tool_calls_update BEFORE UPDATE ON tool_calls WHEN NOT ({journal_rule('IS', '{}')})"
        " BEGIN SELECT RAISE(ABORT, 'a row of the journal changes once'); END"
    )
    op.execute(
        "CREATE TRIGGER tool_calls_arguments_gone AFTER UPDATE OF arguments ON tool_calls"
        " WHEN OLD.arguments IS NOT NULL AND NEW.arguments IS NULL"
        " BEGIN DELETE FROM call_arguments WHERE call_id = OLD.call_id; END"
    )


def create_postgres_triggers() -> None:
    op.execute(
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';"
        " END $$"
    )
    op.execute(
        "CREATE FUNCTION audit_one_outcome() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NOT ({journal_rule('IS NOT DISTINCT FROM', '{}::text')}) THEN"
        " RAISE EXCEPTION 'a row of the journal changes once' USING ERRCODE = 'integrity_constraint_violation';"
        " END IF;"
        " IF OLD.arguments IS NOT NULL AND NEW.arguments IS NULL THEN"
        " DELETE FROM call_arguments WHERE call_id = OLD.call_id; END IF;"
        " RETURN NEW; END $$"
    )
    for table in ("audit_chain", "audit_events"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
        )
    op.execute(
        "CREATE TRIGGER tool_calls_delete BEFORE DELETE ON tool_calls FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
    )
    op.execute(
        "CREATE TRIGGER tool_calls_update BEFORE UPDATE ON tool_calls FOR EACH ROW EXECUTE FUNCTION audit_one_outcome()"
    )


def downgrade() -> None:
    for table in ("audit_chain", "audit_events"):
        keep_evidence(revision, "the audit chain, which proves the journal", table)
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("tool_calls_update", "tool_calls_delete", "tool_calls_arguments_gone"):
            op.execute(f"DROP TRIGGER {trigger}")
    else:
        op.execute("DROP TRIGGER tool_calls_delete ON tool_calls")
        op.execute("DROP TRIGGER tool_calls_update ON tool_calls")
    for table in ("audit_events", "audit_heads", "audit_chain", "call_arguments"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_append_only()")
        op.execute("DROP FUNCTION audit_one_outcome()")
    op.drop_index("ix_tool_calls_is_error", "tool_calls")
    op.drop_index("ix_tool_calls_duration_ms", "tool_calls")
    for columns in INDEXES:
        op.drop_index(f"ix_tool_calls_{columns[0]}_created_at_call_id", "tool_calls")
    with op.batch_alter_table("tool_calls") as table:
        for column in ("output_salt", "arguments_salt", "model_key"):
            table.drop_column(column)
