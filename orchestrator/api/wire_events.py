"""The events of a stream as they are on the wire; each has its name in `type` and in the `event:` line.

Sources: section 3 of the contract; LM Studio's documentation of its streaming events. `call_id` and
`chat.start.response_id` are ours; `tool_call.name` was seen on LM Studio's wire.
"""

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from orchestrator.api.wire import ChatReply, ErrorBody, InvalidCallMetadata, ProviderInfo


class ChatStart(Struct, frozen=True, tag_field="type", tag="chat.start"):
    """The request is accepted; always first. `response_id` is there when the response is being stored."""

    model_instance_id: str
    response_id: str | UnsetType = UNSET


class RequestWarning(Struct, frozen=True, tag_field="type", tag="warning"):
    """Extension, sent to who asks for extensions: something about the request is worth a look; it goes on."""

    message: str


class ModelLoadStart(Struct, frozen=True, tag_field="type", tag="model_load.start"):
    """The model was not loaded and is being loaded now."""

    model_instance_id: str


class ModelLoadProgress(Struct, frozen=True, tag_field="type", tag="model_load.progress"):
    """How much of the model is there, 0 to 1."""

    model_instance_id: str
    progress: float


class ModelLoadEnd(Struct, frozen=True, tag_field="type", tag="model_load.end"):
    """The model is loaded."""

    model_instance_id: str
    load_time_seconds: float


class QueuePosition(Struct, frozen=True, tag_field="type", tag="queue.position"):
    """Extension, sent to who asks for extensions: the turn waits for a slot, from 1; 0 says that it has one."""

    position: int


class PromptProcessingStart(Struct, frozen=True, tag_field="type", tag="prompt_processing.start"):
    """The model begins to read the prompt of a turn."""


class PromptProcessingProgress(Struct, frozen=True, tag_field="type", tag="prompt_processing.progress"):
    """How much of the prompt is read, 0 to 1."""

    progress: float


class PromptProcessingEnd(Struct, frozen=True, tag_field="type", tag="prompt_processing.end"):
    """The model has read the prompt."""


class ReasoningStart(Struct, frozen=True, tag_field="type", tag="reasoning.start"):
    """The model begins to reason."""


class ReasoningDelta(Struct, frozen=True, tag_field="type", tag="reasoning.delta"):
    """A fragment of reasoning."""

    content: str


class ReasoningEnd(Struct, frozen=True, tag_field="type", tag="reasoning.end"):
    """The model has reasoned."""


class MessageStart(Struct, frozen=True, tag_field="type", tag="message.start"):
    """The model begins a message."""


class MessageDelta(Struct, frozen=True, tag_field="type", tag="message.delta"):
    """A fragment of the message."""

    content: str


class MessageEnd(Struct, frozen=True, tag_field="type", tag="message.end"):
    """The message is over."""


class ToolCallStart(Struct, frozen=True, tag_field="type", tag="tool_call.start"):
    """The model begins to call a tool that it was offered."""

    call_id: str
    tool: str
    provider_info: ProviderInfo


class ToolCallName(Struct, frozen=True, tag_field="type", tag="tool_call.name"):
    """The same in other words, for clients that wait for this one."""

    call_id: str
    tool_name: str
    provider_info: ProviderInfo


class ToolCallArguments(Struct, frozen=True, tag_field="type", tag="tool_call.arguments"):
    """The arguments, whole."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    provider_info: ProviderInfo


class ToolCallApprovalRequired(Struct, frozen=True, tag_field="type", tag="tool_call.approval_required"):
    """Extension, sent to who asks for extensions: the call waits for somebody to approve or deny it."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    provider_info: ProviderInfo


class ToolCallSuccess(Struct, frozen=True, tag_field="type", tag="tool_call.success"):
    """The call has a result; `is_error` says whether that is an error."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    output: str
    provider_info: ProviderInfo
    is_error: bool
    duration_ms: int
    requested_arguments: dict[str, Any] | UnsetType = UNSET
    status: Literal["edited", "replayed"] | UnsetType = UNSET
    structured_output: str | UnsetType = UNSET


class ToolCallFailure(Struct, frozen=True, tag_field="type", tag="tool_call.failure"):
    """The call was invalid and was not run."""

    call_id: str
    reason: str
    metadata: InvalidCallMetadata


class FunctionCallStart(Struct, frozen=True, tag_field="type", tag="function_call.start"):
    """Extension, only where the request has functions: the model began to call one."""

    call_id: str
    name: str


class FunctionCallDelta(Struct, frozen=True, tag_field="type", tag="function_call.delta"):
    """Extension. A piece of the arguments' text."""

    call_id: str
    arguments: str


class FunctionCallEnd(Struct, frozen=True, tag_field="type", tag="function_call.end"):
    """Extension. The call, whole and journaled; the client may run it, unless it is incomplete."""

    call_id: str
    name: str
    arguments: str
    status: Literal["incomplete"] | UnsetType = UNSET


class ToolCallProgress(Struct, frozen=True, tag_field="type", tag="tool_call.progress"):
    """Extension, sent to who asks for extensions: how far the server says that a call is."""

    call_id: str
    progress: float
    total: float | UnsetType = UNSET
    message: str | UnsetType = UNSET


class ElicitationRequested(Struct, frozen=True, tag_field="type", tag="elicitation.requested", kw_only=True):
    """Extension, sent to who asks for extensions: a server asks the user. See `PendingElicitation`."""

    elicitation_id: str
    call_id: str
    provider_info: ProviderInfo
    mode: Literal["form", "url", "sampling"]
    message: str
    requested_schema: dict[str, Any] | UnsetType = UNSET
    url: str | UnsetType = UNSET
    expires_in_seconds: float


class ElicitationResolved(Struct, frozen=True, tag_field="type", tag="elicitation.resolved"):
    """Extension, sent to who asks for extensions: the server has its answer; `cancel` also when time was over."""

    elicitation_id: str
    action: Literal["accept", "decline", "cancel"]


class SamplingCompleted(Struct, frozen=True, tag_field="type", tag="sampling.completed", kw_only=True):
    """Extension, sent to who asks for extensions: the model has written something for a server during a call."""

    call_id: str
    provider_info: ProviderInfo
    model: str
    content: str
    stop_reason: Literal["endTurn", "maxTokens"]
    output_tokens: int | UnsetType = UNSET


class ErrorEvent(Struct, frozen=True, tag_field="type", tag="error"):
    """The request failed; `chat.end` follows with what there is."""

    error: ErrorBody


class ChatEnd(Struct, frozen=True, tag_field="type", tag="chat.end"):
    """Always last. `result` equals the reply without streaming."""

    result: ChatReply


WireEvent: TypeAlias = (
    ChatStart
    | RequestWarning
    | ModelLoadStart
    | ModelLoadProgress
    | ModelLoadEnd
    | QueuePosition
    | PromptProcessingStart
    | PromptProcessingProgress
    | PromptProcessingEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | MessageStart
    | MessageDelta
    | MessageEnd
    | ToolCallStart
    | ToolCallName
    | ToolCallArguments
    | ToolCallApprovalRequired
    | ToolCallSuccess
    | ToolCallFailure
    | FunctionCallStart
    | FunctionCallDelta
    | FunctionCallEnd
    | ToolCallProgress
    | ElicitationRequested
    | ElicitationResolved
    | SamplingCompleted
    | ErrorEvent
    | ChatEnd
)
