"""A changed `mcp.json` while requests run: what is replaced, what goes on, and what ends."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.ports import IntegrationSession
from tests.integrations.harness import SCOPE, catalog_of, faulty, plugin, program, refusal_to_open, reload

pytestmark = pytest.mark.anyio
WAIT_SECONDS = 10


def told(folder: Path, label: str = "x") -> dict[str, Any]:
    return faulty("tells its process", str(folder / label))


async def process_of(session: IntegrationSession) -> int:
    return int((await session.call_tool("second", {})).text)


async def ask(catalog: McpCatalog, label: str = "x") -> int:
    async with catalog.open([plugin(label)], SCOPE) as (session,):
        return await process_of(session)


async def running(catalog: McpCatalog, *but: int) -> int:
    """The process of the only plugin, once it is connected, which nobody here asks it to be; not one of `but`."""
    with anyio.fail_after(WAIT_SECONDS):
        while True:
            status = catalog.host.plugins()[0]
            found = [process.pid for process in status.processes if process.pid not in but and not process.retiring]
            if status.state == "running" and found:
                return found[0]
            await anyio.sleep(0.01)


async def failed(catalog: McpCatalog) -> None:
    """Wait until it is known that the only plugin has ended: its process is gone a little earlier."""
    with anyio.fail_after(WAIT_SECONDS):
        while catalog.host.plugins()[0].state != "failed":  # noqa: ASYNC110  nothing tells
            await anyio.sleep(0.01)


async def has_ended(pid: int) -> bool:
    """Whether the process is gone, soon."""
    with anyio.move_on_after(WAIT_SECONDS):
        while psutil.pid_exists(pid):  # noqa: ASYNC110  nothing tells
            await anyio.sleep(0.01)
    return not psutil.pid_exists(pid)


Change = Callable[[dict[str, Any]], dict[str, Any] | None]
CHANGES: list[tuple[str, Change, bool]] = [
    # what is changed, and whether that makes it another server
    ("nothing", lambda entry: entry, False),
    ("its time limit", lambda entry: entry | {"timeout": 5}, False),
    ("its allowed tools", lambda entry: entry | {"allowed_tools": ["second"]}, False),
    ("how it is approved", lambda entry: entry | {"require_approval": "never"}, False),
    ("a key that nobody knows", lambda entry: entry | {"colour": "red"}, False),
    ("when it starts", lambda entry: entry | {"start": "at_start"}, False),
    ("an argument", lambda entry: entry | {"args": [*entry["args"], "more"]}, True),
    ("a variable of its environment", lambda entry: entry | {"env": {"SECRET": "another1"}}, True),
    ("its folder", lambda entry: entry | {"cwd": "/"}, True),
    ("its scope", lambda entry: entry | {"scope": "chain"}, True),
]


@pytest.mark.parametrize(("what", "change", "replaced"), CHANGES, ids=[row[0] for row in CHANGES])
async def test_only_a_server_whose_own_entry_changed_is_replaced(
    tmp_path: Path, what: str, change: Change, replaced: bool
) -> None:
    servers = {"x": told(tmp_path), "other": told(tmp_path, "other")}
    async with catalog_of(tmp_path, servers) as catalog:
        before, other = await ask(catalog), await ask(catalog, "other")
        reload(catalog, tmp_path, {"new": told(tmp_path, "new"), **servers, "x": change(servers["x"])})
        assert (await ask(catalog) != before) is replaced
        assert await ask(catalog, "other") == other
        assert await has_ended(before) if replaced else psutil.pid_exists(before)


async def test_a_request_that_runs_finishes_with_what_it_began_with(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog, AsyncExitStack() as request:
        (session,) = await request.enter_async_context(catalog.open([plugin()], SCOPE))
        before = await process_of(session)
        answers: list[str] = []

        async def call() -> None:
            answers.append((await session.call_tool("first", {})).text)

        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            reload(catalog, tmp_path, {"x": told(tmp_path) | {"cwd": "/"}})
            assert await ask(catalog) != before  # new requests get the new server, while the call is under way
            (tmp_path / "x.go").touch()
        assert answers == [str(before)]
        assert await process_of(session) == before
        assert [process.retiring for process in catalog.host.plugins()[0].processes] == [True, False]
        await request.aclose()
        assert await has_ended(before)


GONE: list[tuple[str, dict[str, Any], str]] = [
    ("removed", {}, "Cannot find plugin 'mcp/x'"),
    ("disabled", {"x": {"command": "x", "disabled": True}}, "is disabled in mcp.json"),
    ("broken", {"x": {"command": 7}}, "cannot be used as mcp.json has it: key 'command' must be a string"),
]


@pytest.mark.parametrize(("what", "servers", "refusal"), GONE, ids=[row[0] for row in GONE])
async def test_a_plugin_that_went_ends_when_it_is_idle_and_is_refused(
    tmp_path: Path, what: str, servers: dict[str, Any], refusal: str
) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            before = await process_of(session)
            reload(catalog, tmp_path, servers)
            assert refusal in (await refusal_to_open(catalog, plugin())).message
            assert await process_of(session) == before
        assert await has_ended(before)


async def test_a_request_has_the_rules_that_counted_when_it_began(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog, catalog.open([plugin()], SCOPE) as (before,):
        reload(catalog, tmp_path, {"x": told(tmp_path) | {"allowed_tools": ["second"]}})
        async with catalog.open([plugin()], SCOPE) as (after,):
            assert (before.withheld, after.withheld) == (frozenset(), {"first"})


async def test_a_mended_entry_is_not_kept_waiting_by_earlier_failures(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("exits before the handshake")}) as catalog:
        for _ in range(3):
            await refusal_to_open(catalog, plugin())
        reload(catalog, tmp_path, {"x": told(tmp_path)})
        assert await ask(catalog) > 0


async def test_plugins_that_start_at_the_start_follow_the_file(tmp_path: Path) -> None:
    keeps = told(tmp_path) | {"start": "at_start"}
    async with catalog_of(tmp_path, {}) as catalog:
        reload(catalog, tmp_path, {"x": keeps})
        first = await running(catalog)
        reload(catalog, tmp_path, {"x": keeps | {"cwd": "/"}})
        second = await running(catalog, first)
        assert await has_ended(first)
        reload(catalog, tmp_path, {"x": told(tmp_path) | {"cwd": "/"}})  # it goes on, but is no longer kept up
        psutil.Process(second).kill()
        await failed(catalog)
        assert await ask(catalog) not in (first, second)


async def test_a_call_on_a_server_that_dies_after_its_entry_changed_fails_like_any(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("dies in the call")}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            reload(catalog, tmp_path, {"x": program("tool_server.py")})
            with pytest.raises(OrchestratorError, match="it exited with status 9"):
                await session.call_tool("first", {})
            assert (await session.call_tool("second", {})).text == "0 cancelled"  # its own server, once more


async def test_a_changed_file_of_variables_restarts_its_server_as_a_changed_entry_does(tmp_path: Path) -> None:
    keys, entry = tmp_path / "keys.env", program("tool_server.py") | {"envFile": "keys.env"}
    keys.write_text("NAME=old")
    async with catalog_of(tmp_path, {"x": entry}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (before,):
            assert (await before.call_tool("environment", {"name": "NAME"})).text == "old"
            keys.write_text("NAME=newer")
            reload(catalog, tmp_path, {"x": entry})
            async with catalog.open([plugin()], SCOPE) as (after,):
                assert (await after.call_tool("environment", {"name": "NAME"})).text == "newer"
            assert (await before.call_tool("environment", {"name": "NAME"})).text == "old"
