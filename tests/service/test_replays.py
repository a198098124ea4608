"""Replays of what a server asked of the model, and of what the model read on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.items import Message, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import AssistantMessage
from orchestrator.core.reading import SERVICE
from orchestrator.core.request import Limits
from orchestrator.core.response import ChatResult
from orchestrator.core.tools import ToolAnnotations
from orchestrator.service.branches import BranchService
from orchestrator.service.graph import GraphService
from orchestrator.service.replays import ReplayRequest, ReplayService
from orchestrator.testing import Call, FakeServer, FakeTool, MemoryStore, Say, ScriptedEngine
from orchestrator.testing_graph import MemoryGraph
from tests.service.house import LOCAL, Service, fake_tool, service
from tests.service.test_server_callbacks import ASK, DESK, Desk

pytestmark = pytest.mark.anyio


def read_only(tool: FakeTool) -> FakeTool:
    return replace(tool, definition=replace(tool.definition, annotations=ToolAnnotations(read_only=True)))


async def replayed(house: Service, response_id: str | None, **asked: object) -> ChatResult:
    assert response_id is not None
    replays = ReplayService(house.chats, house.store, house.catalog)
    request = ReplayRequest(response_id, **asked)  # pyright: ignore[reportArgumentType] - field names are the tests' own
    return await (await replays.start(request, LOCAL)).result()


async def differences(house: Service, result: ChatResult) -> list[str]:
    assert isinstance(house.store, MemoryStore)
    assert result.response_id is not None
    graph = MemoryGraph(house.store)
    readers = GraphService(graph, house.store, house.runs, keep_skeleton=True)
    report = await BranchService(readers, graph, house.store).report(result.response_id, None, LOCAL)
    return [found.kind for found in report.differences]


async def test_no_recorded_turn_is_written_for_a_server_that_samples() -> None:
    desk = Desk()
    desk.server.tools = [read_only(tool) for tool in desk.server.tools]
    engine = ScriptedEngine([[Call("sample")], [Say("hi")], [Say("Yes.")]])
    async with service(engine, {"mcp/desk": desk.server}, policies=ASK) as house:
        desk.house = house
        before = await (await house.chat("?", DESK)).result()
        again = await replayed(house, before.response_id)
        found = await differences(house, again)
    first, second = (item.output for result in (before, again) for item in result.output if isinstance(item, ToolCall))
    assert '"hi"' in first
    assert "servers may not use the model here" in second
    assert again.output[-1] == Message("Yes.")
    assert found == ["result"]


@pytest.mark.parametrize("tools", ["live", "stored"])
async def test_what_the_model_read_on_in_is_read_on_in_again(tools: str) -> None:
    async def long(arguments: JsonObject) -> str:
        return "abcdefgh" * 200

    def script(request: Generate) -> Sequence[Call | Say]:
        """It reads on in its own first call, as the notice at the cut says."""
        calls = [
            call for message in request.messages if isinstance(message, AssistantMessage) for call in message.calls
        ]
        match len(calls):
            case 0:
                return [Call("long")]
            case 1:
                return [Call("read_tool_output", {"call_id": calls[0].call_id, "offset": 100})]
            case _:
                return [Say("Read.")]

    server = FakeServer([read_only(fake_tool("long", long))])
    limits = Limits(max_tool_output_model_bytes=800)
    async with service(ScriptedEngine(script), {"mcp/desk": server}, limits=limits) as house:
        before = await (await house.chat("?", DESK)).result()
        again = await replayed(house, before.response_id, tools=tools)
        found = await differences(house, again)
    made, read = (item for item in again.output if isinstance(item, ToolCall))
    assert (read.provider, read.arguments["call_id"], read.is_error) == (SERVICE, made.call_id, False)
    assert found == []
