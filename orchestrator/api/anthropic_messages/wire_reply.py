"""Messages as they are answered, whole and event by event."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_anthropic_errors import AnthropicError

StopReason: TypeAlias = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"]


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    """Text for the user."""

    text: str


class ThinkingBlock(Struct, frozen=True, tag_field="type", tag="thinking"):
    """What the model wrote to itself."""

    thinking: str
    signature: Annotated[str, Meta(description="Names the text; a history may bring any.")]


class ToolUseBlock(Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call that the client is to run."""

    id: str
    name: str
    input: dict[str, Any]


class McpToolUseBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_use"):
    """A call that ran here."""

    id: str
    name: str
    server_name: Annotated[str, Meta(description="The server's label; `mcp/<label>` for a plugin.")]
    input: dict[str, Any]


class McpToolResultBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_result"):
    """What came of a call that ran here; what is no text is described."""

    tool_use_id: str
    is_error: bool
    content: list[TextBlock]


Block: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock | McpToolUseBlock | McpToolResultBlock


class OutputTokensDetails(Struct, frozen=True):
    """Of the output tokens."""

    thinking_tokens: int


class CacheCreation(Struct, frozen=True):
    """Tokens by how long they are paid to be kept: none here."""

    ephemeral_1h_input_tokens: Literal[0] = 0
    ephemeral_5m_input_tokens: Literal[0] = 0


class MessageUsage(Struct, frozen=True):
    """Tokens. The prompts of all turns are `input_tokens` and `cache_read_input_tokens` together.

    In `message_start` they are counted beforehand, as `count_tokens` does it.
    """

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: Annotated[int | None, Meta(description="null where the engine does not say.")] = None
    cache_creation_input_tokens: Literal[0] = 0
    cache_creation: CacheCreation = CacheCreation()
    service_tier: Literal["standard"] = "standard"
    output_tokens_details: OutputTokensDetails | UnsetType = UNSET


class MessageReply(Struct, frozen=True, tag_field="type", tag="message"):
    """What `POST /v1/messages` answers."""

    id: Annotated[str, Meta(description="`msg_…`; `resp_…` everywhere else here.")]
    model: str
    content: list[Block]
    usage: MessageUsage
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    container: None = None
    role: Literal["assistant"] = "assistant"


class TokenCountReply(Struct, frozen=True):
    """What `POST /v1/messages/count_tokens` answers."""

    input_tokens: int


class TextDelta(Struct, frozen=True, tag_field="type", tag="text_delta"):
    """More text."""

    text: str


class ThinkingDelta(Struct, frozen=True, tag_field="type", tag="thinking_delta"):
    """More thinking."""

    thinking: str


class SignatureDelta(Struct, frozen=True, tag_field="type", tag="signature_delta"):
    """The end of a thinking block."""

    signature: str


class InputJsonDelta(Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    """More of a call's input, as JSON text."""

    partial_json: str


BlockDelta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class AnthropicMessageStart(Struct, frozen=True, tag_field="type", tag="message_start"):
    """The first event."""

    message: MessageReply


class BlockStart(Struct, frozen=True, tag_field="type", tag="content_block_start"):
    """A block begins."""

    index: int
    content_block: Block


class BlockDeltaEvent(Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    """A block goes on."""

    index: int
    delta: BlockDelta


class BlockStop(Struct, frozen=True, tag_field="type", tag="content_block_stop"):
    """A block is over."""

    index: int


class Stopped(Struct, frozen=True):
    """Why the message is over."""

    stop_reason: StopReason
    stop_sequence: str | None = None
    stop_details: None = None


class AnthropicMessageDelta(Struct, frozen=True, tag_field="type", tag="message_delta"):
    """All blocks are told."""

    delta: Stopped
    usage: MessageUsage


class AnthropicMessageStop(Struct, frozen=True, tag_field="type", tag="message_stop"):
    """The last event."""


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """The server is there."""


class AnthropicErrorEvent(Struct, frozen=True, tag_field="type", tag="error"):
    """The last event of a message that failed."""

    error: AnthropicError
    request_id: str


AnthropicEvent: TypeAlias = (
    AnthropicMessageStart
    | BlockStart
    | BlockDeltaEvent
    | BlockStop
    | AnthropicMessageDelta
    | AnthropicMessageStop
    | Ping
    | AnthropicErrorEvent
)
