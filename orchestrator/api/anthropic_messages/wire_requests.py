"""Bodies of requests, with every rule that a single field can be checked by.

Source: Anthropic's reference of `POST /v1/messages`, and the types of its Python client.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_requests import (
    LARGEST_INT,
    MOST_ITEMS,
    MOST_SERVERS,
    AllowedTools,
    Count,
    Fraction,
    IntegrationEntry,
    Name,
    StopText,
)

MOST_MESSAGES = 100_000
MOST_STOPS = 256


class CacheControl(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ephemeral"):
    """Where a cache would end; the prefix cache here needs no such mark."""

    ttl: Literal["5m", "1h"] | UnsetType = UNSET


Cache: TypeAlias = Annotated[CacheControl, Meta(description="Accepted; prefixes are cached anyhow.")] | UnsetType


class TextBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A piece of text."""

    text: str
    cache_control: Cache = UNSET
    citations: (
        Annotated[list[Any], Meta(max_length=0, description="Always empty: nothing is cited here.")] | UnsetType
    ) = UNSET


class Base64Source(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="base64"):
    """A picture in the request itself."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class UrlSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="url"):
    """A picture as a `data:` URL; nothing is fetched for a request."""

    url: str


class ImageBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image"):
    """A picture, for models that see."""

    source: Base64Source | UrlSource
    cache_control: Cache = UNSET


class TextSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A document as plain text."""

    data: str
    media_type: Literal["text/plain"] = "text/plain"


class ContentSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="content"):
    """A document in pieces."""

    content: str | list[TextBlockParam | ImageBlockParam]


class FileSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="base64"):
    """A document of another kind, which is refused: its text is not taken out of it here."""

    media_type: str
    data: str


class FetchedSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="url"):
    """A document elsewhere, which is refused: nothing is fetched for a request."""

    url: str


class KeptSource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="file"):
    """A document that Anthropic keeps, which is refused: no files are kept here."""

    file_id: str


class CitationsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the answer tells where its parts are from, which no model does here."""

    enabled: bool = False


class DocumentBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="document"):
    """A text that is no word of the user's; the model is shown it between lines that name it."""

    source: TextSource | ContentSource | FileSource | FetchedSource | KeptSource
    title: str | UnsetType = UNSET
    context: Annotated[str, Meta(description="What is said of it, before it.")] | UnsetType = UNSET
    citations: CitationsConfig = CitationsConfig()
    cache_control: Cache = UNSET


class ToolUseBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool_use"):
    """A call of a function of the client's, in the history."""

    id: Name
    name: Name
    input: dict[str, Any]
    cache_control: Cache = UNSET
    caller: Annotated[dict[str, Any], Meta(description="Accepted; calls are the model's own.")] | UnsetType = UNSET


class ToolResultBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool_result"):
    """What a function of the client's gave."""

    tool_use_id: Name
    content: str | list[TextBlockParam | ImageBlockParam | DocumentBlockParam] | UnsetType = UNSET
    is_error: bool = False
    cache_control: Cache = UNSET


class ThinkingBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="thinking"):
    """What the model wrote to itself, in the history."""

    thinking: str
    signature: str


class RedactedThinkingBlockParam(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="redacted_thinking"
):
    """Thinking that only Anthropic's own service can read: it says nothing to a model here."""

    data: str


class McpToolUseBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_tool_use"):
    """A call of a server's tool, in the history."""

    id: Name
    name: Name
    server_name: str
    input: dict[str, Any]
    cache_control: Cache = UNSET


class McpToolResultBlockParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_tool_result"):
    """What a server's tool gave, in the history."""

    tool_use_id: Name
    content: str | list[TextBlockParam] | UnsetType = UNSET
    is_error: bool = False
    cache_control: Cache = UNSET


ContentParam: TypeAlias = (
    TextBlockParam
    | ImageBlockParam
    | DocumentBlockParam
    | ToolUseBlockParam
    | ToolResultBlockParam
    | ThinkingBlockParam
    | RedactedThinkingBlockParam
    | McpToolUseBlockParam
    | McpToolResultBlockParam
)


class MessageParam(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of the history; the last one is what is asked now."""

    role: Literal["user", "assistant", "system"]
    content: str | list[ContentParam]


class ToolParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="custom"):
    """A function that the client runs itself."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,128}$", extra={"says": "1 to 128 letters, digits, '_' or '-'"})]
    input_schema: Annotated[dict[str, Any], Meta(description="JSON schema of its input.")]
    description: str | UnsetType = UNSET
    strict: bool = False
    input_examples: Annotated[list[dict[str, Any]], Meta(max_length=32)] | UnsetType = UNSET
    eager_input_streaming: Annotated[
        bool, Meta(description="The input is streamed as it is written, be it JSON or not.")
    ] = False
    allowed_callers: list[Literal["direct"]] | UnsetType = UNSET
    cache_control: Cache = UNSET


class McpToolDefaultConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether tools may be called that `configs` does not name."""

    enabled: bool = True


class McpToolConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a tool may be called; as the others where it is not said."""

    enabled: bool | UnsetType = UNSET


class McpToolsetParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_toolset"):
    """Which tools of a server in `mcp_servers` may be called."""

    mcp_server_name: Name
    default_config: McpToolDefaultConfig = McpToolDefaultConfig()
    configs: dict[str, McpToolConfig] | UnsetType = UNSET
    cache_control: Cache = UNSET


class McpToolConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """Which tools of its server may be called."""

    allowed_tools: AllowedTools | UnsetType = UNSET
    enabled: bool = True


class McpServerParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="url"):
    """A server of MCP, connected for the length of the request."""

    name: Annotated[
        str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}$", extra={"says": "1 to 64 letters, digits, '_', '-' or '.'"})
    ]
    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    authorization_token: (
        Annotated[str, Meta(min_length=1, description="Sent to the server as a bearer. Never stored or logged.")]
        | UnsetType
    ) = UNSET
    tool_configuration: McpToolConfiguration = McpToolConfiguration()


class ToolChoiceAuto(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool = False


class ToolChoiceAny(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="any"):
    """Some tool has to be called first."""

    disable_parallel_tool_use: bool = False


class ToolChoiceTool(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool"):
    """This tool has to be called first."""

    name: Name
    disable_parallel_tool_use: bool = False


class ToolChoiceNone(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="none"):
    """No tools are offered."""


ToolChoiceParam: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


class ThinkingEnabled(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="enabled"):
    """The model thinks first; a model that cannot is an error."""

    budget_tokens: Annotated[int, Meta(ge=1024, le=LARGEST_INT, description="Below 4096 low, from 16384 on high.")]
    display: Literal["summarized", "omitted"] = "summarized"


class ThinkingAdaptive(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="adaptive"):
    """The model thinks where it can."""

    display: Literal["summarized", "omitted"] = "summarized"


class ThinkingDisabled(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="disabled"):
    """The model does not think; a model that always does is an error."""


class JsonOutputFormat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """What the final message has to look like."""

    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How much the model puts into its answer, and what that looks like."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | UnsetType = UNSET
    format: JsonOutputFormat | UnsetType = UNSET


class ThreadCreate(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="create"):
    """A conversation begins that later requests continue by the id of the message."""


class ThreadContinue(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="continue"):
    """The message that is gone on from: the request brings only what is new, neither `system` nor `tools`."""

    previous_message_id: Annotated[str, Meta(max_length=512)]


class MessageMetadata(Struct, frozen=True, forbid_unknown_fields=True):
    """Kept with the response."""

    user_id: Annotated[str, Meta(max_length=512)] | UnsetType = UNSET


class Prompting(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a prompt is made of."""

    model: Annotated[Name, Meta(description="A model's key, `engine::key`, or the id of a loaded instance.")]
    messages: Annotated[
        list[MessageParam],
        Meta(max_length=MOST_MESSAGES, description="Empty only where a thread goes on from a pause."),
    ]
    system: str | list[TextBlockParam] | UnsetType = UNSET
    tools: Annotated[list[ToolParam | McpToolsetParam], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET
    tool_choice: ToolChoiceParam = ToolChoiceAuto()
    thinking: ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled | UnsetType = UNSET
    output_config: OutputConfig = OutputConfig()
    cache_control: Cache = UNSET
    speed: Literal["standard"] = "standard"
    mcp_servers: Annotated[list[McpServerParam], Meta(max_length=MOST_SERVERS)] | UnsetType = UNSET
    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(max_length=MOST_SERVERS, description="Extension. As in `POST /api/v1/chat`: plugins, and servers."),
        ]
        | UnsetType
    ) = UNSET


class MessagesBody(Prompting, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/messages`."""

    max_tokens: Annotated[Count, Meta(description="Over all turns of the request, thinking included.")]
    stream: bool = False
    stop_sequences: Annotated[list[StopText], Meta(max_length=MOST_STOPS)] | UnsetType = UNSET
    temperature: Fraction | UnsetType = UNSET
    top_p: Fraction | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=0, le=LARGEST_INT)] | UnsetType = UNSET
    metadata: MessageMetadata = MessageMetadata()
    service_tier: Literal["auto", "standard_only"] = "auto"
    thread: ThreadCreate | ThreadContinue | UnsetType = UNSET
    store: Annotated[bool, Meta(description="Extension. false: no content is kept.")] = True
    previous_response_id: (
        Annotated[str, Meta(max_length=512, description="Extension. The message to continue, `msg_…` or `resp_…`.")]
        | UnsetType
    ) = UNSET


class CountTokensBody(Prompting, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/messages/count_tokens`."""
