"""How many tokens a text is: by the tokenizer of a loaded model where its engine has one, else by an estimate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from orchestrator.core.token_costs import estimated_tokens
from orchestrator.ports import TokenCounter
from orchestrator.service.instance import Instance
from orchestrator.service.instances import InstanceService


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """One number a text; `counted_by` is the instance whose tokenizer counted, None for an estimate."""

    counts: tuple[int, ...]
    counted_by: str | None = None


class TokenCostService:
    """Counts with what is loaded; nothing is loaded for it."""

    def __init__(self, instances: InstanceService) -> None:
        self._instances = instances

    async def costs(self, texts: Sequence[str], model: str | None = None) -> TokenCosts:
        """The costs of `texts`, all counted in the same way: by `model` where that is loaded, else by what is."""
        for instance in sorted(self._instances.instances(), key=lambda each: not _is(each, model)):
            if not (instance.ready and isinstance(instance.engine, TokenCounter)):
                continue
            counts = [await instance.engine.count_tokens(instance.id, text) for text in texts]
            if None not in counts:
                return TokenCosts(tuple(cast("list[int]", counts)), instance.id)
        return TokenCosts(tuple(estimated_tokens(text) for text in texts))


def _is(instance: Instance, model: str | None) -> bool:
    """Whether `model`, a key with or without its engine, or the id of an instance, means this one."""
    key = instance.model.key
    return model in (instance.id, key, f"{instance.model.engine}::{key}")
