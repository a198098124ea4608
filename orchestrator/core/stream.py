"""The stream of a run, and the fold that makes a JSON reply of it.

Sources: section 3 of the contract; LM Studio's documentation of its streaming events.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.items import (
    FunctionCall,
    InvalidKind,
    InvalidToolCall,
    Message,
    OutputItem,
    ProviderInfo,
    Reasoning,
    ToolCall,
)
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import TokenLogprob, kept_logprobs
from orchestrator.core.response import ChatResult
from orchestrator.core.server_requests import Elicitation, ElicitationAction, Progress, SamplingReply


@dataclass(frozen=True, slots=True)
class ChatStart:
    """The request is accepted; `response_id` is there when the response is being stored."""

    model_instance_id: str
    response_id: str | None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about the request is worth a look; it goes on. An extension."""

    message: str


@dataclass(frozen=True, slots=True)
class ModelLoadStart:
    model_instance_id: str


@dataclass(frozen=True, slots=True)
class ModelLoadProgress:
    model_instance_id: str
    progress: float


@dataclass(frozen=True, slots=True)
class ModelLoadEnd:
    model_instance_id: str
    load_time_seconds: float


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The turn waits for a slot of its model; `position` counts from 1, 0 says that it has one."""

    position: int


@dataclass(frozen=True, slots=True)
class PromptProcessingStart:
    pass


@dataclass(frozen=True, slots=True)
class PromptProcessingProgress:
    progress: float


@dataclass(frozen=True, slots=True)
class PromptProcessingEnd:
    pass


@dataclass(frozen=True, slots=True)
class ReasoningStart:
    pass


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    content: str


@dataclass(frozen=True, slots=True)
class ReasoningEnd:
    pass


@dataclass(frozen=True, slots=True)
class MessageStart:
    pass


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """`logprobs` are those of its tokens, where they were asked for."""

    content: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageEnd:
    pass


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """The model began to call an offered tool; `tool` is the server's own name.

    With `awaits_approval` it will not run before somebody decided, if it can run at all.
    """

    call_id: str
    tool: str
    provider: ProviderInfo
    awaits_approval: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """The whole arguments, once the model has written them.

    With `awaits_approval` nothing runs before somebody decided, and `ToolCallApprovalRequired` follows.
    """

    call_id: str
    tool: str
    arguments: JsonObject
    provider: ProviderInfo
    awaits_approval: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallApprovalRequired:
    """The call waits for somebody to approve or deny it."""

    pending: PendingApproval


@dataclass(frozen=True, slots=True)
class ToolCallSuccess:
    """The call has an output, be it an error; the name is LM Studio's, which has no other event for it."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCallFailure:
    """The call was invalid and did not run."""

    call_id: str
    kind: InvalidKind
    reason: str
    tool_name: str
    arguments: JsonObject | None
    provider: ProviderInfo | None


@dataclass(frozen=True, slots=True)
class FunctionCallStart:
    """The model began to call a function of the client's."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class FunctionCallDelta:
    """A piece of its arguments' text."""

    call_id: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FunctionCallEnd:
    """The call, whole; where it is `complete`, it is journaled, and the client may run it."""

    call: FunctionCall


@dataclass(frozen=True, slots=True)
class ToolCallProgress:
    """The server says how far a call is. An extension, as are the next three."""

    call_id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class ElicitationRequested:
    """A server asks the user something; without an answer in `seconds` it is told that there is none."""

    elicitation_id: str
    call_id: str
    provider: ProviderInfo
    asked: Elicitation
    seconds: float


@dataclass(frozen=True, slots=True)
class ElicitationResolved:
    """The server has its answer."""

    elicitation_id: str
    action: ElicitationAction


@dataclass(frozen=True, slots=True)
class SamplingCompleted:
    """The model has written something for a server."""

    call_id: str
    provider: ProviderInfo
    reply: SamplingReply


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class ChatEnd:
    """Always last. A `response_id` in the result says that the response is durably stored."""

    result: ChatResult


StreamEvent: TypeAlias = (
    ChatStart
    | Warned
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


@dataclass(slots=True)
class StreamFold:
    """Puts the items of a response together again from nothing but its stream."""

    items: list[OutputItem | None] = field(default_factory=list[OutputItem | None])
    result: ChatResult | None = None
    _calls: dict[str, int] = field(default_factory=dict[str, int])
    _text: list[str] = field(default_factory=list[str])
    _logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])

    def apply(self, event: StreamEvent) -> None:
        """Take one event in, in the order of the stream."""
        match event:
            case ReasoningStart() | MessageStart():
                self._text, self._logprobs = [], []
                self.items.append(None)
            case ReasoningDelta(content):
                self._text.append(content)
            case MessageDelta(content, logprobs):
                self._text.append(content)
                self._logprobs += logprobs
            case ReasoningEnd():
                self.items[-1] = Reasoning("".join(self._text))
            case MessageEnd():
                self.items[-1] = Message("".join(self._text), kept_logprobs(self._logprobs))
            case ToolCallStart() | FunctionCallStart():
                self._place(event.call_id)
            case FunctionCallEnd(call):
                self.items[self._calls[call.call_id]] = call
            case ToolCallSuccess(call):
                self.items[self._calls[call.call_id]] = call
            case ToolCallFailure():
                position = self._calls.get(event.call_id)
                self.items[self._place(event.call_id) if position is None else position] = InvalidToolCall(
                    event.call_id, event.kind, event.reason, event.tool_name, event.arguments, event.provider
                )
            case ChatEnd(result):
                self.result = result
            case _:  # events that report progress add nothing to the reply
                pass

    def output(self) -> tuple[OutputItem, ...]:
        """The items so far, in the order in which the model opened them; those still open are left out."""
        return tuple(item for item in self.items if item is not None)

    def _place(self, call_id: str) -> int:
        self._calls[call_id] = len(self.items)
        self.items.append(None)
        return self._calls[call_id]
