"""The audit on the wire. An extension."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ProviderInfo


class ServerInfo(Struct, frozen=True):
    """Which server stood behind the label."""

    address: Annotated[
        str | None,
        Meta(description="Origin and path of its URL, without secrets; of a server with a command the program's name."),
    ]
    name: Annotated[str | None, Meta(description="What it calls itself.")]
    version: str | None


class AuditedCallSummary(Struct, frozen=True, kw_only=True):
    """A tool call in a listing."""

    call_id: str
    response_id: str
    turn: Annotated[int, Meta(description="The turn of the model that asked for it, from 1.")]
    position: Annotated[int, Meta(description="Its place in the response's output, from 0.")]
    owner: str
    token_id: Annotated[str | None, Meta(description="The public part of the API token, null without one.")]
    model: str
    tool: Annotated[str | None, Meta(description="The server's own name; null where the model named no offered tool.")]
    model_name: Annotated[str, Meta(description="The name that the model wrote.")]
    provider_info: ProviderInfo | None
    server: Annotated[
        ServerInfo | None, Meta(description="Null where none was connected, and for calls of earlier versions.")
    ]
    definition_digest: str | None
    arguments: Annotated[
        dict[str, Any] | None,
        Meta(description="Null where they are not kept, were no object, or are too long for a listing."),
    ]
    status: Annotated[
        str,
        Meta(
            description="`journaled` until it is settled; `succeeded`, `failed`, `refused`, `invalid`, `abandoned`; `edited` and `replayed` where a client, or a stored response, gave the result and no server was asked."
        ),
    ]
    is_error: bool
    duration_ms: int | None
    created_at: datetime
    settled_at: datetime | None


class AuditedCallList(Struct, frozen=True):
    """The answer to `GET /api/v1/tool-calls`."""

    tool_calls: list[AuditedCallSummary]
    next_cursor: Annotated[
        str | None,
        Meta(description="Where the next page begins; null: there is none. A page may be short while there is one."),
    ]


class ChainLink(Struct, frozen=True):
    """A link of the owner's audit chain."""

    kind: Annotated[str, Meta(description="`journaled`, `decided` or `settled`.")]
    sequence: int
    content_digest: Annotated[
        str | None, Meta(description="The salted digest of the content, null where none was kept.")
    ]
    previous: Annotated[str, Meta(description="The hash of the link before it.")]
    hash: str


class ApprovalInfo(Struct, frozen=True):
    """What was decided about a call that needed approval."""

    decision: Annotated[str, Meta(description="`approve` or `deny`.")]
    reason: str | None
    arguments: Annotated[dict[str, Any] | None, Meta(description="What it ran with instead of the model's arguments.")]
    decided_by: Annotated[str | None, Meta(description="An owner; null: the time to decide was over.")]
    token_id: str | None
    decided_at: datetime


class AuditedCallWhole(AuditedCallSummary, frozen=True, kw_only=True):
    """The answer to `GET /api/v1/tool-calls/{call_id}`."""

    arguments_text: Annotated[str | None, Meta(description="The arguments as the model wrote them.")]
    reason: Annotated[str | None, Meta(description="Why an invalid call is invalid.")]
    output: Annotated[str | None, Meta(description="The JSON text of the MCP result's `content` array, whole.")]
    structured_output: Annotated[str | None, Meta(description="The JSON text of `structuredContent`.")]
    output_problem: Annotated[
        str | None,
        Meta(description="What of the result is not as the tool's output schema promises; null where all is."),
    ]
    shown: Annotated[str | None, Meta(description="What the model was shown of the output.")]
    definition: Annotated[dict[str, Any] | None, Meta(description="The tool as it was offered.")]
    arguments_salt: str | None
    output_salt: str | None
    links: list[ChainLink]
    approval: ApprovalInfo | None


class ToolStatisticsRow(Struct, frozen=True, kw_only=True):
    """How the calls of one tool went, in one stretch of time where there are several."""

    since: datetime | UnsetType = UNSET
    tool: str | None
    provider_info: ProviderInfo | None
    calls: int
    errors: int
    error_rate: Annotated[float, Meta(description="From 0 to 1.")]
    statuses: Annotated[dict[str, int], Meta(description="How many calls have which status.")]
    p50_ms: Annotated[int | None, Meta(description="Of the calls that ran; null where none did.")]
    p95_ms: int | None
    p99_ms: int | None


class ToolStatisticsList(Struct, frozen=True):
    """The answer to `GET /api/v1/tool-calls/stats`."""

    stats: list[ToolStatisticsRow]


class AuditEventInfo(Struct, frozen=True, kw_only=True):
    """Something that happened to the journal as a whole."""

    sequence: int
    kind: Annotated[str, Meta(description="`reading`, `deletion`, `erasure`, `export` or `checkpoint`.")]
    at: datetime
    actor: Annotated[str, Meta(description="The owner who did it, or `@service`.")]
    token_id: str | None
    details: dict[str, Any]
    hash: str


class AuditEventList(Struct, frozen=True):
    """The answer to `GET /api/v1/tool-calls/events`."""

    events: list[AuditEventInfo]
    next_cursor: str | None
