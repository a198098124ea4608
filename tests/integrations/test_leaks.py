"""After many connections, nothing of them is left: no task, no file descriptor, no process."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.catalog import McpCatalog
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, faulty, plugin, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.started import Started

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None, None]:
    """There is no more at the end than there was at the beginning, soon."""
    us, started = psutil.Process(), Started()
    gc.collect()
    gc.freeze()  # what is there already is not looked through again at the end
    for _ in range(20):  # servers that were just started start tasks of their own
        await anyio.lowlevel.checkpoint()
    tasks, descriptors = asyncio.all_tasks(), us.num_fds()
    yield
    with anyio.move_on_after(5):
        while asyncio.all_tasks() - tasks or us.num_fds() > descriptors or started.all():  # noqa: ASYNC110  nothing tells
            await anyio.sleep(0.005)
    assert [task.get_name() for task in asyncio.all_tasks() - tasks] == []
    assert us.num_fds() <= descriptors, us.open_files() + us.net_connections()
    assert started.all() == []
    gc.collect()  # unclosed streams warn when they are collected, and a warning fails the test
    gc.unfreeze()


@pytest.mark.parametrize(
    "path",
    ["/401", "/redirect-away", "/hangs", "/hangs-at-list", "/breaks-off", "/fails-in-the-call", "/ends-the-stream"],
)
async def test_failed_connections_and_calls_leave_nothing_behind(tmp_path: Path, path: str) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path, connect_timeout=0.2) as catalog:

        async def fail() -> None:
            with pytest.raises(OrchestratorError):
                async with catalog.open([ephemeral(origin + path)], SCOPE) as (session,):
                    await session.call_tool("first", {})

        await fail()
        async with nothing_left():
            for _ in range(5):
                await fail()


async def test_requests_that_are_cancelled_leave_nothing_behind(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path) as catalog:

        async def call(path: str) -> None:
            async with catalog.open([ephemeral(origin + path)], SCOPE) as (session,):
                await session.call_tool("first", {})

        await call("/fine")
        async with nothing_left():
            for path in ("/hangs", "/hangs-at-list", "/hangs-in-the-call") * 3:
                app.hanging = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call, path)
                    with anyio.fail_after(10):
                        await app.hanging.wait()
                    tasks.cancel_scope.cancel()


Ending = Callable[[McpCatalog], Awaitable[None]]


async def _orderly(catalog: McpCatalog) -> None:
    async with catalog.open([plugin()], SCOPE) as (session,):
        await session.call_tool("second", {})


async def _dying(catalog: McpCatalog) -> None:
    async with catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError):
            await session.call_tool("first", {})


@pytest.mark.parametrize("use", [_orderly, _dying])
async def test_child_processes_that_end_leave_nothing_behind(tmp_path: Path, use: Ending) -> None:
    async with nothing_left():
        for _ in range(5):
            async with catalog_of(tmp_path, {"x": faulty("dies in the call")}) as catalog:
                for _ in range(3):
                    await use(catalog)


async def test_failed_starts_leave_nothing_behind(tmp_path: Path) -> None:
    async with nothing_left():
        for mode in ("exits before the handshake", "closes its output", "hangs at initialise"):
            async with catalog_of(tmp_path, {"x": faulty(mode)}, connect_timeout=1) as catalog:
                with pytest.raises(OrchestratorError):
                    async with catalog.open([plugin()], SCOPE):
                        pass
