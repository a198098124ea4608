"""What a run asks its driver to do. Nothing happens that was not asked for here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.core.approvals import Decision
from orchestrator.core.json_types import JsonObject
from orchestrator.core.placed import CallStatus as CallStatus
from orchestrator.core.placed import Outcome as Outcome
from orchestrator.core.placed import PlacedCall as PlacedCall
from orchestrator.core.placed import PlacedItem as PlacedItem
from orchestrator.core.placed import PlacedText as PlacedText
from orchestrator.core.prompt import PromptMessage
from orchestrator.core.request import IntegrationRequest, ReasoningSetting, ResponseFormat, Sampling
from orchestrator.core.response import Counters, Ending, Stats
from orchestrator.core.tools import OfferedTool, ToolKey


@dataclass(frozen=True, slots=True)
class OpenIntegrations:
    """Connect all of them at the same time. Answer: `IntegrationsOpened` or `IntegrationsFailed`."""

    integrations: tuple[IntegrationRequest, ...]


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """Write the new node down, with the tools it offers. Answer: `ResponseOpened` or `StoreFailed`.

    `tool_names` are all the names that the chain has given so far, those of `offered` included.
    `warnings` are those about the request.
    """

    offered: tuple[OfferedTool, ...]
    tool_names: Mapping[ToolKey, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReopenResponse:
    """Take the response up again that waits for approvals, with what was decided, unless somebody else did.

    The decisions and the end of the waiting are one. Answer: `ResponseOpened` or `StoreFailed`.
    """

    offered: tuple[OfferedTool, ...]
    tool_names: Mapping[ToolKey, str]
    decisions: Mapping[str, Decision]


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Make the model ready. Answer: `LoadStarted` …, then `ModelReady` or `EngineFailed`."""


@dataclass(frozen=True, slots=True)
class Generate:
    """Let the model write one turn. Answer: fragments, then `GenerationFinished` or `EngineFailed`.

    `tool_choice` `required` demands a call of some tool, an `OfferedTool` a call of that one. With
    `response_format` and tools on offer the model may still call them; what it says must match. Without
    `parallel_tool_calls` the turn ends with its first call. A `raw` prompt is the text of the messages, without the
    model's template; it has no tools.
    """

    turn: int
    messages: tuple[PromptMessage, ...]
    tools: tuple[OfferedTool, ...]
    sampling: Sampling
    reasoning: ReasoningSetting | None
    max_output_tokens: int | None
    tool_choice: Literal["auto", "required"] | OfferedTool = "auto"
    response_format: ResponseFormat | None = None
    parallel_tool_calls: bool = True
    raw: bool = False


@dataclass(frozen=True, slots=True)
class JournalCalls:
    """Write these items down, durably, before any of the calls runs. Answer: `CallsJournaled` or `StoreFailed`."""

    items: tuple[PlacedItem, ...]


@dataclass(frozen=True, slots=True)
class CallTool:
    """Run a journaled call. Answer: `CallReturned` or `CallBroke`."""

    call_id: str
    tool: OfferedTool
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """Write down how a call ended. Answer: `OutcomeRecorded` or `StoreFailed`."""

    call_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ReadOutput:
    """Get the whole output of the call `wanted` for `call_id`, which reads on in it. Answer: `OutputRead` or `StoreFailed`."""

    call_id: str
    wanted: str


@dataclass(frozen=True, slots=True)
class ExtendOffer:
    """Write down that more is offered from now on; as in `OpenResponse`. Answer: `OfferExtended` or `StoreFailed`."""

    offered: tuple[OfferedTool, ...]
    tool_names: Mapping[ToolKey, str]


@dataclass(frozen=True, slots=True)
class StopWriting:
    """End the turn that the model writes. Answer: `GenerationFinished`, with the counters where the engine has them."""


@dataclass(frozen=True, slots=True)
class StopWork:
    """End the generation and the calls that are under way; nothing that they still say is of use."""

    reason: str


@dataclass(frozen=True, slots=True)
class SaveResponse:
    """Write the end of the response down: items not written yet, outcomes not recorded yet.

    Answer: `ResponseSaved` or `StoreFailed`.
    """

    ending: Ending
    stats: Stats
    items: tuple[PlacedItem, ...]
    outcomes: tuple[tuple[str, Outcome], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuspendResponse:
    """Put the run away: calls of it wait for approval, and nothing else is under way.

    Everything that is needed to take it up is in the store once this is done. Answer:
    `ResponseSuspended` or `StoreFailed`.
    """

    stats: Stats
    counters: tuple[Counters, ...]
    load_seconds: float | None
    warnings: tuple[str, ...] = ()


Command: TypeAlias = (
    OpenIntegrations
    | OpenResponse
    | ReopenResponse
    | LoadModel
    | Generate
    | JournalCalls
    | CallTool
    | RecordOutcome
    | ReadOutput
    | ExtendOffer
    | StopWriting
    | StopWork
    | SaveResponse
    | SuspendResponse
)
