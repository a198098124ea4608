"""Many writers, in one process and in several."""

from pathlib import Path

import anyio
import pytest

from orchestrator.core.response import Completed
from orchestrator.ports import Chain, ResponseStore
from tests.store.processes import writer_process
from tests.store.readings import past
from tests.store.samples import LEASE, MINUTE, NOON, STATS, answered, call, new_response, settled, text
from tests.store.stores import open_stores, sqlite_address

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


async def run_a_response(store: ResponseStore, response_id: str) -> None:
    call_id = f"call_{response_id}"
    await store.open_response(new_response(response_id))
    await store.journal_calls(response_id, [text(0), call(1, call_id)], NOON)
    await store.renew_leases([response_id], LEASE + MINUTE)
    await store.record_outcome(response_id, call_id, answered(response_id), NOON)
    await store.save_response(response_id, Completed(), STATS, [text(2)], [], NOON)


def chain_of(*response_ids: str) -> Chain:
    """What `writer_process` leaves of a chain."""
    told = [past(new_response(id), settled(call(0, f"call_{id}"), answered(id)), text(1)) for id in response_ids]
    last = new_response(response_ids[-1])
    return Chain(tuple(told), last.system_prompt, last.tool_names, response_ids[0])


async def test_32_writers_lose_nothing_and_each_gets_its_own_back(database_url: str) -> None:
    ids = [f"resp_{number}" for number in range(32)]
    async with open_stores(database_url) as stores:
        store = stores.responses
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for response_id in ids:
                    tasks.start_soon(run_a_response, store, response_id)
        for response_id in ids:
            items = (text(0), settled(call(1, f"call_{response_id}"), answered(response_id)), text(2))
            told = past(new_response(response_id), *items)
            assert (await store.load_chain(response_id, "ada")).responses == (told,)


@pytest.fixture(params=["sqlite", "postgres"])
def start_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as a first start finds it: no SQLite file yet, a migrated Postgres."""
    if request.param == "sqlite":
        return sqlite_address(tmp_path / "new.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


async def test_processes_that_start_together_lose_nothing(start_url: str) -> None:
    async def write(name: str) -> None:
        async with writer_process(start_url, "responses", name, "5") as (_, words):
            assert [word async for word in words] == ["done"]

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, "one")
            tasks.start_soon(write, "two")
    async with open_stores(start_url) as stores:
        for name in ("one", "two"):
            for task in range(8):
                ids = [f"resp_{name}_{task}_{number}" for number in range(5)]
                assert await stores.responses.load_chain(ids[-1], "ada") == chain_of(*ids)


async def test_several_processes_that_look_for_abandoned_responses_end_each_one_once(database_url: str) -> None:
    ids = [f"resp_{number:02}" for number in range(12)]
    found: list[str] = []

    async def look(store: ResponseStore) -> None:
        found.extend(await store.end_abandoned(LEASE + MINUTE, []))

    async with open_stores(database_url) as one, open_stores(database_url) as other:
        for response_id in ids:
            await one.responses.open_response(new_response(response_id))
            await one.responses.journal_calls(response_id, [call(0, f"call_{response_id}")], NOON)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for stores in (one, other, one, other):
                    tasks.start_soon(look, stores.responses)
        assert sorted(found) == ids
        assert await one.responses.holders_in_progress() == []
