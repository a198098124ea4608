"""An engine that writes what it was given: the turns of a direct call, or those that a response once had.

A run over it is the machine of every other run, so what a call may do, how it is journaled and how long
it may take is the same code.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    GenerationFinished,
    ModelReady,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.items import ProviderInfo
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.prompt import AssistantMessage
from orchestrator.core.reading import SERVICE
from orchestrator.core.request import ResponseFormat
from orchestrator.core.response import Counters
from orchestrator.core.tools import OfferedTool, tool_key
from orchestrator.ports import CallBegun, Embeddings, EngineTraits, GenerationChunk, LoadStep
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.models import ModelChoice, ModelService

RECORDED: Final = "recorded"
"""The name of the engine."""


@dataclass(frozen=True, slots=True)
class RecordedText:
    """A message."""

    content: str


@dataclass(frozen=True, slots=True)
class RecordedReasoning:
    """Reasoning."""

    content: str


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call of a tool by its server's own name, whatever name the run offers it under.

    A call without `provider` is written as it stands: `tool` is then what the model called it.
    `call_id` is what it was called when it was recorded.
    """

    tool: str
    arguments: str
    provider: ProviderInfo | None = None
    call_id: str = ""


RecordedPart: TypeAlias = RecordedText | RecordedReasoning | RecordedCall
RecordedTurn: TypeAlias = Sequence[RecordedPart]


class RecordedTurns:
    """Writes `turns`, the n-th when the n-th turn is asked for, and nothing after the last. It counts no tokens.

    `cut` says that a limit ended the last of them, `stop_sequence` at what it stopped.
    """

    name = RECORDED
    traits = EngineTraits(loads=False)

    def __init__(
        self, turns: Sequence[RecordedTurn], model: Model, *, cut: bool = False, stop_sequence: str | None = None
    ) -> None:
        self._turns = tuple(turns)
        self._cut = cut
        self._stop_sequence = stop_sequence
        self._model = model

    async def models(self) -> Sequence[Model]:
        return (self._model,)

    def check_response_format(self, response_format: ResponseFormat) -> None:
        """See `Engine.check_response_format`: what was written was held already."""

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        return True

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        yield ModelReady()

    async def unload(self, instance_id: str) -> None:
        return None

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        message = "Recorded turns embed nothing."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        turn = self._turns[request.turn - 1] if request.turn <= len(self._turns) else ()
        calls = 0
        for part in turn:
            match part:
                case RecordedText(content):
                    yield TextArrived(content)
                case RecordedReasoning(content):
                    yield ReasoningArrived(content)
                case RecordedCall():
                    yield CallBegun(calls, _offered_name(part, request.tools))
                    yield CallArgumentsArrived(calls, self._arguments(part, request))
                    calls += 1
                case _:
                    assert_never(part)
        last = request.turn == len(self._turns)
        cut = self._cut and last
        reason = "length" if cut else "tool_calls" if calls else "stop"
        yield GenerationFinished(reason, Counters(), self._stop_sequence if last else None)

    def _arguments(self, call: RecordedCall, request: Generate) -> str:
        """As they were written, but for the ids by which the tool that reads on knows earlier calls."""
        if call.provider != SERVICE:
            return call.arguments
        earlier = [part.call_id for turn in self._turns for part in turn if isinstance(part, RecordedCall)]
        turns = (message for message in request.messages if isinstance(message, AssistantMessage))
        now = [made.call_id for message in turns for made in message.calls]
        before = sum(isinstance(part, RecordedCall) for turn in self._turns[: request.turn - 1] for part in turn)
        arguments = call.arguments
        for old, new in zip(earlier[:before], now[len(now) - before :], strict=False):
            arguments = arguments.replace(old, new)
        return arguments


def recorded_choice(
    turns: Sequence[RecordedTurn], model_key: str, *, cut: bool = False, stop_sequence: str | None = None
) -> tuple[ModelChoice, InstanceService]:
    """What a run needs to be written by `turns`: its model, which nobody else can name, and its instance."""
    model = Model(model_key, RECORDED, "llm", RECORDED, model_key, trained_for_tool_use=True)
    engine = RecordedTurns(turns, model, cut=cut, stop_sequence=stop_sequence)
    return ModelChoice(engine, model), InstanceService(ModelService([engine]), InstancePolicy())


def _offered_name(call: RecordedCall, offered: Sequence[OfferedTool]) -> str:
    if call.provider is None:
        return call.tool
    wanted = tool_key(call.provider, call.tool)
    found = (one.name for one in offered if tool_key(one.provider, one.definition.name) == wanted)
    return next(found, call.tool)
