"""Threads of messages, and the agent loop of Anthropic's client, which talks over them."""

from typing import Any

import anthropic
import pytest
from anthropic import beta_async_tool

from orchestrator.core.request import Limits
from orchestrator.testing import SCRIPTED_MODEL, Call, FakeServer, Say, ScriptedEngine
from tests.api.anthropic_messages.clients import anthropic_house, told
from tests.api.anthropic_messages.test_client import ASK, CALLS, CLOCK, USE_CLOCK, WEATHER, seen
from tests.api.anthropic_messages.test_pauses import APPROVE, ASKING, counter, decide, scripted
from tests.api.house import fake_tool
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

CREATE: Any = {"type": "create"}


@beta_async_tool
async def get_weather(place: str) -> str:
    """The weather somewhere.

    Args:
        place: Where.
    """
    return f"Rain in {place}."


def going_on(message: Any) -> Any:
    return {"type": "continue", "previous_message_id": message.id}


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_agent_loop_of_the_client_runs_over_one_thread(streamed: bool) -> None:
    engine = ScriptedEngine([[Call("get_weather", {"place": "Rome"})], [Say("It rains.")]])
    async with anthropic_house(engine) as (api, client):
        runner = client.beta.messages.tool_runner(**ASK, system="Be kind.", tools=[get_weather], stream=streamed)
        messages = [await (one.get_final_message() if streamed else _itself(one)) async for one in runner]
        stored = (await api.client.get(f"/api/v1/responses/resp_{messages[-1].id[4:]}")).json()
    assert [message.stop_reason for message in messages] == ["tool_use", "end_turn"]
    assert seen(engine) == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "", "", ("get_weather", '{"place":"Rome"}')),
        ("tool", "get_weather", "Rain in Rome."),
    ]
    assert [[tool.name for tool in request.tools] for request in engine.requests] == [["get_weather"]] * 2
    assert stored["previous_response_id"] == f"resp_{messages[0].id[4:]}"


async def _itself(message: Any) -> Any:
    return message


async def test_a_thread_keeps_its_toolset_and_streams_eager_inputs_as_before() -> None:
    servers = {"clock": FakeServer([fake_tool("now", tell_time), fake_tool("zones", tell_time)])}
    engine = ScriptedEngine([[Say("One.")], [Call("write", "[1")]])
    tools: Any = [
        {**WEATHER, "name": "write", "eager_input_streaming": True},
        {"type": "mcp_toolset", "mcp_server_name": "clock", "configs": {"now": {"enabled": False}}},
    ]
    async with anthropic_house(engine, servers) as (_, client):
        ask = {**ASK, "mcp_servers": [USE_CLOCK]}
        first = await client.beta.messages.create(**ask, thread=CREATE, tools=tools)
        events = [
            told(event) async for event in await client.beta.messages.create(**ask, thread=going_on(first), stream=True)
        ]
    assert [[tool.name for tool in request.tools] for request in engine.requests] == [["write", "zones"]] * 2
    assert [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"] == ["[1"]


async def test_a_thread_that_is_not_there_is_replayed_by_the_client() -> None:
    engine = ScriptedEngine([[Say("One.")], [Say("Two.")]])
    async with anthropic_house(engine) as (api, client):
        thread = client.beta.messages.thread(model=SCRIPTED_MODEL, max_tokens=100, messages=[])
        first = await thread.send(ASK["messages"][0])
        await api.client.delete(f"/api/v1/responses/resp_{first.id[4:]}")
        second = await thread.send({"role": "user", "content": "And?"})
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.beta.messages.create(**ASK, thread=going_on(first))
    error: Any = caught.value
    assert told(second.content[0])["text"] == "Two."
    assert seen(engine) == [("user", "Hi"), ("assistant", "", "One."), ("user", "And?")]
    assert error.body["error"]["details"] == {"error_code": "thread_not_found"}


async def test_a_client_that_wants_nothing_stored_is_told_that_there_are_no_threads_then() -> None:
    async with anthropic_house(ScriptedEngine([[Say("One.")]])) as (_, client):
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.messages.create(**ASK, thread=CREATE, extra_body={"store": False})
        thread = client.beta.messages.thread(
            model=SCRIPTED_MODEL,
            max_tokens=100,
            messages=[],
            unsupported_request_behavior="continue_unthreaded",
            extra_body={"store": False},
        )
        reply = await thread.send(ASK["messages"][0])
    error: Any = caught.value
    assert error.body["error"]["details"] == {"error_code": "thread_unsupported_request"}
    assert told(reply.content[0])["text"] == "One."


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"system": "Be kind."}, '"system" is what the thread was created with'),
        ({"tools": [WEATHER]}, '"tools" is what the thread was created with'),
        ({"extra_body": {"previous_response_id": "msg_1"}}, '"previous_response_id" and'),
        ({"messages": []}, '"messages" must not be empty: the message before is over'),
    ],
)
async def test_what_a_thread_says_already_is_not_said_again(fields: dict[str, Any], problem: str) -> None:
    async with anthropic_house(ScriptedEngine([[Say("One.")]])) as (_, client):
        first = await client.beta.messages.create(**ASK, thread=CREATE)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.messages.create(**{**ASK, "thread": going_on(first), **fields})
    error: Any = caught.value
    assert problem in error.body["error"]["message"]


async def test_a_pause_is_gone_on_with_by_no_message_at_all() -> None:
    async with anthropic_house(ScriptedEngine(CALLS), CLOCK, limits=Limits(max_turns=1)) as (_, client):
        ask = {**ASK, "mcp_servers": [USE_CLOCK]}
        first = await client.beta.messages.create(**ask, thread=CREATE)
        second = await client.beta.messages.create(**{**ask, "messages": []}, thread=going_on(first))
    assert (first.stop_reason, second.stop_reason) == ("pause_turn", "end_turn")
    assert [told(block)["text"] for block in second.content] == ["It is noon."]
    async with anthropic_house(scripted(), {"mcp/counter": counter()}) as (api, client):
        guarded: Any = {**ASK, "extra_body": {"integrations": [ASKING]}}
        first = await client.beta.messages.create(**guarded, thread=CREATE)
        more: Any = {**guarded, "messages": [], "thread": going_on(first)}
        with pytest.raises(anthropic.APIStatusError, match="waits for somebody to approve"):
            await client.beta.messages.create(**more)
        await decide(api, first, APPROVE)
        second = await client.beta.messages.create(**more)
    assert [block.type for block in second.content] == ["mcp_tool_result", "text"]
