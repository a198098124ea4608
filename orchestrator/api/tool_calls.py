"""`GET /api/v1/tool-calls` and what goes with it: the audit. An extension."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send
from msgspec import UNSET

from orchestrator.api import audit_query as query
from orchestrator.api import wire
from orchestrator.api.auth import Authenticator
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_audit import (
    ApprovalInfo,
    AuditedCallList,
    AuditedCallSummary,
    AuditedCallWhole,
    AuditEventInfo,
    AuditEventList,
    ChainLink,
    ServerInfo,
    ToolStatisticsList,
    ToolStatisticsRow,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ClientProvider, EphemeralProvider, PluginProvider, ProviderInfo, ServerIdentity
from orchestrator.core.output_schemas import kept_output_problem
from orchestrator.core.tools import definition_from_json
from orchestrator.ports.audit import AuditedCall, CallApproval, ExportedDefinition, ListedCall
from orchestrator.service.audit import AuditService, CallExport, ToolStatistics
from orchestrator.service.audit_export import (
    DEFINITIONS_MEDIA_TYPE,
    EXPORT_FORMATS,
    MEDIA_TYPES,
    ExportFormat,
    definition_lines,
    require_parquet,
    written,
)

TOOL_CALLS_PATH: Final = "/api/v1/tool-calls"
TOOL_CALL_PATH: Final = TOOL_CALLS_PATH + "/{call_id:str}"
STATS_PATH: Final = TOOL_CALLS_PATH + "/stats"
EXPORT_PATH: Final = TOOL_CALLS_PATH + "/export"
DEFINITIONS_PATH: Final = EXPORT_PATH + "/definitions"
EVENTS_PATH: Final = TOOL_CALLS_PATH + "/events"
EXPORT_ID_HEADER: Final = "X-Export-Id"


def tool_call_routes(audit: AuditService, authenticator: Authenticator) -> list[HTTPRouteHandler]:
    """The routes."""

    @get(TOOL_CALLS_PATH)
    async def tool_calls(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        wanted, rest = query.read_filter(request, "limit", "cursor", "order")
        limit, after, newest_first = query.read_limit(rest), query.read_cursor(rest), query.read_order(rest)
        page = await audit.list_calls(caller, wanted, after, limit, newest_first=newest_first)
        calls = [AuditedCallSummary(**_summary(call)) for call in page.calls]
        return json_reply(AuditedCallList(calls, query.cursor_text(page.next)))

    @get(STATS_PATH)
    async def stats(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        wanted, rest = query.read_filter(request, "bucket")
        found = await audit.statistics(caller, wanted, query.read_bucket(rest))
        return json_reply(ToolStatisticsList([_statistics(row) for row in found]))

    @get(EXPORT_PATH)
    async def export(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        wanted, rest = query.read_filter(request, "format")
        form = _format(rest.get("format", "jsonl"))
        if form == "parquet":
            require_parquet()
        return ExportStream(await audit.export_calls(caller, wanted), form)

    @get(DEFINITIONS_PATH)
    async def export_definitions(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        wanted, _ = query.read_filter(request)
        return DefinitionsStream(await audit.export_definitions(caller, wanted))

    @get(EVENTS_PATH)
    async def events(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        rest = query.read_parameters(request, "limit", "cursor")
        limit = query.read_limit(rest)
        found = await audit.list_events(caller, query.read_number_cursor(rest), limit)
        told = [
            AuditEventInfo(
                sequence=event.sequence,
                kind=event.kind,
                at=event.at,
                actor=event.actor,
                token_id=event.token_id,
                details=event.details,
                hash=event.hash,
            )
            for event in found
        ]
        return json_reply(AuditEventList(told, str(found[-1].sequence) if len(found) == limit else None))

    @get(TOOL_CALL_PATH)
    async def tool_call(request: HttpRequest, call_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        return json_reply(whole_call(await audit.get_call(caller, call_id)))

    return [tool_calls, stats, export, export_definitions, events, tool_call]


class ExportStream(ASGIResponse):
    """An export as it is read: no more of it is in memory than a piece, however slowly it is taken."""

    _should_set_content_length = False

    def __init__(self, export: CallExport, form: ExportFormat) -> None:
        super().__init__(
            status_code=OK, media_type=MEDIA_TYPES[form], headers={**_attached(form), EXPORT_ID_HEADER: export.id}
        )
        self._export = export
        self._form: ExportFormat = form

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send one piece after the other; a failure in the middle breaks the connection off, so that it shows.

        The manifest is recorded before the end is sent.
        """
        digest, size = hashlib.sha256(), 0
        async with aclosing(written(self._export.pages(), self._form)) as pieces:
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._export.written(self._form, size, digest.hexdigest())
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class DefinitionsStream(ASGIResponse):
    """The definitions that go with an export, as they are read."""

    _should_set_content_length = False

    def __init__(self, pages: AsyncGenerator[Sequence[ExportedDefinition]]) -> None:
        headers = _attached("definitions.jsonl")
        super().__init__(status_code=OK, media_type=DEFINITIONS_MEDIA_TYPE, headers=headers)
        self._pages = pages

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send one piece after the other."""
        async with aclosing(definition_lines(self._pages)) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _attached(ending: str) -> dict[str, str]:
    name = f"tool-calls-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{ending}"
    return {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}


def _format(text: str) -> ExportFormat:
    for form in EXPORT_FORMATS:
        if text == form:
            return form
    message = f"'format' is one of {', '.join(EXPORT_FORMATS)}."
    raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="format")


def whole_call(call: AuditedCall) -> AuditedCallWhole:
    """A call with everything that is known of it."""
    listed: dict[str, Any] = {**_summary(call.listed), "arguments": call.arguments}
    return AuditedCallWhole(
        **listed,
        arguments_text=call.arguments_text,
        reason=call.reason,
        output=call.output,
        structured_output=call.structured,
        output_problem=_output_problem(call),
        shown=call.shown,
        definition=call.definition,
        arguments_salt=call.arguments_salt,
        output_salt=call.output_salt,
        links=[ChainLink(x.kind, x.sequence, x.content_digest, x.previous, x.hash) for x in call.links],
        approval=_approval(call.approval),
    )


def _output_problem(call: AuditedCall) -> str | None:
    if call.listed.status != "succeeded" or call.definition is None:
        return None
    schema = definition_from_json(call.definition).output_schema
    problem = kept_output_problem(schema, call.output, call.structured, is_error=call.listed.is_error)
    return None if problem is None else f"The result {problem}."


def _approval(approval: CallApproval | None) -> ApprovalInfo | None:
    if approval is None:
        return None
    return ApprovalInfo(
        approval.decision,
        approval.reason,
        approval.arguments,
        approval.decided_by,
        approval.token_id,
        approval.decided_at,
    )


def _summary(call: ListedCall) -> dict[str, Any]:
    """The fields that a listing and the whole have in common."""
    return {
        "call_id": call.call_id,
        "response_id": call.response_id,
        "turn": call.turn,
        "position": call.position,
        "owner": call.owner,
        "token_id": call.token_id,
        "model": call.model,
        "tool": call.tool,
        "model_name": call.model_name,
        "provider_info": _provider(call.provider),
        "server": None if call.server is None else _server(call.server),
        "definition_digest": call.definition_digest,
        "arguments": call.arguments,
        "status": call.status,
        "is_error": call.is_error,
        "duration_ms": call.duration_ms,
        "created_at": call.created_at,
        "settled_at": call.settled_at,
    }


def _server(server: ServerIdentity) -> ServerInfo:
    return ServerInfo(server.address, server.name, server.version)


def _statistics(row: ToolStatistics) -> ToolStatisticsRow:
    return ToolStatisticsRow(
        since=UNSET if row.since is None else row.since,
        tool=row.tool,
        provider_info=_provider(row.provider),
        calls=row.calls,
        errors=row.errors,
        error_rate=round(row.errors / row.calls, 6),
        statuses=dict(row.statuses),
        p50_ms=row.p50_ms,
        p95_ms=row.p95_ms,
        p99_ms=row.p99_ms,
    )


def _provider(provider: ProviderInfo | None) -> wire.ProviderInfo | None:
    match provider:
        case None:
            return None
        case PluginProvider(plugin_id):
            return wire.PluginProviderInfo(plugin_id)
        case EphemeralProvider(server_label):
            return wire.EphemeralProviderInfo(server_label)
        case ClientProvider():
            return wire.ClientProviderInfo()
        case _:
            assert_never(provider)
