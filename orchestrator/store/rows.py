"""Core values to rows; `readings.py` has the way back. Pure: no connection, no clock.

A skeleton, the row of what is not stored, is made here and nowhere else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias, assert_never, cast

from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    ReasoningInput,
    ServerIdentity,
    TextInput,
    origin_of,
    text_of,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.core.response import (
    Cancelled,
    Completed,
    Ending,
    Failed,
    Incomplete,
    Stats,
    ending_status,
)
from orchestrator.core.tools import OfferedTool, ToolKey, provider_kind, provider_label, text_content
from orchestrator.ports import LONG_TEXT, NewResponse
from orchestrator.store.token_logprobs import logprobs_text

Row: TypeAlias = dict[str, Any]

PROCESS_DIED: Final = "The process that ran this call died during it: whether it took effect is not known."


NEVER_APPROVED: Final = "This call was not run: nobody had approved it when the process died that would have run it."


def abandoned_outcome() -> Outcome:
    """How a call ends whose process died while it ran."""
    return Outcome("abandoned", text_content(PROCESS_DIED), PROCESS_DIED, is_error=True)


def never_approved_outcome() -> Outcome:
    """How a call ends that still waited for approval when its process died."""
    return Outcome("refused", text_content(NEVER_APPROVED), NEVER_APPROVED, is_error=True)


PREVIEW: Final = 200
"""Characters of input and of output that listings show."""


def content_digest(text: str) -> str:
    """`sha256:` and the hex digest of `text`."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What the rows of a response's items need of the response itself."""

    id: str
    number: int
    owner: str
    token_id: str | None
    model_key: str
    stored: bool


def response_row(new: NewResponse, number: int, root_id: str, depth: int, offer_digest: str | None) -> Row:
    """A node as it begins."""
    return {
        "id": new.id,
        "number": number,
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
        "input_preview": new.asked[:PREVIEW] if new.stored else None,
        "offer_digest": offer_digest,
        "status": "in_progress",
        "holder": new.holder,
        "lease_until": new.lease_until,
        "forked_from": None if new.forked_from is None else new.forked_from.response_id,
        "forked_position": None if new.forked_from is None else new.forked_from.position,
        "forked_rest": None if new.forked_from is None else new.forked_from.rest,
        "replay_of": new.replay_of,
        "warnings": warnings_json(new.warnings) if new.stored else None,
        "created_at": new.created_at,
    }


def input_rows(new: NewResponse) -> tuple[list[Row], dict[str, str]]:
    """The rows of the input items, and the blobs that they refer to, by digest."""
    rows: list[Row] = []
    blobs: dict[str, str] = {}
    for position, item in enumerate(new.input if new.stored else ()):
        row: Row = {"response_id": new.id, "position": position, "content": None, "blob_digest": None}
        kind, details = _input_details(item)
        row |= {"type": kind, "origin": _origin_json(item), "details": details or None}
        if isinstance(item, ImageInput):
            digest = content_digest(item.data_url)
            blobs[digest] = item.data_url
            row["blob_digest"] = digest
        else:
            row |= _kept(text_of(item), "content", "blob_digest", blobs)
        rows.append(row)
    return rows, blobs


def _input_details(item: InputItem) -> tuple[str, JsonObject]:
    """The type of an input item, and what its columns do not have of it."""
    begins: JsonObject = {} if isinstance(item, FunctionOutput) or not item.begins else {"begins": True}
    if isinstance(item, TextInput | ImageInput) and item.name:
        begins["name"] = item.name
    match item:
        case TextInput(origin=origin, speaker=speaker, heads=heads):
            told = origin is not None or speaker == "user"  # an origin says who speaks in it
            first: JsonObject = {"heads": True} if heads else {}
            return "text", begins if told else {**begins, **first, "speaker": speaker}
        case ImageInput():
            return "image", begins
        case ReasoningInput():
            return "reasoning", begins
        case FunctionCallInput(call_id, name, of_server=of_server, server=server):
            whose: JsonObject = {"of_server": True} if of_server else {}
            if server:
                whose["server"] = server
            return "function_call", {**begins, **whose, "call_id": call_id, "name": name}
        case FunctionOutput(call_id, _, is_error, name, of_server):
            whose = {"of_server": True} if of_server else {}
            return "function_output", {**whose, "call_id": call_id, "name": name, "is_error": is_error}
        case _:
            assert_never(item)


def _origin_json(item: InputItem) -> JsonObject | None:
    """Whose resource or prompt `item` is, and who speaks in it where that is not the user."""
    origin = origin_of(item)
    if origin is None:
        return None
    kind, label = provider_kind(origin.provider), provider_label(origin.provider)
    stored: JsonObject = {"type": origin.kind, "name": origin.name, "provider_type": kind, "provider_name": label}
    speaker = item.speaker if isinstance(item, TextInput) else "user"
    return stored if speaker == "user" else {**stored, "speaker": speaker}


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
    names: JsonValue = [[provider, tool, name] for (provider, tool), name in tool_names.items()]
    tools: list[Row] = []
    definitions: dict[str, Row] = {}
    for position, tool in enumerate(offered):
        kind, label = provider_kind(tool.provider), provider_label(tool.provider)
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
    provider = placed.provider
    kind, label = (None, None) if provider is None else (provider_kind(provider), provider_label(provider))
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
        **_server_columns(placed.server),
        "definition_digest": placed.digest,
        "reason": placed.reason if stored else None,
        "created_at": at,
    }
    if placed.outcome is not None and placed.outcome.status != "handed_over":
        return row | outcome_row(placed.outcome, at, stored=stored)
    unsettled = dict.fromkeys(("output", "structured", "shown", "duration_ms", "settled_at"))
    status = "awaiting_approval" if placed.awaits_approval else "journaled"
    if placed.outcome is not None:
        status = placed.outcome.status  # its result comes with a later request
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


def put_away(row: Row) -> tuple[Row, dict[str, str]]:
    """A call's row, or the columns that settle it, as the table has them: long texts among blobs, by digest."""
    blobs: dict[str, str] = {}
    kept = {name: _kept(row[name], name, f"{name}_digest", blobs) for name in ("output", "structured")}
    return row | kept["output"] | kept["structured"], blobs


def item_rows(items: Sequence[PlacedItem], response: ResponseFacts, at: datetime) -> tuple[list[Row], list[Row]]:
    """The journal's rows and the output's rows of `items`; the skeleton has no text."""
    calls: list[Row] = []
    output: list[Row] = []
    for placed in items:
        row: Row = {"response_id": response.id, "position": placed.position, "turn": placed.turn}
        match placed:
            case PlacedCall():
                calls.append(call_row(placed, response, at))
                output.append(row | {"type": "tool_call", "content": None, "call_id": placed.call_id, "logprobs": None})
            case PlacedText(item=item):
                if response.stored:
                    kind, told = ("message", item.logprobs) if isinstance(item, Message) else ("reasoning", ())
                    row |= {"type": kind, "content": item.content, "call_id": None, "logprobs": logprobs_text(told)}
                    output.append(row)
            case _:
                assert_never(placed)
    return calls, output


def ending_row(ending: Ending, *, stored: bool) -> Row:
    """How a response ended; the skeleton keeps the kind of an error and not what it says."""
    row: Row = {"status": ending_status(ending)}
    row |= dict.fromkeys(("ending_reason", "error_kind", "error_message", "error_param"))
    match ending:
        case Completed(stop_sequence):
            row["ending_reason"] = stop_sequence if stored else None
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


def warnings_json(warnings: Sequence[str]) -> list[str] | None:
    """What a response was warned about, as it is stored."""
    return [*warnings] or None


def stats_json(stats: Stats) -> JsonObject:
    """The stats as they are stored; a response that is not stored has none."""
    several: JsonObject = {
        "total_input_tokens": stats.total_input_tokens,
        "total_cached_tokens": stats.total_cached_tokens,
    }
    return {
        "input_tokens": stats.input_tokens,
        "total_output_tokens": stats.total_output_tokens,
        "reasoning_output_tokens": stats.reasoning_output_tokens,
        "tokens_per_second": stats.tokens_per_second,
        "time_to_first_token_seconds": stats.time_to_first_token_seconds,
        "model_load_time_seconds": stats.model_load_time_seconds,
        "cached_input_tokens": stats.cached_input_tokens,
        "unknown": list(stats.unknown),
        **{name: tokens for name, tokens in several.items() if tokens is not None},
    }


def _kept(text: str | None, column: str, digest_column: str, blobs: dict[str, str]) -> Row:
    """A text in its own column, or a long one among `blobs` with its digest in the other."""
    if text is None or len(text) <= LONG_TEXT:
        return {column: text, digest_column: None}
    digest = content_digest(text)
    blobs[digest] = text
    return {column: None, digest_column: digest}


def _server_columns(server: ServerIdentity | None) -> Row:
    known = server or ServerIdentity()
    return {"server_address": known.address, "server_name": known.name, "server_version": known.version}
