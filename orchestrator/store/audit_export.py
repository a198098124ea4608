"""The rows of an export, as the drivers hand them out: what SQLAlchemy does to each value takes too long for these."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    case,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy import cast as sql_cast

from orchestrator.core.storable_text import original
from orchestrator.ports.audit import CallFilter, ExportedCall
from orchestrator.store.audit_links import moment_text
from orchestrator.store.audit_query import conditions
from orchestrator.store.database import Database
from orchestrator.store.long_texts import long_text
from orchestrator.store.tables import audit_chain, tool_call_approvals, tool_calls

LARGE: Final = 16_384
"""Content beyond this many characters is read by itself, so that a page has a bounded size."""

_journaled = audit_chain.alias("journaled")
_settled = audit_chain.alias("settled")
_calls = tool_calls.c
_decided = audit_chain.alias("decided")
_CONTENT: Final = ("arguments", "arguments_text", "reason", "output", "structured", "shown")
_ESCAPED: Final = frozenset({"model", "model_name", "tool", "provider_name", "decision_reason", *_CONTENT}) - {
    "arguments"
}
_APPROVAL: Final = {
    "decision": "decision",
    "decision_reason": "reason",
    "decision_arguments": "arguments",
    "decided_by": "owner",
    "decided_token_id": "token_id",
    "decided_at": "decided_at",
    "decision_salt": "salt",
}
_NAMES: Final = ExportedCall._fields
_PLACES: Final = {name: number for number, name in enumerate(_NAMES)}
_ESCAPED_PLACES: Final = tuple(sorted(_PLACES[name] for name in _ESCAPED))
_HEX_PLACES: Final = tuple(
    number
    for name, number in _PLACES.items()
    if name.endswith(("_salt", "_digest", "_previous", "_hash")) and name != "definition_digest"
)


def _raw(name: str) -> ColumnElement[Any]:
    column = _calls["model_key" if name == "model" else name] if name not in _APPROVAL else _approval(name)
    if column.name == "arguments":
        return sql_cast(column, Text)  # Postgres' driver would parse it
    if name == "output" or name == "structured":
        return type_coerce(func.coalesce(column, long_text(name)), Text)
    return column if isinstance(column.type, LargeBinary) else type_coerce(column, Text)


def _length(*names: str) -> ColumnElement[int]:
    lengths = [func.coalesce(func.length(_raw(name)), 0) for name in names]
    return sum(lengths[1:], start=lengths[0])


_is_large: Final = or_(
    _calls.output_digest.is_not(None),
    _calls.structured_digest.is_not(None),
    _length("arguments_text", "output", "structured", "shown") > LARGE,
)


def _approval(name: str) -> Column[Any]:
    return tool_call_approvals.c[_APPROVAL[name]]


def _column(name: str) -> ColumnElement[Any]:
    for alias, prefix in ((_journaled, "journaled_"), (_decided, "decided_"), (_settled, "settled_")):
        if name.startswith(prefix) and name != "settled_at" and name not in _APPROVAL:
            kind = name.removeprefix(prefix)
            return alias.c["content_digest" if kind == "digest" else kind]
    return case((~_is_large, _raw(name))) if name in _CONTENT else _raw(name)


_links = (_journaled.c.call_id == _calls.call_id) & (_journaled.c.kind == "journaled")
_outcomes = (_settled.c.call_id == _calls.call_id) & (_settled.c.kind == "settled")
_ROWS: Final = (
    select(*(_column(name).label(name) for name in _NAMES), _is_large.label("is_large"), _calls.created_at)
    .join_from(tool_calls, _journaled, _links, isouter=True)
    .join(_settled, _outcomes, isouter=True)
    .join(tool_call_approvals, tool_call_approvals.c.call_id == _calls.call_id, isouter=True)
    .join(_decided, (_decided.c.call_id == _calls.call_id) & (_decided.c.kind == "decided"), isouter=True)
    .order_by(_calls.created_at, _calls.call_id)
)
_LARGE_CONTENT: Final = select(*(_raw(name).label(name) for name in _CONTENT))


async def export_calls(database: Database, wanted: CallFilter, rows: int) -> AsyncGenerator[Sequence[ExportedCall]]:
    """See `AuditStore.export_calls`."""
    until = datetime.now(UTC)
    place: tuple[datetime, str] | None = None
    while True:

        def work(connection: Connection, place: tuple[datetime, str] | None = place) -> Sequence[Any]:
            query = _ROWS.where(_calls.created_at < until, *conditions(connection, wanted)).limit(rows)
            if place is not None:
                query = query.where(tuple_(_calls.created_at, _calls.call_id) > tuple_(*place))
            return [_exported(connection, row) for row in connection.execute(query)]

        page = await database.read(work)
        if page:
            yield [call for call, _ in page]
        if len(page) < rows:
            return
        last, moment = page[-1]
        place = moment, last.call_id


def _exported(connection: Connection, row: Any) -> tuple[ExportedCall, datetime]:
    values = list(row)
    moment = values.pop()
    if values.pop():
        content = connection.execute(_LARGE_CONTENT.where(_calls.call_id == values[0])).mappings().one()
        for name in _CONTENT:
            values[_PLACES[name]] = content[name]
    for place in _ESCAPED_PLACES:
        if values[place] is not None:
            values[place] = original(values[place])
    for place in _HEX_PLACES:
        if values[place] is not None:
            values[place] = values[place].hex()
    values[_IS_ERROR] = bool(values[_IS_ERROR])
    values[_CREATED_AT] = moment_text(values[_CREATED_AT])
    for place in (_SETTLED_AT, _DECIDED_AT):
        if values[place] is not None:
            values[place] = moment_text(values[place])
    return ExportedCall._make(values), cast(datetime, moment)


_IS_ERROR: Final = _PLACES["is_error"]
_CREATED_AT: Final = _PLACES["created_at"]
_SETTLED_AT: Final = _PLACES["settled_at"]
_DECIDED_AT: Final = _PLACES["decided_at"]
