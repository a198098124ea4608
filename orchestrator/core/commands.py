"""What a run asks its driver to do. Nothing happens that was not asked for here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.core.items import Message, ProviderInfo, Reasoning
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import PromptMessage
from orchestrator.core.request import IntegrationRequest, ReasoningSetting, ResponseFormat, Sampling
from orchestrator.core.response import Ending, Stats
from orchestrator.core.tools import OfferedTool, ToolKey


@dataclass(frozen=True, slots=True)
class OpenIntegrations:
    """Connect all of them at the same time. Answer: `IntegrationsOpened` or `IntegrationsFailed`."""

    integrations: tuple[IntegrationRequest, ...]


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """Write the new node down, with the tools it offers. Answer: `ResponseOpened` or `StoreFailed`.

    `tool_names` are all the names that the chain has given so far, those of `offered` included.
    """

    offered: tuple[OfferedTool, ...]
    tool_names: Mapping[ToolKey, str]


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Make the model ready. Answer: `LoadStarted` …, then `ModelReady` or `EngineFailed`."""


@dataclass(frozen=True, slots=True)
class Generate:
    """Let the model write one turn. Answer: fragments, then `GenerationFinished` or `EngineFailed`.

    `tool_choice` `required` demands a call of some tool, an `OfferedTool` a call of that one. With
    `response_format` and tools on offer the model may still call them; what it says must match.
    """

    turn: int
    messages: tuple[PromptMessage, ...]
    tools: tuple[OfferedTool, ...]
    sampling: Sampling
    reasoning: ReasoningSetting | None
    max_output_tokens: int | None
    tool_choice: Literal["auto", "required"] | OfferedTool = "auto"
    response_format: ResponseFormat | None = None


CallStatus: TypeAlias = Literal["journaled", "succeeded", "failed", "refused", "invalid", "abandoned"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: the one change that its journal row ever sees.

    `output` is JSON text of a content array, `shown` the text the model is given (None: the call
    stands in no later prompt), `duration_ms` 0 for a call that never ran.
    """

    status: CallStatus
    output: str
    shown: str | None
    is_error: bool
    duration_ms: int = 0
    structured: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A message or reasoning with its place in the response; positions count from 0."""

    position: int
    turn: int
    item: Message | Reasoning


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call with its place, as the journal has it.

    `model_name` is what the model wrote, `arguments_text` its arguments as it wrote them; `tool`,
    `provider` and `digest` are None where the model named no offered tool, `arguments` where they
    were no JSON object. `reason` says why an invalid call is invalid. `outcome` is None while the
    call may still run.
    """

    position: int
    turn: int
    call_id: str
    model_name: str
    arguments_text: str
    arguments: JsonObject | None
    tool: str | None = None
    provider: ProviderInfo | None = None
    digest: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None


PlacedItem: TypeAlias = PlacedText | PlacedCall


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


Command: TypeAlias = (
    OpenIntegrations
    | OpenResponse
    | LoadModel
    | Generate
    | JournalCalls
    | CallTool
    | RecordOutcome
    | StopWork
    | SaveResponse
)
