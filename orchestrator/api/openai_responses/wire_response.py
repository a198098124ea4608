"""A response as clients read it: its items, its usage, and what its request asked for."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from orchestrator.api.openai_responses.wire_items import ItemStatus, McpCallStatus, Role

FailureCode: TypeAlias = Literal["server_error", "rate_limit_exceeded", "invalid_prompt", "context_length_exceeded"]
Status: TypeAlias = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class LikelyTokenTold(Struct, frozen=True):
    """A token that the model could have written."""

    token: str
    logprob: float
    bytes: list[int]


class WrittenTokenTold(LikelyTokenTold, frozen=True):
    """A token that the model wrote, and the likeliest in its place."""

    top_logprobs: list[LikelyTokenTold]


class TextContent(Struct, frozen=True, tag_field="type", tag="output_text"):
    """A text that the model wrote."""

    text: str
    annotations: list[Any] = field(default_factory=list[Any])
    logprobs: list[WrittenTokenTold] = field(default_factory=list[WrittenTokenTold])


class ReasoningContent(Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model reasoned."""

    text: str


class SummaryContent(Struct, frozen=True, tag_field="type", tag="summary_text"):
    """What is told of the reasoning."""

    text: str


class SentTextContent(Struct, frozen=True, tag_field="type", tag="input_text"):
    """A text that was sent."""

    text: str


class SentImageContent(Struct, frozen=True, tag_field="type", tag="input_image"):
    """A picture that was sent."""

    image_url: str
    detail: str = "auto"
    file_id: None = None


MessageContent: TypeAlias = TextContent | SentTextContent | SentImageContent
ContentPart: TypeAlias = TextContent | ReasoningContent | SummaryContent


class MessageItem(Struct, frozen=True, tag_field="type", tag="message"):
    """What somebody said."""

    id: str
    role: Role
    status: ItemStatus
    content: list[MessageContent]


class ReasoningItem(Struct, frozen=True, tag_field="type", tag="reasoning"):
    """What the model reasoned."""

    id: str
    summary: list[SummaryContent]
    content: list[ReasoningContent]
    status: ItemStatus
    encrypted_content: (
        Annotated[str, Meta(description="The reasoning again, to be sent back; it is not secret.")] | UnsetType
    ) = UNSET


class FunctionCallItem(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call of a function that the client runs."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class FunctionOutputItem(Struct, frozen=True, tag_field="type", tag="function_call_output"):
    """What a function of the client's answered."""

    id: str
    call_id: str
    output: str | list[SentTextContent | SentImageContent]
    status: ItemStatus


class ListedTool(Struct, frozen=True):
    """A tool that the model is offered."""

    name: str
    description: str
    input_schema: dict[str, Any]
    annotations: dict[str, bool]


class McpListToolsItem(Struct, frozen=True, tag_field="type", tag="mcp_list_tools"):
    """What a server offers, as far as the request allows it."""

    id: str
    server_label: str
    tools: list[ListedTool]  # and no `error`: some clients take none for null


class McpExecutionError(Struct, frozen=True, tag_field="type", tag="mcp_tool_execution_error"):
    """The tool answered with an error."""

    content: Annotated[list[Any], Meta(description="The content array of the MCP result.")]


class McpProtocolError(Struct, frozen=True, tag_field="type", tag="mcp_protocol_error"):
    """The call was not made: the model named no tool on offer, or its arguments do not fit."""

    code: int
    message: str


class McpCallItem(Struct, frozen=True, tag_field="type", tag="mcp_call"):
    """A call of a server's tool, made here."""

    id: str
    server_label: str
    name: str
    arguments: str
    status: McpCallStatus
    output: Annotated[str | None, Meta(description="What the model was told of the result.")] = None
    error: McpExecutionError | McpProtocolError | None = None
    approval_request_id: str | None = None


class McpApprovalRequestItem(Struct, frozen=True, tag_field="type", tag="mcp_approval_request"):
    """A call that waits for somebody to decide about it."""

    id: str
    server_label: str
    name: str
    arguments: str


class McpApprovalResponseItem(Struct, frozen=True, tag_field="type", tag="mcp_approval_response"):
    """What somebody decided about a call."""

    id: str
    approval_request_id: str
    approve: bool
    reason: str | None = None


class CompactionItem(Struct, frozen=True, tag_field="type", tag="compaction"):
    """What was said before, in short, to be sent back."""

    id: str
    encrypted_content: Annotated[str, Meta(description="Opaque, and not secret.")]


ResponseItem: TypeAlias = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | FunctionOutputItem
    | McpListToolsItem
    | McpCallItem
    | McpApprovalRequestItem
    | McpApprovalResponseItem
    | CompactionItem
)


class CachedTokens(Struct, frozen=True):
    cached_tokens: int
    cache_write_tokens: Annotated[int, Meta(description="0: nothing is charged for what is put into the cache.")] = 0


class ReasoningTokens(Struct, frozen=True):
    reasoning_tokens: int


class ResponseUsage(Struct, frozen=True):
    """Tokens, as the engine counted them, those of the prompts of all turns; of a turn that was broken off, the pieces."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class IncompleteDetails(Struct, frozen=True):
    """Why a response is not whole."""

    reason: str


class ResponseFailure(Struct, frozen=True):
    """Why a response failed."""

    code: FailureCode
    message: str


class ConversationReference(Struct, frozen=True):
    """The conversation that a response belongs to."""

    id: str


class ResponseObject(Struct, frozen=True, kw_only=True):
    """A response. What its request left out has the value that counts instead."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: Status
    background: bool
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[ResponseItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationReference | None
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_logprobs: int = 0
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]


class DeletedResponse(Struct, frozen=True):
    """The answer to `DELETE`."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: bool = True


class ItemList(Struct, frozen=True):
    """A page of items."""

    data: list[ResponseItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class InputTokens(Struct, frozen=True):
    """How long a prompt is."""

    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class CompactedResponse(Struct, frozen=True):
    """What was said before, in short."""

    id: str
    created_at: int
    output: list[ResponseItem]
    usage: ResponseUsage
    object: Literal["response.compaction"] = "response.compaction"
