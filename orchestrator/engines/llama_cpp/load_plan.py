"""What a load asks for, made into what a worker is told. Nothing that was asked for is dropped: it is met or refused."""

from dataclasses import dataclass
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import LoadConfig, LoadSettings
from orchestrator.engines.llama_cpp.catalogue import InstalledModel

MAX_SLOTS: Final = 256
"""llama.cpp's LLAMA_MAX_SEQ."""
CONTEXT_STEP: Final = 256
"""llama.cpp rounds a context up to a multiple of this. We do so first: a batch as long as the rest of it is an abort."""
MIN_BATCH: Final = 2
"""Below this, and below one token a slot, b11549 aborts (GGML_ASSERT on the number of outputs)."""
EMBEDDING_BATCH: Final = 2048
"""Of an embedding model: it reads a text in one piece, so this is the longest that it can embed."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What is used where a load asks for nothing; `cache_mib` and `silence_seconds` are the same for every worker.

    A worker that sends nothing for `silence_seconds` between two tokens is stuck.
    """

    context_length: int
    slots: int
    batch: int
    cache_mib: int
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load with everything decided. None leaves a thing to llama.cpp.

    `offload_kv_cache` says where the cache lies, not what was asked for: without a GPU it is never there.
    """

    context_length: int
    batch: int
    slots: int
    flash_attention: bool | None
    num_experts: int | None
    offload_kv_cache: bool

    def meets(self, settings: LoadSettings) -> bool:
        """Whether an instance that was loaded like this is what `settings` ask for; a longer context is, too."""
        return (
            (settings.context_length is None or settings.context_length <= self.context_length)
            and settings.eval_batch_size in (None, self.batch)
            and settings.parallel in (None, self.slots)
            and settings.flash_attention in (None, self.flash_attention)
            and settings.num_experts in (None, self.num_experts)
            and settings.offload_kv_cache_to_gpu in (None, self.offload_kv_cache)
        )

    def config(self, context_length: int) -> LoadConfig:
        """The same, for people; `context_length` is what the worker really has."""
        return LoadConfig(
            context_length=context_length,
            eval_batch_size=self.batch,
            parallel=self.slots,
            flash_attention=self.flash_attention,
            num_experts=self.num_experts,
            offload_kv_cache_to_gpu=self.offload_kv_cache,
        )


def check_settings(installed: InstalledModel, settings: LoadSettings, *, gpu: bool) -> None:
    """Refuse what this model, or this build of llama.cpp, cannot be loaded with.

    Raises:
        OrchestratorError: `invalid_value` on the setting.
    """
    key, maximum, experts = installed.model.key, installed.model.max_context_length, installed.num_experts
    if settings.context_length is not None and maximum is not None and settings.context_length > maximum:
        asked = settings.context_length
        raise _refused("context_length", f"{key} has a context of at most {maximum} tokens, {asked} were asked for.")
    if settings.parallel is not None and settings.parallel > MAX_SLOTS:
        raise _refused("parallel", f"At most {MAX_SLOTS} requests can run at once, {settings.parallel} were asked for.")
    if settings.num_experts is not None and experts is None:
        raise _refused("num_experts", f"{key} has no experts.")
    if settings.num_experts not in (None, experts):
        # The wheel has no way to override a key of the file's metadata, which is what it would take.
        message = f"{key} works with {experts} experts a token, and this build of llama.cpp cannot change that."
        raise _refused("num_experts", message)
    if settings.offload_kv_cache_to_gpu and not gpu:
        raise _refused("offload_kv_cache_to_gpu", "llama.cpp finds no GPU here that it can use.")


def plan_load(
    installed: InstalledModel, settings: LoadSettings, defaults: HostSettings, before: LoadPlan | None, *, gpu: bool
) -> LoadPlan:
    """What to load with: what is asked for, otherwise what was there `before`, otherwise the default.

    Raises:
        OrchestratorError: `invalid_value` on `eval_batch_size`, which must hold a token of each slot, and be filled by
            the contexts of all slots.
    """
    maximum = installed.model.max_context_length
    wanted = settings.context_length or (before.context_length if before else defaults.context_length)
    context_length = -(-min(wanted, maximum or wanted) // CONTEXT_STEP) * CONTEXT_STEP
    slots = settings.parallel or (before.slots if before else defaults.slots)
    usual = min(EMBEDDING_BATCH, context_length) if installed.model.type == "embedding" else defaults.batch
    batch = settings.eval_batch_size or (before.batch if before else usual)
    least = max(MIN_BATCH, slots)
    if settings.eval_batch_size is not None and settings.eval_batch_size < least:
        message = f"With {slots} requests at once llama.cpp needs a batch of at least {least} tokens."
        raise _refused("eval_batch_size", message)
    most = context_length * slots  # llama.cpp takes no more
    if settings.eval_batch_size is not None and settings.eval_batch_size > most:
        message = (
            f"With a context of {context_length} tokens and {slots} requests at once a batch has at most {most} tokens, "
            f"{settings.eval_batch_size} were asked for."
        )
        raise _refused("eval_batch_size", message)
    batch = min(max(batch, least), most)
    flash_attention = settings.flash_attention
    if flash_attention is None and before is not None:
        flash_attention = before.flash_attention
    offload = settings.offload_kv_cache_to_gpu
    if offload is None and before is not None:
        offload = before.offload_kv_cache
    return LoadPlan(
        context_length=context_length,
        batch=batch,
        slots=slots,
        flash_attention=flash_attention,
        num_experts=installed.num_experts,
        offload_kv_cache=gpu and offload is not False,
    )


def _refused(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
