"""The bodies of requests to `/v1/responses` and what hangs below it."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.openai_responses.wire_items import FunctionName, SentInput, ServerLabel
from orchestrator.api.wire_requests import MOST_ITEMS, MOST_SERVERS, Count, Fraction, Name

Described: TypeAlias = Annotated[str, Meta(max_length=512)]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Texts of the caller's, stored with it."),
]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
ToolNames: TypeAlias = Annotated[list[Name], Meta(max_length=MOST_ITEMS)]


class McpToolFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """Some of a server's tools: those named, of those only the ones that say they change nothing."""

    tool_names: ToolNames | UnsetType = UNSET
    read_only: Annotated[bool, Meta(description="`readOnlyHint`; a tool without it is not.")] | UnsetType = UNSET


class McpApprovalFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls wait for somebody: `always` before `never`; what neither names waits."""

    always: McpToolFilter | UnsetType = UNSET
    never: McpToolFilter | UnsetType = UNSET


class FunctionToolParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A function that the client runs itself."""

    name: FunctionName
    description: str | UnsetType = UNSET
    output_schema: (
        Annotated[dict[str, Any], Meta(description="Accepted; results are taken as they are.")] | UnsetType
    ) = UNSET
    parameters: (
        Annotated[dict[str, Any], Meta(description="A JSON schema of the arguments. Absent: any object.")] | UnsetType
    ) = UNSET
    strict: Annotated[bool, Meta(description="Accepted: calls are always held against the schema.")] | UnsetType = UNSET


class McpToolParam(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp"):
    """A server whose tools run here: one that the request brings along, or one of `mcp.json` by its label."""

    server_label: ServerLabel
    server_url: (
        Annotated[
            str, Meta(min_length=1, max_length=8192, description="Absent: the server of `mcp.json` with this label.")
        ]
        | UnsetType
    ) = UNSET
    server_description: str | UnsetType = UNSET
    authorization: (
        Annotated[
            str,
            Meta(min_length=1, description="Sent as `Authorization: Bearer …`. Never stored, logged or echoed."),
        ]
        | UnsetType
    ) = UNSET
    headers: (
        Annotated[
            dict[str, str],
            Meta(max_length=MOST_ITEMS, description="Sent with every request. Never stored, logged or echoed."),
        ]
        | UnsetType
    ) = UNSET
    allowed_tools: ToolNames | McpToolFilter | UnsetType = UNSET
    require_approval: (
        Annotated[
            Literal["always", "never"] | McpApprovalFilter,
            Meta(description="Calls that wait until somebody approves them. Absent: all of them, as OpenAI has it."),
        ]
        | UnsetType
    ) = UNSET


ToolParam: TypeAlias = FunctionToolParam | McpToolParam


class FunctionToCall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """One function that the model has to call, or may."""

    name: Name


class McpToolToCall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp"):
    """One server, or one tool of it, that the model has to call, or may."""

    server_label: ServerLabel
    name: Name | UnsetType = UNSET


class AllowedTools(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """The tools that the model may call; only these are shown to it."""

    tools: Annotated[list[FunctionToCall | McpToolToCall], Meta(min_length=1, max_length=MOST_ITEMS)]
    mode: Literal["auto", "required"] = "auto"


class PlainText(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class AnyJson(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class SchemaJson(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON that matches a schema."""

    name: Name
    schema: dict[str, Any]
    description: str | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class TextParam(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer has to look like."""

    format: PlainText | AnyJson | SchemaJson | UnsetType = UNSET
    verbosity: Annotated[Literal["medium"], Meta(description="`medium` is what there is.")] | UnsetType = UNSET


class ReasoningParam(Struct, frozen=True, forbid_unknown_fields=True):
    """How much the model reasons, and what is told of it."""

    effort: (
        Annotated[
            Literal["none", "minimal", "low", "medium", "high", "xhigh"],
            Meta(
                description="One of the settings that the model offers; `none` is its `off`, `minimal` its `low`, "
                "`xhigh` its `high`; where it only knows `on`, every effort is that."
            ),
        ]
        | UnsetType
    ) = UNSET
    summary: (
        Annotated[
            Literal["auto", "concise", "detailed"],
            Meta(description="The reasoning is told as its own summary too, as it is."),
        ]
        | UnsetType
    ) = UNSET
    generate_summary: Literal["auto", "concise", "detailed"] | UnsetType = UNSET


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How a stream is told."""

    include_obfuscation: Annotated[bool, Meta(description="Accepted; nothing is obfuscated here.")] | UnsetType = UNSET


class ConversationParam(Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation."""

    id: Annotated[str, Meta(max_length=512)]


Include: TypeAlias = Literal[
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "message.output_text.logprobs",
]


class Prompted(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a prompt is made of: the part that a request has in common with counting its tokens."""

    model: Annotated[Name, Meta(description="A model's key, `engine::key`, or the id of a loaded instance.")]
    input: SentInput | UnsetType = UNSET
    instructions: (
        Annotated[str, Meta(description="The system prompt of this response alone; it is not inherited.")] | UnsetType
    ) = UNSET
    previous_response_id: Annotated[str, Meta(max_length=512, description="The response to continue.")] | UnsetType = (
        UNSET
    )
    conversation: (
        Annotated[str | ConversationParam, Meta(description="The conversation to go on with.")] | UnsetType
    ) = UNSET
    tools: Annotated[list[ToolParam], Meta(max_length=MOST_SERVERS)] | UnsetType = UNSET
    tool_choice: Literal["auto", "none", "required"] | FunctionToCall | McpToolToCall | AllowedTools | UnsetType = UNSET
    parallel_tool_calls: (
        Annotated[bool, Meta(description="`false`: of several calls in one turn only the first is made.")] | UnsetType
    ) = UNSET
    text: TextParam | UnsetType = UNSET
    reasoning: ReasoningParam | UnsetType = UNSET
    truncation: (
        Annotated[Literal["disabled"], Meta(description="A prompt that is too long is refused, never cut.")] | UnsetType
    ) = UNSET


class ResponseCreateBody(Prompted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses`."""

    store: Annotated[bool, Meta(description="false: no content is kept.")] = True
    stream: bool = False
    stream_options: StreamOptions | UnsetType = UNSET
    background: Annotated[bool, Meta(description="Answer at once; the response goes on without its client.")] = False
    include: Annotated[list[Include], Meta(max_length=16)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    top_p: Fraction | UnsetType = UNSET
    presence_penalty: Penalty | UnsetType = UNSET
    frequency_penalty: Penalty | UnsetType = UNSET
    top_logprobs: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=20,
                description="How likely the tokens of the messages were, with so many of the likeliest in the place of "
                "each; alone, too, but OpenAI wants `message.output_text.logprobs` included as well.",
            ),
        ]
        | UnsetType
    ) = UNSET
    max_output_tokens: Annotated[Count, Meta(description="Over all turns, reasoning included.")] | UnsetType = UNSET
    max_tool_calls: (
        Annotated[Count, Meta(description="Most calls of servers' tools; what comes after is not made.")] | UnsetType
    ) = UNSET
    service_tier: Annotated[Literal["auto", "default"], Meta(description="There is one.")] | UnsetType = UNSET
    user: Described | UnsetType = UNSET
    safety_identifier: Described | UnsetType = UNSET
    prompt_cache_key: Described | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | UnsetType = UNSET


class InputTokensBody(Prompted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses/input_tokens`."""


class CompactBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses/compact`."""

    model: Name
    input: SentInput | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    previous_response_id: Annotated[str, Meta(max_length=512)] | UnsetType = UNSET
    service_tier: Annotated[Literal["auto", "default"], Meta(description="There is one.")] | UnsetType = UNSET
    prompt_cache_key: Described | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | UnsetType = UNSET
