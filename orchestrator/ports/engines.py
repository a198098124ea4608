"""What the services need of an engine."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from orchestrator.core.commands import Generate
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    GenerationFinished,
    LoadProgressed,
    LoadStarted,
    ModelReady,
    PromptProgressed,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.request import ResponseFormat


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The model began a tool call; the driver gives it its id and feeds it on as `CallOpened`."""

    index: int
    name: str


LoadStep: TypeAlias = LoadStarted | LoadProgressed | ModelReady
GenerationChunk: TypeAlias = (
    PromptProgressed | ReasoningArrived | TextArrived | CallBegun | CallArgumentsArrived | GenerationFinished
)


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What an engine can be asked for. An engine that does not load has its models ready, or loads them itself.

    `address` is where it is, fit for messages; None for one that lives with the service. `parallel` is how many turns an
    instance writes at once where its config does not say; None is as many as come. `reasoning_hint` is what to do where a
    model reasons and is not known to. `logit_bias` and `logprobs` say whether it has a word for these, `raw` whether it takes a prompt as it is.
    """

    loads: bool
    many_instances: bool = False
    embeds: bool = False
    address: str | None = None
    parallel: int | None = None
    reasoning_hint: str = ""
    logit_bias: bool = True
    logprobs: bool = True
    raw: bool = False


class NobodyThereError(OrchestratorError):
    """The `engine_unavailable` of an address where nothing listens: the engine may never have been installed."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, in their order; None is what the engine does not count."""

    vectors: tuple[tuple[float, ...], ...]
    input_tokens: int | None = None


class Engine(Protocol):
    """Generates text. One adapter a kind of engine; `name` is what `engine::key` refers to.

    Instances are named by the caller. Which of them is loaded, shared, evicted and when is decided in
    `service/instances.py`, for all engines alike; an engine does as it is told.
    """

    @property
    def name(self) -> str: ...

    @property
    def traits(self) -> EngineTraits: ...

    async def models(self) -> Sequence[Model]:
        """Every model that can be used now, in a stable order, with its loaded instances.

        Raises:
            OrchestratorError: `engine_unavailable`, naming the engine and its address.
        """
        ...

    def check_response_format(self, response_format: ResponseFormat) -> None:
        """Whether a message can be held to it, as far as that is known without asking anybody.

        Raises:
            OrchestratorError: `invalid_value` on `response_format`; the message says which keyword, where.
        """
        ...

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        """Whether the instance fits beside all others, so that nothing has to go before it is loaded.

        False where the instances `freed` have to go first, or nobody knows.

        Raises:
            OrchestratorError: it must fail also without `freed`: `insufficient_resources`, whose message says what it
                needs and what there is, `engine_error` where its file cannot be read, or as `load`.
        """
        ...

    def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        """Make the instance ready; the last step is `ModelReady`, the only one where it was ready already.

        A setting that is None keeps what is loaded. A longer context than the instance has means that
        it is loaded again, once nobody generates on it. Many askers share one load; one that nobody
        waits for any more is ended. `ttl_seconds` is for engines that unload by themselves.

        Raises:
            OrchestratorError: `engine_unavailable`, `engine_error`, or `invalid_value` on the setting
                that the engine cannot apply.
        """
        ...

    async def unload(self, instance_id: str) -> None:
        """End the instance, once nobody generates on it; no instance of that id is no error.

        Raises:
            OrchestratorError: `engine_unavailable`, or `not_implemented` where the engine does not load.
        """
        ...

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        """The vectors of `texts`.

        Raises:
            OrchestratorError: `invalid_value` on `model` where it does not embed, or as `generate`.
        """
        ...

    def generate(self, model: Model, instance_id: str, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        """One turn, as it is written; the last chunk is `GenerationFinished`.

        Every `CallArgumentsArrived` follows the `CallBegun` of its index, and each index begins once.
        Closing the generator frees the slot.

        Raises:
            OrchestratorError: `exceed_context_size` on `input`, `engine_error`, `engine_unavailable`.
        """
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """An engine that can tell how many tokens a text is."""

    async def count_tokens(self, instance_id: str, text: str) -> int | None:
        """By the tokenizer of a loaded instance, without its template; None where it cannot tell now."""
        ...


@runtime_checkable
class PromptCounter(Protocol):
    """An engine that can make the prompt of a turn, and tell how many tokens that is."""

    async def count_prompt(self, model: Model, request: Generate) -> int | None:
        """The tokens that `request` would be read as, template and tools included; None where it cannot tell now.

        Nothing is loaded or generated for it, and it takes some seconds at most.
        """
        ...
