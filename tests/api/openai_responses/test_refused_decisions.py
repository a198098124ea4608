"""Decisions that come together with something that is refused: no call runs for them, and they are not made."""

from typing import Any

import openai
import pytest

from orchestrator.testing import Call, Say, ScriptedEngine
from tests.api.openai_responses.clients import MODEL, openai_house
from tests.api.openai_responses.test_approvals import BOTH, CALLS, CLOCK_TOOL, WEATHER, answer, asked_in, clock, decided

pytestmark = pytest.mark.anyio

PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SHOWN: Any = {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "auto"}]}
NOBODYS: Any = {"type": "function_call_output", "call_id": "call_nobodys", "output": "1"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "changes", "status", "param"),
    [
        ([], {"model": "nobody/nothing"}, 404, "model"),
        ([SHOWN], {}, 400, "input"),
        ([NOBODYS], {}, 400, "input"),
        ([], {"reasoning": {"effort": "high"}}, 400, "reasoning.effort"),
        ([], {"store": False}, 400, "tools.0.require_approval"),
        ([], {"store": False, "background": True, "tools": []}, 400, "background"),
    ],
    ids=["model", "picture", "result of nobody's call", "effort", "not stored", "background, not stored"],
)
async def test_what_is_refused_beside_a_decision_is_refused_before_its_call_runs(
    said: list[Any], changes: dict[str, Any], status: int, param: str, *, stream: bool
) -> None:
    servers, engine = clock(), ScriptedEngine(CALLS)
    async with openai_house(engine, servers) as (api, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        both: Any = [answer(asked_in(first)[0]), *said]
        with pytest.raises(openai.APIStatusError) as refused:
            await decided(client, first, input=both, stream=stream, **changes)
        calls, [row] = len(servers["mcp/clock"].calls), await api.store.list_calls(first.id, "local")
        stored = await api.store.get_response(first.id, "local")
        second = await decided(client, first)
    assert (refused.value.status_code, refused.value.param) == (status, param)
    assert stored is not None
    assert (calls, row.status, row.decision, stored.status) == (0, "awaiting_approval", None, "awaiting_approval")
    assert (second.output_text, len(servers["mcp/clock"].calls)) == ("It is noon.", 1)


async def test_a_decision_without_the_result_of_the_function_called_with_it_is_not_made() -> None:
    servers, tools = clock(), [CLOCK_TOOL, WEATHER]
    async with openai_house(ScriptedEngine(BOTH), servers) as (_, client):
        first = await client.responses.create(model=MODEL, input="Both?", tools=tools)
        with pytest.raises(openai.BadRequestError, match="No tool output found for function call") as refused:
            await decided(client, first, tools=tools)
        calls = len(servers["mcp/clock"].calls)
        [call_id] = [item.call_id for item in first.output if item.type == "function_call"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "Sun."}
        second = await decided(client, first, input=[output, answer(asked_in(first)[0])], tools=tools)
    assert (refused.value.param, calls) == ("input", 0)
    assert (second.output_text, len(servers["mcp/clock"].calls)) == ("Noon, and sun.", 1)


async def test_the_result_of_a_function_comes_with_the_last_of_several_decisions() -> None:
    calls = [Call("now", {"zone": "UTC"}), Call("now", {"zone": "CET"}), Call("get_weather", {"place": "Rome"})]
    tools = [CLOCK_TOOL, WEATHER]
    async with openai_house(ScriptedEngine([calls, [Say("Noon.")]]), clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="All?", tools=tools)
        one, other = asked_in(first)
        with pytest.raises(openai.NotFoundError):
            await decided(client, first, input=[answer(one)], tools=tools, model="nobody/nothing")
        still = await decided(client, first, input=[answer(one)], tools=tools)
        [call_id] = [item.call_id for item in first.output if item.type == "function_call"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "Sun."}
        last = await decided(client, first, input=[output, answer(other)], tools=tools)
    assert (asked_in(still), last.output_text) == ([other], "Noon.")


async def test_a_decision_that_is_not_at_the_beginning_of_its_chat_is_checked_with_what_was_before() -> None:
    script = [[Say("Hello.")], *CALLS]
    async with openai_house(ScriptedEngine(script), clock()) as (_, client):
        hello = await client.responses.create(model=MODEL, input="Hello!")
        first = await client.responses.create(
            model=MODEL, input="Time?", tools=[CLOCK_TOOL], previous_response_id=hello.id
        )
        second = await decided(client, first)
    assert second.output_text == "It is noon."
