"""Chains with more in them than text, begun in one dialect and continued in another, are one graph."""

from typing import Any

import pytest

from orchestrator.core.models import Model
from orchestrator.core.prompt import ToolMessage
from orchestrator.testing import SCRIPTED_MODEL, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import CHAT, House, chat_body, fake_tool, house
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
SERVER = {"server_label": "clock", "server_url": "https://clock.example/mcp"}


async def posted(api: House, path: str, **body: Any) -> Any:
    response = await api.client.post(path, json={"model": SCRIPTED_MODEL, **body})
    assert response.status_code == 200, response.text
    return response.json()


async def before(api: House, response_id: str) -> str | None:
    return (await api.client.get(f"/api/v1/responses/{response_id}")).json()["previous_response_id"]


def answers(api: House) -> list[tuple[str, str]]:
    """The results that the model was told of last."""
    return [(one.name, one.content) for one in api.engine.requests[-1].messages if isinstance(one, ToolMessage)]


@pytest.mark.parametrize("dialect", ["chat/completions", "messages", "responses", "thread"])
async def test_a_function_that_was_asked_for_natively_is_answered_in_every_dialect(dialect: str) -> None:
    weather = {"type": "function", "name": "weather", "description": "Tell it.", "parameters": SCHEMA}
    async with house(ScriptedEngine([[Call("weather", {"city": "Rome"})], [Say("Sunny.")]])) as api:
        asked = (await api.chat(input="Weather?", tools=[weather])).json()
        first, call_id = asked["response_id"], asked["output"][0]["call_id"]
        user = {"role": "user", "content": "Weather?"}
        output = {"type": "function_call_output", "call_id": call_id, "output": "sun"}
        match dialect:
            case "chat/completions":
                function = {"name": "weather", "arguments": '{"city":"Rome"}'}
                call = {"id": call_id, "type": "function", "function": function}
                messages = [
                    user,
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": call_id, "content": "sun"},
                ]
                made = await posted(api, "/v1/chat/completions", messages=messages)
                second = made["id"].replace("chatcmpl-", "resp_")
            case "messages":
                name = call_id.replace("call_", "toolu_")
                call = {"type": "tool_use", "id": name, "name": "weather", "input": {"city": "Rome"}}
                result = {"type": "tool_result", "tool_use_id": name, "content": "sun"}
                messages = [user, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
                made = await posted(api, "/v1/messages", max_tokens=9, messages=messages)
                second = made["id"].replace("msg_", "resp_")
            case "responses":
                second = (await posted(api, "/v1/responses", input=[output], previous_response_id=first))["id"]
            case _:
                thread = (await api.client.post("/api/v1/threads", json={"response_id": first})).json()["thread_id"]
                told = await api.client.post(CHAT, json=chat_body(input=[output], thread_id=thread))
                second = told.headers["X-Response-Id"]
        assert (await before(api, second), answers(api)) == (first, [("weather", "sun")])
        (stored,) = (await api.client.get(f"/api/v1/responses/{first}")).json()["output"]
    assert (stored["type"], stored["call_id"]) == ("function_call", call_id)


async def test_a_picture_that_was_shown_natively_is_known_again_in_histories() -> None:
    model = Model(SCRIPTED_MODEL, "scripted", "llm", "test", "Scripted", max_context_length=4096, vision=True)
    async with house(ScriptedEngine([[Say("A dot.")]], model=model)) as api:
        url = f"data:image/png;base64,{PNG}"
        shown = [{"type": "text", "content": "What?"}, {"type": "image", "data_url": url}]
        first = (await api.chat(input=shown)).json()["response_id"]
        answer, then = {"role": "assistant", "content": "A dot."}, {"role": "user", "content": "Sure?"}
        text = {"type": "text", "text": "What?"}
        openais = [text, {"type": "image_url", "image_url": {"url": url}}]
        anthropics = [text, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]
        chat = await posted(api, "/v1/chat/completions", messages=[{"role": "user", "content": openais}, answer, then])
        message = await posted(
            api, "/v1/messages", max_tokens=9, messages=[{"role": "user", "content": anthropics}, answer, then]
        )
        parents = [
            await before(api, chat["id"].replace("chatcmpl-", "resp_")),
            await before(api, message["id"].replace("msg_", "resp_")),
        ]
    assert parents == [first, first]


async def test_a_call_that_waits_in_one_dialect_is_decided_in_another_and_its_chain_goes_on_in_a_third() -> None:
    engine = ScriptedEngine([[Call("now", {"zone": "UTC"})], [Say("Noon.")], [Say("Yes.")]])
    async with house(engine, {"clock": FakeServer([fake_tool("now", tell_time)])}) as api:
        server = {"type": "mcp", **SERVER, "require_approval": "always"}
        asked = await posted(api, "/v1/responses", input="Time?", tools=[server])
        path = f"/api/v1/responses/{asked['id']}"
        (waiting,) = (await api.client.get(path)).json()["pending_approvals"]
        approve = {"approvals": [{"call_id": waiting["call_id"], "decision": "approve"}]}
        decided = (await api.client.post(f"{path}/approvals", json=approve)).json()
        thread = (await api.client.post("/api/v1/threads", json={"response_id": asked["id"]})).json()["thread_id"]
        told = await api.client.post(CHAT, json=chat_body(input="Sure?", thread_id=thread))
        read = (await api.client.get(f"/api/v1/threads/{thread}")).json()["responses"]
        seen = await api.client.get(f"/v1/responses/{asked['id']}")
    assert [item["type"] for item in decided["output"]] == ["tool_call", "message"]
    assert told.json()["thread_id"] == thread
    assert [[item["type"] for item in each["output"]] for each in read] == [["mcp_call", "message"], ["message"]]
    assert seen.json()["output"][-1]["content"][0]["text"] == "Noon."
    assert answers(api) == [("now", "noon")]
