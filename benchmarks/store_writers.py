"""How many durable units of work a second the store takes from 1 and from 32 runs at once.

    python benchmarks/store_writers.py [database URL]

Without a URL it uses an SQLite file of its own; a Postgres must be migrated and is left with the
responses in it. A run is four units of work: open, journal, record, save. `unchained` is the same
without the links of the audit's chain, and so what they cost. Beside it stands what one synchronous
write to the same disk takes.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from orchestrator.core.commands import Outcome, PlacedCall, PlacedText
from orchestrator.core.items import Message, PluginProvider, TextInput
from orchestrator.core.response import Completed, Stats
from orchestrator.core.tools import OfferedTool, ToolDefinition, definition_digest, text_content
from orchestrator.ports import NewResponse
from orchestrator.store import audit_chain
from orchestrator.store.database import open_database
from orchestrator.store.migrate import prepare
from orchestrator.store.responses import SqlResponseStore

RUNS = 20
NOW = datetime.now(UTC)
CLOCK = ToolDefinition("now", "The time.", {"type": "object"})
OFFERED = OfferedTool("now", CLOCK, PluginProvider("mcp/clock"), 0, definition_digest(CLOCK))
OUTCOME = Outcome("succeeded", text_content("12:00"), "12:00", is_error=False, duration_ms=5)


async def run_once(store: SqlResponseStore, latencies: list[float]) -> None:
    """One run with one tool call."""

    async def unit(work: Awaitable[object]) -> None:
        begun = time.perf_counter()
        await work
        latencies.append((time.perf_counter() - begun) * 1000)

    name = os.urandom(24).hex()
    new = NewResponse(
        id=f"resp_{name}",
        previous_response_id=None,
        owner="local",
        model_key="demo/model",
        model_instance_id="demo/model",
        system_prompt="Be brief.",
        parameters={},
        metadata={},
        input=(TextInput("What time is it?"),),
        stored=True,
        offered=(OFFERED,),
        tool_names={("plugin:mcp/clock", "now"): "now"},
        holder="benchmark",
        created_at=NOW,
        lease_until=NOW + timedelta(minutes=1),
    )
    call = PlacedCall(0, 1, f"call_{name}", "now", "{}", {}, "now", OFFERED.provider, OFFERED.digest)
    await unit(store.open_response(new))
    await unit(store.journal_calls(new.id, [call], NOW))
    await unit(store.record_outcome(new.id, call.call_id, OUTCOME, NOW))
    await unit(store.save_response(new.id, Completed(), Stats(), [PlacedText(1, 2, Message("Noon."))], [], NOW))


async def measure(url: str) -> None:
    """Measure 1 and 32 at once, print."""
    await prepare(url)
    database = await open_database(url)
    store = SqlResponseStore(database)
    await run_once(store, [])
    sys.stdout.write("            at once   units/s   CPU ms/unit   p50 ms   p99 ms\n")
    chained = audit_chain.append_links
    for at_once, is_chained in ((1, True), (1, False), (32, True), (32, False)):
        audit_chain.append_links = chained if is_chained else _leave_out
        latencies: list[float] = []

        async def run_some(latencies: list[float] = latencies) -> None:
            for _ in range(RUNS):
                await run_once(store, latencies)

        wall, cpu = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(run_some)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        shares = statistics.quantiles(latencies, n=100)
        units = len(latencies)
        kind = "chained" if is_chained else "unchained"
        sys.stdout.write(
            f"{kind:10}{at_once:9}{units / wall:10.0f}{cpu / units * 1000:14.2f}{shares[49]:9.1f}{shares[98]:9.1f}\n"
        )
    await database.aclose()


def _leave_out(*_: object) -> None:
    """What stands in for the chain."""


def disk_milliseconds(folder: Path) -> float:
    """The median time of a small synchronous write in `folder`."""
    times: list[float] = []
    with (folder / "disk").open("wb") as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure the database that was named, or one of our own."""
    with tempfile.TemporaryDirectory() as folder:
        own = f"sqlite+aiosqlite:///{Path(folder) / 'benchmark.db'}"
        asyncio.run(measure(sys.argv[1] if len(sys.argv) > 1 else own))
        sys.stdout.write(f"one synchronous write to this disk: {disk_milliseconds(Path(folder)):.2f} ms\n")


if __name__ == "__main__":
    main()
