"""How long models stay in Ollama that we loaded: as long as we say again and again, and no longer than we are there."""

import json
from datetime import UTC, datetime

import anyio
import httpx
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue
from orchestrator.core.models import LoadSettings
from orchestrator.engines.ollama.engine import OllamaEngine
from tests.engines.ollama.fakes import KEY, MODEL, as_json, line
from tests.engines.ollama.loopback import Answer, Asked, loopback
from tests.engines.ollama.runtime import TOOLS, Runtime

pytestmark = pytest.mark.anyio


class Keeper:
    """An Ollama that has a model from the first load on, until it is told to let it go."""

    def __init__(self, *, there_before: bool = False) -> None:
        self.loaded: list[JsonValue] = [{"model": KEY, "context_length": 4096}] if there_before else []
        self.told: list[JsonValue] = []
        self.renewed = anyio.Event()

    async def answer(self, asked: Asked) -> Answer:
        if asked.path == "/api/ps":
            return as_json({"models": self.loaded})
        assert isinstance(asked.body, dict)
        self.told.append(asked.body.get("keep_alive"))
        if asked.body.get("keep_alive") == 0:
            self.loaded = []
            return as_json({"done": True})
        self.loaded = [{"model": KEY, "context_length": 4096}]
        if len(self.told) > 2:
            self.renewed.set()
        return Answer((line(done=True, done_reason="stop"),))


async def test_what_we_loaded_is_renewed_while_we_are_there_and_unloaded_when_we_go() -> None:
    keeper = Keeper()
    async with loopback(keeper.answer) as server:
        engine = OllamaEngine(server.host, keep_alive=0.3)
        _ = [step async for step in engine.load(MODEL, KEY, LoadSettings())]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.keep)
            with anyio.fail_after(10):
                await keeper.renewed.wait()
            tasks.cancel_scope.cancel()
        await engine.aclose()
    assert set(map(json.dumps, keeper.told[:-1])) == {"0.3"}
    assert (keeper.told[-1], keeper.loaded) == (0, [])


async def test_a_longer_time_of_its_own_is_promised_in_parts_and_a_shorter_one_is_kept_to() -> None:
    for ttl, told in ((3600.0, 300), (60.0, 60.0)):
        keeper = Keeper()
        async with loopback(keeper.answer) as server:
            engine = OllamaEngine(server.host, keep_alive=300)
            _ = [step async for step in engine.load(MODEL, KEY, LoadSettings(), ttl)]
            await engine.aclose()
        assert keeper.told == [told, 0]


async def test_what_somebody_else_loaded_is_not_ours_to_end() -> None:
    keeper = Keeper(there_before=True)
    async with loopback(keeper.answer) as server:
        engine = OllamaEngine(server.host, keep_alive=300)
        _ = [step async for step in engine.load(MODEL, KEY, LoadSettings())]
        await engine.aclose()
    assert keeper.told == []


class TwoNames:
    """An Ollama with one model by two names: it lists the runner by the name that loaded it, as v0.24 does."""

    def __init__(self) -> None:
        self.runner: JsonValue = None
        self.digests = {"one:latest": "d", "two:latest": "d"}

    async def answer(self, asked: Asked) -> Answer:
        match asked.path:
            case "/api/ps":
                return as_json({"models": [{"model": self.runner, "context_length": 4096}] if self.runner else []})
            case "/api/tags":
                return as_json({"models": [{"model": name, "digest": one} for name, one in self.digests.items()]})
            case "/api/show":
                return as_json({"capabilities": ["completion"]})
            case _:
                assert isinstance(asked.body, dict)
                self.runner = None if asked.body.get("keep_alive") == 0 else self.runner or asked.body["model"]
                return Answer((line(done=True, done_reason="stop"),))


async def loaded_names(engine: OllamaEngine) -> list[str]:
    return [one.id for model in await engine.models() for one in model.loaded_instances]


async def test_two_names_of_one_model_are_loaded_and_unloaded_each_by_itself() -> None:
    ollama = TwoNames()
    async with loopback(ollama.answer) as server:
        engine = OllamaEngine(server.host, keep_alive=300)
        one, two = await engine.models()
        for model, ttl in ((one, 3600.0), (two, 1.0)):
            _ = [step async for step in engine.load(model, model.key, LoadSettings(), ttl)]
        assert await loaded_names(engine) == ["one:latest", "two:latest"]
        await engine.unload("one:latest")
        assert (await loaded_names(engine), ollama.runner) == (["two:latest"], "one:latest")
        await engine.unload("two:latest")
        assert (await loaded_names(engine), ollama.runner) == ([], None)
        _ = [step async for step in engine.load(two, two.key, LoadSettings(), 1.0)]
        _ = [step async for step in engine.load(one, one.key, LoadSettings())]
        await engine.aclose()
    assert ollama.runner is None


async def test_a_name_of_what_somebody_else_loaded_by_another_one_leaves_it_there() -> None:
    ollama = TwoNames()
    ollama.runner = "one:latest"
    async with loopback(ollama.answer) as server:
        engine = OllamaEngine(server.host, keep_alive=300)
        _, two = await engine.models()
        _ = [step async for step in engine.load(two, two.key, LoadSettings(), 1.0)]
        assert await loaded_names(engine) == ["one:latest", "two:latest"]
        await engine.unload("two:latest")
        assert await loaded_names(engine) == ["one:latest"]
        ollama.digests["two:latest"] = "another"  # it was pulled anew
        assert await loaded_names(engine) == ["one:latest"]
        await engine.aclose()
    assert ollama.runner == "one:latest"


async def test_as_many_slots_as_there_are_may_be_asked_for_and_no_others() -> None:
    keeper = Keeper()
    async with loopback(keeper.answer) as server:
        engine = OllamaEngine(server.host, parallel=2)
        _ = [step async for step in engine.load(MODEL, KEY, LoadSettings(parallel=2))]
        with pytest.raises(OrchestratorError) as caught:
            await engine.check_fit(MODEL, LoadSettings(parallel=1), ())
        await engine.aclose()
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, "parallel")


@pytest.mark.ollama
async def test_the_real_one_keeps_a_model_for_a_bounded_time_and_not_beyond_us(runtime: Runtime) -> None:
    runtime.unload(TOOLS)
    engine = OllamaEngine(runtime.host, keep_alive=300)
    model = next(model for model in await engine.models() if model.key == TOOLS)
    _ = [step async for step in engine.load(model, TOOLS, LoadSettings())]

    def listed() -> list[str]:
        reply = httpx.get(f"{runtime.host}/api/ps", trust_env=False).json()
        return [entry["expires_at"] for entry in reply["models"] if entry["model"] == TOOLS]

    (until,) = listed()
    left = datetime.fromisoformat(until) - datetime.now(UTC)
    await engine.aclose()
    assert 200 < left.total_seconds() <= 301
    assert listed() == []


@pytest.mark.ollama
async def test_the_real_one_keeps_a_model_that_has_another_name_as_long_as_that_is_wanted(runtime: Runtime) -> None:
    runtime.unload(TOOLS)
    copy = f"{TOOLS.partition(':')[0]}:copy"
    async with httpx.AsyncClient(base_url=runtime.host, trust_env=False, timeout=30) as client:
        (await client.post("/api/copy", json={"source": TOOLS, "destination": copy})).raise_for_status()
        engine = OllamaEngine(runtime.host, keep_alive=300)
        both = {model.key: model for model in await engine.models() if model.key in (TOOLS, copy)}
        for key in (TOOLS, copy):
            _ = [step async for step in engine.load(both[key], key, LoadSettings(), 60.0)]
        assert sorted(await loaded_names(engine)) == sorted([TOOLS, copy])
        await engine.unload(copy)
        assert await loaded_names(engine) == [TOOLS]
        assert [one["model"] for one in (await client.get("/api/ps")).json()["models"]] == [TOOLS]
        await engine.unload(TOOLS)
        assert await loaded_names(engine) == []
        await engine.aclose()
        (await client.request("DELETE", "/api/delete", json={"model": copy})).raise_for_status()
