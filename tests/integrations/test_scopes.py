"""Who shares a plugin's server: everybody, the requests of a chain, or nobody."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from orchestrator.core.errors import ErrorKind
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
