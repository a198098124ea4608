"""Decisions with `background`: what they set going outlives the client that made them."""

from typing import Any

import anyio
import openai
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import ToolMessage
from orchestrator.testing import FakeServer, ScriptedEngine, Turn
from tests.api.house import fake_tool
from tests.api.openai_responses.clients import MODEL, openai_house
from tests.api.openai_responses.test_approvals import CALLS, CLOCK_TOOL, answer, asked_in

pytestmark = pytest.mark.anyio


async def test_what_a_decision_sets_going_in_the_background_outlives_a_client_that_leaves_the_stream() -> None:
    began, may_end = anyio.Event(), anyio.Event()

    async def take_long(arguments: JsonObject) -> str:
        began.set()
        await may_end.wait()
        return "noon"

    servers = {"mcp/clock": FakeServer([fake_tool("now", take_long)])}
    async with openai_house(ScriptedEngine(CALLS), servers) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        body: Any = {"model": MODEL, "input": [answer(asked_in(first)[0])], "tools": [CLOCK_TOOL], "background": True}
        with anyio.fail_after(10):
            stream = await client.responses.create(**body, stream=True)
            created = await anext(aiter(stream))
            await began.wait()
            await stream.close()
            may_end.set()
            second = await ended(client, created.response.id)
    assert created.type == "response.created"
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert (second.status, second.output_text, second.previous_response_id) == ("completed", "It is noon.", first.id)


async def test_what_a_decision_sets_going_in_the_background_outlives_a_client_that_does_not_wait_for_the_reply() -> (
    None
):
    began, may_end, goes_on = anyio.Event(), anyio.Event(), anyio.Event()

    async def take_long(arguments: JsonObject) -> str:
        began.set()
        await may_end.wait()
        return "noon"

    def script(request: Generate) -> Turn:
        if request.messages[-1:] and isinstance(request.messages[-1], ToolMessage):
            goes_on.set()
            return CALLS[1]
        return CALLS[0]

    servers = {"mcp/clock": FakeServer([fake_tool("now", take_long)])}
    async with openai_house(ScriptedEngine(script), servers) as (api, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        body: Any = {"model": MODEL, "input": [answer(asked_in(first)[0])], "tools": [CLOCK_TOOL], "background": True}
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.responses.create(**body))
                await began.wait()
                tasks.cancel_scope.cancel()
            may_end.set()
            await goes_on.wait()
        [call] = await api.store.list_calls(first.id, "local")
    assert call.status == "succeeded"


async def ended(client: Any, response_id: str) -> Any:
    """The response once it is there, and over."""
    while True:
        try:
            response = await client.responses.retrieve(response_id)
        except openai.NotFoundError:
            response = None
        if response is not None and response.status not in ("queued", "in_progress"):
            return response
        await anyio.sleep(0.01)
