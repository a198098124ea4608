"""The whole application in process, asked by HTTP without a socket in between, and how long its answers take."""

import asyncio
import os
import re
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from orchestrator.app import open_app
from orchestrator.settings import load_settings
from orchestrator.telemetry import configure_logging

REQUESTS: Final = int(os.environ.get("BENCHMARK_REQUESTS", "100"))
WARM_UP: Final = 3
MOST_PAGES: Final = 700
"""Pages that are turned on the way to a deep one."""


@asynccontextmanager
async def client_of(database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the application over this database."""
    configure_logging("warning", "console")
    with tempfile.TemporaryDirectory() as folder:
        environ = {"ORCHESTRATOR_DATABASE_URL": database_url, "ORCHESTRATOR_DATA_DIR": folder}
        async with open_app(load_settings(environ)) as application:
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1234", timeout=600) as client:
                yield client


@dataclass(frozen=True, slots=True)
class Service:
    """The service in a process of its own."""

    pid: int

    def peak_memory(self) -> float:
        """The most memory that it ever had, in MiB, as Linux counts it."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text("utf-8"))
        return int(found[1]) / 1024 if found is not None else 0.0


@asynccontextmanager
async def served(database_url: str) -> AsyncGenerator[tuple[httpx.AsyncClient, Service]]:
    """A client of the service over a socket: what answers in process would be kept whole by the client."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "ORCHESTRATOR_DATABASE_URL": database_url,
            "ORCHESTRATOR_DATA_DIR": folder,
            "ORCHESTRATOR_PORT": str(port),
            "ORCHESTRATOR_LOG_LEVEL": "warning",
        }
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "orchestrator", "serve", env=environ)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
                await _answering(client)
                yield client, Service(process.pid)
        finally:
            process.terminate()
            await process.wait()


async def _answering(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Listing:
    """A route with pages: the name of the entries in its answer, its largest page, and which entry `deep` means."""

    path: str
    entries: str
    largest: int
    page: int
    deep: int


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: the milliseconds that it took, the entries in it, and where to go on."""

    took: float
    entries: int
    next: str | None


async def ask(client: httpx.AsyncClient, path: str, query: Mapping[str, str]) -> tuple[float, Any]:
    """The milliseconds until the answer was there, and the answer."""
    begun = time.perf_counter()
    response = await client.get(path, params=dict(query))
    took = (time.perf_counter() - begun) * 1000
    if response.status_code != 200:
        raise RuntimeError(f"{path} {query}: {response.status_code} {response.text[:500]}")
    return took, response.json()


async def turn(client: httpx.AsyncClient, listing: Listing, query: Mapping[str, str]) -> Page:
    """One page."""
    took, body = await ask(client, listing.path, query)
    return Page(took, len(body[listing.entries]), body["next_cursor"])


async def deep_cursor(client: httpx.AsyncClient, listing: Listing, query: Mapping[str, str]) -> tuple[str | None, int]:
    """The cursor at the entry `listing.deep`, or the last one before the end, and at which entry that is."""
    cursor, seen = None, 0
    for _ in range(MOST_PAGES):
        more = {} if cursor is None else {"cursor": cursor}
        page = await turn(client, listing, {**query, **more, "limit": str(listing.largest)})
        if page.next is None:
            break
        seen += page.entries
        cursor = page.next
        if seen >= listing.deep:
            break
    return cursor, seen


def p50_and_p95(times: list[float]) -> tuple[float, float]:
    """The median, and what 95 of 100 stay below."""
    return statistics.median(times), sorted(times)[-(-len(times) * 95 // 100) - 1]


async def measure(client: httpx.AsyncClient, listing: Listing, questions: Mapping[str, Mapping[str, str]]) -> None:
    """Ask every question for its first and its deep page, print."""
    sys.stdout.write(f"{listing.path:26}{'first page':>16}{'':>6}{'deep page':>16}{'':>6}\n")
    sys.stdout.write(f"{'milliseconds':26}{'p50':>8}{'p95':>8}{'rows':>6}{'p50':>8}{'p95':>8}{'rows':>6}{'at':>8}\n")
    for name, asked in questions.items():
        query = {"owner": "*", "limit": str(listing.page), **asked}
        line = f"{name:26}{await timed(client, listing, query)}"
        cursor, seen = await deep_cursor(client, listing, query)
        if cursor is not None:
            line += f"{await timed(client, listing, {**query, 'cursor': cursor})}{seen:8}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


async def timed(client: httpx.AsyncClient, listing: Listing, query: Mapping[str, str]) -> str:
    """One page, asked for often."""
    pages = [await turn(client, listing, query) for _ in range(WARM_UP + REQUESTS)][WARM_UP:]
    p50, p95 = p50_and_p95([page.took for page in pages])
    mark = "!" if p95 >= 50 else " "
    return f"{p50:8.1f}{p95:7.1f}{mark}{pages[0].entries:6}"


def peak_memory() -> float:
    """The most memory that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
