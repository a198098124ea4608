"""What a turn costs at the end of a chain of 10 and of 1,000 responses, through the whole service.

    python benchmarks/chain_service.py [database URL]

Without a URL it uses an SQLite file of its own; a Postgres must be migrated and is left with the responses in it.
`POST /api/v1/chat` is asked for one more turn, in turns at either chain: `warm` where this process has continued the
chain before, `cold` where it has forgotten everything. The engine is a stand-in that says one word; the time that it is
at work is taken off."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import httpx
from chain_depth import DEPTHS, add_response
from whole_service import client_of

from orchestrator import app as composition
from orchestrator.core.commands import Generate
from orchestrator.core.models import Model
from orchestrator.ports import GenerationChunk
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import open_database
from orchestrator.store.migrate import prepare
from orchestrator.store.responses import SqlResponseStore
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine

ROUNDS: Final = 40
WARM_UP: Final = 3
MEMORIES: Final[list[ChainMemory]] = []


class TimedEngine(ScriptedEngine):
    """Says one word; `seconds` is how long it was at work."""

    seconds = 0.0

    async def aclose(self) -> None:
        """Nothing is open."""

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        begun = time.perf_counter()
        async for chunk in super().generate(model, instance_id, request):
            self.seconds += time.perf_counter() - begun
            yield chunk
            begun = time.perf_counter()
        self.seconds += time.perf_counter() - begun


ENGINE: Final = TimedEngine([[Say("Yes.")]])


def engines(*_: object) -> list[TimedEngine]:
    """What stands in for every engine."""
    return [ENGINE]


def remembered() -> ChainMemory:
    """The memory of the application that is being opened."""
    MEMORIES.append(ChainMemory())
    return MEMORIES[-1]


async def turn(client: httpx.AsyncClient, parent: str) -> tuple[float, str]:
    """Go on from `parent`: the milliseconds without the engine's, and the response's id."""
    begun, engine = time.perf_counter(), ENGINE.seconds
    body = {"model": SCRIPTED_MODEL, "input": "And then?", "previous_response_id": parent}
    reply = await client.post("/api/v1/chat", json=body)
    took = time.perf_counter() - begun - (ENGINE.seconds - engine)
    if reply.status_code != 200:
        raise RuntimeError(reply.text)
    return took * 1000, reply.json()["response_id"]


async def build(url: str) -> dict[int, str]:
    """The last response of a chain of each depth."""
    await prepare(url)
    database = await open_database(url)
    store = SqlResponseStore(database)
    ends: dict[int, str] = {}
    for depth in DEPTHS:
        end: str | None = None
        for _ in range(depth):
            end = await add_response(store, end)
        assert end is not None
        ends[depth] = end
    await database.aclose()
    return ends


async def measure(url: str) -> None:
    """Measure both chains, warm and cold, print."""
    ends = await build(url)
    composition.__dict__["engines_of"] = engines
    composition.__dict__["ChainMemory"] = remembered
    async with client_of(url) as client:
        times: dict[tuple[str, int], list[float]] = {(kind, depth): [] for kind in ("warm", "cold") for depth in DEPTHS}
        for round in range(WARM_UP + ROUNDS):
            for kind in ("warm", "cold"):
                for depth in DEPTHS:
                    if kind == "cold":
                        forget(MEMORIES[-1])
                        took, _ = await turn(client, ends[depth])
                    else:
                        # The turn before has put it back into the memory.
                        _, ends[depth] = await turn(client, ends[depth])
                        took, ends[depth] = await turn(client, ends[depth])
                    if round >= WARM_UP:
                        times[kind, depth].append(took)
    sys.stdout.write(f"milliseconds{DEPTHS[0]:>10}{DEPTHS[1]:>10}{'ratio':>10}\n")
    for kind in ("warm", "cold"):
        shallow, deep = (statistics.median(times[kind, depth]) for depth in DEPTHS)
        sys.stdout.write(f"{kind:12}{shallow:10.2f}{deep:10.2f}{deep / shallow:10.2f}\n")


def forget(memory: ChainMemory) -> None:
    """As after a start."""
    memory.forget_all()


def main() -> None:
    """Measure the database that was named, or one of our own."""
    if len(sys.argv) > 1:
        asyncio.run(measure(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(f"sqlite+aiosqlite:///{Path(folder) / 'benchmark.db'}"))


if __name__ == "__main__":
    main()
