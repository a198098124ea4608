"""The rows of an export, as the drivers hand them out: what SQLAlchemy does to each value takes too long for these."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Select,
    Text,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy import cast as sql_cast

from orchestrator.core.storable_text import original
from orchestrator.ports.audit import CallFilter, ExportedCall, ExportedDefinition
from orchestrator.store.argument_search import confirmed
from orchestrator.store.audit_links import KINDS, moment_text
from orchestrator.store.audit_query import conditions
from orchestrator.store.database import Database
from orchestrator.store.long_texts import long_text
from orchestrator.store.tables import audit_chain, tool_call_approvals, tool_calls, tool_definitions

LARGE: Final = 16_384
"""Content beyond this many characters, or bytes, is read by itself."""

LARGE_PAGE: Final = 4_000_000
"""Characters of such content after which a page ends, so that no page has more of it than this and one call's."""

_CONTENT: Final = ("arguments", "arguments_text", "reason", "output", "structured", "shown")
_APPROVAL: Final = {
    "decision": "decision",
    "decision_reason": "reason",
    "decision_arguments": "arguments",
    "decided_by": "owner",
    "decided_token_id": "token_id",
    "decided_at": "decided_at",
    "decision_salt": "salt",
}
_OF_A_LINK: Final = {"sequence": "sequence", "digest": "content_digest", "previous": "previous", "hash": "hash"}
_LINKED: Final = tuple(f"{kind}_{name}" for kind in KINDS for name in _OF_A_LINK)
_NAMES: Final = ExportedCall._fields[: -len(_LINKED)]
_PLACES: Final = {name: number for number, name in enumerate(_NAMES)}
assert (*_NAMES, *_LINKED) == ExportedCall._fields

_calls = tool_calls.c
_Values: TypeAlias = list[Any]


# ---- statements -------------------------------------------------------------------------------


def _raw(name: str) -> ColumnElement[Any]:
    column = _calls["model_key" if name == "model" else name]
    if column.name == "arguments":
        return sql_cast(column, Text)  # Postgres' driver would parse it
    return column if isinstance(column.type, LargeBinary) else type_coerce(column, Text)


def _approval(name: str) -> ColumnElement[Any]:
    column = tool_call_approvals.c[_APPROVAL[name]]
    return sql_cast(column, Text) if column.name == "arguments" else type_coerce(column, column.type)


@cache
def _columns(dialect: str) -> Sequence[ColumnElement[Any]]:
    """What a page has of the journal. Whether content is large is decided once a row: it means to look at all of it."""
    length: Callable[[Any], ColumnElement[int]] = func.length if dialect == "sqlite" else func.octet_length
    size = sum((func.coalesce(length(_raw(name)), 0) for name in ("arguments_text", "reason")), start=0)
    size += func.coalesce(length(_raw("shown")), 0)
    is_large = or_(_calls.output_digest.is_not(None), _calls.structured_digest.is_not(None), size > LARGE)
    return [*(_raw(name).label(name) for name in _NAMES if name not in _APPROVAL), is_large.label("is_large")]


def _rows(page: FromClause, dialect: str) -> Select[*tuple[Any, ...]]:
    """The rows of a page with the decisions about them and their links, without large content.

    All in one, with the digits made by the database: put together here it took twice as long.
    """

    def of(name: str) -> ColumnElement[Any]:
        if name in _APPROVAL:
            return _digits(_approval(name), dialect)
        return case((~page.c.is_large, page.c[name])) if name in _CONTENT else _digits(page.c[name], dialect)

    decisions = tool_call_approvals.c.call_id == page.c.call_id
    rows = select(*(of(name).label(name) for name in _NAMES))
    rows = rows.join_from(page, tool_call_approvals, decisions, isouter=True)
    for kind in KINDS:
        link = audit_chain.alias(kind)
        rows = rows.outerjoin(link, (link.c.call_id == page.c.call_id) & (link.c.kind == kind)).add_columns(
            *(_digits(link.c[column], dialect).label(f"{kind}_{name}") for name, column in _OF_A_LINK.items())
        )
    return rows.add_columns(page.c.is_large).order_by(page.c.created_at, page.c.call_id)


def _digits(value: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """Bytes as hexadecimal digits; anything else as it is."""
    if not isinstance(value.type, LargeBinary):
        return value
    if dialect == "sqlite":
        return case((value.is_not(None), func.lower(func.hex(value))))
    return func.encode(value, "hex")


_LARGE_CONTENT: Final = select(
    *(
        type_coerce(func.coalesce(_calls[name], long_text(name)), Text).label(name)
        if name in ("output", "structured")
        else _raw(name).label(name)
        for name in _CONTENT
    )
)


# ---- definitions ------------------------------------------------------------------------------

DEFINITIONS_PAGE: Final = 20
"""They may be large."""


async def export_definitions(database: Database, wanted: CallFilter) -> AsyncGenerator[Sequence[ExportedDefinition]]:
    """See `AuditStore.export_definitions`."""
    last = ""
    digest, definition = tool_definitions.c.digest, tool_definitions.c.definition
    while True:

        def work(connection: Connection, last: str = last) -> list[ExportedDefinition]:
            offered = exists().where(_calls.definition_digest == digest, *conditions(connection, wanted))
            query = select(digest, definition).where(digest > last, offered).order_by(digest)
            return [ExportedDefinition(*row) for row in connection.execute(query.limit(DEFINITIONS_PAGE))]

        page = await database.read(work)
        if page:
            yield page
            last = page[-1].digest
        if len(page) < DEFINITIONS_PAGE:
            return


# ---- pages ------------------------------------------------------------------------------------


class _Page(NamedTuple):
    calls: list[ExportedCall]
    is_last: bool
    end: tuple[datetime, str] | None = None


async def export_calls(database: Database, wanted: CallFilter, rows: int) -> AsyncGenerator[Sequence[ExportedCall]]:
    """See `AuditStore.export_calls`."""
    until = datetime.now(UTC)
    place: tuple[datetime, str] | None = None
    while True:

        def work(connection: Connection, place: tuple[datetime, str] | None = place) -> _Page:
            query = select(*_columns(connection.dialect.name))
            query = query.where(_calls.created_at < until, *conditions(connection, wanted))
            if place is not None:
                query = query.where(tuple_(_calls.created_at, _calls.call_id) > tuple_(*place))
            page = query.order_by(_calls.created_at, _calls.call_id).limit(rows).subquery("page")
            found = _page(connection, _fetched(connection, _rows(page, connection.dialect.name)), rows)
            return _confirmed(connection, wanted, found)

        calls, is_last, place = await database.read(work)
        if calls:
            yield calls
        if is_last:
            return


def _confirmed(connection: Connection, wanted: CallFilter, page: _Page) -> _Page:
    """The page without the calls that only possibly have the arguments that are asked for; its end stays."""
    if not page.calls:
        return page
    last = page.calls[-1]
    kept = confirmed(connection, wanted.arguments, [call.call_id for call in page.calls])
    calls = [call for call in page.calls if call.call_id in kept]
    return _Page(calls, page.is_last, (datetime.fromisoformat(last.created_at), last.call_id))


def _fetched(connection: Connection, query: Select[*tuple[Any, ...]], **values: Any) -> list[Sequence[Any]]:
    """Rows as the driver has them."""
    cursor: Any = connection.execute(query, values).cursor
    return cursor.fetchall()


def _page(connection: Connection, rows: list[Sequence[Any]], most: int) -> _Page:
    """The page that these rows make."""
    calls: list[ExportedCall] = []
    large = 0
    for row in rows:
        values = _told(row)
        if values.pop():
            large += _read_content(connection, values)
        calls.append(ExportedCall._make(values))
        if large > LARGE_PAGE:
            break
    return _Page(calls, len(rows) < most and len(calls) == len(rows))


def _read_content(connection: Connection, values: _Values) -> int:
    """Put large content where it belongs; how many characters that are."""
    query = _LARGE_CONTENT.where(_calls.call_id == values[_CALL_ID])
    [content] = _fetched(connection, query)
    characters = 0
    for name, text in zip(_CONTENT, content, strict=True):
        if text is not None:
            values[_PLACES[name]] = text if name == "arguments" else original(text)
            characters += len(text)
    return characters


def _told(row: Sequence[Any]) -> _Values:
    """The values of a row as they are exported, and whether its content is large."""
    values = list(row)
    for place in _ESCAPED_PLACES:
        text = values[place]
        if text is not None and "\x10" in text:
            values[place] = original(text)
    values[_IS_ERROR] = bool(values[_IS_ERROR])
    for place in _MOMENT_PLACES:
        if values[place] is not None:
            values[place] = moment_text(values[place])
    return values


_CALL_ID: Final = _PLACES["call_id"]
_IS_ERROR: Final = _PLACES["is_error"]
_MOMENT_PLACES: Final = tuple(_PLACES[name] for name in ("created_at", "settled_at", "decided_at"))
_ESCAPED_PLACES: Final = tuple(
    _PLACES[name]
    for name in (
        *("model", "model_name", "tool", "provider_name", "decision_reason"),
        *("server_address", "server_name", "server_version"),
        *(name for name in _CONTENT if name != "arguments"),
    )
)
