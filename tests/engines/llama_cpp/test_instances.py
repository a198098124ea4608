"""Several instances, their settings, and their end."""

from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import ModelReady
from orchestrator.core.models import LoadConfig, LoadSettings, ModelInstance
from tests.engines.llama_cpp.conftest import DEMO_FILE, Bench, OpenBench, gone
from tests.engines.llama_cpp.gguf_files import with_number
from tests.engines.samples import ask, first_text, ramble, written

pytestmark = pytest.mark.anyio
FREE: Final = LoadSettings()


async def load(it: Bench, instance_id: str, settings: LoadSettings = FREE) -> None:
    async for _ in it.engine.load(it.model, instance_id, settings):
        pass


async def instances(it: Bench) -> tuple[ModelInstance, ...]:
    (model,) = (model for model in await it.engine.models() if model.key == it.model.key)
    return model.loaded_instances


async def test_two_instances_of_a_model_are_loaded_and_unloaded_by_themselves(bench: OpenBench) -> None:
    async with bench() as it:
        await load(it, "one", LoadSettings(512))
        await load(it, "two", LoadSettings(1024, parallel=2))
        assert [(one.id, one.config.context_length, one.config.parallel) for one in await instances(it)] == [
            ("one", 512, 4),
            ("two", 1024, 2),
        ]
        pid = (await it.engine.host(it.model, "one")).worker_pid
        await it.engine.unload("one")
        assert [one.id for one in await instances(it)] == ["two"]
        await gone(pid or 0)
        assert (await written(it.engine.generate(it.model, "two", ask("Hello!")))).text == "Hello! How can I help you?"


async def test_every_setting_is_in_force_and_told(bench: OpenBench) -> None:
    async with bench() as it:
        settings = LoadSettings(
            1024, eval_batch_size=64, flash_attention=True, offload_kv_cache_to_gpu=False, parallel=2
        )
        await load(it, "one", settings)
        assert await instances(it) == (ModelInstance("one", LoadConfig(1024, 64, 2, True, None, False)),)
        host = await it.engine.host(it.model, "one")
        pid = host.worker_pid
        assert [step async for step in it.engine.load(it.model, "one", settings)] == [ModelReady(None)]
        assert host.worker_pid == pid
        await load(it, "one", LoadSettings(flash_attention=False))
        assert await instances(it) == (ModelInstance("one", LoadConfig(1024, 64, 2, False, None, False)),)
        answer = await written(it.engine.generate(it.model, "one", ask("Hello!")))
        assert answer.text == "Hello! How can I help you?"


async def test_a_batch_is_as_large_as_what_there_is_to_fill_or_two(bench: OpenBench) -> None:
    async with bench() as it:
        large = LoadSettings(512, eval_batch_size=512, parallel=1)
        await load(it, "one", large)
        assert [one.config.eval_batch_size for one in await instances(it)] == [512]
        assert [step async for step in it.engine.load(it.model, "one", large)] == [ModelReady(None)]
        await load(it, "one", LoadSettings(eval_batch_size=2))
        assert [one.config.eval_batch_size for one in await instances(it)] == [2]
        answer = await written(it.engine.generate(it.model, "one", ask("Hello!")))
        assert answer.text == "Hello! How can I help you?"


async def test_a_context_is_rounded_up_and_told_as_it_is(bench: OpenBench) -> None:
    async with bench() as it:
        await load(it, "one", LoadSettings(1, eval_batch_size=256, parallel=1))
        (config,) = [one.config for one in await instances(it)]
        assert (config.context_length, config.eval_batch_size) == (256, 256)


async def test_a_batch_grows_with_the_slots_where_nobody_asked_for_its_size(bench: OpenBench) -> None:
    async with bench() as it:
        await load(it, "one", LoadSettings(512, eval_batch_size=2, parallel=2))
        await load(it, "one", LoadSettings(parallel=3))
        assert [(one.config.eval_batch_size, one.config.parallel) for one in await instances(it)] == [(3, 3)]


async def test_more_slots_than_before_take_as_many_turns_at_once(bench: OpenBench) -> None:
    async with bench(slots=1) as it:
        await it.load()
        await load(it, "an-instance", LoadSettings(parallel=2))
        async with aclosing(it.generate(ramble())) as first, aclosing(it.generate(ramble())) as second:
            await first_text(first)
            await first_text(second)
            assert it.host.queue.taken == 2


@pytest.mark.parametrize(
    ("settings", "param", "reason"),
    [
        (LoadSettings(4096), "context_length", "demo/tiny-tools has a context of at most 2048 tokens"),
        (LoadSettings(eval_batch_size=1, parallel=1), "eval_batch_size", "a batch of at least 2 tokens"),
        (LoadSettings(eval_batch_size=3), "eval_batch_size", "With 4 requests at once"),
        (LoadSettings(512, eval_batch_size=513, parallel=1), "eval_batch_size", "a batch has at most 512 tokens"),
        (LoadSettings(eval_batch_size=100_000), "eval_batch_size", "a batch has at most 8192 tokens, 100000 were"),
        (LoadSettings(parallel=1000), "parallel", "At most 256 requests"),
        (LoadSettings(num_experts=2), "num_experts", "demo/tiny-tools has no experts."),
        (LoadSettings(offload_kv_cache_to_gpu=True), "offload_kv_cache_to_gpu", "no GPU"),
    ],
)
async def test_what_cannot_be_applied_is_refused_and_named(
    bench: OpenBench, settings: LoadSettings, param: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_gpu() -> bool:
        return False

    monkeypatch.setattr("orchestrator.engines.llama_cpp.host.has_gpu", no_gpu)
    monkeypatch.setattr("orchestrator.engines.llama_cpp.engine.has_gpu", no_gpu)
    async with bench() as it:
        for refused in (load(it, "one", settings), it.engine.check_fit(it.model, settings, ())):
            with pytest.raises(OrchestratorError) as caught:
                await refused
            assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, param)
            assert reason in caught.value.info.message
        assert await instances(it) == ()


async def test_the_number_of_experts_is_told_and_cannot_be_changed(bench: OpenBench, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "experts"
    folder.mkdir(parents=True)
    (folder / "x.gguf").write_bytes(with_number(DEMO_FILE.read_bytes(), "llama.expert_used_count", 2))
    async with bench(tmp_path, "a/experts") as it:
        await it.engine.check_fit(it.model, LoadSettings(num_experts=2), ())
        with pytest.raises(OrchestratorError) as caught:
            await it.engine.check_fit(it.model, LoadSettings(num_experts=4), ())
        reason = "a/experts works with 2 experts a token, and this build of llama.cpp cannot change that."
        assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, reason, "num_experts")


async def test_an_instance_is_unloaded_once_nobody_generates_on_it(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        pid, happened = it.pid, list[str]()

        async def unload() -> None:
            await it.engine.unload("an-instance")
            happened.append("unloaded")

        async with anyio.create_task_group() as tasks:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                tasks.start_soon(unload)
                await anyio.wait_all_tasks_blocked()
                async for _ in chunks:
                    pass
                happened.append("the turn ended")
        assert happened == ["the turn ended", "unloaded"]
        await gone(pid)
        assert await instances(it) == ()


async def test_a_load_that_comes_during_an_unload_waits_and_has_a_worker_of_its_own(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        pid = it.pid
        async with anyio.create_task_group() as tasks:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                tasks.start_soon(it.engine.unload, "an-instance")
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(load, it, "an-instance")
                await anyio.wait_all_tasks_blocked()
        await gone(pid)
        assert [one.id for one in await instances(it)] == ["an-instance"]


async def test_an_unload_that_is_called_off_leaves_the_instance_as_it_was(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        pid = it.pid
        async with aclosing(it.generate(ramble())) as chunks:
            await first_text(chunks)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.engine.unload, "an-instance")
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"
        assert it.pid == pid


async def test_an_unload_ends_a_load_under_way(bench: OpenBench) -> None:
    async with bench() as it:
        async with aclosing(it.loading()) as steps:
            await anext(steps)
            await it.engine.unload("an-instance")
            with pytest.raises(OrchestratorError) as caught:
                async for _ in steps:
                    pass
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, "'an-instance' was unloaded.")
        assert await instances(it) == ()
