"""One load for many, and never under a running request: the engine before an Ollama that loads when it is told to."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadStarted, ModelReady
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.models import LoadConfig, LoadSettings, Model, ModelInstance
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.ports import Embeddings, LoadStep
from tests.engines.ollama.fakes import as_json, line
from tests.engines.ollama.loopback import Answer, Asked, LoopbackServer, Piece, loopback
from tests.engines.ollama.runtime import TOOLS, Runtime
from tests.engines.samples import ask, first_text, written

pytestmark = pytest.mark.anyio

BOUND_SECONDS: Final = 10
KEY: Final = "some/model:latest"
MODEL: Final = Model(KEY, "ollama", "llm", "some", "some/model", max_context_length=8192)
DEFAULT_CONTEXT: Final = 4096


@dataclass(slots=True)
class LoadingOllama:
    """Loads the model when `may_load` is set; turns end when `may_write` is. `loads` are the loads it was asked for."""

    may_load: anyio.Event
    may_write: anyio.Event
    begun: anyio.Event
    context: int | None = None
    loads: list[JsonValue] = field(default_factory=list[JsonValue])
    turns: list[JsonValue] = field(default_factory=list[JsonValue])
    refusal: str | None = None

    async def answer(self, asked: Asked) -> Answer:
        if asked.path == "/api/ps":
            return as_json({"models": [{"model": KEY, "context_length": self.context}] if self.context else []})
        assert isinstance(asked.body, dict)
        options = asked.body.get("options")
        num_ctx = options.get("num_ctx") if isinstance(options, dict) else None
        if asked.body["messages"]:
            self.turns.append(num_ctx)
            return Answer((line("Hi"), self.may_write, line(done=True, done_reason="stop")))
        self.loads.append(num_ctx)
        self.begun.set()
        return Answer(self._load(num_ctx), 200 if self.refusal is None else 500)

    async def _load(self, num_ctx: JsonValue) -> AsyncGenerator[Piece]:
        """As Ollama does it: a load ends with the connection of whoever asked for it."""
        yield self.may_load
        if self.refusal is not None:
            yield json.dumps({"error": self.refusal}).encode()
            return
        self.context = num_ctx if isinstance(num_ctx, int) else DEFAULT_CONTEXT
        yield line(done=True, done_reason="load")


@dataclass(frozen=True, slots=True)
class Bench:
    ollama: LoadingOllama
    server: LoopbackServer
    engine: OllamaEngine

    async def steps(self, context_length: int | None = None) -> list[LoadStep]:
        return [step async for step in self.engine.load(MODEL, KEY, LoadSettings(context_length))]

    async def turn(self, model: Model = MODEL) -> None:
        await written(self.engine.generate(model, model.key, ask("Hello!")))


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    fake = LoadingOllama(anyio.Event(), anyio.Event(), anyio.Event())
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(loopback(fake.answer))
        engine = OllamaEngine(server.host)
        stack.push_async_callback(engine.aclose)
        yield Bench(fake, server, engine)


async def test_many_askers_share_one_load(bench: Bench) -> None:
    ready: list[list[LoadStep]] = []

    async def run() -> None:
        ready.append(await bench.steps())

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(run)
            await bench.ollama.begun.wait()
            bench.ollama.may_load.set()
    assert bench.ollama.loads == [None]
    for steps in ready:
        started, end = steps
        assert started == LoadStarted()
        assert isinstance(end, ModelReady) and end.load_seconds is not None


async def test_many_askers_share_one_failure(bench: Bench) -> None:
    bench.ollama.refusal = "out of memory"
    errors: list[ErrorInfo] = []

    async def run() -> None:
        with pytest.raises(OrchestratorError) as caught:
            await bench.steps()
        errors.append(caught.value.info)

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            await bench.ollama.begun.wait()
            await anyio.wait_all_tasks_blocked()
            bench.ollama.may_load.set()
    message = f"Ollama at {bench.server.host} answered with status 500: out of memory"
    assert errors == [ErrorInfo(ErrorKind.ENGINE_ERROR, message)] * 5
    assert bench.ollama.loads == [None]


async def test_a_load_that_failed_is_tried_again_by_the_next_one_who_asks(bench: Bench) -> None:
    bench.ollama.may_load.set()
    bench.ollama.refusal = "out of memory"
    with pytest.raises(OrchestratorError):
        await bench.steps()
    bench.ollama.refusal = None
    assert len(await bench.steps()) == 2
    assert bench.ollama.loads == [None, None]


async def test_a_load_whose_asker_leaves_is_taken_over_by_the_next_one(bench: Bench) -> None:
    steps: list[LoadStep] = []

    async def run() -> None:
        steps.extend(await bench.steps())

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(bench.steps)
                await bench.ollama.begun.wait()
                tasks.start_soon(run)
                await anyio.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            await bench.server.left.wait()
            bench.ollama.may_load.set()
    assert [type(step) for step in steps] == [LoadStarted, ModelReady]
    assert bench.ollama.loads == [None, None]


async def test_a_turn_asks_for_nothing_where_nothing_was_asked_for_at_the_load(bench: Bench) -> None:
    bench.ollama.may_load.set()
    bench.ollama.may_write.set()
    await bench.steps()
    await bench.turn()
    assert await bench.steps() == [ModelReady(None)]
    await bench.turn()
    assert bench.ollama.turns == [None, None]


async def test_a_turn_asks_for_the_context_of_its_load(bench: Bench) -> None:
    bench.ollama.may_load.set()
    bench.ollama.may_write.set()
    await bench.steps(1024)
    assert await bench.steps(512) == [ModelReady(None)]
    await bench.turn()
    await bench.steps(2048)
    await bench.turn()
    assert (bench.ollama.loads, bench.ollama.turns) == ([1024, 2048], [1024, 2048])


async def test_a_turn_asks_for_the_context_that_somebody_else_loaded(bench: Bench) -> None:
    bench.ollama.may_load.set()
    bench.ollama.may_write.set()
    await bench.steps(1024)
    bench.ollama.context = 3000
    assert await bench.steps() == [ModelReady(None)]
    await bench.turn()
    assert bench.ollama.turns == [3000]


async def test_a_turn_without_a_load_asks_for_the_context_that_was_listed(bench: Bench) -> None:
    bench.ollama.may_write.set()
    instance = ModelInstance(KEY, LoadConfig(context_length=3000))
    await bench.turn(Model(KEY, "ollama", "llm", "some", "some/model", loaded_instances=(instance,)))
    assert bench.ollama.turns == [3000]


async def test_a_larger_context_waits_for_the_turns_that_run_and_holds_up_new_ones(bench: Bench) -> None:
    bench.ollama.context = 1024
    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            async with aclosing(bench.engine.generate(MODEL, KEY, ask("Hello!"))) as running:
                await first_text(running)
                tasks.start_soon(bench.steps, 2048)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(bench.turn)
                await anyio.wait_all_tasks_blocked()
                assert (bench.ollama.loads, bench.ollama.turns) == ([], [None])
                bench.ollama.may_write.set()
                _ = [chunk async for chunk in running]
            await bench.ollama.begun.wait()
            assert bench.ollama.turns == [None]
            bench.ollama.may_load.set()
    assert (bench.ollama.loads, bench.ollama.turns) == ([2048], [None, 2048])


async def test_a_turn_that_is_cut_short_does_not_hold_up_a_load(bench: Bench) -> None:
    bench.ollama.context = 1024
    bench.ollama.may_load.set()
    async with aclosing(bench.engine.generate(MODEL, KEY, ask("Hello!"))) as running:
        await first_text(running)
    with anyio.fail_after(BOUND_SECONDS):
        assert len(await bench.steps(2048)) == 2


async def test_an_embedding_model_is_loaded_by_embedding_nothing() -> None:
    loaded: list[JsonObject] = []

    async def answer(asked: Asked) -> Answer:
        return as_json({"models": [*loaded]} if asked.path == "/api/ps" else {"embeddings": []})

    async with loopback(answer) as server:
        engine = OllamaEngine(server.host, keep_alive="10m")
        model = Model("embed:latest", "ollama", "embedding", "library", "embed")
        assert len([step async for step in engine.load(model, model.key, LoadSettings(512))]) == 2
        await engine.aclose()
    sent = [asked for asked in server.asked if asked.method == "POST"]
    body: JsonObject = {"model": "embed:latest", "input": [], "keep_alive": "10m", "options": {"num_ctx": 512}}
    assert sent == [Asked("POST", "/api/embed", body)]


async def test_an_unload_ends_the_runner_and_waits_until_it_is_gone() -> None:
    listed: list[JsonValue] = [{"model": KEY, "context_length": 4096}]
    looks = 0

    async def answer(asked: Asked) -> Answer:
        nonlocal looks
        if asked.path == "/api/ps":
            looks += 1
            return as_json({"models": listed if looks < 3 else []})
        return as_json({"done": True})

    async with loopback(answer) as server:
        engine = OllamaEngine(server.host)
        await engine.unload(KEY)
        await engine.unload("no-such-instance")
        await engine.aclose()
    body: JsonObject = {"model": KEY, "keep_alive": 0, "stream": False}
    assert [asked for asked in server.asked if asked.method == "POST"] == [Asked("POST", "/api/generate", body)]
    assert looks == 4


async def test_every_request_says_how_long_the_model_stays() -> None:
    async def answer(asked: Asked) -> Answer:
        if asked.path == "/api/ps":
            return as_json({"models": []})
        return Answer((line(done=True, done_reason="stop"),))

    async with loopback(answer) as server:
        engine = OllamaEngine(server.host, keep_alive=-1)
        for ttl in (None, 60):
            _ = [step async for step in engine.load(MODEL, KEY, LoadSettings(), ttl)]
            await written(engine.generate(MODEL, KEY, ask("Hello!")))
        await engine.aclose()
    sent = [asked.body for asked in server.asked if asked.method == "POST"]
    assert [body["keep_alive"] for body in sent if isinstance(body, dict)] == [-1, -1, 60, 60]


async def test_another_batch_size_loads_again_and_every_turn_asks_for_it() -> None:
    listed: list[JsonValue] = [{"model": KEY, "context_length": 4096}]

    async def answer(asked: Asked) -> Answer:
        return (
            as_json({"models": listed}) if asked.path == "/api/ps" else Answer((line(done=True, done_reason="stop"),))
        )

    async with loopback(answer) as server:
        engine = OllamaEngine(server.host)
        settings = LoadSettings(eval_batch_size=64)
        lengths = [len([step async for step in engine.load(MODEL, KEY, settings)]) for _ in range(2)]
        await written(engine.generate(MODEL, KEY, ask("Hello!")))
        await engine.aclose()
    assert lengths == [2, 1]
    sent = [asked.body for asked in server.asked if asked.method == "POST"]
    options = [body["options"] for body in sent if isinstance(body, dict)]
    assert [isinstance(one, dict) and one["num_batch"] for one in options] == [64, 64]


@pytest.mark.parametrize(
    ("settings", "message", "unloads"),
    [
        (LoadSettings(512, eval_batch_size=513), "A batch is at most as long as the context, 512 tokens", 0),
        (LoadSettings(eval_batch_size=8193), "A batch is at most as long as the context, 8192 tokens", 0),
        (LoadSettings(eval_batch_size=4097), f"{KEY} got a context of only 4096 tokens from Ollama, 4097 were", 1),
    ],
)
async def test_a_batch_beyond_the_context_is_refused_and_nothing_stays(
    settings: LoadSettings, message: str, unloads: int
) -> None:
    listed: list[JsonValue] = []

    async def answer(asked: Asked) -> Answer:
        if asked.path == "/api/ps":
            return as_json({"models": listed})
        assert isinstance(asked.body, dict)
        listed[:] = [] if asked.body.get("keep_alive") == 0 else [{"model": KEY, "context_length": 4096}]
        return Answer((line(done=True, done_reason="stop"),))

    async with loopback(answer) as server:
        engine = OllamaEngine(server.host)
        with pytest.raises(OrchestratorError, match=message) as raised:
            _ = [step async for step in engine.load(MODEL, KEY, settings)]
        await engine.aclose()
    assert (raised.value.info.kind, raised.value.info.param) == (ErrorKind.INVALID_VALUE, "eval_batch_size")
    assert (listed, len([one for one in server.asked if one.method == "POST"])) == ([], 2 * unloads)


async def test_an_embedding_model_embeds_and_any_other_says_that_it_does_not() -> None:
    async def answer(asked: Asked) -> Answer:
        return as_json({"embeddings": [[0.5, 1.0], [0.25, 0.0]], "prompt_eval_count": 7})

    model = Model("embed:latest", "ollama", "embedding", "library", "embed")
    async with loopback(answer) as server:
        engine = OllamaEngine(server.host)
        assert await engine.embed(model, model.key, ["a", "b"]) == Embeddings(((0.5, 1.0), (0.25, 0.0)), 7)
        with pytest.raises(OrchestratorError) as caught:
            await engine.embed(MODEL, KEY, ["a"])
        await engine.aclose()
    told = ErrorInfo(ErrorKind.INVALID_VALUE, f"Model '{KEY}' does not embed.", "model")
    assert caught.value.info == told


@pytest.mark.ollama
async def test_the_real_one_unloads_what_it_loaded(runtime: Runtime) -> None:
    engine = OllamaEngine(runtime.host)
    model = next(model for model in await engine.models() if model.key == TOOLS)
    _ = [step async for step in engine.load(model, TOOLS, LoadSettings(512, eval_batch_size=64), 60)]
    (loaded,) = [model for model in await engine.models() if model.key == TOOLS]
    await engine.unload(TOOLS)
    (gone,) = [model for model in await engine.models() if model.key == TOOLS]
    await engine.aclose()
    assert loaded.loaded_instances == (ModelInstance(TOOLS, LoadConfig(512, 64)),)
    assert gone.loaded_instances == ()
