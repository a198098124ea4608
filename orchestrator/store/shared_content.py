"""Who else has the content of responses: what forks and replays began with stands in them too.

Forks refer to the calls of the response that they leave and copy its texts, replays have its input; and what they
have they share among each other, also when the response itself is gone.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, func, or_, select

from orchestrator.store.tables import input_items, output_items, responses

_AT_ONCE: Final = 500
"""Ids in one statement."""

_FOUND: Final[BindParameter[Any]] = bindparam("found", expanding=True)
_GONE: Final[BindParameter[Any]] = bindparam("gone", expanding=True)
_KIN: Final = select(responses.c.id, responses.c.forked_from, responses.c.replay_of).where(
    or_(responses.c.id.in_(_FOUND), responses.c.forked_from.in_(_FOUND), responses.c.replay_of.in_(_FOUND))
)


def _having_inputs() -> Any:
    mine, others = input_items.alias("mine"), input_items.alias("others")

    def content(of: Any) -> ColumnElement[Any]:
        return func.coalesce(of.c.blob_digest, of.c.content)

    same = (mine.c.type == others.c.type) & (content(mine) == content(others))
    found = select(others.c.response_id).join_from(mine, others, same)
    return found.where(mine.c.response_id.in_(_GONE), others.c.response_id.in_(_FOUND)).distinct()


def _having_outputs() -> Any:
    mine, others = output_items.alias("mine"), output_items.alias("others")

    def content(of: Any) -> ColumnElement[Any]:
        return func.coalesce(of.c.call_id, of.c.content)

    same = (mine.c.type == others.c.type) & (content(mine) == content(others))
    found = select(others.c.response_id).join_from(mine, others, same)
    return found.where(mine.c.response_id.in_(_GONE), others.c.response_id.in_(_FOUND)).distinct()


_HAVING: Final = (_having_inputs(), _having_outputs())


def kept_by(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The stored responses, the oldest first, that have content of `ids` too: their forks and replays, and of what they are."""
    kin = _kin(connection, ids) - {*ids}
    query = select(responses.c.number, responses.c.id).where(responses.c.id.in_(_FOUND), responses.c.stored.is_(True))
    stored = [row for some in _some(sorted(kin)) for row in connection.execute(query, {"found": some})]
    having: set[str] = set()
    for gone in _some(ids) if stored else ():
        for found in _some([row.id for row in stored]):
            for each in _HAVING:
                having |= {*connection.execute(each, {"gone": gone, "found": found}).scalars()}
    return [row.id for row in sorted(stored, key=lambda row: row.number) if row.id in having]


def _kin(connection: Connection, ids: Iterable[str]) -> set[str]:
    known: set[str] = set()
    new = {*ids}
    while new:
        known |= new
        seen: set[str | None] = set()
        for some in _some(sorted(new)):
            seen = seen.union(*connection.execute(_KIN, {"found": some}))
        new = {each for each in seen if each is not None} - known
    return known


def _some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
