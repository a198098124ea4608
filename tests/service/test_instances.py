"""Which models are in memory: one policy over all engines."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadStarted, ModelReady
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.request import PluginRequest
from orchestrator.core.response import Completed
from orchestrator.core.stream import QueuePosition
from orchestrator.ports import EngineTraits, LoadStep
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.models import ModelService
from orchestrator.testing import SCRIPTED_MODEL, Call, FakeServer, Say, ScriptedEngine, Stall
from tests.service.house import events_of, fake_tool, service

pytestmark = pytest.mark.anyio


class Shelf(ScriptedEngine):
    """An engine with several models; `log` is what it was told to load and unload, `fits` how many fit at once.

    A model of the name `broken` does not load.
    """

    def __init__(self, *keys: str, fits: int = 99, traits: EngineTraits | None = None) -> None:
        super().__init__([[Say("hi")]], load=(LoadStarted(), ModelReady(1.0)), parallel=1)
        if traits is not None:
            self.traits = traits
        self._keys = keys
        self.fits = fits
        self.log: list[str] = []
        self.unloaded = anyio.Event()

    async def models(self) -> Sequence[Model]:
        loaded = tuple(self.loaded.values())
        return [
            Model(
                key,
                self.name,
                "llm",
                "test",
                key,
                max_context_length=8192,
                loaded_instances=tuple(one for one in loaded if one.id.partition(":")[0] == key),
            )
            for key in self._keys
        ]

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        if len(self.loaded) - len(freed) >= self.fits:
            raise OrchestratorError(ErrorKind.INSUFFICIENT_RESOURCES, "it does not fit")
        return len(self.loaded) < self.fits

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        if instance_id in self.loaded:
            yield ModelReady()
            return
        self.log.append(f"+{instance_id}")
        if model.key == "broken":
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, "its file is cut short")
        async for step in super().load(model, instance_id, settings, ttl_seconds):
            yield step

    async def unload(self, instance_id: str) -> None:
        self.log.append(f"-{instance_id}")
        await super().unload(instance_id)
        self.unloaded.set()


def house_of(engine: ScriptedEngine, policy: InstancePolicy | None = None) -> tuple[ModelService, InstanceService]:
    models = ModelService([engine])
    return models, InstanceService(models, policy or InstancePolicy())


async def visit(models: ModelService, instances: InstanceService, key: str, context_length: int | None = None) -> str:
    """Use a model once, just in time; returns the instance that served."""
    choice = await models.find(key)
    place = instances.choose(choice, context_length)
    place.leave()
    async with instances.use(choice, place.instance_id, context_length, None, lambda _: None) as (instance, _):
        return instance.id


async def test_an_instance_is_loaded_once_and_shared() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine)
    assert [await visit(models, instances, "a"), await visit(models, instances, "a")] == ["a", "a"]
    assert engine.log == ["+a"]


async def test_an_explicit_load_makes_another_instance_and_an_unload_ends_it() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine)
    first = await instances.load("a", LoadSettings(), None)
    second = await instances.load("a", LoadSettings(context_length=100), None)
    assert (first.instance.id, second.instance.id, second.load_seconds) == ("a", "a:2", 1.0)
    assert await visit(models, instances, "a:2") == "a:2"
    await instances.unload("a:2")
    assert engine.log == ["+a", "+a:2", "-a:2"]
    with pytest.raises(OrchestratorError) as raised:
        await instances.unload("a:2")
    assert (raised.value.info.kind, raised.value.info.param) == (ErrorKind.UNKNOWN_INSTANCE, "instance_id")


@asynccontextmanager
async def looked_after(instances: InstanceService) -> AsyncGenerator[None]:
    """As in a running service; what is due when it is left is done."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(instances.run)
        yield
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


async def test_a_just_in_time_load_evicts_the_one_before_it_once_it_is_there_and_no_explicit_one() -> None:
    engine = Shelf("a", "b", "c")
    models, instances = house_of(engine)
    async with looked_after(instances):
        await instances.load("a", LoadSettings(), None)
        await visit(models, instances, "b")
        await visit(models, instances, "c")
    assert engine.log == ["+a", "+b", "+c", "-b"]


async def test_where_there_is_no_room_for_both_the_old_one_goes_first() -> None:
    engine = Shelf("a", "b", fits=1)
    models, instances = house_of(engine)
    await visit(models, instances, "a")
    await visit(models, instances, "b")
    assert engine.log == ["+a", "-a", "+b"]


@pytest.mark.parametrize("policy", [InstancePolicy(), InstancePolicy(keep_only_last=True)])
async def test_a_load_that_fails_evicts_nothing(policy: InstancePolicy) -> None:
    engine = Shelf("a", "broken")
    models, instances = house_of(engine, policy)
    async with looked_after(instances):
        await visit(models, instances, "a")
        with pytest.raises(OrchestratorError, match="its file is cut short"):
            await visit(models, instances, "broken")
    assert engine.log == ["+a", "+broken"]
    assert [one.id for one in instances.instances()] == ["a"]


async def test_without_auto_evict_everything_stays() -> None:
    engine = Shelf("a", "b")
    models, instances = house_of(engine, InstancePolicy(auto_evict=False))
    await visit(models, instances, "a")
    await visit(models, instances, "b")
    assert engine.log == ["+a", "+b"]


async def test_keep_only_last_gives_up_explicit_ones_too() -> None:
    engine = Shelf("a", "b")
    models, instances = house_of(engine, InstancePolicy(keep_only_last=True))
    async with looked_after(instances):
        await instances.load("a", LoadSettings(), None)
        await visit(models, instances, "b")
    assert engine.log == ["+a", "+b", "-a"]


async def test_an_instance_in_use_is_never_evicted() -> None:
    engine = Shelf("a", "b")
    models, instances = house_of(engine)
    choice = await models.find("a")
    async with looked_after(instances), instances.use(choice, "a", None, None, lambda _: None):
        await visit(models, instances, "b")
        await anyio.wait_all_tasks_blocked()
        assert engine.log == ["+a", "+b"]


async def test_a_load_that_does_not_fit_fails_and_evicts_nothing() -> None:
    engine = Shelf("a", "b", "c", fits=1)
    models, instances = house_of(engine)
    await instances.load("a", LoadSettings(), None)
    with pytest.raises(OrchestratorError, match="it does not fit"):
        await visit(models, instances, "b")
    assert engine.log == ["+a"]
    assert [one.id for one in instances.instances()] == ["a"]


async def test_an_idle_instance_is_unloaded_when_its_time_is_over() -> None:
    engine = Shelf("a", "b")
    models, instances = house_of(engine, InstancePolicy(ttl_seconds=0.01))
    await instances.load("b", LoadSettings(), None)
    await visit(models, instances, "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(instances.run)
        with anyio.fail_after(10):
            await engine.unloaded.wait()
        tasks.cancel_scope.cancel()
    assert engine.log == ["+b", "+a", "-a"]


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        (None, "'a' was loaded by a command, and stays as that said"),
        (EngineTraits(loads=False), "decides itself how long its models stay"),
    ],
)
async def test_a_ttl_that_would_not_be_kept_is_refused(traits: EngineTraits | None, message: str) -> None:
    models, instances = house_of(Shelf("a", traits=traits))
    if traits is None:
        await instances.load("a", LoadSettings(), None)
    with pytest.raises(OrchestratorError, match=message) as raised:
        instances.choose(await models.find("a"), None, 60)
    assert (raised.value.info.kind, raised.value.info.param) == (ErrorKind.INVALID_VALUE, "ttl")


async def test_a_request_with_a_ttl_goes_to_the_instance_that_can_keep_it() -> None:
    models, instances = house_of(Shelf("a"))
    choice = await models.find("a")
    await visit(models, instances, "a")
    await instances.load("a", LoadSettings(), None)
    async with instances.use(choice, "a", None, None, lambda _: None):
        for ttl, instance_id in ((None, "a:2"), (60, "a")):
            place = instances.choose(choice, None, ttl)
            place.leave()
            assert place.instance_id == instance_id


async def test_an_explicit_instance_that_is_too_small_is_an_error() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine)
    await instances.load("a", LoadSettings(context_length=100), None)
    with pytest.raises(OrchestratorError) as raised:
        await visit(models, instances, "a", 200)
    assert (raised.value.info.kind, raised.value.info.param) == (ErrorKind.INVALID_VALUE, "context_length")


async def test_without_just_in_time_loading_only_what_is_loaded_serves() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine, InstancePolicy(jit_loading=False))
    with pytest.raises(OrchestratorError, match="just-in-time loading is off"):
        await visit(models, instances, "a")
    await instances.load("a", LoadSettings(), None)
    assert await visit(models, instances, "a") == "a"


async def test_an_engine_that_does_not_load_is_used_as_it_is() -> None:
    engine = Shelf("a", traits=EngineTraits(loads=False))
    models, instances = house_of(engine, InstancePolicy(jit_loading=False))
    assert await visit(models, instances, "a") == "a"
    with pytest.raises(OrchestratorError) as raised:
        await instances.load("a", LoadSettings(), None)
    assert raised.value.info.kind is ErrorKind.NOT_IMPLEMENTED


async def test_an_engine_with_one_instance_of_a_model_says_so() -> None:
    _, instances = house_of(Shelf("a", traits=EngineTraits(loads=True)))
    await instances.load("a", LoadSettings(), None)
    with pytest.raises(OrchestratorError) as raised:
        await instances.load("a", LoadSettings(), None)
    assert raised.value.info.kind is ErrorKind.NOT_IMPLEMENTED
    with pytest.raises(OrchestratorError) as raised:
        await instances.load("nope", LoadSettings(), None)
    assert raised.value.info.kind is ErrorKind.MODEL_NOT_FOUND


async def test_requests_beyond_the_slots_wait_and_hear_their_place() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1)
    async with service(engine) as house:
        first = await house.chat()
        async for _, event in first.events():
            if getattr(event, "content", None) == "a":
                break
        second = await house.chat()
        async for _, event in second.events():
            if isinstance(event, QueuePosition):
                assert event.position == 1
                break
        assert engine.open_generations == 1
        gate.set()
        assert (await first.result()).ending == (await second.result()).ending == Completed()
        assert [event for event in await events_of(second) if isinstance(event, QueuePosition)] == [
            QueuePosition(1),
            QueuePosition(0),
        ]


async def test_a_client_that_leaves_while_queued_leaves_the_queue() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1)
    async with service(engine) as house:
        first = await house.chat()
        async for _, event in first.events():
            if getattr(event, "content", None) == "a":
                break
        second = await house.chat()
        async for _, event in second.events():
            if isinstance(event, QueuePosition):
                second.disconnect()
        queue = house.instances.instances()[0].queue
        assert queue is not None
        assert queue.waiting == 0
        assert len(engine.requests) == 1
        gate.set()
        await first.result()


async def test_a_full_queue_is_told_to_come_back() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1)
    async with service(engine, policy=InstancePolicy(max_queued=1)) as house:
        runs = [await house.chat()]
        async for _, event in runs[0].events():
            if getattr(event, "content", None) == "a":
                break
        runs.append(await house.chat())
        async for _, event in runs[1].events():
            if isinstance(event, QueuePosition):
                break
        with pytest.raises(OrchestratorError) as raised:
            await house.chat()
        assert raised.value.info.kind is ErrorKind.RATE_LIMITED
        gate.set()
        for run in runs:
            await run.result()


async def test_a_load_that_fails_leaves_nothing_behind() -> None:
    error = OrchestratorError(ErrorKind.ENGINE_ERROR, "the file is corrupt")
    engine = ScriptedEngine([[Say("x")]], load=(LoadStarted(), error))
    async with service(engine) as house:
        await (await house.chat()).result()
        assert house.instances.instances() == []
        assert SCRIPTED_MODEL not in engine.loaded


async def test_an_unload_between_two_turns_waits_for_the_run_and_nothing_is_loaded_behind_its_back() -> None:
    calling, go_on = anyio.Event(), anyio.Event()

    async def wait(arguments: JsonObject) -> str:
        calling.set()
        await go_on.wait()
        return "done"

    engine = ScriptedEngine([[Call("wait", {})], [Say("hi")]], load=(LoadStarted(), ModelReady(1.0)))
    server = FakeServer([fake_tool("wait", wait)])
    unloaded = anyio.Event()
    async with service(engine, {"mcp/clock": server}) as house, anyio.create_task_group() as tasks:
        run = await house.chat("", PluginRequest("mcp/clock"))
        await calling.wait()

        async def unload() -> None:
            await house.instances.unload(SCRIPTED_MODEL)
            unloaded.set()

        tasks.start_soon(unload)
        tasks.start_soon(unload)
        await anyio.wait_all_tasks_blocked()
        assert (list(engine.loaded), unloaded.is_set()) == ([SCRIPTED_MODEL], False)
        go_on.set()
        assert (await run.result()).ending == Completed()
        with anyio.fail_after(10):
            await unloaded.wait()
        assert (engine.loaded, house.instances.instances()) == ({}, [])


async def test_who_comes_while_an_instance_leaves_has_it_loaded_anew_under_the_same_name() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine)
    choice = await models.find("a")
    served: list[str] = []
    async with anyio.create_task_group() as tasks:
        async with instances.use(choice, "a", None, None, lambda _: None):
            tasks.start_soon(instances.unload, "a")
            await anyio.wait_all_tasks_blocked()

            async def come() -> None:
                served.append(await visit(models, instances, "a"))

            tasks.start_soon(come)
            await anyio.wait_all_tasks_blocked()
            assert (engine.log, served) == (["+a"], [])
    assert (engine.log, served) == (["+a", "-a", "+a"], ["a"])


async def test_an_unload_that_is_called_off_leaves_the_instance_as_it_is() -> None:
    engine = Shelf("a")
    models, instances = house_of(engine)
    choice = await models.find("a")
    async with instances.use(choice, "a", None, None, lambda _: None):
        with anyio.move_on_after(0.01):
            await instances.unload("a")
        assert await visit(models, instances, "a") == "a"
    assert engine.log == ["+a"]


async def test_an_engine_with_one_instance_of_a_model_waits_for_the_leaving_one_before_a_load() -> None:
    engine = Shelf("a", traits=EngineTraits(loads=True))
    models, instances = house_of(engine)
    choice = await models.find("a")
    loaded: list[str] = []

    async def load() -> None:
        loaded.append((await instances.load("a", LoadSettings(), None)).instance.id)

    async with anyio.create_task_group() as tasks:
        async with instances.use(choice, "a", None, None, lambda _: None):
            tasks.start_soon(instances.unload, "a")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(load)
            await anyio.wait_all_tasks_blocked()
    assert (engine.log, loaded) == (["+a", "-a", "+a"], ["a"])


class Hanging(Shelf):
    """An engine whose unloads wait for `gate`."""

    name = "hanging"

    def __init__(self, *keys: str) -> None:
        super().__init__(*keys)
        self.gate = anyio.Event()

    async def unload(self, instance_id: str) -> None:
        await self.gate.wait()
        await super().unload(instance_id)


async def test_a_load_waits_for_no_unload_on_another_engine() -> None:
    stuck, engine = Hanging("a"), Shelf("b", "c")
    models = ModelService([stuck, engine])
    instances = InstanceService(models, InstancePolicy())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(instances.run)
        await visit(models, instances, "a")
        with anyio.fail_after(5):
            assert [await visit(models, instances, "b"), await visit(models, instances, "c")] == ["b", "c"]
        await anyio.wait_all_tasks_blocked()
        assert (stuck.log, engine.log) == (["+a"], ["+b", "+c", "-b"])
        stuck.gate.set()
        with anyio.fail_after(5):
            await stuck.unloaded.wait()
        tasks.cancel_scope.cancel()
    assert [one.id for one in instances.instances()] == ["c"]


async def test_an_unload_that_hangs_keeps_no_other_instance_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.service.evictions.REAP_SECONDS", 0.01)
    stuck, engine = Hanging("a"), Shelf("b")
    models = ModelService([stuck, engine])
    instances = InstanceService(models, InstancePolicy(auto_evict=False, ttl_seconds=0.01))
    async with anyio.create_task_group() as tasks:
        await visit(models, instances, "a")
        await visit(models, instances, "b")
        tasks.start_soon(instances.run)
        with anyio.fail_after(5):
            await engine.unloaded.wait()
        tasks.cancel_scope.cancel()
    assert stuck.log == ["+a"]
