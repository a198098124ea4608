"""What a run can be told: the answers to its commands, and what comes from outside."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from orchestrator.core.approvals import NEVER, ApprovalPolicy
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.items import ProviderInfo, ServerIdentity
from orchestrator.core.logprobs import TokenLogprob
from orchestrator.core.materials import Material
from orchestrator.core.response import Counters
from orchestrator.core.server_requests import Elicitation, ElicitationAction, Progress, SamplingReply
from orchestrator.core.tools import ToolDefinition, ToolResult


@dataclass(frozen=True, slots=True)
class Start:
    """Begin."""


@dataclass(frozen=True, slots=True)
class OpenedIntegration:
    """A connected server with all its tools.

    `withheld` are those that `mcp.json` does not give out, `drifted` those whose changed definition nobody
    has approved where that is asked for, `changed` those that are offered all the same, `removed` the names of
    those that were approved and are not there any more. `approval` says which it wants approved. `materials` are
    what the request takes of it, in the request's order. `problems` are what is wrong with its list of tools or
    with its configuration, each as a sentence about it.
    """

    provider: ProviderInfo
    tools: tuple[ToolDefinition, ...]
    withheld: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    approval: ApprovalPolicy = NEVER
    materials: tuple[Material, ...] = ()
    server: ServerIdentity | None = None
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntegrationsOpened:
    """Every integration of the request is connected, in the request's order."""

    opened: tuple[OpenedIntegration, ...]


@dataclass(frozen=True, slots=True)
class IntegrationsFailed:
    """One of them could not be connected."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class ResponseOpened:
    """The store has the node, `in_progress`."""


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The store could not do what it was last asked to."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class LoadStarted:
    """The model was not there and is being loaded."""


@dataclass(frozen=True, slots=True)
class LoadProgressed:
    """How much of it is there, 0 to 1, as the engine reported it."""

    progress: float


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model can generate; `load_seconds` is None where it was there already."""

    load_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """Loading or generating broke."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class QueueMoved:
    """The turn waits for a slot of its model; `position` counts from 1, 0 says that it has one."""

    position: int


@dataclass(frozen=True, slots=True)
class PromptProgressed:
    """How much of the prompt is processed, 0 to 1, as the engine reported it, and how many tokens all of it has.

    None where it did not say.
    """

    progress: float
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ReasoningArrived:
    """A fragment of reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class TextArrived:
    """A fragment of the message; `logprobs` are those of its tokens, where they were asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class CallOpened:
    """The model began a tool call; `index` tells parallel calls of one turn apart."""

    index: int
    name: str
    call_id: str


@dataclass(frozen=True, slots=True)
class CallArgumentsArrived:
    """A fragment of the JSON text of a call's arguments."""

    index: int
    text: str


FinishReason: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class GenerationFinished:
    """The turn is written; `length` says that a limit ended it, `content_filter` that its engine held the rest back.

    `stop_sequence` is the text that the model stopped at, None where it ended by itself or the engine does not tell.
    """

    reason: FinishReason
    counters: Counters
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class CallsJournaled:
    """The calls of the turn are durably written down: they may run now."""


@dataclass(frozen=True, slots=True)
class CallReturned:
    """A tool answered, with a result or with an error of its own."""

    call_id: str
    result: ToolResult
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CallBroke:
    """A call got no answer: a timeout, a dead server, a broken protocol. `message` is for the model."""

    call_id: str
    message: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CallProgressed:
    """The server says how far a call is."""

    call_id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class UserAsked:
    """A server asks the user something during a call; without an answer in `seconds` it is told that there is none."""

    elicitation_id: str
    call_id: str
    provider: ProviderInfo
    asked: Elicitation
    seconds: float


@dataclass(frozen=True, slots=True)
class UserAnswered:
    """The user has answered, or the time for it is over."""

    elicitation_id: str
    action: ElicitationAction


@dataclass(frozen=True, slots=True)
class ModelSampled:
    """The model has written something for a server during a call; None tokens are those that nobody counted."""

    call_id: str
    provider: ProviderInfo
    reply: SamplingReply


@dataclass(frozen=True, slots=True)
class OutputRead:
    """What the store has of an output that `call_id` reads on in: JSON text of a content array; None where it is gone."""

    call_id: str
    output: str | None


@dataclass(frozen=True, slots=True)
class OfferExtended:
    """The store knows what else is offered from now on."""


@dataclass(frozen=True, slots=True)
class OutcomeRecorded:
    """The outcome of a call is durably written down."""

    call_id: str


@dataclass(frozen=True, slots=True)
class ResponseSuspended:
    """The run is durably put away; who has not decided by `expires_at` has denied."""

    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ResponseSaved:
    """The whole response is durably written down."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody wants the run to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client went away, and the run is one that ends with its client."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The run's time is over."""


WorkInput: TypeAlias = (
    IntegrationsOpened
    | IntegrationsFailed
    | ResponseOpened
    | StoreFailed
    | LoadStarted
    | LoadProgressed
    | ModelReady
    | EngineFailed
    | QueueMoved
    | PromptProgressed
    | ReasoningArrived
    | TextArrived
    | CallOpened
    | CallArgumentsArrived
    | GenerationFinished
    | CallsJournaled
    | CallReturned
    | CallBroke
    | CallProgressed
    | UserAsked
    | UserAnswered
    | ModelSampled
    | OutputRead
    | OfferExtended
    | OutcomeRecorded
    | ResponseSuspended
    | ResponseSaved
)
StopInput: TypeAlias = Cancel | Disconnect | Deadline
RunInput: TypeAlias = Start | WorkInput | StopInput
