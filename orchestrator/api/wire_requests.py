"""Request bodies as they are on the wire, with every rule that a single field can be checked by.

The decoder (`decode.py`) and the OpenAPI document (`openapi.py`) both read the rules from here.
Sources: section 1 of the contract; LM Studio's documentation of `POST /api/v1/chat`.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

LARGEST_INT: Final = 2**31 - 1
MOST_ITEMS: Final = 1024
MOST_SERVERS: Final = 128
"""What is longer is no chat, and checking it would keep everybody else waiting."""
LARGEST_SEED: Final = 2**32 - 1

Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_INT)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
StopText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
AllowedTools: TypeAlias = Annotated[
    list[Name],
    Meta(max_length=MOST_ITEMS, description="Names of the tools that may be called. Absent: all. Empty: none."),
]


class ApprovalFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """Tools by name, and by what their servers say of them; any one that fits is enough."""

    tool_names: Annotated[list[Name], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET
    read_only: Annotated[bool, Meta(description="`readOnlyHint`; a tool without it is not.")] | UnsetType = UNSET
    destructive: (
        Annotated[bool, Meta(description="`destructiveHint`; a tool without it is, unless it is read-only.")]
        | UnsetType
    ) = UNSET


Demand: TypeAlias = Literal["never", "always"]


class ApprovalRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Which tools need approval: a name decides before a hint, `always` before `never`, `default` over the rest."""

    always: ApprovalFilter | UnsetType = UNSET
    never: ApprovalFilter | UnsetType = UNSET
    default: (
        Annotated[Demand, Meta(description="Absent: `always`, unless `always` is the only filter here.")] | UnsetType
    ) = UNSET


RequireApproval: TypeAlias = Annotated[
    Demand | ApprovalRules,
    Meta(
        description="Extension. Calls that wait until somebody approves them; absent: none. What `mcp.json` "
        "demands holds as well."
    ),
]


class TextInput(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A piece of what the user says."""

    content: str


class MessageInput(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="message"):
    """A piece of what the user says; another name of `text`."""

    content: str


class ImageInput(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image"):
    """A picture, for models that see."""

    data_url: Annotated[str, Meta(description="`data:image/…;base64,…`")]


class PromptToUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt of a server; its messages become input of the request."""

    name: Name
    arguments: Annotated[dict[str, str], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET


Resources: TypeAlias = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=8192)]],
    Meta(max_length=128, description="Extension. URIs of the server's resources; their contents become input."),
]


class PluginIntegration(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="plugin"):
    """A server that is installed in `mcp.json`."""

    id: Annotated[Name, Meta(description="`mcp/<server_label>`")]
    allowed_tools: AllowedTools | UnsetType = UNSET
    require_approval: RequireApproval | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    prompt: Annotated[PromptToUse, Meta(description="Extension.")] | UnsetType = UNSET


class EphemeralIntegration(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ephemeral_mcp"):
    """A server that the request brings along; it is connected for the length of the request."""

    server_label: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_.-]{1,64}$",
            description="What the server is called in this request.",
            extra={"says": "1 to 64 letters, digits, '_', '-' or '.'"},
        ),
    ]
    server_url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=8192,
            description="`http` or `https`: where the server speaks streamable HTTP. (Servers of the older HTTP with SSE can be plugins.)",
        ),
    ]
    allowed_tools: AllowedTools | UnsetType = UNSET
    headers: (
        Annotated[
            dict[str, str],
            Meta(
                max_length=MOST_ITEMS,
                description="Sent to the server with every request. Values are never stored, logged or echoed.",
            ),
        ]
        | UnsetType
    ) = UNSET
    require_approval: RequireApproval | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    prompt: Annotated[PromptToUse, Meta(description="Extension.")] | UnsetType = UNSET


class ElicitationAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/responses/{id}/elicitations/{elicitation_id}`."""

    action: Annotated[
        Literal["accept", "decline", "cancel"],
        Meta(description="`decline` says no, `cancel` makes no choice."),
    ]
    content: (
        Annotated[
            dict[str, Any],
            Meta(
                description="Of an accepted form; it has to match `requested_schema`, whose defaults fill what is left out."
            ),
        ]
        | UnsetType
    ) = UNSET


class ToolToCall(Struct, frozen=True, forbid_unknown_fields=True):
    """One tool that the model has to call first."""

    tool: Name
    server: (
        Annotated[Name, Meta(description="A plugin id or a server label. Absent: whichever has the tool.")] | UnsetType
    ) = UNSET


class JsonSchemaFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON schema that the final message has to match."""

    name: Name
    schema: dict[str, Any]
    strict: bool = True


class ResponseFormat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """What the final message has to look like."""

    json_schema: JsonSchemaFormat


class ThreadServer(Struct, frozen=True, forbid_unknown_fields=True):
    """A server of the older dialect."""

    server_label: Name
    server_url: Name
    allowed_tools: AllowedTools | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET


class FunctionResult(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function_call_output"):
    """The result of a function that the client ran. An extension."""

    call_id: Annotated[Name, Meta(description="That of the `function_call`.")]
    output: str
    is_error: bool = False


FunctionName: TypeAlias = Annotated[
    str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$", extra={"says": "1 to 64 letters, digits, '_' or '-'"})
]


class FunctionTool(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A function that the client runs itself."""

    name: FunctionName
    description: str | UnsetType = UNSET
    parameters: Annotated[dict[str, Any], Meta(description="JSON schema of its arguments.")] | UnsetType = UNSET


InputEntry: TypeAlias = TextInput | MessageInput | ImageInput | FunctionResult
IntegrationEntry: TypeAlias = Name | PluginIntegration | EphemeralIntegration


class ChatBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/chat`."""

    model: Annotated[Name, Meta(description="A model's key, `engine::key`, or the id of a loaded instance.")]
    input: Annotated[
        str | Annotated[list[InputEntry], Meta(max_length=MOST_ITEMS)],
        Meta(description="What the user says: a text, or texts and pictures."),
    ]
    system_prompt: (
        Annotated[str, Meta(description="In a continued chat it replaces the earlier one; empty clears it.")]
        | UnsetType
    ) = UNSET
    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(
                max_length=MOST_SERVERS,
                description='MCP servers whose tools the model may call. A text is short for `{"type": "plugin"}`.',
            ),
        ]
        | UnsetType
    ) = UNSET
    tools: (
        Annotated[
            list[FunctionTool],
            Meta(
                max_length=MOST_ITEMS,
                description="Extension. Functions that the client runs: a turn that calls one ends the response, and the "
                "next request brings the result as a `function_call_output`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    parallel_tool_calls: (
        Annotated[
            bool, Meta(description="Extension. false: a turn makes one call at most; what is beyond is not heard.")
        ]
        | UnsetType
    ) = UNSET
    max_tool_calls: (
        Annotated[
            Count, Meta(description="Extension. Calls of servers' tools beyond it are refused, and the model told.")
        ]
        | UnsetType
    ) = UNSET
    stream: Annotated[bool, Meta(description="Answer as server-sent events.")] = False
    temperature: Annotated[Fraction, Meta(description="Randomness; 0 is deterministic.")] | UnsetType = UNSET
    top_p: (
        Annotated[Fraction, Meta(description="Least cumulative probability of the tokens picked from.")] | UnsetType
    ) = UNSET
    min_p: (
        Annotated[Fraction, Meta(description="Least probability of a token, relative to the likeliest.")] | UnsetType
    ) = UNSET
    top_k: (
        Annotated[int, Meta(ge=0, le=LARGEST_INT, description="Pick from this many of the likeliest tokens.")]
        | UnsetType
    ) = UNSET
    repeat_penalty: (
        Annotated[float, Meta(gt=0, le=1000, description="Above 1 discourages repetition; 1 is none.")] | UnsetType
    ) = UNSET
    max_output_tokens: (
        Annotated[Count, Meta(description="Over all turns of the request, reasoning included.")] | UnsetType
    ) = UNSET
    reasoning: (
        Annotated[
            Literal["off", "low", "medium", "high", "on"],
            Meta(description="One of the settings that the model offers. Absent: the model's default."),
        ]
        | UnsetType
    ) = UNSET
    context_length: Annotated[Count, Meta(description="Tokens of context to load the model with.")] | UnsetType = UNSET
    store: Annotated[bool, Meta(description="false: no content is kept, and there is no `response_id`.")] = True
    previous_response_id: (
        Annotated[str, Meta(max_length=512, description="The response to continue, `resp_…`.")] | UnsetType
    ) = UNSET

    seed: (
        Annotated[int, Meta(ge=0, le=LARGEST_SEED, description="Extension. Makes sampling repeatable.")] | UnsetType
    ) = UNSET
    stop: (
        Annotated[
            StopText | Annotated[list[StopText], Meta(max_length=8)],
            Meta(description="Extension. Texts that end a turn."),
        ]
        | UnsetType
    ) = UNSET
    tool_choice: (
        Annotated[
            Literal["auto", "none", "required"] | ToolToCall,
            Meta(
                description="Extension. `none` offers no tools. `required` and an object bind the first turn: it has to call "
                "some tool, or this one. Ollama cannot be told so (501)."
            ),
        ]
        | UnsetType
    ) = UNSET
    max_turns: Annotated[Count, Meta(description="Extension. Most model calls in this request.")] | UnsetType = UNSET
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
            Meta(max_length=16, description="Extension. Texts of the caller's, stored with the response."),
        ]
        | UnsetType
    ) = UNSET

    ttl: (
        Annotated[
            Count,
            Meta(
                description="Extension. Seconds that a model loaded just in time stays when it is idle. "
                "Refused where the model was loaded by a command, or its engine decides by itself."
            ),
        ]
        | UnsetType
    ) = UNSET
    response_format: (
        Annotated[ResponseFormat, Meta(description="Extension. What the final message has to look like.")] | UnsetType
    ) = UNSET
    background: (
        Annotated[
            bool,
            Meta(
                description="Extension. The response goes on without its client: a 202 with its id comes as soon as it has "
                "begun. `GET /api/v1/responses/{id}` reads it, with `?stream=true` as a stream."
            ),
        ]
        | UnsetType
    ) = UNSET
    mcp_servers: (
        Annotated[
            list[ThreadServer],
            Meta(max_length=MOST_SERVERS, description="Older dialect. MCP servers whose tools the model may call."),
        ]
        | UnsetType
    ) = UNSET
    thread_id: (
        Annotated[str, Meta(max_length=512, description="Older dialect. The thread to append to, `thread_…`.")]
        | UnsetType
    ) = UNSET
    reasoning_effort: (
        Annotated[
            Literal["low", "medium", "high"],
            Meta(description="Older dialect. Ignored where the model does not offer it."),
        ]
        | UnsetType
    ) = UNSET
    enable_thinking: (
        Annotated[bool, Meta(description="Older dialect. Ignored where the model does not offer it.")] | UnsetType
    ) = UNSET
