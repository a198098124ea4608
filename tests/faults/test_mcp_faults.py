"""Servers that do what no server should: a readable error, a healthy neighbour, nothing left behind."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.integrations.catalog import McpCatalog
from tests.faults.mcp_faults import DEADLINE, FAULTS, Fault, page
from tests.integrations.harness import SCOPE, SECRET, catalog_of, faulty, plugin, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.test_leaks import nothing_left

pytestmark = pytest.mark.anyio
PATIENCE = 60
"""Seconds that only a busy machine needs."""


@asynccontextmanager
async def silence() -> AsyncGenerator[str, None]:
    """A port that takes connections and says nothing."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as tasks:

            async def hold(stream: anyio.abc.SocketStream) -> None:
                async with stream:
                    async for _ in stream:
                        pass

            tasks.start_soon(listener.serve, hold)
            yield f"https://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def servers_of(fault: Fault) -> AsyncGenerator[tuple[dict[str, Any], FaultyApp], None]:
    """The entries of `mcp.json`: `x` misbehaves, `healthy` does not."""
    elsewhere = FaultyApp()
    app = FaultyApp()
    async with serving(elsewhere) as inside, serving(app) as origin, silence() as silent:
        app.elsewhere = f"{inside}/fine"
        if fault.way == "stdio":
            entry = faulty(fault.mode)
        else:
            entry = {"url": silent if fault.mode == "silent TLS" else f"{origin}/{fault.mode}"}
        yield {"x": entry, "healthy": {"url": f"{origin}/fine"}}, elsewhere


async def misbehave(catalog: McpCatalog, fault: Fault) -> str | None:
    """What a request that uses the server is told; None where its call works."""
    try:
        async with catalog.open([plugin()], SCOPE) as (session,):
            try:
                await session.call_tool("first", {})
            except OrchestratorError as error:
                assert fault.outcome == "the call fails"
                assert error.info.kind is ErrorKind.PLUGIN_CONNECTION_ERROR
                assert error.info.message.startswith("The tool 'first' of 'mcp/x' gave no result: ")
                return error.info.message
    except OrchestratorError as error:
        assert fault.outcome == "does not connect", error
        assert (error.info.kind, error.info.param) == (ErrorKind.PLUGIN_CONNECTION_ERROR, "integrations")
        return error.info.message
    return None


async def be_healthy(catalog: McpCatalog, over: anyio.Event) -> int:
    """Calls the neighbour until the other request is over, and at least once; every call must work."""
    calls = 0
    async with catalog.open([plugin("healthy")], SCOPE) as (session,):
        while calls == 0 or not over.is_set():
            assert (await session.call_tool("first", {})).text == "fine"
            calls += 1
            with anyio.move_on_after(0.05):
                await over.wait()
    return calls


@dataclass
class Heard:
    """What two requests at the same time came to."""

    said: str | None = None
    healthy_calls: int = 0


async def side_by_side(catalog: McpCatalog, fault: Fault) -> Heard:
    """The request that uses the server, beside a healthy one."""
    heard, over = Heard(), anyio.Event()

    async def neighbour() -> None:
        heard.healthy_calls = await be_healthy(catalog, over)

    async with anyio.create_task_group() as requests:
        requests.start_soon(neighbour)
        heard.said = await misbehave(catalog, fault)
        over.set()
    return heard


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.way}: {fault.what}")
async def test_a_fault_is_told_and_harms_nobody_else(fault: Fault, tmp_path: Path) -> None:
    late = "no answer within" in fault.said
    connecting = DEADLINE if late and fault.outcome == "does not connect" else PATIENCE
    calling = DEADLINE if late and fault.outcome == "the call fails" else PATIENCE
    async with servers_of(fault) as (entries, elsewhere):
        async with nothing_left():
            async with catalog_of(tmp_path, entries, connect_timeout=connecting, tool_timeout=calling) as catalog:
                heard = await side_by_side(catalog, fault)
    assert heard.healthy_calls > 0
    if fault.outcome == "the call works":
        assert heard.said is None
    else:
        before, _, after = fault.said.replace("SECONDS", f"{DEADLINE:g}").partition("ELSEWHERE")
        assert heard.said is not None and before in heard.said and after in heard.said
        assert SECRET not in heard.said
    assert elsewhere.seen == []


@pytest.mark.parametrize("way", ["stdio", "HTTP"])
async def test_two_requests_on_a_shared_server_that_dies_both_fail_and_the_next_works(way: str, tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        entry = faulty("dies in the call") if way == "stdio" else {"url": f"{origin}/breaks-off"}
        async with nothing_left(), catalog_of(tmp_path, {"x": entry}) as catalog:
            told: list[str] = []

            async def use() -> None:
                async with catalog.open([plugin()], SCOPE) as (session,):
                    with pytest.raises(OrchestratorError) as caught:
                        await session.call_tool("first", {})
                    told.append(caught.value.info.message)

            async with anyio.create_task_group() as requests:
                requests.start_soon(use)
                requests.start_soon(use)
            assert len(told) == 2 and all("'first' of 'mcp/x' gave no result: " in message for message in told)
            async with catalog.open([plugin()], SCOPE) as (session,):
                assert not (await session.call_tool("second", {})).is_error


@pytest.mark.parametrize("way", ["stdio", "HTTP"])
async def test_tools_that_change_between_two_turns_leave_the_run_its_own_and_the_next_the_new(
    way: str, tmp_path: Path
) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        entry: dict[str, Any] = faulty("grows") if way == "stdio" else {"url": f"{origin}/grows", "scope": "request"}
        async with nothing_left(), catalog_of(tmp_path, {"x": entry}) as catalog:
            async with catalog.open([plugin()], SCOPE) as (session,):
                await session.call_tool("first", {})
                assert [tool.name for tool in session.tools] == ["first", "second"]
                assert not (await session.call_tool("second", {})).is_error
            async with catalog.open([plugin()], SCOPE) as (session,):
                assert [tool.name for tool in session.tools] == ["first", "second", "third"]


def test_the_page_has_the_table() -> None:
    written = (Path(__file__).parents[2] / "orchestrator" / "FAULTS.md").read_text("utf-8")
    assert written == page()
