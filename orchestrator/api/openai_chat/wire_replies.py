"""What `/v1/chat/completions`, `/v1/completions` and `/v1/models` answer. Source: OpenAI's API reference."""

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from orchestrator.api.wire import PendingApprovals

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class TopLogprob(Struct, frozen=True):
    """A token that might have stood there."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct, frozen=True):
    """A token that was written."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Struct, frozen=True):
    """How likely the tokens of a message were."""

    content: list[TokenLogprob]
    refusal: None = None


class FunctionOfCall(Struct, frozen=True):
    """What is called; in a stream, a piece of it."""

    arguments: str
    name: str | UnsetType = UNSET


class ToolCallPart(Struct, frozen=True):
    """A call of a function of the client's; `index` is there in streams."""

    function: FunctionOfCall
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    index: int | UnsetType = UNSET


class AnswerMessage(Struct, frozen=True):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallPart] | UnsetType = UNSET


class Choice(Struct, frozen=True):
    """One answer. What follows `finish_reason` are extensions; `status` is there where it is not `completed`."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason
    response_id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET


class PromptDetails(Struct, frozen=True):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionDetails(Struct, frozen=True):
    """Of the written tokens."""

    reasoning_tokens: int


class Usage(Struct, frozen=True):
    """The engine's own counters: the last turn's prompt, and everything that was written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Completion(Struct, frozen=True):
    """The answer to `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str


class Delta(Struct, frozen=True):
    """What is new in a choice."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallPart] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """A piece of one answer. What follows `finish_reason` are extensions, as in `Choice`."""

    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None
    response_id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET


class Chunk(Struct, frozen=True):
    """One event of a stream; the last one, where it is asked for, has `usage` and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET


class TextLogprobs(Struct, frozen=True):
    """How likely the tokens of a text were; `text_offset` counts characters."""

    tokens: list[str] = field(default_factory=list[str])
    token_logprobs: list[float] = field(default_factory=list[float])
    top_logprobs: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    text_offset: list[int] = field(default_factory=list[int])


class TextChoice(Struct, frozen=True):
    """One text."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextCompletion(Struct, frozen=True):
    """The answer to `POST /v1/completions`, and each event of its stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    usage: Usage | UnsetType | None = UNSET


class ModelEntry(Struct, frozen=True):
    """A model. `created` is when its file was written, or what its engine says; 0 where nobody tells."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelEntries(Struct, frozen=True):
    """The answer to `GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelEntry]
