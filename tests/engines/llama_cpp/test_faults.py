"""Requests in plenty, requests that leave, workers that die, parents that die."""

import json
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from time import perf_counter
from typing import Final

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadStarted, ModelReady
from orchestrator.core.models import LoadSettings
from orchestrator.engines.llama_cpp.process import worker_environment
from orchestrator.ports import GenerationChunk
from tests.engines.llama_cpp.conftest import OpenBench, gone
from tests.engines.samples import ask, ask_time, first_text, fold, ramble, written

pytestmark = pytest.mark.anyio
ZONES: Final = [
    "Europe/Berlin",
    "Asia/Tokyo",
    "America/New_York",
    "Africa/Cairo",
    "Europe/Paris",
    "Asia/Kolkata",
    "America/Lima",
    "Europe/Oslo",
]


async def test_eight_requests_over_four_slots_get_their_own_answers(bench: OpenBench) -> None:
    async with bench() as it:
        found: dict[str, str] = {}
        most = 0

        async def run(zone: str) -> None:
            nonlocal most
            chunks: list[GenerationChunk] = []
            async with aclosing(it.generate(ask_time(zone))) as turn:
                async for chunk in turn:
                    most = max(most, it.host.queue.taken)
                    chunks.append(chunk)
            found[zone] = json.loads(fold(chunks).calls[0][1])["timezone"]

        async with anyio.create_task_group() as tasks:
            for zone in ZONES:
                tasks.start_soon(run, zone)
        assert found == {zone: zone for zone in ZONES}
        assert most == 4
        assert (it.host.queue.taken, it.host.queue.waiting) == (0, 0)


async def test_requests_are_answered_in_the_order_in_which_they_came(bench: OpenBench) -> None:
    async with bench(slots=1) as it:
        await it.load()
        order: list[int] = []

        async def run(number: int) -> None:
            await written(it.generate(ask("Thanks!")))
            order.append(number)

        async with anyio.create_task_group() as tasks:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                for number in range(5):
                    tasks.start_soon(run, number)
                    await anyio.wait_all_tasks_blocked()
        assert order == [0, 1, 2, 3, 4]


async def test_a_request_that_waits_and_leaves_is_out_of_the_queue(bench: OpenBench) -> None:
    async with bench(slots=1) as it:
        await it.load()
        async with aclosing(it.generate(ramble())) as chunks:
            await first_text(chunks)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(written, it.generate(ask("Hello!")))
                await anyio.wait_all_tasks_blocked()
                assert it.host.queue.waiting == 1
                tasks.cancel_scope.cancel()
            assert (it.host.queue.taken, it.host.queue.waiting) == (1, 0)
        assert (it.host.queue.taken, it.host.queue.waiting) == (0, 0)


async def test_closing_one_of_four_lets_the_fifth_in_while_three_go_on(bench: OpenBench) -> None:
    async with bench() as it, AsyncExitStack() as held:
        turns = [await held.enter_async_context(aclosing(it.generate(ramble()))) for _ in range(4)]
        for turn in turns:
            await first_text(turn)
        answer: list[str] = []

        async def fifth() -> None:
            answer.append((await written(it.generate(ask("Hello!")))).text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fifth)
            await anyio.wait_all_tasks_blocked()
            assert (it.host.queue.taken, it.host.queue.waiting) == (4, 1)
            await turns[0].aclose()
        assert answer == ["Hello! How can I help you?"]
        assert it.host.queue.taken == 3


async def test_llama_cpp_itself_stops_writing_for_a_request_that_left(bench: OpenBench) -> None:
    """Measured against itself: after four turns that leave, the next answer comes long before four whole turns end."""
    async with bench() as it:
        await it.load()
        begun = perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(written, it.generate(ramble()))
        whole = perf_counter() - begun
        async with AsyncExitStack() as held:
            for _ in range(4):
                await first_text(await held.enter_async_context(aclosing(it.generate(ramble()))))
        begun = perf_counter()
        await written(it.generate(ask("Hello!")))
        assert perf_counter() - begun < whole / 2


async def test_a_request_that_leaves_frees_its_slot_at_the_next_token(bench: OpenBench) -> None:
    """The one slot there is: 5 to 20 ms were measured from the end of one turn to the first token of the next."""
    async with bench(slots=1) as it:
        await it.load()
        took: list[float] = []
        for _ in range(5):
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
            begun = perf_counter()
            async with aclosing(it.generate(ask("Hello!"))) as chunks:
                await first_text(chunks)
            took.append(perf_counter() - begun)
        assert min(took) < 0.1  # of five, since the machine may be busy with something else


async def test_a_worker_that_gets_no_memory_says_so_and_the_next_load_works(
    bench: OpenBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -s 256; ulimit -v 1200000\nexec "{sys.executable}" "$@"\n')
    limited.chmod(0o700)
    async with bench() as it:
        with monkeypatch.context() as patched:
            patched.setattr("orchestrator.engines.llama_cpp.process.sys.executable", str(limited))
            with pytest.raises(OrchestratorError) as caught:
                async for _ in it.engine.load(it.model, "an-instance", LoadSettings(2048, parallel=256)):
                    pass
        assert caught.value.info.kind is ErrorKind.ENGINE_ERROR
        assert caught.value.info.message.startswith("demo/tiny-tools could not be loaded: ")
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"


async def test_a_worker_killed_in_mid_stream_fails_its_requests_and_the_next_one_loads_again(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        pid = it.pid
        with pytest.raises(OrchestratorError) as caught:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                os.kill(pid, signal.SIGKILL)
                async for _ in chunks:
                    pass
        message = "llama.cpp broke off its answer: the worker process was ended by SIGKILL."
        assert (caught.value.info.kind, caught.value.info.message) == (ErrorKind.ENGINE_ERROR, message)
        assert await it.context_length() is None
        steps = await it.load()
        assert steps[0] == LoadStarted()
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"
        assert it.pid != pid


async def test_a_worker_that_died_while_idle_is_replaced_without_an_error(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load(512)
        pid = it.pid
        os.kill(pid, signal.SIGKILL)
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"
        assert it.pid != pid
        assert await it.context_length() == 512


async def test_a_worker_that_falls_silent_is_ended_and_the_next_request_loads_again(bench: OpenBench) -> None:
    async with bench(silence_seconds=3) as it:
        await it.load()
        pid = it.pid
        with pytest.raises(OrchestratorError) as caught:
            async with aclosing(it.generate(ramble())) as chunks:
                await first_text(chunks)
                os.kill(pid, signal.SIGSTOP)
                async for _ in chunks:
                    pass
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, "llama.cpp fell silent and was ended.")
        os.kill(pid, signal.SIGCONT)
        await gone(pid)
        steps = await it.load()
        assert (steps[0], it.pid == pid) == (LoadStarted(), False)


async def test_requests_in_the_queue_outlive_the_worker_that_they_waited_for(bench: OpenBench) -> None:
    async with bench(slots=1) as it:
        await it.load()
        answers: list[str] = []

        async def run() -> None:
            answers.append((await written(it.generate(ask("Hello!")))).text)

        async with anyio.create_task_group() as tasks:
            with pytest.raises(OrchestratorError):
                async with aclosing(it.generate(ramble())) as chunks:
                    await first_text(chunks)
                    for _ in range(3):
                        tasks.start_soon(run)
                    await anyio.wait_all_tasks_blocked()
                    os.kill(it.pid, signal.SIGKILL)
                    async for _ in chunks:
                        pass
        assert answers == ["Hello! How can I help you?"] * 3


async def test_an_idle_instance_whose_worker_dies_is_there_again_before_anybody_asks(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load(1024)
        pid = it.pid
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        while it.host.worker_pid in (None, pid):  # noqa: ASYNC110 - nobody is told of it
            await anyio.sleep(0.05)
        assert await it.context_length() == 1024
        assert await it.load(1024) == [ModelReady(None)]


async def test_an_instance_whose_worker_keeps_dying_waits_to_be_asked_for(
    bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engines.llama_cpp.host.MOST_DEATHS", 0)
    monkeypatch.setattr("orchestrator.engines.llama_cpp.host.REVIVAL_SECONDS", 0.01)
    async with bench() as it:
        await it.load()
        os.kill(it.pid, signal.SIGKILL)
        await anyio.sleep(0.3)  # long enough to be there again, were it loaded
        assert await it.context_length() is None
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"


async def test_a_stopped_worker_that_ignores_sigterm_is_killed(
    bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engines.llama_cpp.process.TERM_SECONDS", 0.2)
    async with bench() as it:
        await it.load()
        pid = it.pid
        os.kill(pid, signal.SIGSTOP)  # a stopped process takes SIGTERM only when it is continued
        await it.engine.aclose()
        await gone(pid)


async def test_the_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with anyio.fail_after(30):
        async with await anyio.open_process([sys.executable, str(script)], stderr=subprocess.DEVNULL) as parent:
            assert parent.stdout is not None
            text = ""
            async for block in TextReceiveStream(parent.stdout):
                text += block
                if "worker " in text and text.endswith("\n"):
                    break
            worker = int(text.rpartition("worker ")[2])
            parent.kill()
            await parent.wait()
            await gone(worker)


PARENT: Final = """
import anyio
from orchestrator.core.models import LoadSettings
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine

async def main():
    async with anyio.create_task_group() as tasks:
        engine = LlamaCppEngine(None, tasks)
        (model,) = await engine.models()
        async for _ in engine.load(model, "one", LoadSettings()):
            pass
        print("worker", (await engine.host(model, "one")).worker_pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_the_worker_gets_neither_secrets_nor_its_key_where_others_can_read_them(
    bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-secret-of-the-service")
    async with bench() as it:
        await it.load()
        environment = await anyio.Path(f"/proc/{it.pid}/environ").read_bytes()
        arguments = (await anyio.Path(f"/proc/{it.pid}/cmdline").read_bytes()).split(b"\0")
        assert b"a-secret-of-the-service" not in environment
        assert arguments[1:] == [b"-P", b"-m", b"orchestrator.engines.llama_cpp.worker", b"an-instance", b""]


def test_only_what_the_loader_and_the_drivers_read_is_inherited() -> None:
    inherited = worker_environment(
        {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "OPENAI_API_KEY": "k", "PYTHONPATH": "x"}
    )
    inherited.pop("PYTHONPATH")
    assert inherited == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "LLAMA_SERVER_ROUTER_PORT": "0",
        "GGML_NO_BACKTRACE": "1",
    }


async def test_the_load_of_a_request_is_not_needed_first(bench: OpenBench) -> None:
    async with bench() as it:
        assert (await written(it.generate(ask("Hello!")))).text == "Hello! How can I help you?"
        assert await it.load() == [ModelReady(None)]
