"""Responses are in hash chains too: what was asked, whom a response continues, and what it ended with.

Those that are there already are chained as they stand, in the order in which they began.

Revision: 0025, after 0024
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

# The format of a link is a promise: what was chained once is verified for ever.
from orchestrator.store import response_links as links
from orchestrator.store.audit_links import NO_LINK, SALT_BYTES, link_hash, salted_digest
from orchestrator.store.columns import original
from orchestrator.store.downgrades import keep_evidence

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PAGE = 500
COLUMNS = (
    *("id", "owner", "number", "previous_response_id", "removed_parent_id", "forked_from", "forked_position"),
    *("forked_rest", "replay_of", "token_id", "model_key", "stored", "system_prompt", "parameters", "created_at"),
    *("status", "ending_reason", "error_kind", "error_message", "error_param", "ended_at"),
)


def upgrade() -> None:
    op.add_column("responses", sa.Column("input_salt", sa.LargeBinary()))
    op.add_column("responses", sa.Column("output_salt", sa.LargeBinary()))
    op.add_column("responses", sa.Column("removed_parent_id", sa.Text()))
    create_tables()
    chain_what_is_there()
    create_triggers()


def create_tables() -> None:
    op.create_table(
        "response_chain",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary()),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "sequence", name="pk_response_chain"),
        sa.UniqueConstraint("response_id", "kind", name="uq_response_chain_response_id_kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "response_heads",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("checkpointed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_response_heads"),
    )


# ---- the responses that are there -------------------------------------------------------------


def chain_what_is_there() -> None:
    connection = op.get_bind()
    names = ("responses", "input_items", "output_items", "response_chain", "response_heads")
    tables = {name: sa.Table(name, sa.MetaData(), autoload_with=connection) for name in names}
    heads: dict[str, tuple[int, bytes]] = {}
    for page in pages(connection, tables["responses"]):
        items = {kind: items_of(connection, tables[f"{side}_items"], page) for kind, side in SIDES.items()}
        chained = [
            link
            for row in page
            for kind in links.KINDS
            if kind == "opened" or row["ended_at"] is not None
            for link in [chain(heads, row, kind, items[kind].get(row["id"], []))]
        ]
        connection.execute(sa.insert(tables["response_chain"]), chained)
        write_salts(connection, tables["responses"], page)
    for owner, (sequence, head) in heads.items():
        last = {"owner": owner, "sequence": sequence, "hash": head, "checkpointed": 0}
        connection.execute(sa.insert(tables["response_heads"]), last)


SIDES = {"opened": "input", "ended": "output"}


def pages(connection: sa.Connection, responses: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """The responses in the order in which they began, each with the salts that it is to have."""
    query = sa.select(*(responses.c[name] for name in COLUMNS)).order_by(responses.c.number).limit(PAGE)
    after: sa.ColumnElement[bool] = sa.true()
    while page := [plain(row) for row in connection.execute(query.where(after)).mappings()]:
        for row in page:
            row["input_salt"] = secrets.token_bytes(SALT_BYTES) if row["stored"] else None
            ended = row["stored"] and row["ended_at"] is not None
            row["output_salt"] = secrets.token_bytes(SALT_BYTES) if ended else None
        yield page
        after = responses.c.number > page[-1]["number"]


def items_of(connection: sa.Connection, items: sa.Table, page: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    query = sa.select(items).where(items.c.response_id.in_([row["id"] for row in page]))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(query.order_by(items.c.response_id, items.c.position)).mappings():
        found.setdefault(row["response_id"], []).append(plain(row))
    return found


def plain(row: sa.RowMapping) -> dict[str, Any]:
    return {name: original(value) if isinstance(value, str) else value for name, value in row.items()}


def chain(
    heads: dict[str, tuple[int, bytes]], row: dict[str, Any], kind: str, items: list[dict[str, Any]]
) -> dict[str, Any]:
    salt = row[links.SALTS[kind]]
    digest = None if salt is None else salted_digest(salt, links.CONTENTS[kind](row, items))
    sequence, previous = heads.get(row["owner"], (0, NO_LINK))
    head = link_hash(row["owner"], sequence + 1, previous, kind, links.FACTS[kind](row, digest))
    heads[row["owner"]] = sequence + 1, head
    return {
        "owner": row["owner"],
        "sequence": sequence + 1,
        "kind": kind,
        "response_id": row["id"],
        "content_digest": digest,
        "previous": previous,
        "hash": head,
    }


def write_salts(connection: sa.Connection, responses: sa.Table, page: list[dict[str, Any]]) -> None:
    salted = [
        {"the_id": row["id"], "asked": row["input_salt"], "answered": row["output_salt"]}
        for row in page
        if row["input_salt"] is not None
    ]
    if salted:
        statement = sa.update(responses).where(responses.c.id == sa.bindparam("the_id"))
        statement = statement.values(input_salt=sa.bindparam("asked"), output_salt=sa.bindparam("answered"))
        connection.execute(statement, salted)


# ---- triggers ---------------------------------------------------------------------------------


def create_triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER response_chain_{event.lower()} BEFORE {event} ON response_chain"
                " BEGIN SELECT RAISE(ABORT, 'response_chain is append-only'); END"
            )
    else:
        op.execute(
            "CREATE TRIGGER response_chain_append_only BEFORE UPDATE OR DELETE ON response_chain"
            " FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
        )


def downgrade() -> None:
    keep_evidence(revision, "the chains that prove what responses say", "response_chain")
    op.drop_table("response_heads")
    op.drop_table("response_chain")
    for column in ("removed_parent_id", "output_salt", "input_salt"):
        op.drop_column("responses", column)
