"""How many tokens a text is: by the tokenizer of a loaded model where its engine has one, else by an estimate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from orchestrator.core.token_costs import estimated_tokens
from orchestrator.ports import TokenCounter
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

    async def costs(self, texts: Sequence[str]) -> TokenCosts:
        """The costs of `texts`, all counted in the same way."""
        for instance in self._instances.instances():
            if not (instance.ready and isinstance(instance.engine, TokenCounter)):
                continue
            counts = [await instance.engine.count_tokens(instance.id, text) for text in texts]
            if None not in counts:
                return TokenCosts(tuple(cast("list[int]", counts)), instance.id)
        return TokenCosts(tuple(estimated_tokens(text) for text in texts))
