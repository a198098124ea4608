"""`/v1/messages` as Anthropic's own client has it, over a scripted model."""

import base64
from typing import Any

import pytest

from orchestrator.core.prompt import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from orchestrator.testing import SCRIPTED_MODEL, Call, FakeServer, Say, ScriptedEngine, Think
from tests.api.anthropic_messages.clients import anthropic_house, told
from tests.api.house import fake_tool
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather somewhere.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
ASK: Any = {"model": SCRIPTED_MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
CLOCK = {"clock": FakeServer([fake_tool("now", tell_time)])}
USE_CLOCK: Any = {"type": "url", "name": "clock", "url": "https://clock.example/mcp"}
CALLS = [[Call("now", {"zone": "UTC"})], [Say("It is noon.")]]
PIXEL = base64.b64encode(b"\x89PNG").decode()


def seen(engine: ScriptedEngine) -> list[Any]:
    """What the model was told in its last turn, in short."""
    short: list[Any] = []
    for message in engine.requests[-1].messages:
        match message:
            case SystemMessage(content):
                short.append(("system", content))
            case UserMessage(parts):
                short.append(("user", *(getattr(part, "content", "picture") for part in parts)))
            case AssistantMessage():
                calls = [(call.name, call.arguments) for call in message.calls]
                short.append(("assistant", message.reasoning, message.content, *calls))
            case ToolMessage():
                short.append(("tool", message.name, message.content))
    return short


async def test_a_text_is_answered_with_a_message_that_has_everything() -> None:
    engine = ScriptedEngine([[Say("Hello there.")]])
    async with anthropic_house(engine) as (api, client):
        message = await client.messages.create(
            **ASK,
            system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
            stop_sequences=["END"],
            metadata={"user_id": "ada"},
            service_tier="auto",
            thinking={"type": "disabled"},
            extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 7},
        )
        stored = (await api.client.get(f"/api/v1/responses/resp_{message.id[4:]}")).json()
    sampling = engine.requests[0].sampling
    assert told(message) == {
        "id": message.id,
        "type": "message",
        "role": "assistant",
        "model": SCRIPTED_MODEL,
        "content": [{"type": "text", "text": "Hello there."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 2,
            "output_tokens": 5,
            "cache_read_input_tokens": 8,
            "cache_creation_input_tokens": 0,
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "service_tier": "standard",
            "output_tokens_details": {"thinking_tokens": 0},
        },
    }
    assert message._request_id is not None
    assert seen(engine) == [("system", "Be kind."), ("user", "Hi")]
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.stop) == (0.5, 0.9, 7, ("END",))
    assert (stored["metadata"], stored["status"]) == ({"user_id": "ada"}, "completed")


async def test_a_stream_has_the_events_in_their_order_and_the_helper_puts_them_together() -> None:
    engine = ScriptedEngine([[Think("Hm, well."), Say("Hello there.")]])
    async with anthropic_house(engine) as (_, client):
        events = [told(event) async for event in await client.messages.create(**ASK, stream=True)]
        async with client.messages.stream(**ASK) as stream:
            texts = [text async for text in stream.text_stream]
            whole = await stream.get_final_message()
    assert [(event["type"], event.get("index"), event.get("delta", {}).get("type")) for event in events] == [
        ("message_start", None, None),
        ("content_block_start", 0, None),
        *[("content_block_delta", 0, "thinking_delta")] * 2,
        ("content_block_delta", 0, "signature_delta"),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, None),
        *[("content_block_delta", 1, "text_delta")] * 2,
        ("content_block_stop", 1, None),
        ("message_delta", None, None),
        ("message_stop", None, None),
    ]
    assert (events[-2]["delta"]["stop_reason"], events[-2]["usage"]["output_tokens"]) == ("end_turn", 5)
    assert texts == ["Hello ", "there."]
    thinking, text = (told(block) for block in whole.content)
    assert (thinking["thinking"], text["text"]) == ("Hm, well.", "Hello there.")
    assert thinking["signature"].startswith("orchestrator_")


async def test_the_sequence_that_the_model_stopped_at_is_told_and_can_be_read_again() -> None:
    engine = ScriptedEngine([[Say("One, two, END three.")]])
    ask = {**ASK, "stop_sequences": ["STOP", "END"]}
    async with anthropic_house(engine) as (api, client):
        message = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            events = [told(event) async for event in stream]
            whole = await stream.get_final_message()
        stored = (await api.client.get(f"/api/v1/responses/resp_{message.id[4:]}")).json()
        again = (await api.client.get(f"/v1/responses/resp_{message.id[4:]}?stream=true")).text
        native = await api.client.post("/api/v1/chat", json={"model": SCRIPTED_MODEL, "input": "Hi", "stop": ["END"]})
        openai = await api.client.post(
            "/v1/chat/completions", json={"model": SCRIPTED_MODEL, "messages": ASK["messages"], "stop": "END"}
        )
    assert [(one.stop_reason, one.stop_sequence) for one in (message, whole)] == [("stop_sequence", "END")] * 2
    assert [told(block) for block in message.content] == [{"type": "text", "text": "One, two, "}]
    assert next(event for event in events if event["type"] == "message_delta")["delta"] == {
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "stop_details": None,
    }
    assert (stored["status"], stored["stop_sequence"]) == ("completed", "END")
    assert "response.completed" in again
    assert (native.json()["status"], native.json()["stop_sequence"]) == ("completed", "END")
    assert openai.json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_function_is_called_by_the_client_and_its_result_continues_the_chain(streamed: bool) -> None:
    engine = ScriptedEngine(
        [[Think("Weather."), Say("I look."), Call("get_weather", {"place": "Rome"})], [Say("It rains.")]]
    )
    async with anthropic_house(engine) as (api, client):
        if streamed:
            async with client.messages.stream(**ASK, tools=[WEATHER]) as stream:
                first: Any = await stream.get_final_message()
        else:
            first = await client.messages.create(**ASK, tools=[WEATHER])
        use = first.content[-1]
        assert (first.stop_reason, use.type, use.name, use.input) == (
            "tool_use",
            "tool_use",
            "get_weather",
            {"place": "Rome"},
        )
        assert use.id.startswith("toolu_")
        second = await client.messages.create(
            model=SCRIPTED_MODEL,
            max_tokens=100,
            tools=[WEATHER],
            messages=[
                *ASK["messages"],
                {"role": "assistant", "content": [told(block) for block in first.content]},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Well?"},
                        {
                            "type": "tool_result",
                            "tool_use_id": use.id,
                            "is_error": True,
                            "content": [{"type": "text", "text": "Rain."}],
                        },
                    ],
                },
            ],
        )
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
        calls = (await api.client.get("/api/v1/tool-calls")).json()["tool_calls"]
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert seen(engine) == [
        ("user", "Hi"),
        ("assistant", "Weather.", "I look.", ("get_weather", '{"place":"Rome"}')),
        ("tool", "get_weather", "[The call failed.]\nRain."),
        ("user", "Well?"),
    ]
    assert [(call["tool"], call["status"], call["is_error"]) for call in calls] == [("get_weather", "answered", True)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_servers_tools_run_here_and_a_history_with_them_is_known_again(streamed: bool) -> None:
    engine = ScriptedEngine([*CALLS, [Say("Still noon.")]])
    async with anthropic_house(engine, CLOCK) as (api, client):
        ask = {**ASK, "mcp_servers": [{**USE_CLOCK, "authorization_token": "s3cret"}]}
        if streamed:
            async with client.beta.messages.stream(**ask) as stream:
                first: Any = await stream.get_final_message()
        else:
            first = await client.beta.messages.create(**ask)
        use, result, text = (told(block) for block in first.content)
        second = await client.beta.messages.create(
            **{
                **ask,
                "messages": [
                    *ASK["messages"],
                    {"role": "assistant", "content": [use, result, text]},
                    {"role": "user", "content": "And now?"},
                ],
            }
        )
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
    assert (use["type"], use["name"], use["server_name"], use["input"]) == (
        "mcp_tool_use",
        "now",
        "clock",
        {"zone": "UTC"},
    )
    assert result == {
        "type": "mcp_tool_result",
        "tool_use_id": use["id"],
        "is_error": False,
        "content": [{"type": "text", "text": "noon"}],
    }
    assert (text["text"], first.stop_reason) == ("It is noon.", "end_turn")
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert stored["input"] == [{"type": "text", "content": "And now?"}]
