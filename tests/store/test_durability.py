"""What is left after a process was killed, in whatever it was doing."""

import signal
from dataclasses import replace

import anyio
import pytest
from sqlalchemy import func, select

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome
from orchestrator.core.tools import text_content
from orchestrator.store.database import open_database
from orchestrator.store.rows import PROCESS_DIED
from orchestrator.store.tables import blobs
from tests.store.processes import writer_process
from tests.store.samples import LEASE, MINUTE, NOON, answered, call, new_response, settled, text
from tests.store.stores import open_stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


async def test_what_was_journaled_before_a_kill_is_there_and_the_open_calls_end_as_abandoned(
    database_url: str,
) -> None:
    with anyio.fail_after(60):
        async with writer_process(database_url, "calls") as (process, words):
            said = {await anext(words) for _ in range(4)}
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
    ids = [f"resp_{name}" for name in "abcd"]
    assert said == set(ids)

    later = LEASE + MINUTE
    abandoned = Outcome("abandoned", text_content(PROCESS_DIED), PROCESS_DIED, is_error=True)
    async with open_stores(database_url) as stores:
        store = stores.responses
        assert await store.holders_in_progress() == ["host:1"]
        assert await store.end_abandoned(later, []) == ids
        for name in "abcd":
            new = new_response(f"resp_{name}")
            items = (
                text(0),
                settled(call(1, f"call_{name}_1"), answered("12:00")),
                settled(call(2, f"call_{name}_2"), abandoned),
            )
            stored = await store.get_response(new.id, "ada")
            assert stored is not None
            assert stored == replace(
                stored,
                input=new.input,
                status="incomplete",
                incomplete_reason="process_died",
                output=tuple(output_entry(item) for item in items),
                created_at=NOON,
                ended_at=later,
            )
            assert [placed.status for placed in await store.list_calls(new.id, "ada")] == ["succeeded", "abandoned"]


async def test_a_kill_in_the_middle_of_a_write_leaves_nothing_of_it_and_the_database_free(database_url: str) -> None:
    with anyio.fail_after(60):
        async with writer_process(database_url, "unit") as (process, words):
            assert await anext(words) == "unit"
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with open_stores(database_url) as stores:
            await stores.responses.open_response(new_response("resp_a"))
            assert await stores.responses.get_response("resp_a", "ada") is not None
        database = await open_database(database_url)
        count = await database.read(
            lambda connection: connection.execute(select(func.count()).select_from(blobs)).scalar()
        )
        await database.aclose()
    assert count == 1, "the image of resp_a, and no half of anything"
