"""Rows to core values; `rows.py` has the way there. Pure: no connection, no clock."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.calls import output_entry
from orchestrator.core.commands import CallStatus, Outcome, PlacedCall
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import (
    ClientProvider,
    EphemeralProvider,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    Origin,
    OutputEntry,
    PluginProvider,
    ProviderInfo,
    Reasoning,
    ReasoningInput,
    ServerIdentity,
    Speaker,
    TextInput,
)
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import UNCOUNTED, IncompleteReason, ResponseStatus, Stats
from orchestrator.core.tools import ToolKey
from orchestrator.ports import CallDecision, ForkPoint, JournaledCall, OfferedReference, ResponseSummary, StoredResponse
from orchestrator.store.token_logprobs import logprobs_from


def input_item(
    kind: str,
    content: str | None,
    blob: str | None,
    origin: Mapping[str, str] | None,
    details: Mapping[str, Any] | None,
) -> InputItem:
    """An input item from its columns and its blob's content."""
    known = details or {}
    text, begins = content or blob or "", bool(known.get("begins"))
    match kind:
        case "reasoning":
            return ReasoningInput(text, begins)
        case "function_call":
            of_server = known.get("of_server", False)
            return FunctionCallInput(known["call_id"], known["name"], text, begins, of_server, known.get("server", ""))
        case "function_output":
            of_server = known.get("of_server", False)
            return FunctionOutput(known["call_id"], text, known["is_error"], known["name"], of_server)
        case _:
            return _said(kind, text, origin, known, begins)


def _said(
    kind: str, text: str, origin: Mapping[str, str] | None, details: Mapping[str, Any], begins: bool
) -> TextInput | ImageInput:
    speaker: Speaker = details.get("speaker", "user")
    taken: Origin | None = None
    if origin is not None:
        provider = provider_from(origin["provider_type"], origin["provider_name"])
        assert provider is not None
        taken = Origin(provider, "prompt" if origin["type"] == "prompt" else "resource", origin["name"])
        speaker = "assistant" if origin.get("speaker") == "assistant" else "user"
    name: str = details.get("name", "")
    if kind != "text":
        return ImageInput(text, taken, begins, name)
    return TextInput(text, taken, speaker, begins, details.get("heads", False), name)


def text_item(kind: str, content: str | None, logprobs: str | None) -> Message | Reasoning:
    """A message or reasoning from its columns."""
    return Message(content or "", logprobs_from(logprobs)) if kind == "message" else Reasoning(content or "")


def text_entry(kind: str, turn: int, content: str | None, logprobs: str | None) -> OutputEntry:
    """A message or reasoning, in its turn, from its columns."""
    return OutputEntry(turn, text_item(kind, content, logprobs))


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
    structured: str | None,
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
            outcome=Outcome(status, output, shown, is_error, duration_ms, structured),
            edited=edited,
        )
    )


def journaled_call(row: RowMapping, decision: CallDecision | None = None) -> JournaledCall:
    """A row of the journal as it stands there; a long output comes as `long_output`, from its blob."""
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
        output=row["output"] if row["output_digest"] is None else row["long_output"],
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
        stop_sequence=row["ending_reason"] if status == "completed" else None,
        cancel_reason=row["ending_reason"] if status == "cancelled" else None,
        error=error,
        stats=UNCOUNTED if reason == "process_died" and row["stats"] is None else _stats(row["stats"]),
        input=items.input,
        output=items.output,
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        pending=pending,
        expires_at=row["expires_at"],
        forked_from=_fork_point(row),
        replay_of=row["replay_of"],
        warnings=tuple(row["warnings"] or ()),
    )


def offered_reference(row: RowMapping) -> OfferedReference:
    """A tool of an offer, by the digest of its definition."""
    provider = provider_from(row["provider_type"], row["provider_name"])
    assert provider is not None
    return OfferedReference(row["name"], row["tool"], provider, row["definition_digest"])


def summary(row: RowMapping) -> ResponseSummary:
    """A response as listings show it, from the columns of `listing.SUMMARY`."""
    return ResponseSummary(
        number=row["number"],
        id=row["id"],
        previous_response_id=row["previous_response_id"],
        root_id=row["root_id"],
        depth=row["depth"],
        owner=row["owner"],
        model_key=row["model_key"],
        status=row["status"],
        incomplete_reason=row["ending_reason"] if row["status"] == "incomplete" else None,
        metadata=row["metadata"],
        input_preview=row["input_preview"] or "",
        output_preview=row["output_preview"] or "",
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        forked_from=_fork_point(row),
        replay_of=row["replay_of"],
    )


def tool_names(names: Sequence[Sequence[str]] | None) -> dict[ToolKey, str]:
    """The names that a chain has given, from the column of its last offer."""
    return {(provider, tool): name for provider, tool, name in names or ()}


def provider_from(kind: str | None, name: str | None) -> ProviderInfo | None:
    """A provider from its columns."""
    if name is None:
        return None
    if kind == "client":
        return ClientProvider()
    return PluginProvider(name) if kind == "plugin" else EphemeralProvider(name)


def server_from(address: str | None, name: str | None, version: str | None) -> ServerIdentity | None:
    """A server from its columns."""
    found = ServerIdentity(address, name, version)
    return None if found == ServerIdentity() else found


def _fork_point(row: RowMapping) -> ForkPoint | None:
    if row["forked_from"] is None:
        return None
    return ForkPoint(row["forked_from"], row["forked_position"], row["forked_rest"] or 0)


def _stats(value: Mapping[str, Any] | None) -> Stats:
    if value is None:
        return Stats()
    counted: dict[str, Any] = {**value, "unknown": tuple(value["unknown"])}
    return Stats(**counted)
