"""The bound of a queue holds however many come at once: a place is taken when a request is taken on."""

from dataclasses import replace

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings
from orchestrator.core.request import PluginRequest
from orchestrator.core.response import Completed
from orchestrator.ports import EngineTraits
from orchestrator.service.admission import LOADING_SECONDS, Admissions
from orchestrator.service.fair_queue import FairQueue
from orchestrator.service.instances import InstancePolicy
from orchestrator.service.live_runs import LiveRun
from orchestrator.testing import SCRIPTED_MODEL, SCRIPTED_TRAITS, Call, FakeServer, Say, ScriptedEngine, Stall
from tests.service.house import Service, fake_tool, service

pytestmark = pytest.mark.anyio

ONE_AT_ONCE = replace(SCRIPTED_TRAITS, parallel=1)


async def burst(house: Service, requests: int) -> tuple[list[LiveRun], list[OrchestratorError]]:
    """So many requests, none of which waits for what becomes of another."""
    taken: list[LiveRun] = []
    refused: list[OrchestratorError] = []

    async def ask() -> None:
        try:
            taken.append(await house.chat())
        except OrchestratorError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(requests):
            tasks.start_soon(ask)
    return taken, refused


@pytest.mark.parametrize("loaded", [False, True])
async def test_of_forty_requests_at_once_as_many_get_in_as_there_are_slots_and_places(loaded: bool) -> None:
    gate = anyio.Event()
    engine = ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1, traits=ONE_AT_ONCE)
    async with service(engine, policy=InstancePolicy(max_queued=3), max_concurrent_runs=99) as house:
        if loaded:
            await house.instances.load(SCRIPTED_MODEL, LoadSettings(), None)
        taken, refused = await burst(house, 40)
        gate.set()
        assert [(await run.result()).ending for run in taken] == [Completed()] * 4
        assert {error.info.kind for error in refused} == {ErrorKind.RATE_LIMITED}
        assert len(refused) == 36
        again, refused = await burst(house, 4)
        assert (len(again), refused) == (4, [])


async def test_an_engine_whose_instances_tell_no_number_of_slots_has_a_queue_as_well() -> None:
    gate = anyio.Event()
    engine = ScriptedEngine([[Stall(gate)]], traits=EngineTraits(loads=False, parallel=2))
    async with service(engine, policy=InstancePolicy(max_queued=1), max_concurrent_runs=99) as house:
        taken, refused = await burst(house, 10)
        await anyio.wait_all_tasks_blocked()
        assert (len(taken), len(refused), engine.open_generations) == (3, 7, 2)
        (instance,) = house.instances.instances()
        assert instance.queue is not None
        assert (instance.queue.taken, instance.queue.waiting) == (2, 1)
        gate.set()
        for run in taken:
            assert (await run.result()).ending == Completed()


async def test_who_leaves_fails_or_is_refused_on_the_way_gives_its_place_up() -> None:
    broken = OrchestratorError(ErrorKind.ENGINE_ERROR, "the file is corrupt")
    engine = ScriptedEngine([[Say("a")]], load=(broken,), traits=ONE_AT_ONCE)
    async with service(engine, policy=InstancePolicy(max_queued=1), max_concurrent_runs=1) as house:
        for _ in range(5):
            taken, refused = await burst(house, 5)  # one is taken on, the others run into MAX_CONCURRENT_RUNS
            assert (len(taken), len(refused)) == (1, 4)
            await taken[0].ended()
            await anyio.wait_all_tasks_blocked()


async def test_a_run_whose_tools_run_claims_nothing_and_its_next_turn_is_not_refused() -> None:
    calling, go_on = anyio.Event(), anyio.Event()

    async def wait(arguments: JsonObject) -> str:
        calling.set()
        await go_on.wait()
        return "waited"

    gate = anyio.Event()
    engine = ScriptedEngine([[Call("wait", {})], [Stall(gate), Say("done")]], parallel=1, traits=ONE_AT_ONCE)
    servers = {"mcp/clock": FakeServer([fake_tool("wait", wait)])}
    async with service(engine, servers, policy=InstancePolicy(max_queued=1), max_concurrent_runs=99) as house:
        first = await house.chat("", PluginRequest("mcp/clock"))
        await calling.wait()
        taken, refused = await burst(house, 5)
        assert (len(taken), len(refused)) == (2, 3)
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        gate.set()
        assert [(await run.result()).ending for run in (first, *taken)] == [Completed()] * 3


async def test_who_is_refused_hears_how_long_turns_take() -> None:
    now = 100.0
    queue = FairQueue(2, lambda: now)
    admissions = Admissions(max_queued=0)
    held = [admissions.admit("a", 2, queue) for _ in range(2)]

    def refusal() -> float | None:
        with pytest.raises(OrchestratorError) as raised:
            admissions.admit("a", 2, queue)
        assert raised.value.info.message == "0 requests wait for 'a' already. Try again later."
        return raised.value.retry_after_seconds

    assert refusal() == LOADING_SECONDS
    async with queue.slot("o", lambda _: None):
        held[0].leave()
        now = 160.0
        assert refusal() == 30  # one of two turns has been running for a minute
    admissions.admit("a", 2, queue)
    assert refusal() == 30
    async with queue.slot("o", lambda _: None):
        held[1].leave()
        now = 170.0
        assert refusal() == 30
    admissions.admit("a", 2, queue)
    assert refusal() == (60 + 0.3 * (10 - 60)) / 2
