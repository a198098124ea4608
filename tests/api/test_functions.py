"""Functions of the client's in the native dialect: called, answered, read back, forked and replayed."""

from typing import Any

import pytest

from orchestrator.core.tools import text_content
from orchestrator.testing import Call, Say, ScriptedEngine
from tests.api.house import house

pytestmark = pytest.mark.anyio

TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
SCRIPT = ([Call("weather", {"city": "Oslo"})], [Say("Sunny.")])


async def test_a_function_is_called_answered_read_back_forked_and_replayed() -> None:
    async with house(ScriptedEngine(SCRIPT)) as api:
        first: dict[str, Any] = (await api.chat(tools=TOOLS)).json()
        [call] = first["output"]
        assert call == {
            "type": "function_call",
            "call_id": call["call_id"],
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
        }
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        second = await api.chat(input=[result], previous_response_id=first["response_id"], tools=TOOLS)
        assert [item["content"] for item in second.json()["output"]] == ["Sunny."]
        stored = (await api.client.get(f"/api/v1/responses/{second.json()['response_id']}")).json()
        assert stored["input"] == [
            {
                "type": "function_call_output",
                "call_id": call["call_id"],
                "name": "weather",
                "output": text_content("sunny"),
                "is_error": False,
            }
        ]
        assert stored["parameters"]["functions"][0]["name"] == "weather"
        again = await api.chat(input=[result], previous_response_id=second.json()["response_id"])
        assert (again.status_code, again.json()["error"]["param"]) == (400, "input")
        journal = await api.store.list_calls(first["response_id"], "local")
        assert [(one.status, one.output) for one in journal] == [("answered", text_content("sunny"))]
        forks = f"/api/v1/responses/{first['response_id']}/fork"
        told = await api.client.post(forks, json={"at": {"call_id": call["call_id"]}, "output": {"text": "rain"}})
        assert told.status_code == 200, told.text
        assert [item["type"] for item in told.json()["output"]] == ["tool_call", "message"]
        anew = await api.client.post(forks, json={"at": {"call_id": call["call_id"]}, "arguments": {"city": "Rome"}})
        assert [item["arguments"] for item in anew.json()["output"]] == ['{"city":"Rome"}']
        replay = await api.client.post(f"/api/v1/responses/{first['response_id']}/replay", json={})
        assert replay.status_code == 200, replay.text


async def test_a_stream_tells_of_calls_of_functions() -> None:
    async with house(ScriptedEngine(SCRIPT)) as api:
        said = (await api.chat(tools=TOOLS, stream=True)).text
    events = [line.removeprefix("event: ") for line in said.splitlines() if line.startswith("event: ")]
    assert [event for event in events if event.startswith("function_call")] == [
        "function_call.start",
        "function_call.delta",
        "function_call.end",
    ]
    assert events[-1] == "chat.end"


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        (TOOLS * 2, "tools.1.name"),
        ([{"type": "function", "name": "a b"}], "tools.0.name"),
        ([{"type": "function", "name": "f", "parameters": {"type": 7}}], "tools.0.parameters"),
    ],
)
async def test_functions_that_cannot_be_are_refused(tools: list[dict[str, Any]], param: str) -> None:
    async with house() as api:
        refused = await api.chat(tools=tools)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
