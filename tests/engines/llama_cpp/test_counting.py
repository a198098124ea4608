"""The tokens of a prompt, counted by the worker that has the model, and by nobody where that would cost too much."""

import pytest

from orchestrator.engines.llama_cpp.long_runs import LONGEST_RUN, MOST_COUNTED
from tests.engines.llama_cpp.conftest import OpenBench
from tests.engines.samples import ask, ask_time

pytestmark = pytest.mark.anyio


async def test_a_prompt_is_counted_while_its_model_is_loaded(bench: OpenBench) -> None:
    async with bench() as it:
        request = ask_time("Asia/Tokyo")
        assert await it.engine.count_prompt(it.model, request) is None
        await it.load()
        assert await it.engine.count_prompt(it.model, request) == 60
        await it.engine.unload("an-instance")
        assert await it.engine.count_prompt(it.model, request) is None


@pytest.mark.parametrize("text", ["a" * (LONGEST_RUN + 1), "word " * (MOST_COUNTED // 5 + 1)])
async def test_what_would_end_or_hold_up_the_worker_is_not_counted(bench: OpenBench, text: str) -> None:
    async with bench() as it:
        await it.load()
        assert await it.engine.count_prompt(it.model, ask(text)) is None
        assert await it.engine.count_prompt(it.model, ask("Thanks!")) == 12
