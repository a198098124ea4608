"""Finding calls for the audit, in bounded time whatever is asked for and however many there are.

A listing walks the keys of one index in order and looks at the rows behind them for whatever else is
asked. Which index that is, is decided by counting, up to a bound, what each of them would have to
walk: neither database knows enough by itself. A page that looked at `MOST_LOOKED_AT` rows ends there,
full or not, and says where to go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Select,
    and_,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from orchestrator.core.permissions import normal_label
from orchestrator.ports.audit import CallFilter, CallPlace
from orchestrator.store import argument_search
from orchestrator.store.audit_arguments import MOST_CHARACTERS
from orchestrator.store.tables import call_arguments, tool_calls

MOST_COUNTED: Final = 20_000
"""How many keys that are not in order may be sorted for a page."""

MOST_LOOKED_AT: Final = 4_000
"""How many rows a page may look at."""

MOST_READ: Final = 1_000
"""The same where many of them may have to be looked at in full."""

_LONGEST_STEP: Final = 1_000

Columns: TypeAlias = ReadOnlyColumnCollection[str, Column[Any]] | ReadOnlyColumnCollection[str, Any]

_calls = tool_calls.c
_arguments = call_arguments.c

_FAILED: Final[ColumnElement[Any]] = literal_column("tool_calls.is_error", Integer)
"""As the partial index has it: SQLAlchemy would compare it with 1 on SQLite, which the planner takes for another question."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way to the calls: rows of one table that satisfy `where`, and with that so many of the questions.

    `ordered` says that an index has them in order. Rows of the same table that satisfy `also`, which an index always
    has in order, are on the way too.
    """

    where: ColumnElement[bool]
    ordered: bool = True
    by_argument: bool = False
    answers: int = 1
    also: ColumnElement[bool] | None = None

    @property
    def key(self) -> tuple[Any, Any]:
        columns = _arguments if self.by_argument else _calls
        return columns.created_at, columns.call_id


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """Ids in order, and where to go on; None: there is no more."""

    call_ids: Sequence[str]
    next: CallPlace | None


def find_calls(
    connection: Connection, wanted: CallFilter, after: CallPlace | None, limit: int, *, newest_first: bool
) -> FoundCalls:
    """The ids of a page of calls."""
    walk = _choose(connection, wanted)
    is_rest = _questions(wanted) > walk.answers
    if is_rest and walk.ordered and not walk.by_argument:
        return _find_on_the_way(connection, walk, wanted, after, limit, newest_first=newest_first)
    step = limit + 1 if walk.ordered else MOST_LOOKED_AT
    found: list[CallPlace] = []
    place, looked_at = after, 0
    while True:
        keys = _keys(connection, walk, wanted, place, step, newest_first=newest_first)
        ids = [key.call_id for key in keys]
        if is_rest and ids:
            kept = _matching(connection, wanted, ids)
            found += [key for key in keys if key.call_id in kept]
        else:
            found += keys
        looked_at += len(keys)
        if len(found) > limit:
            return FoundCalls([key.call_id for key in found[:limit]], found[limit - 1])
        if len(keys) < step:
            return FoundCalls([key.call_id for key in found], None)
        place = keys[-1]
        if looked_at >= (MOST_LOOKED_AT if walk.also is None else MOST_READ):
            return FoundCalls([key.call_id for key in found], place)
        step = min(step * 4, _LONGEST_STEP)


def _find_on_the_way(
    connection: Connection,
    walk: _Walk,
    wanted: CallFilter,
    after: CallPlace | None,
    limit: int,
    *,
    newest_first: bool,
) -> FoundCalls:
    """The same for a way on which the rows come in order: the database stops by itself when the page is full.

    SQLite hands the rows of a limited subquery on as they come; told of their order once more it would look at all
    of them before it sorts them. Postgres knows that they are in order, and may join in another one if nobody asks.
    """
    asked = [_calls[name].label(name) for name in _asked(wanted)]
    rows = _way(walk, wanted, after, MOST_LOOKED_AT, newest_first=newest_first).add_columns(*asked).subquery()
    rest = conditions(connection, replace(wanted, since=None, until=None), rows.c)
    query = select(rows.c.created_at, rows.c.call_id).where(*rest).limit(limit + 1)
    if connection.dialect.name != "sqlite":
        query = query.order_by(*_order(rows.c.created_at, rows.c.call_id, newest_first=newest_first))
    found = [CallPlace(*row) for row in connection.execute(query)]
    kept = argument_search.confirmed(connection, wanted.arguments, [place.call_id for place in found[:limit]])
    call_ids = [place.call_id for place in found[:limit] if place.call_id in kept]
    if len(found) > limit:
        return FoundCalls(call_ids, found[limit - 1])
    last = _way(walk, wanted, after, 1, newest_first=newest_first).offset(MOST_LOOKED_AT - 1)
    end = connection.execute(last).one_or_none()
    return FoundCalls(call_ids, None if end is None else CallPlace(*end))


def _asked(wanted: CallFilter) -> list[str]:
    """The columns that tell whether a call of the time that is wanted is `wanted`."""
    given = wanted.given()
    return [name for name, questions in _ASKED.items() if any(question in given for question in questions)]


def _questions(wanted: CallFilter) -> int:
    """How many there are, apart from the time, which every way keeps to."""
    given = wanted.given()
    of_time = sum(name in given for name in ("since", "until"))
    of_duration = int("duration_min" in given and "duration_max" in given)
    return len(given) - of_time - of_duration - bool(wanted.arguments) + len(wanted.arguments)


def _matching(connection: Connection, wanted: CallFilter, call_ids: Sequence[str]) -> frozenset[str]:
    """Which of these calls, which are of the time that is wanted, are `wanted`.

    The limit changes nothing but the plan: the rows are found by their ids, whatever else has an index. Only the
    columns that are asked for are read.
    """
    wanted = replace(wanted, since=None, until=None)
    asked = [_calls[name] for name in _asked(wanted)]
    rows = select(_calls.call_id, *asked).where(_calls.call_id.in_(call_ids)).limit(len(call_ids)).subquery()
    query = select(rows.c.call_id).where(*conditions(connection, wanted, rows.c))
    return argument_search.confirmed(connection, wanted.arguments, list(connection.execute(query).scalars()))


def conditions(connection: Connection, wanted: CallFilter, columns: Columns = _calls) -> Iterator[ColumnElement[bool]]:
    """What is asked for, each as a condition on a row that has these `columns` of the journal.

    Of the arguments they say what is possible: `argument_search.confirmed` tells which calls really have them.
    """
    yield from column_conditions(connection, wanted, columns)
    for pattern in wanted.arguments:
        yield argument_search.possible_here(connection, pattern, columns)


def column_conditions(
    connection: Connection, wanted: CallFilter, columns: Columns = _calls
) -> Iterator[ColumnElement[bool]]:
    """What is asked for, but for the arguments."""
    names = server_names(connection, wanted.plugin_id or wanted.server_label)
    yield from _column_walks(wanted, columns).values()
    if names is not None:
        yield columns.provider_name == names[0] if len(names) == 1 else columns.provider_name.in_(names)
    if wanted.plugin_id is not None:
        yield columns.provider_type == "plugin"
    if wanted.server_label is not None:
        yield columns.provider_type == "ephemeral_mcp"
    if wanted.is_error is False:
        yield ~columns.is_error
    if wanted.since is not None:
        yield columns.created_at >= wanted.since
    if wanted.until is not None:
        yield columns.created_at < wanted.until
    if (duration := _duration(wanted, columns)) is not None:
        yield duration


def server_names(connection: Connection, asked: str | None) -> list[str] | None:
    """How the journal spells the server that is wanted; None: none is. The index has each spelling in one step."""
    if asked is None:
        return None
    least = func.min(_calls.provider_name)
    names = select(least.label("name")).cte("server_names", recursive=True)
    further = select(least).where(_calls.provider_name > names.c.name).scalar_subquery()
    names = names.union_all(select(further).where(names.c.name.is_not(None)))
    found = connection.execute(select(names.c.name).where(names.c.name.is_not(None))).scalars()
    return [name for name in found if normal_label(name) == normal_label(asked)]


_ASKED: Final = {
    "response_id": ("response_id",),
    "definition_digest": ("definition_digest",),
    "tool": ("tool",),
    "provider_type": ("plugin_id", "server_label"),
    "provider_name": ("plugin_id", "server_label"),
    "server_address": ("server_address",),
    "model_key": ("model",),
    "status": ("status",),
    "owner": ("owner",),
    "is_error": ("is_error",),
    "duration_ms": ("duration_min", "duration_max"),
}
"""The columns that answer questions, each with the questions."""


def _column_walks(wanted: CallFilter, columns: Columns = _calls) -> dict[str, ColumnElement[bool]]:
    """What an index has in order, the rarest first as far as one can guess."""
    asked = {
        "response_id": wanted.response_id,
        "definition_digest": wanted.definition_digest,
        "tool": wanted.tool,
        "server_address": wanted.server_address,
        "model_key": wanted.model,
        "status": wanted.status,
        "owner": wanted.owner,
    }
    walks: dict[str, ColumnElement[bool]] = {}
    if wanted.is_error:
        walks["is_error"] = _FAILED if columns is _calls else columns.is_error
    return walks | {name: columns[name] == value for name, value in asked.items() if value is not None}


def _choose(connection: Connection, wanted: CallFilter) -> _Walk:
    """The way with the fewest calls on it."""
    ways = [_Walk(where, ordered=name != "response_id") for name, where in _column_walks(wanted).items()]
    names = server_names(connection, wanted.plugin_id or wanted.server_label)
    if names is not None and len(names) == 1:
        ways.append(_Walk(_calls.provider_name == names[0], answers=0))
    if wanted.arguments and not _are_few(connection, wanted):
        ways += _argument_walks(connection, wanted)
    if (duration := _duration(wanted)) is not None:
        ways.append(_Walk(duration, ordered=False))
    if not ways or (len(ways) == 1 and ways[0].ordered):
        return ways[0] if ways else _Walk(true(), answers=0)
    counts = connection.execute(select(*(_bounded_count(way, wanted) for way in ways))).one()
    usable = [
        (count, number, way)
        for number, (count, way) in enumerate(zip(counts, ways, strict=True))
        if way.ordered or count <= MOST_COUNTED
    ]
    return min(usable, key=lambda entry: entry[:2])[2] if usable else _Walk(true(), answers=0)


def _argument_walks(connection: Connection, wanted: CallFilter) -> Iterator[_Walk]:
    """The ways by which the index of arguments has the calls, and with them those of which it has not all values."""
    marked = argument_search.cut()
    of_time = select(literal_column("1", Integer)).where(marked, *_in_time(wanted, _arguments.created_at))
    also = None if connection.execute(of_time.limit(1)).one_or_none() is None else marked
    for pattern in wanted.arguments:
        text, is_exact, is_prefix = argument_search.literal_part(pattern.glob)
        answers = int(also is None and len(text) < MOST_CHARACTERS and len(pattern.path) < MOST_CHARACTERS)
        like = argument_search.like(connection, pattern)
        if is_exact:
            yield _Walk(like, by_argument=True, answers=answers, also=also)
        elif is_prefix and text:
            yield _Walk(like, ordered=False, by_argument=True, answers=answers, also=also)


def _are_few(connection: Connection, wanted: CallFilter) -> bool:
    """So few calls are of the time that is wanted that one page can look at all of them."""
    some = select(literal_column("1", Integer)).select_from(tool_calls).where(*_in_time(wanted, _calls.created_at))
    return connection.execute(some.limit(1).offset(MOST_LOOKED_AT)).one_or_none() is None


def _bounded_count(way: _Walk, wanted: CallFilter) -> Any:
    """How many there are, as far as that matters; in the time that is wanted where the index has them by time."""
    some = _bounded(way, way.where)
    if way.ordered:
        some = some.where(*_in_time(wanted, way.key[0]))
    count = select(func.count()).select_from(some.subquery()).scalar_subquery()
    if way.also is None:
        return count
    others = _bounded(way, way.also).where(*_in_time(wanted, way.key[0]))
    return count + select(func.count()).select_from(others.subquery()).scalar_subquery()


def _bounded(way: _Walk, where: ColumnElement[bool]) -> Select[int]:
    counted = call_arguments if way.by_argument else tool_calls
    return select(literal_column("1", Integer)).select_from(counted).where(where).limit(MOST_COUNTED + 1)


def _in_time(
    wanted: CallFilter, moment: ColumnElement[Any], place: CallPlace | None = None, *, newest_first: bool = True
) -> Iterator[ColumnElement[bool]]:
    """The bounds of the time. Of two on the same side SQLite may walk from the wrong one, and a place is the closer one."""
    if wanted.since is not None and (place is None or newest_first):
        yield moment >= wanted.since
    if wanted.until is not None and (place is None or not newest_first):
        yield moment < wanted.until


def _keys(
    connection: Connection,
    walk: _Walk,
    wanted: CallFilter,
    place: CallPlace | None,
    step: int,
    *,
    newest_first: bool,
) -> list[CallPlace]:
    query = _way(walk, wanted, place, step, newest_first=newest_first)
    return [CallPlace(*row) for row in connection.execute(query)]


def _way(
    walk: _Walk, wanted: CallFilter, place: CallPlace | None, step: int, *, newest_first: bool
) -> Select[Any, Any]:
    """The next keys on the way."""

    def next_keys(query: Select[Any, Any], moment: Any, call_id: Any) -> Select[Any, Any]:
        query = query.where(*_in_time(wanted, moment, place, newest_first=newest_first))
        if place is not None:
            here, there = tuple_(moment, call_id), tuple_(place.created_at, place.call_id)
            query = query.where(here < there if newest_first else here > there)
        return query.order_by(*_order(moment, call_id, newest_first=newest_first)).limit(step)

    moment, call_id = walk.key
    keys: Select[Any, Any] = select(moment.label("created_at"), call_id.label("call_id"))
    query = keys.where(walk.where)
    if not walk.ordered:
        # Several values of one call may be alike. The limit, which they do not reach, keeps the planner from
        # walking another index in order until it has met enough of them.
        some = (query.distinct() if walk.by_argument else query).limit(MOST_COUNTED + 1).subquery()
        query = next_keys(select(some.c.created_at, some.c.call_id), some.c.created_at, some.c.call_id)
    else:
        query = next_keys(query, moment, call_id)
    if walk.also is None:
        return query
    # Each of the two is walked in its own order: asked for with OR they would have to be sorted.
    found, others = query.subquery(), next_keys(keys.where(walk.also), moment, call_id).subquery()
    both = union(select(found), select(others)).subquery()
    merged: Select[Any, Any] = select(both.c.created_at, both.c.call_id)
    return merged.order_by(*_order(both.c.created_at, both.c.call_id, newest_first=newest_first)).limit(step)


def _order(*key: ColumnElement[Any], newest_first: bool) -> list[ColumnElement[Any]]:
    return [column.desc() if newest_first else column.asc() for column in key]


def _duration(wanted: CallFilter, columns: Columns = _calls) -> ColumnElement[bool] | None:
    bounds: list[ColumnElement[bool]] = []
    if wanted.duration_min is not None:
        bounds.append(columns.duration_ms >= wanted.duration_min)
    if wanted.duration_max is not None:
        bounds.append(columns.duration_ms <= wanted.duration_max)
    return and_(*bounds) if bounds else None


def rows_of(connection: Connection, query: Select[*tuple[Any, ...]], call_ids: Sequence[str]) -> list[RowMapping]:
    """The rows of `query` for these calls, in their order."""
    if not call_ids:
        return []
    found = connection.execute(query.where(_calls.call_id.in_(call_ids))).mappings()
    by_id = {row["call_id"]: row for row in found}
    return [by_id[call_id] for call_id in call_ids]
