"""A process that writes to a store and, where it is told to, waits to be killed.

python -m tests.store.writer_process <url> calls        journal calls, say so, wait
python -m tests.store.writer_process <url> unit         begin a unit of work, say so, wait inside of it
python -m tests.store.writer_process <url> responses <name> <count>
                                                        prepare the database, write responses with 8 tasks, end
"""

import sys
import time

import anyio
from sqlalchemy import Connection, insert

from orchestrator.core.response import Completed
from orchestrator.ports import ResponseStore
from orchestrator.store.database import open_database
from orchestrator.store.migrate import prepare
from orchestrator.store.tables import blobs
from tests.store.samples import NOON, STATS, answered, call, new_response, text
from tests.store.stores import open_stores


def say(word: str) -> None:
    """Tell the test that this point is reached."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def journal_calls_and_wait(url: str) -> None:
    async with open_stores(url) as stores, anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(journal_a_call, stores.responses, name)


async def journal_a_call(store: ResponseStore, name: str) -> None:
    """Two calls in the journal, one of them answered; the process is killed before the other is."""
    response_id = f"resp_{name}"
    await store.open_response(new_response(response_id))
    calls = [call(1, f"call_{name}_1"), call(2, f"call_{name}_2")]
    await store.journal_calls(response_id, [text(0), *calls], NOON)
    await store.record_outcome(response_id, f"call_{name}_1", answered("12:00"), NOON)
    say(response_id)
    await anyio.sleep_forever()


async def begin_a_unit_and_wait(url: str) -> None:
    database = await open_database(url)

    def work(connection: Connection) -> None:
        connection.execute(insert(blobs), {"digest": "half", "content": "x"})
        say("unit")
        time.sleep(600)

    await database.write(work)


async def write_responses(url: str, name: str, count: int) -> None:
    await prepare(url)

    async def write_some(store: ResponseStore, task: int) -> None:
        parent: str | None = None
        for number in range(count):
            response_id = f"resp_{name}_{task}_{number}"
            await store.open_response(new_response(response_id, parent))
            await store.journal_calls(response_id, [call(0, f"call_{response_id}")], NOON)
            await store.record_outcome(response_id, f"call_{response_id}", answered(response_id), NOON)
            await store.save_response(response_id, Completed(), STATS, [text(1)], [], NOON)
            parent = response_id

    async with open_stores(url) as stores, anyio.create_task_group() as tasks:
        for task in range(8):
            tasks.start_soon(write_some, stores.responses, task)
    say("done")


def main(url: str, what: str, *rest: str) -> None:
    if what == "calls":
        anyio.run(journal_calls_and_wait, url)
    elif what == "unit":
        anyio.run(begin_a_unit_and_wait, url)
    else:
        anyio.run(write_responses, url, rest[0], int(rest[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
