"""Models, and what loads and unloads them, as they are on the wire.

Sources: section 5 of the contract; LM Studio's documentation of the same routes.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ReasoningSetting
from orchestrator.api.wire_requests import Count, Name


class LoadBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/models/load`. What is absent is left to the engine."""

    model: Annotated[Name, Meta(description="A model's key, or `engine::key`.")]
    context_length: Annotated[Count, Meta(description="Most tokens that the model considers.")] | UnsetType = UNSET
    eval_batch_size: (
        Annotated[Count, Meta(description="How many tokens of a prompt are read together.")] | UnsetType
    ) = UNSET
    flash_attention: Annotated[bool, Meta(description="Compute attention in the faster way.")] | UnsetType = UNSET
    num_experts: Annotated[Count, Meta(description="Experts that a mixture uses for a token.")] | UnsetType = UNSET
    offload_kv_cache_to_gpu: (
        Annotated[bool, Meta(description="Keep the cache of keys and values in the GPU's memory.")] | UnsetType
    ) = UNSET
    echo_load_config: Annotated[bool, Meta(description="Answer with the settings that it was loaded with.")] = False
    ttl: (
        Annotated[Count, Meta(description="Extension. Unload it when it was idle for so many seconds. Absent: never.")]
        | UnsetType
    ) = UNSET
    parallel: (
        Annotated[Count, Meta(description="Extension. How many requests it serves at once; the others wait.")]
        | UnsetType
    ) = UNSET


class UnloadBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/models/unload`."""

    instance_id: Annotated[Name, Meta(description="The id of a loaded instance.")]


class QuantizationInfo(Struct, frozen=True):
    """How the weights are stored."""

    name: str | None
    bits_per_weight: float | None


class InstanceConfig(Struct, frozen=True):
    """The settings that an instance was loaded with, as far as the engine tells."""

    context_length: int | UnsetType = UNSET
    eval_batch_size: int | UnsetType = UNSET
    parallel: int | UnsetType = UNSET
    flash_attention: bool | UnsetType = UNSET
    num_experts: int | UnsetType = UNSET
    offload_kv_cache_to_gpu: bool | UnsetType = UNSET


class LoadedInstance(Struct, frozen=True):
    """A model in memory."""

    id: str
    config: InstanceConfig


class ReasoningInfo(Struct, frozen=True):
    """The reasoning settings that the model offers."""

    allowed_options: list[ReasoningSetting]
    default: ReasoningSetting


class Capabilities(Struct, frozen=True):
    """What the model can do."""

    vision: bool
    trained_for_tool_use: bool
    reasoning: ReasoningInfo | UnsetType = UNSET


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model that can be used; null is what its engine does not tell."""

    type: Literal["llm", "embedding"]
    publisher: str
    key: str
    display_name: str
    architecture: str | UnsetType | None = UNSET
    quantization: QuantizationInfo | None
    size_bytes: int | None
    params_string: str | None
    loaded_instances: list[LoadedInstance]
    max_context_length: int | None
    format: str | None
    capabilities: Annotated[Capabilities, Meta(description="Absent for embedding models.")] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    variants: Annotated[list[str], Meta(description="Present where there are several.")] | UnsetType = UNSET
    selected_variant: Annotated[str, Meta(description="Present when `variants` is.")] | UnsetType = UNSET
    engine: Annotated[str, Meta(description="Extension. Which engine has it.")]
    problem: (
        Annotated[str, Meta(description="Extension. Why it will hardly load; absent for a model that is well.")]
        | UnsetType
    ) = UNSET


class LoadReply(Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/models/load`."""

    type: Literal["llm", "embedding"]
    instance_id: str
    load_time_seconds: float
    status: Literal["loaded"] = "loaded"
    load_config: (
        Annotated[InstanceConfig, Meta(description="What it was loaded with; only where it is to be echoed.")]
        | UnsetType
    ) = UNSET


class UnloadReply(Struct, frozen=True):
    """The answer to `POST /api/v1/models/unload`."""

    instance_id: str


class ModelList(Struct, frozen=True):
    """The answer to `GET /api/v1/models`."""

    models: list[ModelInfo]
