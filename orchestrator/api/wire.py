"""Replies as they are on the wire: chat, stored responses, health, errors.

Request bodies are in `wire_requests.py`, stream events in `wire_events.py`, models in `wire_models.py`.
Sources: sections 1, 4 and 9 of the contract; LM Studio's documentation of the same routes.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, assert_never

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.core.items import CLIENT_LABEL

Status: TypeAlias = Literal["in_progress", "awaiting_approval", "completed", "incomplete", "failed", "cancelled"]
StoppedAt: TypeAlias = Annotated[
    str, Meta(description="Extension. The stop sequence of the request that ended it, where the engine tells.")
]
IncompleteReason: TypeAlias = Literal[
    "max_output_tokens", "max_turns", "identical_calls", "content_filter", "deadline", "client_gone", "process_died"
]
ErrorType: TypeAlias = Literal[
    "invalid_request",
    "unknown",
    "mcp_connection_error",
    "plugin_connection_error",
    "not_implemented",
    "model_not_found",
    "job_not_found",
    "internal_error",
]
ReasoningSetting: TypeAlias = Literal["off", "low", "medium", "high", "on"]


class ErrorBody(Struct, frozen=True):
    """What went wrong."""

    type: ErrorType
    message: Annotated[str, Meta(description="For the person who reads it.")]
    code: Annotated[str, Meta(description="For the program that reads it.")] | UnsetType = UNSET
    param: Annotated[str, Meta(description="The field's path, such as `integrations.0.server_url`.")] | UnsetType = (
        UNSET
    )


class ErrorEnvelope(Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorBody


class PluginProviderInfo(Struct, frozen=True, tag_field="type", tag="plugin"):
    """The tool belongs to a plugin."""

    plugin_id: str


class EphemeralProviderInfo(Struct, frozen=True, tag_field="type", tag="ephemeral_mcp"):
    """The tool belongs to a server that the request brought along."""

    server_label: str


class ClientProviderInfo(Struct, frozen=True, tag_field="type", tag="client"):
    """The tool is a function of the client's. An extension."""


ProviderInfo: TypeAlias = PluginProviderInfo | EphemeralProviderInfo | ClientProviderInfo


def label_of(provider: ProviderInfo) -> str:
    """Who provides a tool: a plugin's id, a server's label, or the client."""
    match provider:
        case PluginProviderInfo(plugin_id):
            return plugin_id
        case EphemeralProviderInfo(server_label):
            return server_label
        case ClientProviderInfo():
            return CLIENT_LABEL
        case _:
            assert_never(provider)


class MessageOutput(Struct, frozen=True, tag_field="type", tag="message"):
    """Text for the user."""

    content: str


class ReasoningOutput(Struct, frozen=True, tag_field="type", tag="reasoning"):
    """Text that the model wrote to itself."""

    content: str


class ToolCallOutput(Struct, frozen=True, tag_field="type", tag="tool_call"):
    """A valid tool call with its result, be that an error."""

    tool: Annotated[str, Meta(description="The server's own name of the tool.")]
    arguments: dict[str, Any]
    output: Annotated[str, Meta(description="The JSON text of the MCP result's `content` array.")]
    provider_info: ProviderInfo
    call_id: Annotated[str, Meta(description="Extension.")]
    is_error: Annotated[bool, Meta(description="Extension. The tool failed, or no result came.")]
    duration_ms: Annotated[int, Meta(description="Extension. 0 for a call that never ran.")]
    requested_arguments: (
        Annotated[
            dict[str, Any],
            Meta(description="Extension. The model's own arguments, where whoever approved the call put in others."),
        ]
        | UnsetType
    ) = UNSET
    status: (
        Annotated[
            Literal["edited", "replayed"],
            Meta(
                description="Extension. Only where no server was asked: a client, or a stored response, gave the result."
            ),
        ]
        | UnsetType
    ) = UNSET
    structured_output: (
        Annotated[str, Meta(description="Extension. The JSON text of the MCP result's `structuredContent`.")]
        | UnsetType
    ) = UNSET


class InvalidCallMetadata(Struct, frozen=True):
    """What the model tried to call."""

    type: Literal["invalid_name", "invalid_arguments"]
    tool_name: str
    arguments: dict[str, Any] | UnsetType = UNSET
    provider_info: ProviderInfo | UnsetType = UNSET


class InvalidToolCallOutput(Struct, frozen=True, tag_field="type", tag="invalid_tool_call"):
    """A call that was refused and told to the model; nothing was run."""

    reason: str
    metadata: InvalidCallMetadata


class FunctionCallOutput(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call of a function of the client's: run it, and send its result as a `function_call_output`. An extension."""

    call_id: str
    name: str
    arguments: Annotated[str, Meta(description="JSON text as the model wrote it; nobody checked it.")]
    status: (
        Annotated[Literal["incomplete"], Meta(description="Only where it was cut off; it is not to be run.")]
        | UnsetType
    ) = UNSET


OutputEntry: TypeAlias = MessageOutput | ReasoningOutput | ToolCallOutput | InvalidToolCallOutput | FunctionCallOutput


class ChatStats(Struct, frozen=True):
    """Counted by the engine; a number that nobody counted is 0 and named in `unknown`."""

    input_tokens: Annotated[int, Meta(description="The last turn's prompt with template, tools and history.")]
    total_output_tokens: int
    reasoning_output_tokens: int
    tokens_per_second: Annotated[float, Meta(description="Output tokens over the time spent generating them.")]
    time_to_first_token_seconds: float
    model_load_time_seconds: (
        Annotated[float, Meta(description="Only when this request loaded the model.")] | UnsetType
    ) = UNSET
    cached_input_tokens: Annotated[int, Meta(description="Extension.")] | UnsetType = UNSET
    unknown: Annotated[list[str], Meta(description="Extension.")] | UnsetType = UNSET


class PendingApproval(Struct, frozen=True):
    """A call that waits for somebody to approve or deny it. An extension."""

    call_id: str
    tool: Annotated[str, Meta(description="The server's own name of the tool.")]
    arguments: dict[str, Any]
    provider_info: ProviderInfo
    expires_at: Annotated[datetime, Meta(description="When silence denies.")]


PendingApprovals: TypeAlias = Annotated[
    list[PendingApproval],
    Meta(
        description="Extension. Only when `status` is `awaiting_approval`; "
        "decide by `POST /api/v1/responses/{response_id}/approvals`."
    ),
]


class BackgroundReply(Struct, frozen=True):
    """A response that goes on in the background."""

    response_id: str
    status: Literal["in_progress"] = "in_progress"
    thread_id: Annotated[str, Meta(description="Older dialect. The thread that it is appended to.")] | UnsetType = UNSET


class ChatReply(Struct, frozen=True, kw_only=True):
    """The answer to a chat; `chat.end` carries the same object."""

    model_instance_id: str
    output: Annotated[list[OutputEntry], Meta(description="In the order in which the model began them.")]
    stats: ChatStats
    response_id: (
        Annotated[str, Meta(description="Only when the response is stored; continue it by `previous_response_id`.")]
        | UnsetType
    ) = UNSET
    status: Annotated[Status, Meta(description="Extension. What became of the request.")]
    incomplete_reason: (
        Annotated[IncompleteReason, Meta(description="Extension. Only when `status` is `incomplete`.")] | UnsetType
    ) = UNSET
    stop_sequence: StoppedAt | UnsetType = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET
    warnings: Annotated[list[str], Meta(description="Extension. Only where there are any.")] | UnsetType = UNSET


class InputOrigin(Struct, frozen=True):
    """The resource or the prompt of a server that a piece of input was taken from."""

    type: Literal["resource", "prompt"]
    name: Annotated[str, Meta(description="The URI of the resource, or the name of the prompt.")]
    provider_info: ProviderInfo


Begins: TypeAlias = Annotated[bool, Meta(description="A message of its own begins here.")]
Speaking: TypeAlias = Annotated[str, Meta(description="Who speaks, where the client tells several users apart.")]
OfServer: TypeAlias = Annotated[
    bool, Meta(description="Of a server's tool, which ran where the history was made; transcripts do not have it.")
]


class StoredTextInput(Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of what the user said, or with an `origin` of what the request took from a server."""

    content: str
    origin: InputOrigin | UnsetType = UNSET
    role: (
        Annotated[
            Literal["assistant", "system", "developer"],
            Meta(description="Only in prompts of servers, and in histories that a client brought."),
        ]
        | UnsetType
    ) = UNSET
    begins: Begins | UnsetType = UNSET
    heads: (
        Annotated[
            bool,
            Meta(
                description="It stands at the beginning of the prompt, in the place of what an earlier input had there."
            ),
        ]
        | UnsetType
    ) = UNSET
    name: Speaking | UnsetType = UNSET


class StoredImageInput(Struct, frozen=True, tag_field="type", tag="image"):
    """A picture that the user sent, or that the request took from a server."""

    data_url: str
    origin: InputOrigin | UnsetType = UNSET
    begins: Begins | UnsetType = UNSET
    name: Speaking | UnsetType = UNSET


class StoredReasoningInput(Struct, frozen=True, tag_field="type", tag="reasoning"):
    """What a model wrote to itself, in a history that a client brought."""

    content: str
    begins: Begins | UnsetType = UNSET


class StoredFunctionCallInput(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call of a client's function, in a history that it brought."""

    call_id: str
    name: str
    arguments: str
    begins: Begins | UnsetType = UNSET
    of_server: OfServer | UnsetType = UNSET
    server: Annotated[str, Meta(description="What the history calls that server.")] | UnsetType = UNSET


class StoredFunctionOutput(Struct, frozen=True, tag_field="type", tag="function_call_output"):
    """The result of a function that the client ran."""

    call_id: str
    name: str
    output: Annotated[str, Meta(description="JSON text of a content array, as MCP has it.")]
    is_error: bool
    of_server: OfServer | UnsetType = UNSET


StoredInput: TypeAlias = (
    StoredTextInput | StoredImageInput | StoredReasoningInput | StoredFunctionCallInput | StoredFunctionOutput
)


class PendingElicitation(Struct, frozen=True, kw_only=True):
    """A question of a server to the user. An extension.

    `form`: fill in `requested_schema`. `url`: visit the address. `sampling`: let the server use the model.
    """

    elicitation_id: str
    call_id: str
    provider_info: ProviderInfo
    mode: Literal["form", "url", "sampling"]
    message: str
    requested_schema: dict[str, Any] | UnsetType = UNSET
    url: str | UnsetType = UNSET


class ElicitationList(Struct, frozen=True):
    """The answer to `GET /api/v1/responses/{id}/elicitations`, oldest first. An extension."""

    elicitations: list[PendingElicitation]


class ElicitationReply(Struct, frozen=True):
    """The answer to an answered elicitation. An extension."""

    elicitation_id: str
    action: Literal["accept", "decline", "cancel"]


class ForkedFrom(Struct, frozen=True):
    """Where a branch left another response."""

    response_id: str
    position: Annotated[int, Meta(description="How many of that response's output items it begins with.")]
    rest: (
        Annotated[
            int, Meta(description="Where it makes the call at `position` anew: how many items behind that it has too.")
        ]
        | UnsetType
    ) = UNSET


class StoredReply(Struct, frozen=True, kw_only=True):
    """A stored response, whole. An extension."""

    response_id: str
    previous_response_id: str | None
    root_id: str
    depth: Annotated[int, Meta(description="How many responses come before it in its chain.")]
    owner: str
    model: str
    model_instance_id: str
    status: Status
    incomplete_reason: IncompleteReason | UnsetType = UNSET
    stop_sequence: StoppedAt | UnsetType = UNSET
    error: Annotated[ErrorBody, Meta(description="Only when `status` is `failed`.")] | UnsetType = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET
    forked_from: ForkedFrom | UnsetType = UNSET
    replay_of: Annotated[str, Meta(description="The response that this one ran again.")] | UnsetType = UNSET
    system_prompt: str | None
    input: list[StoredInput]
    output: list[OutputEntry]
    stats: ChatStats
    parameters: Annotated[dict[str, Any], Meta(description="The settings that the request gave.")]
    metadata: dict[str, str]
    warnings: Annotated[list[str], Meta(description="Only where there are any.")] | UnsetType = UNSET
    created_at: datetime
    ended_at: datetime | None


class Health(Struct, frozen=True):
    """Whether requests can be taken. `warnings` say what is not as it was configured, without any detail."""

    status: Literal["ok", "unavailable"]
    reason: str | UnsetType = UNSET
    warnings: tuple[str, ...] | UnsetType = UNSET
