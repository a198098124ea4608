"""`kill -9` at random moments of streaming runs with tools: what was promised is there, and nothing else is claimed.

`ORCHESTRATOR_TEST_KILLS` says how many times (6 by default), `ORCHESTRATOR_TEST_SEED` when.
"""

import json
import os
import random
import sys
from pathlib import Path

import anyio
import httpx
import pytest
from sqlalchemy import Connection, func, select

from orchestrator.store.audit_verify import verify
from orchestrator.store.database import Database, open_database
from orchestrator.store.tables import call_arguments, responses
from tests.e2e.running import free_port
from tests.faults.clients import Told, assert_same, keep_chatting, stored, wait_until_healthy
from tests.faults.receiver import running_receiver
from tests.faults.service import Forker, forker

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("ORCHESTRATOR_TEST_KILLS", "6"))
SEED = int(os.environ.get("ORCHESTRATOR_TEST_SEED", "1"))
CLIENTS = 3
LONGEST_SECONDS = 1.0


def journaled_texts(connection: Connection) -> set[str]:
    return set(connection.execute(select(call_arguments.c.value).where(call_arguments.c.path == "text")).scalars())


def texts_in(received: Path) -> set[str]:
    """What the tool server was asked to write down."""
    return set(received.read_text().split())


def in_progress(connection: Connection) -> int:
    query = select(func.count()).select_from(responses).where(responses.c.status == "in_progress")
    return connection.execute(query).scalar_one()


async def start(services: Forker) -> str:
    """A service that takes requests; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await services.start(port)
    await wait_until_healthy(url)
    return url


async def work_and_die(services: Forker, url: str, told: Told, seconds: float) -> None:
    """Clients are at work; some time after the first of them hears something, there is no service any more."""
    told.begun = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(CLIENTS):
                tasks.start_soon(keep_chatting, url, told)
            await told.begun.wait()
            await anyio.sleep(seconds)
            services.kill()


async def check(url: str, database: Database, told: Told, seen: set[str], received: Path) -> None:
    """Hold what is there after a restart against what clients and the tool server know."""
    assert await database.read(in_progress) == 0, "whose process died is incomplete now"
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        for response_id in told.ended.keys() - seen:
            assert_same(told.ended[response_id], await stored(client, response_id))
    seen |= told.ended.keys()
    assert texts_in(received) <= await database.read(journaled_texts), "a server was called without a trace"
    assert (await verify(database)).problem is None


@pytest.mark.timeout(120 + 10 * KILLS)
async def test_a_kill_at_any_moment_loses_nothing_that_was_promised(database_url: str, tmp_path: Path) -> None:
    moments = random.Random(SEED)
    told, seen, received = Told(), set[str](), tmp_path / "received"
    received.touch()
    database = await open_database(database_url)
    with running_receiver(received) as url:
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"receiver": {"url": url}}}))
        settings = {"DATABASE_URL": database_url, "MCP_CONFIG": str(config), "LOG_LEVEL": "warning"}
        async with forker(tmp_path, tmp_path / "log", **settings) as services:
            service = await start(services)
            for _ in range(KILLS):
                await work_and_die(services, service, told, moments.uniform(0, LONGEST_SECONDS))
                service = await start(services)
                await check(service, database, told, seen, received)
    await database.aclose()
    assert len(told.ended) > 0 and told.broken > 0, "the kills came in the middle of the work"
    # For whoever runs it at length.
    sys.stdout.write(f"{KILLS} kills: {len(told.ended)} ended, {told.broken} cut, {len(texts_in(received))} calls\n")
