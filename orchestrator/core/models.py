"""Models as the service speaks of them, whichever engine has them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from orchestrator.core.request import ReasoningSetting

NO_REASONING: Final = "does not expose reasoning configuration."
"""What is said of a model without settings of reasoning; a hint how to give it some may follow."""

ModelType: TypeAlias = Literal["llm", "embedding"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights are stored; None where the engine does not tell."""

    name: str | None = None
    bits_per_weight: float | None = None


@dataclass(frozen=True, slots=True)
class ReasoningSupport:
    """The reasoning settings that a model offers, and the one it uses when none is asked for."""

    allowed_options: tuple[ReasoningSetting, ...]
    default: ReasoningSetting


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """The settings that an instance was loaded with; None where the engine does not tell."""

    context_length: int | None = None
    eval_batch_size: int | None = None
    parallel: int | None = None
    flash_attention: bool | None = None
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What a load asks for; None leaves it to the engine. `context_length` in tokens, `parallel` in requests at once."""

    context_length: int | None = None
    eval_batch_size: int | None = None
    flash_attention: bool | None = None
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None
    parallel: int | None = None


@dataclass(frozen=True, slots=True)
class ModelInstance:
    """A model in memory; `id` is what `model_instance_id` says on the wire."""

    id: str
    config: LoadConfig


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an engine has; what the engine does not tell is None, never guessed.

    `key` is `publisher/name` or the engine's own name, `size_bytes` the file's size,
    `max_context_length` the longest context, in tokens, that the model was made for. `problem` is why it will hardly
    load, where its file cannot be read. `modified_at` is when its file was written, or what its engine says of that.
    """

    key: str
    engine: str
    type: ModelType
    publisher: str
    display_name: str
    format: str | None = None
    architecture: str | None = None
    quantization: Quantization | None = None
    size_bytes: int | None = None
    params_string: str | None = None
    max_context_length: int | None = None
    vision: bool = False
    trained_for_tool_use: bool = False
    reasoning: ReasoningSupport | None = None
    description: str | None = None
    variants: tuple[str, ...] = ()
    selected_variant: str | None = None
    loaded_instances: tuple[ModelInstance, ...] = ()
    problem: str | None = None
    modified_at: datetime | None = None
