"""Loads: shared, reported, replaced only when nobody generates, and explained when they fail."""

import shutil
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.models import LoadSettings
from orchestrator.ports import LoadStep
from tests.engines.llama_cpp.conftest import DEMO_FILE, INSTANCE, OpenBench, gone
from tests.engines.samples import ask, first_text, ramble, written

pytestmark = pytest.mark.anyio


def seconds_of(steps: list[LoadStep]) -> float:
    """How long the load took that `steps` tell of from its beginning to its end."""
    assert steps[0] == LoadStarted()
    progress = [step.progress for step in steps[1:-1] if isinstance(step, LoadProgressed)]
    assert len(progress) == len(steps) - 2
    assert progress == sorted(set(progress))
    last = steps[-1]
    assert isinstance(last, ModelReady) and last.load_seconds is not None
    return last.load_seconds


async def test_a_load_reports_its_start_its_progress_and_its_seconds(bench: OpenBench) -> None:
    async with bench() as it:
        steps = await it.load()
        assert seconds_of(steps) > 0
        assert LoadProgressed(1.0) in steps
        assert await it.load() == [ModelReady(None)]


async def test_many_askers_share_one_load(bench: OpenBench) -> None:
    async with bench() as it:
        loads: list[list[LoadStep]] = []
        pids: set[int] = set()

        async def ask_for_it() -> None:
            loads.append(await it.load())
            pids.add(it.pid)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask_for_it)
        assert len({seconds_of(steps) for steps in loads}) == 1
        assert (len(loads), len(pids)) == (5, 1)


async def test_a_waiter_that_leaves_does_not_end_the_load_of_the_others(bench: OpenBench) -> None:
    async with bench() as it:
        other: list[LoadStep] = []

        async def stay() -> None:
            other.extend(await it.load())

        async with anyio.create_task_group() as tasks:
            async with aclosing(it.loading()) as steps:
                assert await anext(steps) == LoadStarted()
                tasks.start_soon(stay)
                assert isinstance(await anext(steps), LoadProgressed)
        assert seconds_of(other) > 0


async def test_a_load_that_nobody_waits_for_is_ended_and_the_next_one_is_whole(bench: OpenBench) -> None:
    async with bench() as it:
        async with aclosing(it.loading()) as steps:
            assert await anext(steps) == LoadStarted()
            assert isinstance(await anext(steps), LoadProgressed)
        assert it.host.worker_pid is None
        assert seconds_of(await it.load()) > 0


async def test_a_cancelled_task_leaves_its_load(bench: OpenBench) -> None:
    async with bench() as it:
        begun = anyio.Event()

        async def wait_for_it() -> None:
            async with aclosing(it.loading()) as steps:
                async for _ in steps:
                    begun.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_it)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert seconds_of(await it.load()) > 0


async def test_a_larger_context_replaces_the_instance_and_a_smaller_one_keeps_it(bench: OpenBench) -> None:
    async with bench() as it:
        seconds_of(await it.load(512))
        assert await it.context_length() == 512
        first = it.pid
        assert await it.load(None) == await it.load(256) == [ModelReady(None)]
        assert it.pid == first
        seconds_of(await it.load(1024))
        assert await it.context_length() == 1024
        await gone(first)


async def test_a_larger_context_waits_for_the_requests_that_run(bench: OpenBench) -> None:
    async with bench() as it:
        seconds_of(await it.load(512))
        happened: list[str] = []
        waiting = anyio.Event()

        async def ask_for_more() -> None:
            async with aclosing(it.loading(1024)) as steps:
                async for step in steps:
                    happened.append(type(step).__name__)
                    waiting.set()

        async with anyio.create_task_group() as tasks:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                tasks.start_soon(ask_for_more)
                await waiting.wait()
                async for _ in chunks:
                    pass
                happened.append("the turn ended")
        assert happened[:2] == ["LoadStarted", "the turn ended"]
        assert happened[-1] == "ModelReady"
        assert await it.context_length() == 1024


async def test_a_request_that_comes_during_a_reload_is_answered_by_the_new_instance(bench: OpenBench) -> None:
    async with bench() as it:
        seconds_of(await it.load(256))
        answer: list[str] = []

        async def generate() -> None:
            answer.append((await written(it.generate(ask("Hello!")))).text)

        async with anyio.create_task_group() as tasks:
            async with aclosing(it.loading(2048)) as steps:
                assert await anext(steps) == LoadStarted()
                tasks.start_soon(generate)
                async for _ in steps:
                    pass
        assert answer == ["Hello! How can I help you?"]
        assert await it.context_length() == 2048


async def test_two_askers_for_different_contexts_both_get_theirs(bench: OpenBench) -> None:
    async with bench() as it:
        got: dict[int, float] = {}

        async def ask_for(context_length: int) -> None:
            got[context_length] = seconds_of(await it.load(context_length))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for, 512)
            tasks.start_soon(ask_for, 2048)
        assert set(got) == {512, 2048}
        assert await it.context_length() == 2048


async def test_a_file_that_is_no_gguf_fails_with_the_words_of_llama_cpp(bench: OpenBench, demo_folder: Path) -> None:
    broken = demo_folder / "someone" / "broken"
    broken.mkdir()
    (broken / "broken.gguf").write_bytes(b"this is not a model" * 100)
    async with bench(demo_folder, "someone/broken") as it:
        with pytest.raises(OrchestratorError) as caught:
            await it.load()
        reason = "someone/broken could not be loaded: invalid magic characters: 'this', expected 'GGUF'."
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, reason)


async def test_a_file_that_was_cut_short_fails_for_every_waiter_with_the_reason(
    bench: OpenBench, demo_folder: Path
) -> None:
    cut = demo_folder / "someone" / "cut"
    cut.mkdir()
    (cut / "cut.gguf").write_bytes(DEMO_FILE.read_bytes()[: 2**20])
    async with bench(demo_folder, "someone/cut") as it:
        errors: list[ErrorInfo] = []

        async def ask_for_it() -> None:
            try:
                await it.load()
            except OrchestratorError as error:
                errors.append(error.info)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for_it)
            tasks.start_soon(ask_for_it)
        assert len(errors) == 2 and errors[0] == errors[1]
        assert "is not within the file bounds, model is corrupted or incomplete" in errors[0].message


async def test_a_repaired_file_loads_without_a_restart(bench: OpenBench, demo_folder: Path) -> None:
    file = demo_folder / "someone" / "copied" / "copied-q8_0.gguf"
    whole = file.read_bytes()
    file.write_bytes(whole[: 2**20])
    async with bench(demo_folder, "someone/copied") as it:
        with pytest.raises(OrchestratorError):
            await it.load()
        file.write_bytes(whole)
        assert seconds_of(await it.load()) > 0


async def test_a_file_that_vanished_is_an_engine_error(bench: OpenBench, demo_folder: Path) -> None:
    async with bench(demo_folder, "someone/copied") as it:
        (demo_folder / "someone" / "copied" / "copied-q8_0.gguf").unlink()
        with pytest.raises(OrchestratorError) as caught:
            await it.load()
        assert caught.value.info.kind == ErrorKind.ENGINE_ERROR
        assert "No such file or directory" in caught.value.info.message


async def test_a_closed_engine_loads_nothing_more(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        pid = it.pid
        await it.engine.aclose()
        await gone(pid)
        with pytest.raises(OrchestratorError) as caught:
            await it.load()
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, "The embedded engine is shut down.")


async def test_closing_the_engine_ends_a_load_and_tells_its_waiters(bench: OpenBench) -> None:
    async with bench() as it:
        async with aclosing(it.loading()) as steps:
            assert await anext(steps) == LoadStarted()
            await it.engine.aclose()
            with pytest.raises(OrchestratorError) as caught:
                async for _ in steps:
                    pass
        assert caught.value.info.kind == ErrorKind.ENGINE_UNAVAILABLE


async def test_an_unloaded_model_is_gone_and_comes_back_when_it_is_asked_for(bench: OpenBench) -> None:
    async with bench() as it:
        await it.engine.unload("nobody")
        await it.load()
        pid = it.pid
        await it.engine.unload(INSTANCE)
        await gone(pid)
        assert await it.context_length() is None
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"


async def test_a_worker_that_cannot_be_spawned_is_an_engine_error(
    bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    async with bench() as it:
        with pytest.raises(OrchestratorError) as caught:
            await it.load()
        message = "demo/tiny-tools could not be loaded: No such file or directory."
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)
        monkeypatch.undo()
        assert seconds_of(await it.load()) > 0


async def test_an_embedding_model_does_not_chat(bench: OpenBench) -> None:
    async with bench() as it:
        with pytest.raises(OrchestratorError) as caught:
            await anext(it.engine.generate(replace(it.model, type="embedding"), INSTANCE, ask("Hello!")))
        message = "demo/tiny-tools is an embedding model: it cannot chat."
        assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "model")


async def test_a_model_that_was_installed_after_the_listing_loads(bench: OpenBench, tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        late = replace(it.model, key="someone/late")
        with pytest.raises(OrchestratorError) as caught:
            await anext(it.engine.load(late, "late", LoadSettings()))
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, "The file of someone/late is gone.")
        (tmp_path / "someone" / "late").mkdir(parents=True)
        shutil.copy(DEMO_FILE, tmp_path / "someone" / "late" / "late.gguf")
        assert seconds_of([step async for step in it.engine.load(late, "late", LoadSettings())]) > 0
