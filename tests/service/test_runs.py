"""Runs in flight: who follows them, what ends them, what is left of them."""

from datetime import UTC, datetime
from typing import NoReturn

import anyio
import pytest

from orchestrator.core.briefing import WROTE_ON
from orchestrator.core.commands import Outcome
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.items import FunctionCall, Message, Reasoning, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import ToolMessage
from orchestrator.core.request import PluginRequest
from orchestrator.core.response import Cancelled, Completed, Failed, Incomplete
from orchestrator.core.stream import ChatEnd, ChatStart, ErrorEvent, ModelLoadEnd, ToolCallSuccess
from orchestrator.core.tools import ToolDefinition
from orchestrator.ports import NewResponse, RunScope
from orchestrator.service.chats import Caller
from orchestrator.testing import Break, Call, FakeServer, MemoryStore, Say, ScriptedEngine, Stall, Think
from tests.service.house import events_of, fake_tool, service

pytestmark = pytest.mark.anyio
CLOCK = PluginRequest("mcp/clock")
FIRST = "time_to_first_token_seconds"


async def add(arguments: JsonObject) -> str:
    return str(sum(value for value in arguments.values() if isinstance(value, int)))


async def test_a_chat_with_a_tool_is_answered_stored_and_readable() -> None:
    engine = ScriptedEngine([[Think("Add."), Call("add", {"a": 1, "b": 2})], [Say("It is 3.")]])
    server = FakeServer([fake_tool("add", add)])
    async with service(engine, {"mcp/clock": server}) as house:
        run = await house.chat("1 + 2?", CLOCK, metadata={"k": "v"})
        result = await run.result()
        assert [type(item) for item in result.output] == [Reasoning, ToolCall, Message]
        assert result.ending == Completed()
        assert server.calls == [("add", {"a": 1, "b": 2})]
        assert isinstance(engine.requests[1].messages[-1], ToolMessage)
        assert run.response_id is not None
        stored = await house.store.get_response(run.response_id, "local")
        assert stored is not None
        assert tuple(entry.item for entry in stored.output) == result.output
        assert (stored.status, stored.metadata, stored.stats) == ("completed", {"k": "v"}, result.stats)
        assert [call.status for call in await house.store.list_calls(run.response_id, "local")] == ["succeeded"]
    assert server.open_sessions == 0


async def test_integrations_are_told_the_owner_the_chain_and_the_response_they_are_opened_for() -> None:
    async with service(ScriptedEngine([[Say("Yes.")]]), {"mcp/clock": FakeServer()}) as house:
        ids: list[str] = []
        for _ in range(3):
            run = await house.chat("?", CLOCK, previous_response_id=ids[-1] if ids else None)
            await run.result()
            assert run.response_id is not None
            ids.append(run.response_id)
        assert house.catalog.scopes == [RunScope("local", ids[0], id) for id in ids]


async def test_every_reader_sees_the_same_stream_and_the_reply_is_its_fold() -> None:
    async with service(ScriptedEngine([[Say("one two three")]])) as house:
        run = await house.chat()
        first, second = await events_of(run), await events_of(run)
        assert first == second
        assert isinstance(first[0], ChatStart)
        assert isinstance(first[-1], ChatEnd)
        assert first[-1].result == await run.result()
        assert [event async for _, event in run.events(after=len(first) - 1)] == [first[-1]]


async def test_calls_of_one_turn_run_at_the_same_time() -> None:
    arrived, both = 0, anyio.Event()

    async def meet(arguments: JsonObject) -> str:
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            both.set()
        with anyio.fail_after(10):
            await both.wait()
        return "met"

    engine = ScriptedEngine([[Call("meet", {"n": 1}), Call("meet", {"n": 2})], [Say("done")]])
    async with service(engine, {"mcp/clock": FakeServer([fake_tool("meet", meet)])}) as house:
        result = await (await house.chat("", CLOCK)).result()
        assert [item.output for item in result.output if isinstance(item, ToolCall)] == [
            '[{"text":"met","type":"text"}]'
        ] * 2


async def test_a_model_that_may_call_once_is_stopped_where_it_writes_on_and_its_next_turn_comes() -> None:
    async def now(arguments: JsonObject) -> str:
        return "noon"

    first = [Call("now", {"zone": "UTC"}), Call("now", {"zone": "CET"}), Stall(anyio.Event())]
    engine = ScriptedEngine([first, [Call("now", {"zone": "CET"})], [Say("Noon.")]])
    async with service(engine, {"mcp/clock": FakeServer([fake_tool("now", now)])}) as house:
        run = await house.chat("", CLOCK, parallel_tool_calls=False)
        result = await run.result()
        zones = [item.arguments for item in result.output if isinstance(item, ToolCall)]
        assert zones == [{"zone": "UTC"}, {"zone": "CET"}]
        assert (result.ending, result.warnings) == (Completed(), (WROTE_ON,))
        assert result.stats.unknown == ("total_output_tokens", "reasoning_output_tokens", "tokens_per_second", FIRST)
        assert engine.open_generations == 0


async def test_an_engine_that_was_done_before_it_could_be_stopped_says_what_it_counted() -> None:
    engine = ScriptedEngine([[Call("look"), Say("Wait.")]])
    look = ToolDefinition("look", "Look.", {"type": "object"})
    async with service(engine) as house:
        result = await (await house.chat("", functions=(look,), parallel_tool_calls=False)).result()
        assert [type(item) for item in result.output] == [FunctionCall]
        assert (result.ending, result.warnings) == (Completed(), (WROTE_ON,))


async def test_a_load_is_told_step_by_step() -> None:
    engine = ScriptedEngine([[Say("hi")]], load=(LoadStarted(), LoadProgressed(0.5), ModelReady(1.5)))
    async with service(engine) as house:
        run = await house.chat()
        assert ModelLoadEnd("test/scripted", 1.5) in await events_of(run)
        assert (await run.result()).stats.model_load_time_seconds == 1.5


async def test_a_client_that_goes_away_stops_the_generation_and_leaves_what_was_written() -> None:
    engine = ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])
    async with service(engine) as house:
        run = await house.chat()
        async for _, event in run.events():
            if getattr(event, "content", "") == "upon":
                run.disconnect()
        result = await run.result()
        assert (result.ending, result.output) == (Incomplete("client_gone"), (Message("Once upon"),))
        assert engine.open_generations == 0
        assert run.response_id is not None
        stored = await house.store.get_response(run.response_id, "local")
        assert stored is not None
        assert (stored.status, stored.incomplete_reason) == ("incomplete", "client_gone")


async def test_a_cancel_in_a_tool_call_ends_the_call_and_says_that_its_effect_is_unknown() -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def hang(arguments: JsonObject) -> str:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return "never"

    engine = ScriptedEngine([[Call("hang")]])
    async with service(engine, {"mcp/clock": FakeServer([fake_tool("hang", hang)])}) as house:
        run = await house.chat("", CLOCK)
        await begun.wait()
        run.cancel("asked")
        result = await run.result()
        await ended.wait()
        assert result.ending == Cancelled("asked")
        call = result.output[0]
        assert isinstance(call, ToolCall)
        assert call.is_error
        assert run.response_id is not None
        assert [row.status for row in await house.store.list_calls(run.response_id, "local")] == ["abandoned"]


async def test_a_run_that_takes_too_long_ends_at_its_deadline() -> None:
    async with service(ScriptedEngine([[Say("a"), Stall(anyio.Event())]]), run_timeout_seconds=0.05) as house:
        assert (await (await house.chat()).result()).ending == Incomplete("deadline")


async def test_a_tool_that_raises_is_a_failed_call_and_the_run_goes_on() -> None:
    async def dead(arguments: JsonObject) -> NoReturn:
        raise OrchestratorError(ErrorKind.MCP_CONNECTION_ERROR, "the server died")

    async def broken(arguments: JsonObject) -> NoReturn:
        raise RuntimeError("canary-secret")

    engine = ScriptedEngine([[Call("dead"), Call("broken")], [Say("sorry")]])
    server = FakeServer([fake_tool("dead", dead), fake_tool("broken", broken)])
    async with service(engine, {"mcp/clock": server}) as house:
        events = await events_of(await house.chat("", CLOCK))
        outputs = {event.call.tool: event.call.output for event in events if isinstance(event, ToolCallSuccess)}
        assert outputs == {
            "dead": '[{"text":"the server died","type":"text"}]',
            "broken": '[{"text":"The call failed inside the service.","type":"text"}]',
        }
        assert isinstance(events[-1], ChatEnd)
        assert events[-1].result.ending == Completed()


async def test_an_engine_that_breaks_in_the_middle_keeps_what_it_wrote() -> None:
    engine = ScriptedEngine([[Say("so far"), Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "it died"))]])
    async with service(engine) as house:
        events = await events_of(await house.chat())
        end = events[-1]
        assert isinstance(events[-2], ErrorEvent)
        assert isinstance(end, ChatEnd)
        assert isinstance(end.result.ending, Failed)
        assert end.result.output == (Message("so far"),)
        assert end.result.response_id is not None


async def test_an_engine_with_a_defect_is_an_internal_error_and_not_a_hanging_client() -> None:
    def defect(request: object) -> NoReturn:
        raise RuntimeError("a defect")

    async with service(ScriptedEngine(defect)) as house:
        result = await (await house.chat()).result()
        assert isinstance(result.ending, Failed)
        assert result.ending.error.kind is ErrorKind.INTERNAL_ERROR


async def test_integrations_that_do_not_connect_fail_the_request_before_it_starts() -> None:
    error = OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, "does not start", param="integrations")
    async with service(ScriptedEngine([[Say("x")]]), {"mcp/clock": FakeServer(error=error)}) as house:
        run = await house.chat("", CLOCK)
        with pytest.raises(OrchestratorError) as raised:
            await run.started()
        assert raised.value.info == error.info
        assert await events_of(run) == []
        with pytest.raises(OrchestratorError):
            await run.result()


class FailingStore(MemoryStore):
    """A store that fails at the named operation."""

    def __init__(self, failing: str) -> None:
        super().__init__()
        self.failing = failing

    def _maybe(self, operation: str) -> None:
        if operation == self.failing:
            raise OrchestratorError(ErrorKind.STORE_ERROR, "the disk is full")

    async def open_response(self, response: NewResponse) -> None:
        self._maybe("open_response")
        await super().open_response(response)

    async def journal_calls(self, response_id: str, items: object, at: datetime) -> None:
        self._maybe("journal_calls")
        await super().journal_calls(response_id, items, at)  # pyright: ignore[reportArgumentType] - passed on as it came

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        self._maybe("record_outcome")
        await super().record_outcome(response_id, call_id, outcome, at)


async def test_a_call_that_cannot_be_journaled_is_never_made() -> None:
    engine, server = ScriptedEngine([[Call("add")]]), FakeServer([fake_tool("add", add)])
    async with service(engine, {"mcp/clock": server}, store=FailingStore("journal_calls")) as house:
        result = await (await house.chat("", CLOCK)).result()
        assert server.calls == []
        assert isinstance(result.ending, Failed)
        assert result.ending.error.kind is ErrorKind.STORE_ERROR


async def test_an_outcome_that_cannot_be_recorded_is_not_announced_as_a_success_of_the_run() -> None:
    engine, server = ScriptedEngine([[Call("add")]]), FakeServer([fake_tool("add", add)])
    async with service(engine, {"mcp/clock": server}, store=FailingStore("record_outcome")) as house:
        run = await house.chat("", CLOCK)
        assert isinstance((await run.result()).ending, Failed)
        assert run.response_id is not None
        assert [row.status for row in await house.store.list_calls(run.response_id, "local")] == ["succeeded"]


async def test_a_store_that_cannot_open_a_response_refuses_the_request() -> None:
    async with service(ScriptedEngine([[Say("x")]]), store=FailingStore("open_response")) as house:
        with pytest.raises(OrchestratorError, match="the disk is full"):
            await (await house.chat()).started()


async def test_too_many_runs_at_once_are_told_to_come_back() -> None:
    async with service(ScriptedEngine([[Stall(anyio.Event())]]), max_concurrent_runs=1) as house:
        run = await house.chat()
        with pytest.raises(OrchestratorError) as raised:
            await house.chat()
        assert (raised.value.info.kind, raised.value.retry_after_seconds) == (ErrorKind.RATE_LIMITED, 1)
        run.cancel("asked")
        await run.result()


async def test_a_stopping_service_ends_its_runs_and_saves_them() -> None:
    async with service(ScriptedEngine([[Say("begun"), Stall(anyio.Event())]])) as house:
        run = await house.chat()
        await run.started()
        await house.runs.close(5)
        assert (await run.result()).ending == Cancelled("the service is stopping")
        with pytest.raises(OrchestratorError, match="stopping"):
            await house.chat()


async def test_what_a_dead_process_left_is_ended_when_the_next_one_looks() -> None:
    store = MemoryStore()
    async with service(ScriptedEngine([[Say("hi")]]), store=store) as house:
        run = await house.chat()
        await run.result()
        old = datetime(2020, 1, 1, tzinfo=UTC)
        left = NewResponse(
            "resp_dead", None, "local", "m", "m", None, {}, {}, (), True, (), {}, "another machine", old, old
        )
        await store.open_response(left)
        await house.runs.recover()
        stored = await store.get_response("resp_dead", "local")
        assert stored is not None
        assert (stored.status, stored.incomplete_reason) == ("incomplete", "process_died")


def test_a_caller_without_the_permission_is_refused() -> None:
    Caller(permissions=frozenset({"chat"})).require("chat", "no")
    Caller().require("plugins", "no")
    with pytest.raises(OrchestratorError) as raised:
        Caller(permissions=frozenset({"chat"})).require("plugins", "not for you", param="integrations")
    assert raised.value.info.kind is ErrorKind.PERMISSION_DENIED


async def test_the_place_of_a_run_is_free_when_its_end_is_announced() -> None:
    async with service(ScriptedEngine([[Say("hi")]]), max_concurrent_runs=1) as house:
        run = await house.chat()
        for _ in range(5):
            async for _, event in run.events():
                if isinstance(event, ChatEnd):
                    run = await house.chat("and then?", previous_response_id=run.response_id)
                    break
        assert (await run.result()).ending == Completed()


async def test_the_place_of_a_run_that_never_began_is_free_when_its_client_is_told() -> None:
    server = FakeServer([], error=OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, "it is dead"))
    async with service(ScriptedEngine([[Say("hi")]]), {"mcp/clock": server}, max_concurrent_runs=1) as house:
        for _ in range(5):
            with pytest.raises(OrchestratorError) as caught:
                await (await house.chat("", CLOCK)).started()
            assert caught.value.info.kind is ErrorKind.PLUGIN_CONNECTION_ERROR
