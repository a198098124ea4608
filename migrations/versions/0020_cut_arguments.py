"""Calls of which the index of arguments has not all values are marked in it, so that none is missed.

Revision: 0020, after 0019
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from orchestrator.store.audit_arguments import CUT, MOST_LEAVES, MOST_LEVELS, argument_leaves

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PAGE = 200
PATH, VALUE = CUT
CALLS = sa.table(
    "tool_calls",
    sa.Column("call_id", sa.Text),
    sa.Column("created_at", sa.types.NullType),
    sa.Column("arguments", sa.JSON(none_as_null=True)),
)
INDEX = sa.table(
    "call_arguments",
    *(sa.Column(name, sa.types.NullType) for name in ("path", "value", "created_at")),
    sa.Column("call_id", sa.Text),
)


def upgrade() -> None:
    connection = op.get_bind()
    text = sa.cast(CALLS.c.arguments, sa.Text)
    opened = [sa.func.length(text) - sa.func.length(sa.func.replace(text, mark, "")) for mark in ("[", "{")]
    of_call = INDEX.c.call_id == CALLS.c.call_id
    leaves = sa.select(sa.func.count()).select_from(INDEX).where(of_call).scalar_subquery()
    marked = sa.exists().where(of_call, INDEX.c.path == PATH)
    may_be_cut = sa.or_(leaves >= MOST_LEAVES, sum(opened[1:], start=opened[0]) > MOST_LEVELS)
    query = sa.select(CALLS).where(CALLS.c.arguments.is_not(None), may_be_cut, ~marked)
    last = ""
    while page := connection.execute(query.where(CALLS.c.call_id > last).order_by(CALLS.c.call_id).limit(PAGE)).all():
        last = page[-1].call_id
        rows = [
            {"path": PATH, "value": VALUE, "created_at": call.created_at, "call_id": call.call_id}
            for call in page
            if CUT in argument_leaves(call.arguments)
        ]
        if rows:
            connection.execute(sa.insert(INDEX), rows)


def downgrade() -> None:
    removed = sa.delete(INDEX).where(INDEX.c.path == PATH)
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.execute("ALTER TABLE call_arguments DISABLE TRIGGER call_arguments_delete")
        connection.execute(removed)
        op.execute("ALTER TABLE call_arguments ENABLE TRIGGER call_arguments_delete")
        return
    op.execute("DROP TRIGGER call_arguments_delete")
    connection.execute(removed)
    op.execute(
        "CREATE TRIGGER call_arguments_delete BEFORE DELETE ON call_arguments"
        " WHEN EXISTS (SELECT 1 FROM tool_calls WHERE call_id = OLD.call_id AND arguments IS NOT NULL)"
        " BEGIN SELECT RAISE(ABORT, 'call_arguments is append-only'); END"
    )
