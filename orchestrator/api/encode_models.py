"""Models as they go out on the wire."""

from msgspec import UNSET

from orchestrator.api import wire_models as wire
from orchestrator.api.absent import or_absent
from orchestrator.core.models import LoadConfig, Model
from orchestrator.service.instances import Loaded


def model_info(model: Model) -> wire.ModelInfo:
    """One entry of the list of models; what LM Studio leaves out for embedding models is left out."""
    chats = model.type == "llm"
    quantization = model.quantization
    return wire.ModelInfo(
        type=model.type,
        publisher=model.publisher,
        key=model.key,
        display_name=model.display_name,
        architecture=model.architecture if chats else UNSET,
        quantization=quantization and wire.QuantizationInfo(quantization.name, quantization.bits_per_weight),
        size_bytes=model.size_bytes,
        params_string=model.params_string,
        loaded_instances=[
            wire.LoadedInstance(instance.id, instance_config(instance.config)) for instance in model.loaded_instances
        ],
        max_context_length=model.max_context_length,
        format=model.format,
        capabilities=_capabilities(model) if chats else UNSET,
        description=model.description if chats else UNSET,
        variants=list(model.variants) or UNSET,
        selected_variant=(model.selected_variant or UNSET) if model.variants else UNSET,
        engine=model.engine,
        problem=UNSET if model.problem is None else model.problem,
    )


def _capabilities(model: Model) -> wire.Capabilities:
    reasoning = model.reasoning
    offered = UNSET if reasoning is None else wire.ReasoningInfo(list(reasoning.allowed_options), reasoning.default)
    return wire.Capabilities(model.vision, model.trained_for_tool_use, offered)


def load_reply(loaded: Loaded, *, echo_config: bool) -> wire.LoadReply:
    """The answer to a load."""
    instance = loaded.instance
    return wire.LoadReply(
        type=instance.model.type,
        instance_id=instance.id,
        load_time_seconds=round(loaded.load_seconds, 3),
        load_config=instance_config(instance.config) if echo_config else UNSET,
    )


def instance_config(config: LoadConfig) -> wire.InstanceConfig:
    """The settings of an instance; what its engine does not tell is left out."""
    return wire.InstanceConfig(
        or_absent(config.context_length),
        or_absent(config.eval_batch_size),
        or_absent(config.parallel),
        or_absent(config.flash_attention),
        or_absent(config.num_experts),
        or_absent(config.offload_kv_cache_to_gpu),
    )
