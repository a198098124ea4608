"""Who shares a plugin's server: everybody, the requests of a chain, or nobody."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.plugins import ChainLimits
from orchestrator.ports import RunScope
from tests.integrations.harness import SCOPE, catalog_of, faulty, plugin, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.test_reload import failed, has_ended, process_of, told

pytestmark = pytest.mark.anyio


def of(folder: Path, scope: str, **more: Any) -> dict[str, Any]:
    return {"x": told(folder) | {"scope": scope, **more}}


async def ask(catalog: McpCatalog, owner: str = "ada", chain: str = "resp_a") -> int:
    async with catalog.open([plugin()], RunScope(owner, chain, "resp_now")) as (session,):
        return await process_of(session)


async def test_a_chain_has_its_own_process_over_all_of_its_requests(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain")) as catalog:
        first = await ask(catalog)
        assert await ask(catalog) == first
        other = await ask(catalog, chain="resp_b")
        assert other != first
        assert await ask(catalog) == first
        assert sorted(process.pid for process in catalog.host.plugins()[0].processes) == sorted([first, other])
    assert not psutil.pid_exists(first) and not psutil.pid_exists(other)


async def test_another_owner_never_gets_a_chains_session(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain")) as catalog:
        assert await ask(catalog, "ada", "resp_a") != await ask(catalog, "bob", "resp_a")


async def test_where_no_scope_is_written_each_owner_has_a_process_over_all_chains(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog:
        of_ada, of_bob = await ask(catalog, "ada", "resp_a"), await ask(catalog, "bob", "resp_b")
        assert of_ada != of_bob
        assert await ask(catalog, "ada", "resp_other") == of_ada
        seen = [
            sorted(process.pid for process in catalog.host.plugins(owner)[0].processes)
            for owner in (None, "ada", "bob", "eve")
        ]
        assert seen == [sorted([of_ada, of_bob]), [of_ada], [of_bob], []]
        assert [catalog.host.plugins(owner)[0].state for owner in ("ada", "eve")] == ["running", "stopped"]
        assert catalog.host.plugins("eve")[0].tools is None


async def test_a_process_is_everybodys_where_the_entry_says_so(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "shared")) as catalog:
        assert await ask(catalog, "ada") == await ask(catalog, "bob") == await ask(catalog, "local")


async def test_without_authentication_the_process_stays_and_with_it_each_ends_when_it_was_unused(
    tmp_path: Path,
) -> None:
    servers = {"x": told(tmp_path) | {"idle_timeout": 0.05}}
    async with catalog_of(tmp_path, servers) as catalog:
        local, of_ada = await ask(catalog, "local"), await ask(catalog, "ada")
        assert await has_ended(of_ada)
        assert await ask(catalog, "local") == local
        assert catalog.host.plugins()[0].restarts == 0  # what ended unused began again, and did not fail


async def test_at_the_limit_the_owner_who_was_away_longest_gives_up_the_process(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}, chains=ChainLimits(most=1)) as catalog:
        async with catalog.open([plugin()], RunScope("eve", "resp_a", "resp_1")):
            with pytest.raises(OrchestratorError) as refused:
                await ask(catalog, "bob")
        of_ada = await ask(catalog, "ada")
        await ask(catalog, "bob")
        assert await has_ended(of_ada)
    assert (refused.value.info.kind, refused.value.info.message) == (
        ErrorKind.RATE_LIMITED,
        "The plugin 'mcp/x' has a session for each owner, and 1 such sessions are in use, "
        "which is the limit (setting MAX_CHAIN_SESSIONS). Try again later.",
    )


async def test_a_restart_ends_the_processes_of_all_owners_and_begins_the_askers(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path)}) as catalog:
        of_ada, of_bob = await ask(catalog, "ada"), await ask(catalog, "bob")
        await catalog.host.restart("mcp/x", "ada")
        assert await has_ended(of_ada) and await has_ended(of_bob)
        (process,) = catalog.host.plugins("ada")[0].processes
        assert await ask(catalog, "ada") == process.pid
        assert catalog.host.plugins("bob")[0].processes == ()


@pytest.mark.parametrize("one_owner", [True, False])
async def test_what_is_to_run_from_the_start_is_started_where_there_is_one_owner_only(
    tmp_path: Path, one_owner: bool
) -> None:
    async with catalog_of(tmp_path, {"x": told(tmp_path) | {"start": "at_start"}}, one_owner=one_owner) as catalog:
        catalog.start_plugins()
        await anyio.wait_all_tasks_blocked()
        assert (catalog.host.plugins()[0].state != "stopped") == one_owner


async def test_each_owner_has_a_session_of_its_own_with_a_server_elsewhere(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path, {"x": {"url": f"{origin}/fine"}}) as catalog:
        for owner in ("ada", "bob", "ada"):
            async with catalog.open([plugin()], RunScope(owner, "resp_a", "resp_now")) as (session,):
                await session.call_tool("first", {})
    assert sum(request.rpc == "initialize" for request in app.seen) == 2


async def test_the_shipped_notes_of_one_owner_are_not_anothers(tmp_path: Path) -> None:
    shipped = json.loads((Path(__file__).parents[2] / "mcp.json").read_text("utf-8"))["mcpServers"]["notes"]
    servers = {"x": shipped | {"env": {"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}}}

    async def titles(catalog: McpCatalog, owner: str, saves: str | None = None) -> str:
        async with catalog.open([plugin()], RunScope(owner, "resp_a", "resp_now")) as (session,):
            if saves is not None:
                await session.call_tool("save_note", {"title": saves, "text": "4711"})
            return (await session.call_tool("list_notes", {})).text

    async with catalog_of(tmp_path, servers) as catalog:
        assert "of ada" in await titles(catalog, "ada", "of ada")
        assert "of bob" in await titles(catalog, "bob", "of bob")
        assert "of all" in await titles(catalog, "local", "of all")
    async with catalog_of(tmp_path, servers) as catalog:  # after a restart of the service
        told = {owner: await titles(catalog, owner) for owner in ("ada", "bob", "local")}
    seen = {owner: [title for title in ("of ada", "of bob", "of all") if title in text] for owner, text in told.items()}
    assert seen == {"ada": ["of ada"], "bob": ["of bob"], "local": ["of all"]}


async def test_branches_that_run_at_the_same_time_share_the_session_of_their_chain(tmp_path: Path) -> None:
    scope = RunScope("ada", "resp_a", "resp_1")
    async with catalog_of(tmp_path, of(tmp_path, "chain", idle_timeout=0.01)) as catalog:
        async with catalog.open([plugin()], scope) as (one,), catalog.open([plugin()], scope) as (two,):
            assert await process_of(one) == await process_of(two)
            (status,) = catalog.host.plugins()[0].processes
            assert (status.users, status.retiring) == (2, False)


async def test_a_session_that_no_request_uses_ends_after_its_time(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain", idle_timeout=0.05)) as catalog:
        first = await ask(catalog)
        assert await has_ended(first)
        assert await ask(catalog) != first


async def test_a_session_in_use_does_not_end_however_long_it_takes(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain", idle_timeout=0.05)) as catalog:
        first = await ask(catalog)
        async with catalog.open([plugin()], RunScope("ada", "resp_a", "resp_2")) as (session,):
            with anyio.move_on_after(0.3):
                assert not await has_ended(first)
            assert await process_of(session) == first


async def test_the_setting_says_how_long_where_the_entry_does_not(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain"), chains=ChainLimits(idle_seconds=0.05)) as catalog:
        assert await has_ended(await ask(catalog))


async def test_one_chain_too_many_ends_the_session_that_was_unused_for_longest(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain"), chains=ChainLimits(most=2)) as catalog:
        first, second = await ask(catalog, chain="resp_1"), await ask(catalog, chain="resp_2")
        assert await ask(catalog, chain="resp_1") == first
        await ask(catalog, chain="resp_3")
        assert await has_ended(second)
        assert psutil.pid_exists(first)


async def test_one_chain_too_many_is_refused_while_all_are_in_use(tmp_path: Path) -> None:
    servers = of(tmp_path, "chain") | {"free": told(tmp_path, "free")}
    async with catalog_of(tmp_path, servers, chains=ChainLimits(most=2)) as catalog:
        async with AsyncExitStack() as requests:
            for chain in ("resp_1", "resp_2"):
                await requests.enter_async_context(catalog.open([plugin()], RunScope("ada", chain, chain)))
            refused = await refusal_to_open(catalog, plugin("free"), plugin())
            assert (refused.kind, refused.param) == (ErrorKind.RATE_LIMITED, "integrations")
            assert "MAX_CHAIN_SESSIONS" in refused.message
        assert [process.users for process in catalog.host.plugins()[0].processes] == [0, 0]
        assert await ask(catalog, chain="resp_3") > 0


async def test_a_chains_process_that_died_is_replaced_on_the_next_use(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "chain")) as catalog:
        first = await ask(catalog)
        psutil.Process(first).kill()
        await failed(catalog)
        assert await ask(catalog) != first


async def test_a_request_of_its_own_has_a_process_that_ends_with_it(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, of(tmp_path, "request")) as catalog:
        async with catalog.open([plugin()], SCOPE) as (one,), catalog.open([plugin()], SCOPE) as (two,):
            first, second = await process_of(one), await process_of(two)
            assert first != second
        assert not psutil.pid_exists(first)
        assert not psutil.pid_exists(second)
        assert catalog.host.plugins()[0].processes == ()


async def test_a_chain_that_cannot_start_its_server_leaves_nothing_of_it(tmp_path: Path) -> None:
    servers = {"x": faulty("exits before the handshake") | {"scope": "chain", "idle_timeout": 0.01}}
    async with catalog_of(tmp_path, servers) as catalog:
        assert "status 7" in (await refusal_to_open(catalog, plugin())).message
        status = catalog.host.plugins()[0]
        assert (status.processes, status.last_failure is not None) == ((), True)


async def test_chains_of_a_server_at_an_address_have_sessions_of_their_own(tmp_path: Path) -> None:
    app = FaultyApp()
    async with (
        serving(app) as origin,
        catalog_of(tmp_path, {"x": {"url": f"{origin}/fine", "scope": "chain"}}) as catalog,
    ):
        for chain in ("resp_a", "resp_b", "resp_a"):
            async with catalog.open([plugin()], RunScope("ada", chain, "resp_now")) as (session,):
                await session.call_tool("first", {})
    assert sum(request.rpc == "initialize" for request in app.seen) == 2
