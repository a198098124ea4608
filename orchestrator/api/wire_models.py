"""Request bodies of the routes that load and unload models. Source: section 5 of the contract."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

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
