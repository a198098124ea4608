"""The audit, in a database."""

import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    type_coerce,
)

from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.storable_text import original
from orchestrator.ports.audit import (
    AuditedCall,
    AuditEvent,
    AuditHead,
    CallApproval,
    CallFilter,
    CallLink,
    CallPage,
    CallPlace,
    DurationCount,
    ExportedCall,
    ExportedDefinition,
    ListedCall,
)
from orchestrator.store import audit_chain as chain
from orchestrator.store.argument_search import certain, confirmed, possible
from orchestrator.store.audit_export import export_calls, export_definitions
from orchestrator.store.audit_links import SERVICE
from orchestrator.store.audit_query import column_conditions, find_calls, rows_of
from orchestrator.store.database import Database
from orchestrator.store.long_texts import long_text
from orchestrator.store.readings import provider_from, server_from
from orchestrator.store.tables import (
    audit_chain,
    audit_events,
    audit_heads,
    tool_call_approvals,
    tool_calls,
    tool_definitions,
)

LONGEST_LISTED: Final = 4_096
"""Characters of arguments that a listing carries."""

_calls = tool_calls.c
_LISTED: Final = select(
    *(
        column
        for column in _calls
        if column.name
        not in (
            "arguments",
            "arguments_text",
            "reason",
            "output",
            "structured",
            "shown",
            "arguments_salt",
            "output_salt",
        )
    ),
    case((func.length(_calls.arguments_text) <= LONGEST_LISTED, _calls.arguments), else_=null()).label("arguments"),
)
_WHOLE: Final = (
    select(
        tool_calls,
        long_text("output").label("long_output"),
        long_text("structured").label("long_structured"),
        tool_definitions.c.definition,
        tool_call_approvals.c.decision,
        tool_call_approvals.c.reason.label("decision_reason"),
        tool_call_approvals.c.arguments.label("decision_arguments"),
        tool_call_approvals.c.owner.label("decided_by"),
        tool_call_approvals.c.token_id.label("decided_token_id"),
        tool_call_approvals.c.decided_at,
    )
    .join_from(tool_calls, tool_definitions, tool_definitions.c.digest == _calls.definition_digest, isouter=True)
    .join(tool_call_approvals, tool_call_approvals.c.call_id == _calls.call_id, isouter=True)
)
_LINKS: Final = select(audit_chain).order_by(audit_chain.c.sequence)


class SqlAuditStore:
    """`AuditStore` in SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_calls(
        self, wanted: CallFilter, after: CallPlace | None, limit: int, *, newest_first: bool = True
    ) -> CallPage:
        def work(connection: Connection) -> CallPage:
            found = find_calls(connection, wanted, after, limit, newest_first=newest_first)
            rows = rows_of(connection, _LISTED, found.call_ids)
            return CallPage(tuple([_listed(row) for row in rows]), found.next)

        return await self._database.read(work)

    async def get_call(self, call_id: str, owner: str | None) -> AuditedCall | None:
        def work(connection: Connection) -> AuditedCall | None:
            query = _WHOLE.where(_calls.call_id == call_id)
            if owner is not None:
                query = query.where(_calls.owner == owner)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            links = connection.execute(_LINKS.where(audit_chain.c.call_id == call_id)).mappings()
            return _whole(row, [_link(link) for link in links])

        return await self._database.read(work)

    async def count_calls(self, wanted: CallFilter, bucket_seconds: int | None) -> Sequence[DurationCount]:
        return await self._database.read(lambda connection: _counted(connection, wanted, bucket_seconds))

    def export_calls(self, wanted: CallFilter, rows: int) -> AsyncGenerator[Sequence[ExportedCall]]:
        return export_calls(self._database, wanted, rows)

    def export_definitions(self, wanted: CallFilter) -> AsyncGenerator[Sequence[ExportedDefinition]]:
        return export_definitions(self._database, wanted)

    async def record_event(
        self, kind: str, at: datetime, actor: str, token_id: str | None, details: JsonObject
    ) -> None:
        await self._database.write(
            lambda connection: chain.append_event(connection, kind, at, actor, token_id, details)
        )

    async def record_checkpoint(self, at: datetime) -> bool:
        return await self._database.write(lambda connection: chain.append_checkpoint(connection, at))

    async def heads(self) -> Sequence[AuditHead]:
        return await self._database.read(owner_heads)

    async def list_events(self, before: int | None, limit: int) -> Sequence[AuditEvent]:
        query = select(audit_events).order_by(audit_events.c.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(audit_events.c.sequence < before)

        def work(connection: Connection) -> list[AuditEvent]:
            return [_event(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def owner_heads(connection: Connection) -> list[AuditHead]:
    """The end of every owner's chain, by owner."""
    query = select(audit_heads.c.owner, audit_heads.c.sequence, audit_heads.c.hash)
    found = connection.execute(query.where(audit_heads.c.owner != SERVICE).order_by(audit_heads.c.owner))
    return [AuditHead(owner, sequence, digest.hex()) for owner, sequence, digest in found]


def _counted(connection: Connection, wanted: CallFilter, bucket_seconds: int | None) -> list[DurationCount]:
    """See `AuditStore.count_calls`. There are many counts of few tools: names are read once each, rows as they come."""
    columns = (
        _bucket(connection, bucket_seconds),
        type_coerce(_calls.tool, Text),
        _calls.provider_type,
        type_coerce(_calls.provider_name, Text),
        _calls.status,
        _calls.is_error,
        _calls.duration_ms,
    )
    sure = [certain(connection, pattern, _calls) for pattern in wanted.arguments]
    query = select(*columns, func.count()).where(*column_conditions(connection, wanted), *sure).group_by(*columns)
    cursor: Any = connection.execute(query).cursor
    found = cursor.fetchall()
    if sure:
        found += _counted_by_reading(connection, wanted, columns, sure)
    servers: dict[tuple[str | None, str | None], ProviderInfo | None] = {}
    names: dict[str | None, str | None] = {None: None}
    counts: list[DurationCount] = []
    for bucket, tool, kind, name, status, is_error, duration_ms, count in found:
        if tool not in names:
            names[tool] = original(tool)
        if (kind, name) not in servers:
            servers[kind, name] = provider_from(kind, None if name is None else original(name))
        counts.append(
            DurationCount(bucket, names[tool], servers[kind, name], status, bool(is_error), duration_ms, count)
        )
    return counts


def _counted_by_reading(
    connection: Connection,
    wanted: CallFilter,
    columns: Sequence[ColumnElement[Any]],
    sure: Sequence[ColumnElement[bool]],
) -> list[Sequence[Any]]:
    """The rows, each counting one, of the calls whose arguments the index does not have whole."""
    maybe = [possible(connection, pattern, _calls) for pattern in wanted.arguments]
    query = select(_calls.call_id, *columns).where(*column_conditions(connection, wanted), *maybe, ~and_(*sure))
    cursor: Any = connection.execute(query).cursor
    rows = cursor.fetchall()
    kept: set[str] = set()
    for start in range(0, len(rows), 1_000):
        kept |= confirmed(connection, wanted.arguments, [row[0] for row in rows[start : start + 1_000]])
    return [(*row[1:], 1) for row in rows if row[0] in kept]


def _bucket(connection: Connection, seconds: int | None) -> ColumnElement[int]:
    if seconds is None:
        return literal(0)
    if connection.dialect.name == "sqlite":
        return cast(func.strftime("%s", _calls.created_at), Integer) // seconds
    return cast(func.floor(func.extract("epoch", _calls.created_at) / seconds), Integer)


def _listed(row: RowMapping) -> ListedCall:
    return ListedCall(
        call_id=row["call_id"],
        response_id=row["response_id"],
        turn=row["turn"],
        position=row["position"],
        owner=row["owner"],
        token_id=row["token_id"],
        model=row["model_key"],
        model_name=row["model_name"],
        tool=row["tool"],
        provider=provider_from(row["provider_type"], row["provider_name"]),
        server=server_from(row["server_address"], row["server_name"], row["server_version"]),
        definition_digest=row["definition_digest"],
        arguments=row["arguments"],
        status=row["status"],
        is_error=row["is_error"],
        duration_ms=row["duration_ms"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )


def _whole(row: RowMapping, links: list[CallLink]) -> AuditedCall:
    def digits(name: str) -> str | None:
        value: Any = row[name]
        return None if value is None else value.hex()

    return AuditedCall(
        listed=_listed(row),
        arguments=row["arguments"],
        arguments_text=row["arguments_text"],
        reason=row["reason"],
        output=row["long_output"] if row["output"] is None else row["output"],
        structured=row["long_structured"] if row["structured"] is None else row["structured"],
        shown=row["shown"],
        definition=row["definition"],
        arguments_salt=digits("arguments_salt"),
        output_salt=digits("output_salt"),
        links=tuple(links),
        approval=_approval(row),
    )


def _approval(row: RowMapping) -> CallApproval | None:
    if row["decision"] is None:
        return None
    return CallApproval(
        row["decision"],
        row["decision_reason"],
        row["decision_arguments"],
        row["decided_by"],
        row["decided_token_id"],
        row["decided_at"],
    )


def _link(row: RowMapping) -> CallLink:
    digest = row["content_digest"]
    return CallLink(
        row["kind"], row["sequence"], None if digest is None else digest.hex(), row["previous"].hex(), row["hash"].hex()
    )


def _event(row: RowMapping) -> AuditEvent:
    return AuditEvent(
        row["sequence"],
        row["kind"],
        row["at"],
        row["actor"],
        row["token_id"],
        json.loads(row["details"]),
        row["hash"].hex(),
    )
