"""Plugins that are kept running, what is seen of them, and that nothing is left of those that ended."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.integrations import mcp_session
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.plugins import restart_pause
from orchestrator.integrations.stderr_ring import MAX_CHARACTERS, MAX_LINES, StderrRing
from tests.integrations.harness import SCOPE, SECRET, catalog_of, faulty, plugin, program, refusal_to_open
from tests.integrations.started import Started
from tests.integrations.test_leaks import nothing_left
from tests.integrations.test_reload import has_ended, process_of, running, told

pytestmark = pytest.mark.anyio
# One with the variable set to 1000 takes minutes.
RESTARTS = int(os.environ.get("ORCHESTRATOR_TEST_RESTARTS", "100"))


def kept(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"x": {**entry, "start": "at_start"}}


async def test_a_plugin_that_is_to_run_from_the_start_on_runs_before_anybody_asks(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, kept(told(tmp_path)) | {"y": told(tmp_path, "y")}) as catalog:
        assert [status.state for status in catalog.host.plugins()] == ["stopped", "stopped"]
        catalog.start_plugins()
        process = await running(catalog)
        assert [status.state for status in catalog.host.plugins()] == ["running", "stopped"]
        async with catalog.open([plugin()], SCOPE) as (session,):
            assert await process_of(session) == process
    assert not psutil.pid_exists(process)


async def test_a_plugin_that_died_while_nobody_used_it_is_started_again(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, kept(told(tmp_path))) as catalog:
        catalog.start_plugins()
        first = await running(catalog)
        psutil.Process(first).kill()
        second = await running(catalog, first)
        status = catalog.host.plugins()[0]
        assert (status.state, status.problem, status.restarts) == ("running", None, 1)
        assert status.last_failure is not None
        assert (status.last_failure.stage, status.last_failure.why) == ("open", "it was ended by SIGKILL")
        assert psutil.pid_exists(second)


async def test_a_restart_replaces_the_process_of_a_plugin_that_is_kept_running(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, kept(told(tmp_path))) as catalog:
        catalog.start_plugins()
        first = await running(catalog)
        await catalog.host.restart("mcp/x")
        assert await running(catalog) != first
        assert await has_ended(first)


async def step(catalog: McpCatalog) -> None:
    async with catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("steps", {"seconds": 0})).text == "arrived"


async def test_a_request_that_finds_a_server_stuck_goes_on_with_a_new_process_and_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_session, "CHECK_SECONDS", 1)
    entries = {"x": {**program("slow_server.py"), "timeout": 2}}
    async with nothing_left(), catalog_of(tmp_path, entries) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            stuck = await running(catalog)
            with pytest.raises(OrchestratorError, match="no answer within 2 s"):
                await session.call_tool("wedge", {})
        with monkeypatch.context() as patch, anyio.fail_after(40):
            patch.setattr(mcp_session, "TRUSTED_SECONDS", 0)
            async with anyio.create_task_group() as users:
                users.start_soon(step, catalog)
                users.start_soon(step, catalog)
        status = catalog.host.plugins()[0]
        assert (status.state, status.restarts) == ("running", 1)
        failure = status.last_failure
        assert failure is not None
        assert (failure.stage, failure.why) == ("health check", "it did not answer a health check within 1 s")
        assert await has_ended(stuck)
        assert catalog.host.plugins()[0].last_failure == failure


async def test_a_server_that_is_late_because_it_works_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_session, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(mcp_session.McpConnection, "needs_check", True)
    async with catalog_of(tmp_path, {"x": program("slow_server.py")}) as catalog, anyio.create_task_group() as calls:
        async with catalog.open([plugin()], SCOPE) as (session,):
            process = await running(catalog)
            nothing: JsonObject = {}
            calls.start_soon(session.call_tool, "wedge", nothing)
            with anyio.fail_after(40):
                async with catalog.open([plugin()], SCOPE) as (other,):
                    assert other.tools == session.tools
            assert (await running(catalog), catalog.host.plugins()[0].last_failure) == (process, None)
            calls.cancel_scope.cancel()


def test_the_pause_before_a_restart_grows_to_a_bound() -> None:
    assert [restart_pause(count) for count in (0, 1, 2, 3, 4, 5, 6, 7, 1000)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_starts_that_fail_are_counted_until_one_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    enough = anyio.Event()

    def no_pause(short_lives: int) -> float:
        counts.append(short_lives)
        if len(counts) == 5:
            enough.set()
        return 0 if len(counts) < 5 else 3600

    monkeypatch.setattr("orchestrator.integrations.plugins.restart_pause", no_pause)
    async with catalog_of(tmp_path, kept(faulty("exits before the handshake"))) as catalog:
        catalog.start_plugins()
        with anyio.fail_after(20):
            await enough.wait()
        status = catalog.host.plugins()[0]
    assert counts == [1, 2, 3, 4, 5]
    assert status.state == "failed"
    assert "it exited with status 7" in (status.problem or "")


async def test_what_a_plugin_writes_beside_its_messages_is_kept_over_its_restarts(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("exits before the handshake")}) as catalog:
        for _ in range(2):
            await refusal_to_open(catalog, plugin())
        status = catalog.host.plugins()[0]
    assert status.stderr == ("missing API key", "the key ••• is wrong") * 2
    assert (status.restarts, SECRET in repr(status)) == (1, False)


def test_the_lines_that_are_kept_are_bounded_in_number_and_length() -> None:
    ring = StderrRing()
    for number in range(10_000):
        ring.append(f"line {number}")
    assert ring.lines == tuple(f"line {number}" for number in range(10_000 - MAX_LINES, 10_000))
    for _ in range(3):
        ring.append("x" * MAX_CHARACTERS)
    assert ring.lines == ("x" * MAX_CHARACTERS,)
    ring.append("y" * 10 * MAX_CHARACTERS)
    assert ring.lines == ("y" * MAX_CHARACTERS,)


async def test_the_figures_of_a_process_are_those_of_all_that_it_started(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("leaves a child behind")}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            child = int(session.tools[0].description)
            (process,) = catalog.host.plugins()[0].processes
            alone = psutil.Process(process.pid).memory_info().rss
            assert (process.processes, process.users) == (2, 1)
            assert process.memory_bytes is not None and process.memory_bytes > alone
            assert process.cpu_seconds is not None and process.cpu_seconds > 0
            assert process.started_at is not None
    assert await has_ended(child)


async def test_many_restarts_leave_no_process_behind(tmp_path: Path) -> None:
    async with nothing_left(), catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog:
        ours, seen = Started(), set[int]()
        for _ in range(RESTARTS):
            await catalog.host.restart("mcp/x")
            async with catalog.open([plugin()], SCOPE) as (session,):
                seen.add(await process_of(session))
            assert len(ours.all()) <= 8  # those that are just ending among them
        assert len(seen) == RESTARTS
        assert catalog.host.plugins()[0].restarts == RESTARTS - 1
    assert not any(psutil.pid_exists(pid) for pid in seen)
