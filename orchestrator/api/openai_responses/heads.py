"""What of a response is known before its model has said anything, and the response that is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from orchestrator.api.errors import openai_error
from orchestrator.api.openai_responses.decisions import settings_behind
from orchestrator.api.openai_responses.foreign import foreign_settings
from orchestrator.api.openai_responses.wire_response import (
    CachedTokens,
    ConversationReference,
    FailureCode,
    IncompleteDetails,
    ReasoningTokens,
    ResponseFailure,
    ResponseItem,
    ResponseObject,
    ResponseUsage,
    Status,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import (
    SERVICE_STOPS,
    Cancelled,
    ChatResult,
    Close,
    Failed,
    Incomplete,
    ResponseStatus,
    Stats,
    ending_status,
)
from orchestrator.ports import StoredResponse

DIALECT: Final = "openai.responses"
"""What `parameters.dialect.api` is of a response that was asked for in this dialect."""

STATUSES: Final[Mapping[ResponseStatus, Status]] = {
    "in_progress": "in_progress",
    "awaiting_approval": "completed",  # the request for approval is the response's last word
    "completed": "completed",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response as its request began it. `settings` are what `decode.settings_of` made of the request."""

    id: str
    created_at: datetime
    model: str
    previous_response_id: str | None = None
    instructions: str | None = None
    store: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: JsonObject = field(default_factory=dict[str, Any])

    @property
    def background(self) -> bool:
        """Whether it goes on without its client."""
        return self.settings.get("background") is True

    @property
    def summarises(self) -> bool:
        """Whether the reasoning is told as its own summary."""
        return bool(_object(self.settings, "reasoning").get("summary"))

    @property
    def server_labels(self) -> tuple[str, ...]:
        """The servers that its request offered to the model, each once."""
        if self.settings.get("tool_choice") == "none":
            return ()
        tools = cast("Sequence[Mapping[str, Any]]", self.settings.get("tools") or ())
        labels = (tool["server_label"].removeprefix("mcp/") for tool in tools if tool["type"] == "mcp")
        return tuple(dict.fromkeys(labels))

    @property
    def seals_reasoning(self) -> bool:
        """Whether the reasoning is told so that it can be carried without being looked at."""
        included = self.settings.get("include")
        return isinstance(included, list) and "reasoning.encrypted_content" in included


def stored_head(stored: StoredResponse) -> ResponseHead:
    """The head of a response that is stored, in whatever dialect it was asked for."""
    settings = stored.parameters.get("dialect")
    if not is_of_this_dialect(stored) or not isinstance(settings, dict):
        settings = foreign_settings(stored.parameters)
    return ResponseHead(
        stored.id,
        stored.created_at,
        stored.model_key,
        stored.previous_response_id,
        stored.system_prompt,
        True,
        stored.metadata,
        settings_behind(settings, stored.previous_response_id),
    )


def is_of_this_dialect(stored: StoredResponse) -> bool:
    """Whether it was asked for in this dialect."""
    settings = stored.parameters.get("dialect")
    return isinstance(settings, dict) and settings.get("api") == DIALECT


def response_object(
    head: ResponseHead,
    status: Status,
    output: Sequence[ResponseItem],
    *,
    completed_at: datetime | None = None,
    stats: Stats | None = None,
    reason: str | None = None,
    error: ErrorInfo | None = None,
) -> ResponseObject:
    """The response as it is now."""
    said = cast("Mapping[str, Any]", head.settings)
    conversation = said.get("conversation")
    reasoning = _object(head.settings, "reasoning")
    return ResponseObject(
        id=head.id,
        created_at=int(head.created_at.timestamp()),
        completed_at=None if completed_at is None else int(completed_at.timestamp()),
        status=status,
        background=head.background,
        error=None if error is None else ResponseFailure(_failure_code(error), error.message),
        incomplete_details=None if reason is None else IncompleteDetails(reason),
        instructions=head.instructions,
        max_output_tokens=said.get("max_output_tokens"),
        max_tool_calls=said.get("max_tool_calls"),
        model=head.model,
        output=list(output),
        parallel_tool_calls=said.get("parallel_tool_calls", True),
        previous_response_id=head.previous_response_id,
        conversation=None if conversation is None else ConversationReference(conversation),
        prompt_cache_key=said.get("prompt_cache_key"),
        reasoning={"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        safety_identifier=said.get("safety_identifier"),
        service_tier="default",
        store=head.store,
        temperature=said.get("temperature", 1.0),
        text=said.get("text", {"format": {"type": "text"}, "verbosity": "medium"}),
        tool_choice=said.get("tool_choice", "auto"),
        tools=said.get("tools", []),
        top_p=said.get("top_p", 1.0),
        presence_penalty=said.get("presence_penalty", 0.0),
        frequency_penalty=said.get("frequency_penalty", 0.0),
        usage=None if stats is None else usage_of(stats),
        user=said.get("user"),
        top_logprobs=said.get("top_logprobs", 0),
        metadata=dict(head.metadata),
    )


def _failure_code(error: ErrorInfo) -> FailureCode:
    """Clients with types read one of few words here; the message says the rest."""
    match error.kind:
        case ErrorKind.RATE_LIMITED:
            return "rate_limit_exceeded"
        case ErrorKind.EXCEED_CONTEXT_SIZE:
            return "context_length_exceeded"
        case _:
            return "invalid_prompt" if openai_error(error).type == "invalid_request_error" else "server_error"


_BROKEN_OFF: Final = (Failed, Cancelled, Incomplete)
"""Ends at which an engine may not have come to count: then nothing is said, and no false zero."""


def ended(head: ResponseHead, result: ChatResult, output: Sequence[ResponseItem], now: datetime) -> ResponseObject:
    """The response at its end."""
    ending = told_ending(result.ending)
    status = STATUSES[ending_status(ending)]
    reason: str | None = None
    match ending:
        case Incomplete():
            reason = ending.reason
        case Cancelled():
            reason = "cancelled"
        case _:
            pass
    return response_object(
        head,
        status,
        output,
        completed_at=now if status == "completed" else None,
        stats=None if isinstance(ending, _BROKEN_OFF) and not result.stats.is_counted else result.stats,
        reason=reason,
        error=ending.error if isinstance(ending, Failed) else None,
    )


def told_ending(ending: Close) -> Close:
    """What nobody cancelled failed: its client may ask again."""
    if ending == Cancelled(SERVICE_STOPS):
        message = "The service was stopped before the response was finished. Ask again."
        return Failed(ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message))
    return ending


def usage_of(stats: Stats) -> ResponseUsage:
    """The counters in OpenAI's words: the prompts of all turns together."""
    return ResponseUsage(
        stats.read_tokens,
        CachedTokens(stats.read_from_cache or 0),
        stats.total_output_tokens,
        ReasoningTokens(stats.reasoning_output_tokens),
        stats.read_tokens + stats.total_output_tokens,
    )


def _object(settings: JsonObject, name: str) -> JsonObject:
    value = settings.get(name)
    return value if isinstance(value, dict) else {}
