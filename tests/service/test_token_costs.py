"""Whose tokenizer says what a text costs."""

import pytest

from orchestrator.core.models import LoadSettings
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.models import ModelService
from orchestrator.service.token_costs import TokenCosts, TokenCostService
from tests.service.test_instances import Shelf

pytestmark = pytest.mark.anyio


class Counting(Shelf):
    """Models whose tokenizers take the length of their key for a token."""

    async def count_tokens(self, instance_id: str, text: str) -> int | None:
        return len(text) * len(instance_id)


@pytest.mark.parametrize(
    ("model", "counted_by"), [("bb", "bb"), ("scripted::bb", "bb"), ("a", "a"), ("absent", "a"), (None, "a")]
)
async def test_the_model_that_is_named_counts_where_it_is_loaded_and_else_one_that_is(
    model: str | None, counted_by: str
) -> None:
    instances = InstanceService(ModelService([Counting("a", "bb")]), InstancePolicy())
    for key in ("a", "bb"):
        await instances.load(key, LoadSettings(), None)
    costs = await TokenCostService(instances).costs(["four", "x"], model)
    assert costs == TokenCosts((4 * len(counted_by), len(counted_by)), counted_by)


async def test_where_nothing_is_loaded_the_cost_is_an_estimate() -> None:
    instances = InstanceService(ModelService([Counting("a")]), InstancePolicy())
    assert await TokenCostService(instances).costs(["four byte"], "a") == TokenCosts((3,))
