"""How fast the audit answers over a journal of any size, through the HTTP application.

    python benchmarks/audit_api.py DATABASE_URL [listings|export|verify …]

`benchmarks/journal.py` makes the journal. Each listing and filter is asked for its first page and for
the page at entry 50,000 (page 1,000 of 50), or the last one where there are fewer; p50 and p95 of 40
requests each. The export is timed in all three formats, and what it adds to the memory is shown.
"""

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import litestar
from journal import MODELS, OWNERS, PLUGINS, RARE_TOOL, TOOLS

from orchestrator.api.auth import Authenticator
from orchestrator.api.errors import answer_orchestrator_error
from orchestrator.api.tool_calls import TOOL_CALLS_PATH, tool_call_routes
from orchestrator.core.errors import OrchestratorError
from orchestrator.ports.audit import AuditStore
from orchestrator.service.audit import AuditService
from orchestrator.store.audit import SqlAuditStore
from orchestrator.store.audit_verify import verify
from orchestrator.store.database import Database, open_database
from orchestrator.store.migrate import upgrade

REQUESTS: Final = 40
DEEP: Final = 50_000
PAGE: Final = 50

QUESTIONS: Final[dict[str, dict[str, str]]] = {
    "everything": {},
    "tool": {"tool": TOOLS[3]},
    "rare tool": {"tool": RARE_TOOL},
    "plugin": {"plugin": PLUGINS[2]},
    "status succeeded": {"status": "succeeded"},
    "status abandoned": {"status": "abandoned"},
    "is_error": {"is_error": "true"},
    "no error": {"is_error": "false"},
    "one owner": {"owner": OWNERS[1]},
    "small owner": {"owner": OWNERS[19]},
    "response": {"response_id": f"resp_{1234:048x}"},
    "model": {"model": MODELS[1]},
    "a month": {"from": "2025-05-01", "to": "2025-06-01"},
    "duration >= 100 ms": {"duration_min": "100"},
    "duration >= 2 s": {"duration_min": "2000"},
    "duration >= 30 s": {"duration_min": "30000"},
    "duration 50 .. 60 ms": {"duration_min": "50", "duration_max": "60"},
    "path=/etc/*": {"arguments.path": "/etc/*"},
    "path=/home/ada/*": {"arguments.path": "/home/ada/*"},
    "path=/home/ada/77.txt": {"arguments.path": "/home/ada/77.txt"},
    "depth=3": {"arguments.depth": "3"},
    "path=*/77.txt": {"arguments.path": "*/77.txt"},
    "tool, error": {"tool": TOOLS[3], "is_error": "true"},
    "owner, tool, error, slow": {
        "owner": OWNERS[1],
        "tool": TOOLS[3],
        "is_error": "true",
        "duration_min": "200",
    },
    "plugin, path=/etc/*": {"plugin": PLUGINS[2], "arguments.path": "/etc/*"},
}


@asynccontextmanager
async def client_of(store: AuditStore) -> AsyncGenerator[httpx.AsyncClient]:
    """The audit's routes, without a socket in between."""
    nobody: Any = None  # without a token, nobody asks whose it is
    handlers: Any = {OrchestratorError: answer_orchestrator_error}
    app: Any = litestar.Litestar(
        tool_call_routes(AuditService(store), Authenticator(nobody, nobody, required=False)),
        openapi_config=None,
        logging_config=None,
        exception_handlers=handlers,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=600
    ) as client:
        yield client


async def page(client: httpx.AsyncClient, query: dict[str, str]) -> tuple[tuple[float, float], int, str | None]:
    """Milliseconds, those of this process's CPU, calls and the next cursor."""
    begun, worked = time.perf_counter(), time.process_time()
    response = await client.get(TOOL_CALLS_PATH, params=query)
    took = ((time.perf_counter() - begun) * 1000, (time.process_time() - worked) * 1000)
    body: dict[str, Any] = response.json()
    return took, len(body["tool_calls"]), body["next_cursor"]


async def deep_cursor(client: httpx.AsyncClient, query: dict[str, str]) -> tuple[str | None, int]:
    """The cursor at entry `DEEP`, or the last one, and where that is."""
    cursor, seen = None, 0
    for _ in range(400):
        more = {"cursor": cursor} if cursor else {}
        _, calls, following = await page(client, query | more | {"limit": "500"})
        seen += calls
        if following is None or seen > DEEP:
            break
        cursor = following
    return cursor, seen


def told(times: Sequence[tuple[float, float]]) -> str:
    taken = sorted(took for took, _ in times)
    worked = statistics.median(work for _, work in times)
    return f"{statistics.median(taken):8.1f}{taken[int(len(taken) * 0.95)]:8.1f}{worked:7.1f}"


async def listings(database: Database) -> None:
    """Every question, its first page and a deep one."""
    async with client_of(SqlAuditStore(database)) as client:
        sys.stdout.write(f"{'':28}{'first page':>23}{'calls':>7}{'deep page':>24}{'calls':>7}{'at entry':>10}\n")
        sys.stdout.write(f"{'':28}{'p50':>8}{'p95':>8}{'CPU':>7}{'':>7}{'p50':>9}{'p95':>8}{'CPU':>7}\n")
        for name, asked in QUESTIONS.items():
            query = {"owner": "*", "limit": str(PAGE)} | asked
            first = [await page(client, query) for _ in range(REQUESTS)]
            cursor, seen = await deep_cursor(client, query)
            line = f"{name:28}{told([took for took, _, _ in first])}{first[0][1]:7}"
            if cursor is not None:
                deep = [await page(client, query | {"cursor": cursor}) for _ in range(REQUESTS)]
                line += f" {told([took for took, _, _ in deep])}{deep[0][1]:7}{seen:10}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


async def statistics_of(database: Database) -> None:
    """The statistics over everything, and over a month by days."""
    async with client_of(SqlAuditStore(database)) as client:
        for name, query in (
            ("all", {}),
            ("a month by days", {"from": "2025-05-01", "to": "2025-06-01", "bucket": "1d"}),
        ):
            begun = time.perf_counter()
            rows = len((await client.get(TOOL_CALLS_PATH + "/stats", params={"owner": "*", **query})).json()["stats"])
            sys.stdout.write(f"stats, {name}: {rows} rows in {(time.perf_counter() - begun) * 1000:.0f} ms\n")


async def export(database: Database) -> None:
    """The whole journal in each format, read as it comes and thrown away."""
    service = AuditService(SqlAuditStore(database))
    from orchestrator.ports.audit import CallFilter
    from orchestrator.service.audit_export import EXPORT_FORMATS, written
    from orchestrator.service.callers import Caller

    for form in EXPORT_FORMATS:
        counted = 0

        async def pages() -> AsyncGenerator[Any]:
            nonlocal counted
            async for rows in await service.export_calls(Caller(), CallFilter(owner="*")):
                counted += len(rows)
                yield rows

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, size = time.perf_counter(), 0
        async for piece in written(pages(), form):
            size += len(piece)
        took = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(
            f"export {form}: {counted} rows, {size / 1e6:.0f} MB in {took:.1f} s, {counted / took:.0f} rows/s;"
            f" peak memory {before / 1024:.0f} -> {after / 1024:.0f} MiB\n"
        )


async def prove(database: Database) -> None:
    """The whole chain."""
    begun = time.perf_counter()
    report = await verify(database)
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        f"verify: {report.links} links in {took:.1f} s, {report.links / took:.0f} links/s, peak memory {peak:.0f} MiB,"
        f" problem: {report.problem}\n"
    )


async def main(url: str, parts: Sequence[str]) -> None:
    """Measure what was asked for, or everything."""
    await upgrade(url)
    database = await open_database(url)
    measures = {"listings": listings, "stats": statistics_of, "export": export, "verify": prove}
    for name in parts or measures:
        await measures[name](database)
    await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
