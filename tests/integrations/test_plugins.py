"""Plugins are shared: started once, kept, replaced when they end, never a call repeated."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest
import structlog
from structlog.testing import capture_logs

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.integrations import mcp_session, supervised
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.mcp_json import StdioServer, load_mcp_json
from orchestrator.integrations.mcp_session import UNANSWERED_CALLS, ConnectionEndedError
from orchestrator.integrations.mcp_transport import Stage
from orchestrator.integrations.stdio_transport import StdioServerTransport
from orchestrator.integrations.supervised import LONGEST_PAUSE_SECONDS, SupervisedServer
from orchestrator.ports import IntegrationSession
from tests.integrations.harness import LOOPBACK, SCOPE, catalog_of, faulty, plugin, program, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp

pytestmark = pytest.mark.anyio
TOOLS = program("tool_server.py")
NOTHING: JsonObject = {}


async def process_of(session: IntegrationSession) -> str:
    return (await session.call_tool("process", {})).text


async def outcome(session: IntegrationSession, tool: str, arguments: JsonObject, outcomes: list[str]) -> None:
    try:
        outcomes.append((await session.call_tool(tool, arguments)).text)
    except OrchestratorError as error:
        outcomes.append(error.info.message)


async def test_a_plugin_is_started_once_for_many_askers_and_kept_for_later_ones(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with catalog_of(tmp_path, {"x": faulty("behaves", str(starts))}) as catalog:
        assert not starts.exists()  # nothing runs before it is asked for

        async def ask() -> None:
            async with catalog.open([plugin()], SCOPE) as (session,):
                assert (await session.call_tool("first", {})).text == "0 cancelled"

        async with anyio.create_task_group() as askers:
            for _ in range(10):
                askers.start_soon(ask)
        await ask()
        assert len(starts.read_text().splitlines()) == 1


async def test_an_asker_that_goes_away_does_not_end_the_start_for_others(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with catalog_of(tmp_path, {"x": faulty("behaves", str(starts))}) as catalog:
        async with anyio.create_task_group() as askers:
            askers.start_soon(refusal_to_open, catalog, plugin())
            await anyio.lowlevel.checkpoint()
            askers.cancel_scope.cancel()
        async with catalog.open([plugin()], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "0 cancelled"
        assert len(starts.read_text().splitlines()) == 1


async def test_calls_under_way_when_a_plugin_dies_fail_and_nobody_elses_do(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS, "y": TOOLS}) as catalog:
        async with (
            catalog.open([plugin("x"), plugin("y")], SCOPE) as (session, other),
            catalog.open([plugin()], SCOPE) as (again,),
        ):
            first = await process_of(session)
            assert await process_of(again) == first
            outcomes: list[str] = []
            elsewhere: list[str] = []
            async with anyio.create_task_group() as callers:
                callers.start_soon(outcome, other, "wait", NOTHING, elsewhere)
                callers.start_soon(outcome, session, "wait", NOTHING, outcomes)
                callers.start_soon(outcome, again, "wait", NOTHING, outcomes)
                for each in (session, other):  # the calls above have arrived
                    assert (await each.call_tool("add", {"a": 1, "b": 1})).text == "2"
                await outcome(again, "die", {"status": 3}, outcomes)
                with anyio.fail_after(10):
                    while len(outcomes) < 3:
                        await anyio.lowlevel.checkpoint()
                assert elsewhere == []
                callers.cancel_scope.cancel()
            assert sorted(outcomes) == [
                "The tool 'die' of 'mcp/x' gave no result: it exited with status 3.",
                "The tool 'wait' of 'mcp/x' gave no result: it exited with status 3.",
                "The tool 'wait' of 'mcp/x' gave no result: it exited with status 3.",
            ]
            replaced = await process_of(session)
            assert replaced != first
            assert await process_of(again) == replaced
            assert (await other.call_tool("add", {"a": 1, "b": 1})).text == "2"


async def test_a_plugin_that_died_while_idle_is_replaced_without_a_failed_call(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        process = psutil.Process(int(await process_of(session)))
        process.kill()
        await anyio.to_thread.run_sync(process.wait, 10)
        with anyio.move_on_after(2):  # the end of its pipes is seen by the loop in its own time
            while True:
                await anyio.lowlevel.checkpoint()
        assert await process_of(session) != str(process.pid)
        async with catalog.open([plugin()], SCOPE) as (again,):
            assert await process_of(again) == await process_of(session)


@pytest.mark.parametrize("entry", [TOOLS, faulty("grows")])
async def test_tools_that_changed_are_listed_again_before_the_next_request(tmp_path: Path, entry: object) -> None:
    async with catalog_of(tmp_path, {"x": entry}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            before = [tool.name for tool in session.tools]
            name = "grow" if "grow" in before else "first"
            await session.call_tool(name, {"name": "third"})
            assert [tool.name for tool in session.tools] == before  # a request keeps what it was offered
        with anyio.fail_after(10):
            while True:
                async with catalog.open([plugin()], SCOPE) as (session,):
                    if [tool.name for tool in session.tools] == [*before, "third"]:
                        break


async def test_a_plugin_that_answers_nothing_any_more_is_replaced(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    entry = {**faulty("is mute in the call", str(starts)), "timeout": 0.3}
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):

        async def unanswered(calls: int) -> None:
            for _ in range(calls):
                with pytest.raises(OrchestratorError, match="no answer"):
                    await session.call_tool("first", {})

        await unanswered(UNANSWERED_CALLS - 1)
        assert (await session.call_tool("second", {})).text == f"{UNANSWERED_CALLS - 1} cancelled"
        await unanswered(UNANSWERED_CALLS)
        assert (await session.call_tool("second", {})).text == "0 cancelled"
        failure = catalog.host.plugins()[0].last_failure
        assert failure is not None
        assert (failure.stage, failure.why) == ("call", "it left 3 calls in a row without an answer")
    assert len(starts.read_text().splitlines()) == 2


async def test_a_server_at_an_address_that_was_silent_for_long_is_asked_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path, {"x": {"url": f"{origin}/fine"}}) as catalog:

        async def use() -> str:
            async with catalog.open([plugin()], SCOPE) as (session,):
                return (await session.call_tool("second", {})).text

        assert [await use(), await use()] == ["s1", "s1"]
        app.forgotten.add("s1")
        monkeypatch.setattr(mcp_session, "TRUSTED_SECONDS", 0)
        assert [await use(), await use()] == ["s2", "s2"]
    lists = [request.headers["mcp-session-id"] for request in app.seen if request.rpc == "tools/list"]
    assert lists == ["s1", "s1", "s2", "s2"]


async def test_starts_that_keep_failing_are_paused(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with catalog_of(tmp_path, {"x": faulty("exits before the handshake", str(starts))}) as catalog:
        messages = [(await refusal_to_open(catalog, plugin())).message for _ in range(4)]
    assert len(starts.read_text().splitlines()) == 2
    assert "in a row" not in messages[0] + messages[1]
    assert "it exited with status 7" in messages[3]
    assert "(failed 2 times in a row; the next attempt is due in 1 s)" in messages[3]


async def test_the_pause_grows_to_a_bound_and_ends(tmp_path: Path) -> None:
    attempts = 0
    skipped = 0.0

    def transport() -> StdioServerTransport:
        nonlocal attempts
        attempts += 1
        return StdioServerTransport(StdioServer("no-such-command", (), tmp_path, {}, frozenset()))

    made: list[int] = []
    async with anyio.create_task_group() as tasks:
        server = SupervisedServer(
            "x",
            transport,
            task_group=tasks,
            connect_timeout=5,
            redact=str,
            watch_tools=False,
            clock=lambda: anyio.current_time() + skipped,
        )
        for _ in range(20):
            with pytest.raises(ConnectionEndedError) as caught:
                await server.tools()
            assert caught.value.failure.stage is Stage.START
            skipped += LONGEST_PAUSE_SECONDS * 0.6
            made.append(attempts)
    # Without a pause, then after 1, 2, 4, 8 and 16 s, then after 30 s: every second try.
    assert made[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert made[7:11] == [7, 8, 8, 9]


async def test_nothing_can_be_opened_after_the_end(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            await catalog.aclose()
            with pytest.raises(OrchestratorError, match="shutting down"):
                await session.call_tool("add", {"a": 1, "b": 1})
        assert "shutting down" in (await refusal_to_open(catalog, plugin())).message


async def test_an_end_that_nobody_asked_for_is_logged_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger that was used under another configuration keeps to it.
    monkeypatch.setattr(supervised, "log", structlog.stdlib.get_logger("fresh"))
    entries = {"dying": faulty("dies in the call"), "dead": faulty("exits before the handshake"), "fine": TOOLS}
    with capture_logs() as logged:
        async with catalog_of(tmp_path, entries) as catalog:
            await refusal_to_open(catalog, plugin("dead"))
            async with catalog.open([plugin("dying"), plugin("fine")], SCOPE) as (session, _):
                with pytest.raises(OrchestratorError):
                    await session.call_tool("first", {})
    reason = "it exited with status 7; its last lines were: missing API key | the key ••• is wrong"
    event = {"event": "an MCP server is gone", "log_level": "warning"}
    assert logged == [
        {**event, "server": "mcp/dead", "stage": "initialise", "reason": reason},
        {**event, "server": "mcp/dying", "stage": "open", "reason": "it exited with status 9"},
    ]


async def test_two_plugins_start_side_by_side(tmp_path: Path) -> None:
    labels: Sequence[str] = ("a", "b", "c")
    async with AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(catalog_of(tmp_path, dict.fromkeys(labels, TOOLS)))
        sessions = await stack.enter_async_context(catalog.open([plugin(label) for label in labels], SCOPE))
        assert len({await process_of(session) for session in sessions}) == 3


async def test_cancelling_the_task_group_ends_everything(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text("{}")
    async with anyio.create_task_group() as tasks:
        McpCatalog(
            load_mcp_json([tmp_path / "mcp.json"]),
            policy=LOOPBACK,
            connect_timeout=1,
            tool_timeout=1,
            allow_plugins=True,
            allow_ephemeral_mcp=True,
            task_group=tasks,
        )
        tasks.cancel_scope.cancel()
