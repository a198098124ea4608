"""Core values to rows and back. Pure: no connection, no clock.

A skeleton, the row of what is not stored, is made here and nowhere else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias, assert_never, cast

from sqlalchemy import RowMapping

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.calls import output_entry
from orchestrator.core.commands import CallStatus, Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import (
    EphemeralProvider,
    ImageInput,
    InputItem,
    Message,
    OutputEntry,
    PluginProvider,
    ProviderInfo,
    Reasoning,
    TextInput,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import (
    Cancelled,
    Completed,
    Ending,
    Failed,
    Incomplete,
    IncompleteReason,
    ResponseStatus,
    Stats,
    ending_status,
)
from orchestrator.core.tools import OfferedTool, ToolKey, text_content
from orchestrator.ports import CallDecision, ForkPoint, JournaledCall, NewResponse, StoredResponse

Row: TypeAlias = dict[str, Any]

PROCESS_DIED: Final = "The process that ran this call died during it: whether it took effect is not known."
NEVER_APPROVED: Final = "This call was not run: nobody had approved it when the process died that would have run it."


def abandoned_outcome() -> Outcome:
    """How a call ends whose process died while it ran."""
    return Outcome("abandoned", text_content(PROCESS_DIED), PROCESS_DIED, is_error=True)


def never_approved_outcome() -> Outcome:
    """How a call ends that still waited for approval when its process died."""
    return Outcome("refused", text_content(NEVER_APPROVED), NEVER_APPROVED, is_error=True)


def content_digest(text: str) -> str:
    """`sha256:` and the hex digest of `text`."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---- to rows ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What the rows of a response's items need of the response itself."""

    id: str
    owner: str
    token_id: str | None
    model_key: str
    stored: bool


def response_row(new: NewResponse, root_id: str, depth: int, offer_digest: str | None) -> Row:
    """A node as it begins."""
    return {
        "id": new.id,
        "previous_response_id": new.previous_response_id,
        "root_id": root_id,
        "depth": depth,
        "owner": new.owner,
        "token_id": new.token_id,
        "model_key": new.model_key,
        "model_instance_id": new.model_instance_id,
        "stored": new.stored,
        "system_prompt": new.system_prompt if new.stored else None,
        "parameters": new.parameters if new.stored else None,
        "metadata": new.metadata if new.stored else None,
        "offer_digest": offer_digest,
        "status": "in_progress",
        "holder": new.holder,
        "lease_until": new.lease_until,
        "forked_from": None if new.forked_from is None else new.forked_from.response_id,
        "forked_position": None if new.forked_from is None else new.forked_from.position,
        "replay_of": new.replay_of,
        "created_at": new.created_at,
    }


def input_rows(new: NewResponse) -> tuple[list[Row], list[Row]]:
    """The rows of the input items, and the blobs that they refer to, ordered by digest."""
    rows: list[Row] = []
    blobs: dict[str, str] = {}
    for position, item in enumerate(new.input if new.stored else ()):
        row: Row = {"response_id": new.id, "position": position, "content": None, "blob_digest": None}
        match item:
            case TextInput(content):
                row |= {"type": "text", "content": content}
            case ImageInput(data_url):
                digest = content_digest(data_url)
                blobs[digest] = data_url
                row |= {"type": "image", "blob_digest": digest}
            case _:
                assert_never(item)
        rows.append(row)
    return rows, [{"digest": digest, "content": blobs[digest]} for digest in sorted(blobs)]


@dataclass(frozen=True, slots=True)
class OfferRows:
    """An offer, its tools and their definitions. Definitions are ordered by digest, so that two writers never deadlock."""

    offer: Row
    tools: list[Row]
    definitions: list[Row]


def offer_rows(offered: Sequence[OfferedTool], tool_names: Mapping[ToolKey, str], at: datetime) -> OfferRows | None:
    """The rows of an offer, or None where nothing is offered and no name was ever given."""
    if not offered and not tool_names:
        return None
    names: JsonValue = [[provider, tool, name] for (provider, tool), name in sorted(tool_names.items())]
    tools: list[Row] = []
    definitions: dict[str, Row] = {}
    for position, tool in enumerate(offered):
        kind, label = _provider_columns(tool.provider)
        definitions[tool.digest] = {
            "digest": tool.digest,
            "definition": tool.definition.as_json(),
            "first_seen_at": at,
        }
        tools.append(
            {
                "position": position,
                "name": tool.name,
                "tool": tool.definition.name,
                "provider_type": kind,
                "provider_name": label,
                "definition_digest": tool.digest,
            }
        )
    digest = content_digest(canonical_json([names, cast(JsonValue, tools)]))
    for row in tools:
        row["offer_digest"] = digest
    return OfferRows(
        {"digest": digest, "tool_names": names, "first_seen_at": at},
        tools,
        [definitions[digest] for digest in sorted(definitions)],
    )


def call_row(placed: PlacedCall, response: ResponseFacts, at: datetime) -> Row:
    """A call as the journal takes it. The skeleton keeps the model's word for the tool only where it is an offered name."""
    kind, label = (None, None) if placed.provider is None else _provider_columns(placed.provider)
    stored = response.stored
    row: Row = {
        "call_id": placed.call_id,
        "response_id": response.id,
        "position": placed.position,
        "turn": placed.turn,
        "owner": response.owner,
        "token_id": response.token_id,
        "model_key": response.model_key,
        "model_name": placed.model_name if stored or placed.tool is not None else "",
        "arguments_text": placed.arguments_text if stored else None,
        "arguments": placed.arguments if stored else None,
        "tool": placed.tool,
        "provider_type": kind,
        "provider_name": label,
        "definition_digest": placed.digest,
        "reason": placed.reason if stored else None,
        "created_at": at,
    }
    if placed.outcome is not None:
        return row | outcome_row(placed.outcome, at, stored=stored)
    unsettled = dict.fromkeys(("output", "structured", "shown", "duration_ms", "settled_at"))
    status = "awaiting_approval" if placed.awaits_approval else "journaled"
    return row | unsettled | {"status": status, "is_error": False}


def outcome_row(outcome: Outcome, at: datetime, *, stored: bool) -> Row:
    """The columns that settle a call."""
    return {
        "status": outcome.status,
        "output": outcome.output if stored else None,
        "structured": outcome.structured if stored else None,
        "shown": outcome.shown if stored else None,
        "is_error": outcome.is_error,
        "duration_ms": outcome.duration_ms,
        "settled_at": at,
    }


def item_rows(items: Sequence[PlacedItem], response: ResponseFacts, at: datetime) -> tuple[list[Row], list[Row]]:
    """The journal's rows and the output's rows of `items`; the skeleton has no text."""
    calls: list[Row] = []
    output: list[Row] = []
    for placed in items:
        row: Row = {"response_id": response.id, "position": placed.position, "turn": placed.turn}
        match placed:
            case PlacedCall():
                calls.append(call_row(placed, response, at))
                output.append(row | {"type": "tool_call", "content": None, "call_id": placed.call_id})
            case PlacedText(item=item):
                if response.stored:
                    kind = "message" if isinstance(item, Message) else "reasoning"
                    output.append(row | {"type": kind, "content": item.content, "call_id": None})
            case _:
                assert_never(placed)
    return calls, output


def ending_row(ending: Ending, *, stored: bool) -> Row:
    """How a response ended; the skeleton keeps the kind of an error and not what it says."""
    row: Row = {"status": ending_status(ending)}
    row |= dict.fromkeys(("ending_reason", "error_kind", "error_message", "error_param"))
    match ending:
        case Completed():
            pass
        case Incomplete(reason):
            row["ending_reason"] = reason
        case Cancelled(reason):
            row["ending_reason"] = reason if stored else None
        case Failed(error):
            row["error_kind"] = error.kind.value
            if stored:
                row |= {"error_message": error.message, "error_param": error.param}
        case _:
            assert_never(ending)
    return row


def stats_json(stats: Stats) -> JsonObject:
    """The stats as they are stored; a response that is not stored has none."""
    return {
        "input_tokens": stats.input_tokens,
        "total_output_tokens": stats.total_output_tokens,
        "reasoning_output_tokens": stats.reasoning_output_tokens,
        "tokens_per_second": stats.tokens_per_second,
        "time_to_first_token_seconds": stats.time_to_first_token_seconds,
        "model_load_time_seconds": stats.model_load_time_seconds,
        "cached_input_tokens": stats.cached_input_tokens,
        "unknown": list(stats.unknown),
    }


def _provider_columns(provider: ProviderInfo) -> tuple[str, str]:
    match provider:
        case PluginProvider(plugin_id):
            return "plugin", plugin_id
        case EphemeralProvider(server_label):
            return "ephemeral_mcp", server_label
        case _:
            assert_never(provider)


# ---- from rows --------------------------------------------------------------------------------


def input_item(kind: str, content: str | None, blob: str | None) -> InputItem:
    """An input item from its columns and its blob's content."""
    return TextInput(content or "") if kind == "text" else ImageInput(blob or "")


def text_entry(kind: str, turn: int, content: str | None) -> OutputEntry:
    """A message or reasoning from its columns."""
    return OutputEntry(turn, Message(content or "") if kind == "message" else Reasoning(content or ""))


def call_entry(
    turn: int,
    call_id: str,
    model_name: str,
    arguments_text: str,
    arguments: JsonObject | None,
    tool: str | None,
    provider_type: str | None,
    provider_name: str | None,
    reason: str | None,
    status: CallStatus,
    output: str,
    shown: str | None,
    is_error: bool,
    duration_ms: int,
    edited: JsonObject | None,
) -> OutputEntry:
    """A settled call of the journal as its readers see it, from its columns."""
    return output_entry(
        PlacedCall(
            position=0,
            turn=turn,
            call_id=call_id,
            model_name=model_name,
            arguments_text=arguments_text,
            arguments=arguments,
            tool=tool,
            provider=provider_from(provider_type, provider_name),
            reason=reason,
            outcome=Outcome(status, output, shown, is_error, duration_ms),
            edited=edited,
        )
    )


def journaled_call(row: RowMapping, decision: CallDecision | None = None) -> JournaledCall:
    """A row of the journal as it stands there."""
    return JournaledCall(
        call_id=row["call_id"],
        response_id=row["response_id"],
        position=row["position"],
        turn=row["turn"],
        model_name=row["model_name"],
        tool=row["tool"],
        provider=provider_from(row["provider_type"], row["provider_name"]),
        definition_digest=row["definition_digest"],
        arguments=row["arguments"],
        status=row["status"],
        output=row["output"],
        is_error=row["is_error"],
        duration_ms=row["duration_ms"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
        decision=decision,
    )


def stored_response(row: RowMapping, items: PastResponse, pending: tuple[PendingApproval, ...] = ()) -> StoredResponse:
    """A response, whole, from its row and its items."""
    status: ResponseStatus = row["status"]
    reason: IncompleteReason | None = row["ending_reason"] if status == "incomplete" else None
    error: ErrorInfo | None = None
    if row["error_kind"] is not None:
        error = ErrorInfo(ErrorKind(row["error_kind"]), row["error_message"] or "", row["error_param"])
    return StoredResponse(
        id=row["id"],
        previous_response_id=row["previous_response_id"],
        root_id=row["root_id"],
        depth=row["depth"],
        owner=row["owner"],
        model_key=row["model_key"],
        model_instance_id=row["model_instance_id"],
        system_prompt=row["system_prompt"],
        parameters=row["parameters"],
        metadata=row["metadata"],
        status=status,
        incomplete_reason=reason,
        error=error,
        stats=_stats(row["stats"]),
        input=items.input,
        output=items.output,
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        pending=pending,
        expires_at=row["expires_at"],
        forked_from=None if row["forked_from"] is None else ForkPoint(row["forked_from"], row["forked_position"]),
        replay_of=row["replay_of"],
    )


def tool_names(names: Sequence[Sequence[str]] | None) -> dict[ToolKey, str]:
    """The names that a chain has given, from the column of its last offer."""
    return {(provider, tool): name for provider, tool, name in names or ()}


def provider_from(kind: str | None, name: str | None) -> ProviderInfo | None:
    """A provider from its columns."""
    if name is None:
        return None
    return PluginProvider(name) if kind == "plugin" else EphemeralProvider(name)


def _stats(value: Mapping[str, Any] | None) -> Stats:
    if value is None:
        return Stats()
    counted: dict[str, Any] = {**value, "unknown": tuple(value["unknown"])}
    return Stats(**counted)
