"""A slot that Ollama lost when a turn was broken off: https://github.com/ollama/ollama/issues/17131."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio
import pytest

from orchestrator.engines.ollama.engine import OllamaEngine
from tests.engines.ollama.fakes import KEY, MODEL, Bench, as_json, fake_ollama, line
from tests.engines.ollama.loopback import Answer, Asked
from tests.engines.samples import ask, first_text, written

pytestmark = pytest.mark.anyio

BOUND_SECONDS: Final = 10


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    async with fake_ollama() as opened:
        yield opened


async def _stuck(bench: Bench) -> OllamaEngine:
    """An engine that broke off a turn, before an Ollama that answers again only when the model was unloaded."""
    bench.says(line("Hi"), anyio.Event())
    engine = OllamaEngine(bench.server.host, patience_seconds=0.2, silence_seconds=BOUND_SECONDS)
    async with aclosing(engine.generate(MODEL, KEY, ask("Hello!"))) as chunks:
        await first_text(chunks)

    async def answer(asked: Asked) -> Answer:
        match asked.path:
            case "/api/generate":
                bench.fake.chat = Answer((line("Hello."), line(done=True, done_reason="stop")))
                bench.fake.ps = as_json({"models": []})
                return as_json({"response": "", "done": True, "done_reason": "unload"})
            case "/api/chat" if bench.fake.chat.pieces == ():
                await anyio.sleep_forever()
            case _:
                pass
        return await bench.fake.answer(asked)

    bench.server.answering = answer
    bench.fake.chat = Answer(())
    return engine


async def test_a_turn_that_waits_after_a_broken_one_gets_a_fresh_model(bench: Bench) -> None:
    engine = await _stuck(bench)
    with anyio.fail_after(BOUND_SECONDS):
        turn = await written(engine.generate(MODEL, KEY, ask("Hello!")))
    assert turn.text == "Hello."
    assert [asked.path for asked in bench.server.asked] == [
        "/api/chat",
        "/api/chat",
        "/api/generate",
        "/api/ps",
        "/api/chat",
    ]
    await engine.aclose()


async def test_a_turn_that_waits_without_a_reason_to_suspect_anything_waits_on(bench: Bench) -> None:
    release = anyio.Event()

    async def answer(asked: Asked) -> Answer:
        await release.wait()
        return Answer((line("Hello."), line(done=True, done_reason="stop")))

    bench.server.answering = answer
    engine = OllamaEngine(bench.server.host, patience_seconds=0, silence_seconds=BOUND_SECONDS)
    texts: list[str] = []

    async def run() -> None:
        texts.append((await written(engine.generate(MODEL, KEY, ask("Hello!")))).text)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert (texts, len(bench.server.asked)) == (["Hello."], 1)
    await engine.aclose()
