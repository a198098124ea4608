"""How fast the audit and the graph answer over a journal of any size, through the whole application.

    python benchmarks/audit_api.py DATABASE_URL [calls|responses|single|stats|export|verify …]

`benchmarks/journal.py` makes the journal. Each listing and filter is asked for its first page and for page
1,000 of its ordinary length (or the last one, where there are fewer); p50 and p95 of `BENCHMARK_REQUESTS`
requests each, 100 if absent; `!` marks a p95 from 50 ms on. The export is timed in all three formats, over a
socket, with the peak memory of the service before and after.
"""

import asyncio
import http.client
import sys
import time
from collections.abc import Sequence
from typing import Final

import httpx
from journal import CALLS_A_RESPONSE, LONG_CHAIN, MODELS, OWNERS, PLUGINS, RARE_TOOL, SERVER, TOOLS, WORDS, Year
from whole_service import REQUESTS, WARM_UP, Listing, ask, client_of, measure, p50_and_p95, peak_memory, served

from orchestrator.store.audit_verify import verify
from orchestrator.store.database import open_database

CALLS: Final = Listing("/api/v1/tool-calls", "tool_calls", largest=500, page=50, deep=50_000)
RESPONSES: Final = Listing("/api/v1/responses", "responses", largest=100, page=20, deep=20_000)
MONTH: Final = {"from": "2025-05-01", "to": "2025-06-01"}
DAY: Final = {"from": "2025-05-07", "to": "2025-05-08"}

CALL_QUESTIONS: Final[dict[str, dict[str, str]]] = {
    "everything": {},
    "oldest first": {"order": "asc"},
    "tool": {"tool": TOOLS[3]},
    "rare tool": {"tool": RARE_TOOL},
    "plugin": {"plugin": PLUGINS[2]},
    "server label": {"server_label": SERVER},
    "status succeeded": {"status": "succeeded"},
    "status abandoned": {"status": "abandoned"},
    "is_error": {"is_error": "true"},
    "no error": {"is_error": "false"},
    "one owner": {"owner": OWNERS[1]},
    "small owner": {"owner": OWNERS[19]},
    "response": {"response_id": f"resp_{1234:048x}"},
    "model": {"model": MODELS[1]},
    "definition digest": {"definition_digest": Year(0).digests[TOOLS[5]]},
    "a month": MONTH,
    "a month, oldest first": {**MONTH, "order": "asc"},
    "a day": DAY,
    "duration >= 100 ms": {"duration_min": "100"},
    "duration >= 2 s": {"duration_min": "2000"},
    "duration >= 30 s": {"duration_min": "30000"},
    "duration 50 .. 60 ms": {"duration_min": "50", "duration_max": "60"},
    "path=/etc/*": {"arguments.path": "/etc/*"},
    "path=/home/ada/*": {"arguments.path": "/home/ada/*"},
    "path=/home/ada/77.txt": {"arguments.path": "/home/ada/77.txt"},
    "depth=3": {"arguments.depth": "3"},
    "path=*/77.txt": {"arguments.path": "*/77.txt"},
    "owner, month": {"owner": OWNERS[1], **MONTH},
    "plugin, month": {"plugin": PLUGINS[2], **MONTH},
    "is_error, month": {"is_error": "true", **MONTH},
    "is_error, day": {"is_error": "true", **DAY},
    "duration >= 2 s, month": {"duration_min": "2000", **MONTH},
    "tool, error": {"tool": TOOLS[3], "is_error": "true"},
    "owner, tool, error, slow": {
        "owner": OWNERS[1],
        "tool": TOOLS[3],
        "is_error": "true",
        "duration_min": "200",
    },
    "plugin, path=/etc/*": {"plugin": PLUGINS[2], "arguments.path": "/etc/*"},
    "nothing: owner, rare tool": {"owner": OWNERS[19], "tool": RARE_TOOL, "model": MODELS[0], "duration_min": "59999"},
}
RESPONSE_QUESTIONS: Final[dict[str, dict[str, str]]] = {
    "everything": {},
    "oldest first": {"order": "asc"},
    "one's own": {"owner": OWNERS[0]},
    "one owner": {"owner": OWNERS[1]},
    "small owner": {"owner": OWNERS[19]},
    "model": {"model": MODELS[1]},
    "owner, model": {"owner": OWNERS[1], "model": MODELS[1]},
    "status completed": {"status": "completed"},
    "status cancelled": {"status": "cancelled"},
    "status failed (none)": {"status": "failed"},
    "metadata": {"metadata.ticket": "77"},
    "metadata, owner": {"metadata.ticket": "77", "owner": OWNERS[1]},
    "plugin": {"plugin": PLUGINS[2]},
    "server label": {"server_label": SERVER},
    "tool": {"tool": TOOLS[3]},
    "rare tool": {"tool": RARE_TOOL},
    "tool, plugin, model": {"tool": TOOLS[3], "plugin": PLUGINS[2], "model": MODELS[1]},
    "a month": MONTH,
    "a month, oldest first": {**MONTH, "order": "asc"},
    "owner, month": {"owner": OWNERS[1], **MONTH},
    "cancelled, month": {"status": "cancelled", **MONTH},
    "text in all": {"text": "question"},
    "text in most": {"text": WORDS[0]},
    "text in many": {"text": WORDS[40]},
    "text in some": {"text": WORDS[900]},
    "text in one": {"text": "123456"},
    "text in none": {"text": "xylophone"},
    "two common words": {"text": f"{WORDS[1]} {WORDS[3]}"},
    "common and rare": {"text": f"{WORDS[0]} {WORDS[2000]}"},
    "a phrase": {"text": '"what stands in the file"'},
    "a rare phrase": {"text": f'"{WORDS[5]} {WORDS[7]}"'},
    "a beginning": {"text": "stan*"},
    "text, owner": {"text": WORDS[40], "owner": OWNERS[1]},
    "text in all, small owner": {"text": "question", "owner": OWNERS[19]},
    "text, month": {"text": WORDS[0], **MONTH},
    "text, tool": {"text": WORDS[40], "tool": TOOLS[3]},
    "text, rare tool": {"text": WORDS[0], "tool": RARE_TOOL},
    "text, cancelled": {"text": WORDS[40], "status": "cancelled"},
}


async def calls(client: httpx.AsyncClient) -> None:
    """The journal's listing and filters."""
    await measure(client, CALLS, CALL_QUESTIONS)


async def responses(client: httpx.AsyncClient) -> None:
    """The graph's listing and filters."""
    await measure(client, RESPONSES, RESPONSE_QUESTIONS)


async def single(client: httpx.AsyncClient) -> None:
    """One call, one response, its chain and its tree; a chain of 1,000 by its last page."""
    sys.stdout.write(f"{'milliseconds':26}{'p50':>8}{'p95':>8}\n")
    end, other = f"resp_{LONG_CHAIN - 1:048x}", f"resp_{4_321:048x}"
    responses_path = RESPONSES.path
    for name, path, query in (
        ("a call", f"{CALLS.path}/call_{4_321 * CALLS_A_RESPONSE:024x}", {}),
        ("events of the audit", f"{CALLS.path}/events", {}),
        ("a response", f"{responses_path}/{other}", {}),
        ("its chain of 8", f"{responses_path}/{other}/chain", {}),
        ("its tree", f"{responses_path}/{other}/tree", {}),
        ("the end of 1,000", f"{responses_path}/{end}", {}),
        ("chain of 1,000, first 100", f"{responses_path}/{end}/chain", {}),
        ("chain of 1,000, last 100", f"{responses_path}/{end}/chain", {"cursor": await _last_page(client, end)}),
        ("chain of 1,000, 20 of it", f"{responses_path}/{end}/chain", {"limit": "20"}),
        ("tree of 1,000, first 500", f"{responses_path}/{end}/tree", {}),
    ):
        asked = query if path.startswith(CALLS.path) else {"owner": "*", **query}
        times = [(await ask(client, path, asked))[0] for _ in range(WARM_UP + REQUESTS)][WARM_UP:]
        p50, p95 = p50_and_p95(times)
        sys.stdout.write(f"{name:26}{p50:8.1f}{p95:7.1f}{'!' if p95 >= 50 else ''}\n")
        sys.stdout.flush()


async def _last_page(client: httpx.AsyncClient, end: str) -> str:
    cursor = None
    while True:
        query = {"owner": "*"} | ({} if cursor is None else {"cursor": cursor})
        _, body = await ask(client, f"{RESPONSES.path}/{end}/chain", query)
        if body["next_cursor"] is None:
            return cursor or ""
        cursor = body["next_cursor"]


async def stats(client: httpx.AsyncClient) -> None:
    """The statistics."""
    for name, query in (
        ("everything", {}),
        ("everything by months", {"bucket": "30d"}),
        ("everything by days", {"bucket": "1d"}),
        ("one owner", {"owner": OWNERS[1]}),
        ("one plugin", {"plugin": PLUGINS[2]}),
        ("a month", MONTH),
        ("a month by days", {**MONTH, "bucket": "1d"}),
        ("a day by hours", {**DAY, "bucket": "1h"}),
        ("a tool by days", {"tool": TOOLS[3], "bucket": "1d"}),
    ):
        times: list[float] = []
        rows = 0
        begun = time.perf_counter()
        while len(times) < 3 or (len(times) < REQUESTS and time.perf_counter() - begun < 10):
            took, body = await ask(client, CALLS.path + "/stats", {"owner": "*", **query})
            times.append(took)
            rows = len(body["stats"])
        p50, p95 = p50_and_p95(times)
        sys.stdout.write(f"stats, {name}: {rows} rows, p50 {p50:.1f} ms, p95 {p95:.1f} ms of {len(times)}\n")
        sys.stdout.flush()


async def export(url: str) -> None:
    """The whole journal in each format, from a service in a process of its own, read as it comes and thrown away."""
    async with served(url) as (client, service):
        for form in ("jsonl", "csv", "parquet"):
            before, begun = service.peak_memory(), time.perf_counter()
            size, rows = await asyncio.to_thread(_fetch, client.base_url.port or 80, form)
            took = time.perf_counter() - begun
            rows -= form == "csv"
            told = "" if form == "parquet" else f"{rows} rows, {rows / took:.0f} rows/s, "
            memory = f"peak memory of the service {before:.0f} -> {service.peak_memory():.0f} MiB"
            sys.stdout.write(f"export {form}: {told}{size / 1e6:.0f} MB in {took:.1f} s; {memory}\n")
            sys.stdout.flush()


def _fetch(port: int, form: str) -> tuple[int, int]:
    """Bytes and lines of an export. A reader that costs next to nothing: it has the same two cores."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"{CALLS.path}/export?owner=*&format={form}")
    response = connection.getresponse()
    size = lines = 0
    while piece := response.read1(1 << 20):
        size += len(piece)
        lines += piece.count(b"\n")
    connection.close()
    return size, lines


async def prove(url: str) -> None:
    """The whole chain."""
    database = await open_database(url)
    begun = time.perf_counter()
    report = await verify(database)
    took = time.perf_counter() - begun
    sys.stdout.write(
        f"verify: {report.links} links of calls and {report.responses} of responses in {took:.1f} s,"
        f" {(report.links + report.responses) / took:.0f} links/s,"
        f" peak memory {peak_memory():.0f} MiB, problem: {report.problem}\n"
    )
    await database.aclose()


async def main(url: str, parts: Sequence[str]) -> None:
    """Measure what was asked for, or everything."""
    measures = {"calls": calls, "responses": responses, "single": single, "stats": stats}
    apart = {"export": export, "verify": prove}
    async with client_of(url) as client:
        for name in parts or measures:
            if name in measures:
                await measures[name](client)
    for name in parts or apart:
        if name in apart:
            await apart[name](url)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
