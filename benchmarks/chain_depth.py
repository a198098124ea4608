"""What it costs to go on with a chain of 10 and of 1,000 responses.

    python benchmarks/chain_depth.py [database URL]

Without a URL it uses an SQLite file of its own; a Postgres must be migrated and is left with the
responses in it. `first` is a chain that this process has not seen, `next` one that it has just
continued: load the chain, open a response, save it.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.core.commands import PlacedText
from orchestrator.core.items import Message, Reasoning, TextInput
from orchestrator.core.response import Completed, Stats
from orchestrator.ports import NewResponse
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database, open_database
from orchestrator.store.migrate import prepare
from orchestrator.store.responses import SqlResponseStore

DEPTHS = (10, 1000)
ROUNDS = 30
ITEMS = (PlacedText(0, 1, Reasoning("Let me think. " * 10)), PlacedText(1, 1, Message("Here is the answer. " * 20)))


async def add_response(store: SqlResponseStore, parent: str | None) -> str:
    """One response after `parent`; its id."""
    response_id = f"resp_{os.urandom(24).hex()}"
    now = datetime.now(UTC)
    new = NewResponse(
        id=response_id,
        previous_response_id=parent,
        owner="local",
        model_key="demo/model",
        model_instance_id="demo/model",
        system_prompt="Be brief.",
        parameters={},
        metadata={},
        input=(TextInput("And then? " * 5),),
        stored=True,
        offered=(),
        tool_names={},
        holder="benchmark",
        created_at=now,
        lease_until=now + timedelta(minutes=1),
    )
    await store.open_response(new)
    await store.save_response(response_id, Completed(), Stats(), ITEMS, [], now)
    return response_id


async def cost(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The median of `work` in milliseconds: wall time and CPU time, all threads together."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return statistics.median(walls), statistics.median(cpus)


async def costs_at(database: Database, depth: int) -> tuple[float, ...]:
    """Build a chain of `depth`; what it costs to load it for the first time, and to go on with it."""
    forgetful, store = SqlResponseStore(database, ChainMemory(0)), SqlResponseStore(database)
    end: str | None = None
    for _ in range(depth):
        end = await add_response(store, end)
    assert end is not None
    last = end

    async def load_first() -> None:
        await forgetful.load_chain(end, "local")

    async def go_on() -> None:
        nonlocal last
        await store.load_chain(last, "local")
        last = await add_response(store, last)

    await go_on()
    return (*await cost(load_first), *await cost(go_on))


async def measure(url: str) -> None:
    """Measure both depths, print."""
    await prepare(url)
    database = await open_database(url)
    rows = [await costs_at(database, depth) for depth in DEPTHS]
    await database.aclose()
    ratio = tuple(deep / shallow for shallow, deep in zip(*rows, strict=True))
    sys.stdout.write("         first: wall   CPU (ms)    next: wall   CPU (ms)\n")
    for name, row in zip((*map(str, DEPTHS), "ratio"), (*rows, ratio), strict=True):
        sys.stdout.write(f"{name:>5}{row[0]:15.2f}{row[1]:11.2f}{row[2]:14.2f}{row[3]:11.2f}\n")


def main() -> None:
    """Measure the database that was named, or one of our own."""
    if len(sys.argv) > 1:
        asyncio.run(measure(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(f"sqlite+aiosqlite:///{Path(folder) / 'benchmark.db'}"))


if __name__ == "__main__":
    main()
