"""What becomes of calls, thinking and pictures in the blocks of `/v1/messages`, streamed and not."""

import json
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from pydantic import BaseModel

from orchestrator.core.items import ImageInput
from orchestrator.core.models import ReasoningSupport
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.core.request import ResponseFormat
from orchestrator.testing import SCRIPTED_MODEL, Call, Say, ScriptedEngine, Think, Turn
from tests.api.anthropic_messages.clients import anthropic_house, told
from tests.api.anthropic_messages.test_client import ASK, CLOCK, PIXEL, USE_CLOCK, WEATHER

pytestmark = pytest.mark.anyio

THINKER = replace(ScriptedEngine([]).model, reasoning=ReasoningSupport(("off", "on"), "off"))
SEER = replace(ScriptedEngine([]).model, vision=True)


class City(BaseModel):
    """What an answer has to be."""

    city: str


EAGER: Any = {**WEATHER, "name": "write", "eager_input_streaming": True}


async def both(engine_of: Any, **fields: Any) -> tuple[Any, Any, list[Any]]:
    """The whole reply, the message that the client made of a stream of the same, and the events of that."""
    async with anthropic_house(engine_of(), CLOCK) as (_, client):
        whole = await client.beta.messages.create(**ASK, **fields)
    async with anthropic_house(engine_of(), CLOCK) as (_, client):
        events = [told(event) async for event in await client.beta.messages.create(**ASK, **fields, stream=True)]
    async with anthropic_house(engine_of(), CLOCK) as (_, client):
        async with client.beta.messages.stream(**ASK, **fields) as stream:
            folded = await stream.get_final_message()
    return whole, folded, events


def blocks(message: Any) -> list[Any]:
    """Its content, without the ids, which are made anew each time."""
    return [
        {key: value for key, value in told(block).items() if key not in ("id", "tool_use_id")}
        for block in message.content
    ]


def pieces(events: list[Any], index: int) -> list[str]:
    """The pieces of the input of the block there."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == index]
    return [delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_brings_no_server_is_told_of_no_servers_calls(streamed: bool) -> None:
    engine = ScriptedEngine([[Say("I try."), Call("nothere", {})], [Say("No such tool.")]])
    async with anthropic_house(engine) as (_, client):
        if streamed:
            async with client.messages.stream(**ASK, tools=[WEATHER]) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.messages.create(**ASK, tools=[WEATHER])
    AnthropicMessage.model_validate(message.model_dump())
    assert [told(block) for block in message.content] == [
        {"type": "text", "text": "I try."},
        {"type": "text", "text": "No such tool."},
    ]


async def test_an_input_is_streamed_as_it_is_written() -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine([[Call("get_weather", '{"place": "Rome"}')]])

    whole, folded, events = await both(engine, tools=[WEATHER])
    assert len(pieces(events, 0)) > 1
    assert json.loads("".join(pieces(events, 0))) == {"place": "Rome"}
    assert blocks(whole) == blocks(folded) == [{"type": "tool_use", "name": "get_weather", "input": {"place": "Rome"}}]


async def test_an_input_that_is_no_object_is_told_whole_and_an_eager_one_as_it_is() -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine([[Call("get_weather", "nonsense"), Call("write", "[1"), Call("get_weather", "")]])

    async with anthropic_house(engine()) as (_, client):
        events = [
            told(event) async for event in await client.messages.create(**ASK, tools=[WEATHER, EAGER], stream=True)
        ]
    async with anthropic_house(engine()) as (_, client):
        whole = await client.messages.create(**ASK, tools=[WEATHER, EAGER])
    assert [pieces(events, index) for index in range(3)] == [['{"arguments":"nonsense"}'], ["[1"], ["{}"]]
    assert [block["input"] for block in blocks(whole)] == [{"arguments": "nonsense"}, {"arguments": "[1"}, {}]


async def test_an_eager_input_waits_for_the_block_before_it_and_comes_piece_by_piece_then() -> None:
    def engine() -> ScriptedEngine:
        calls = [
            Call("now", {"zone": "UTC"}),
            Call("write", '{"place": "Oslo"}'),
            Call("get_weather", {"place": "Rome"}),
        ]
        return ScriptedEngine([[Say("I look."), *calls]])

    whole, folded, events = await both(engine, tools=[WEATHER, EAGER], mcp_servers=[USE_CLOCK])
    indexes = [event["index"] for event in events if "index" in event]
    assert indexes == sorted(indexes)
    kinds = ["text", "mcp_tool_use", "tool_use", "tool_use", "mcp_tool_result"]
    assert [block["type"] for block in blocks(folded)] == kinds
    assert len(pieces(events, 2)) > 1
    assert sorted(blocks(whole), key=str) == sorted(blocks(folded), key=str)
    assert (whole.stop_reason, folded.stop_reason) == ("tool_use", "tool_use")


async def test_a_call_that_the_limit_cut_off_is_the_same_in_both_and_nothing_to_run() -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine([[Say("I look."), Call("get_weather", '{"ci')]], finish_as="length")

    whole, folded, events = await both(engine, tools=[WEATHER])
    assert pieces(events, 1) == ['{"ci']
    assert (whole.stop_reason, folded.stop_reason) == ("max_tokens", "max_tokens")
    assert (
        [block["type"] for block in blocks(whole)]
        == [block["type"] for block in blocks(folded)]
        == ["text", "tool_use"]
    )
    assert blocks(whole)[1]["input"] == {"arguments": '{"ci'}


async def test_a_stream_begins_with_what_its_prompt_costs() -> None:
    async with anthropic_house(ScriptedEngine([[Say("Hi.")]])) as (_, client):
        ask = {**ASK, "tools": [WEATHER], "system": "Be kind. " * 40}
        counted = await client.messages.count_tokens(**{key: ask[key] for key in ask if key != "max_tokens"})
        events = [told(event) async for event in await client.messages.create(**ask, stream=True)]
    started = events[0]["message"]["usage"]
    assert abs(started["input_tokens"] - counted.input_tokens) <= 2
    assert events[-2]["usage"]["input_tokens"] == 2


@pytest.mark.parametrize("shown", ["summarized", "omitted"])
async def test_thinking_is_shown_or_only_signed_as_the_client_wants_it(shown: str) -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine([[Think("Hm, well."), Say("Hello there.")]], model=THINKER)

    thinking = {"type": "enabled", "budget_tokens": 1024, "display": shown}
    whole, folded, events = await both(engine, thinking=thinking, extra_body={"max_tokens": 2048})
    (told_thinking, text) = blocks(whole)
    assert told_thinking["thinking"] == ("Hm, well." if shown == "summarized" else "")
    assert told_thinking["signature"].startswith("orchestrator_")
    assert text == {"type": "text", "text": "Hello there."}
    assert blocks(folded) == blocks(whole)
    kinds = [
        event["delta"]["type"] for event in events if event["type"] == "content_block_delta" and event["index"] == 0
    ]
    assert kinds == [*(["thinking_delta"] * 2 if shown == "summarized" else []), "signature_delta"]


async def test_thinking_that_was_omitted_comes_back_as_nothing_and_the_chain_goes_on() -> None:
    engine = ScriptedEngine([[Think("Hm."), Say("One.")], [Say("Two.")]], model=THINKER)
    async with anthropic_house(engine) as (api, client):
        ask = {**ASK, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, "max_tokens": 2048}
        first = await client.messages.create(**ask)
        history = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "And?"},
        ]
        second = await client.messages.create(**{**ask, "messages": history})
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert [request.reasoning for request in engine.requests] == ["on", "on"]


async def test_a_picture_in_a_result_is_seen_by_a_model_that_sees() -> None:
    def script(_: object) -> Turn:
        return [Call("get_weather", {"place": "Rome"})] if len(engine.requests) == 1 else [Say("Sunny.")]

    engine = ScriptedEngine(script, model=SEER)
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    async with anthropic_house(engine) as (_, client):
        first = await client.messages.create(**ASK, tools=[WEATHER])
        result = {
            "type": "tool_result",
            "tool_use_id": first.content[0].id,
            "content": [{"type": "text", "text": "A photograph:"}, picture],
        }
        second = await client.messages.create(
            model=SCRIPTED_MODEL,
            max_tokens=100,
            tools=[WEATHER],
            messages=[
                *ASK["messages"],
                {"role": "assistant", "content": first.content},
                {"role": "user", "content": [result]},
            ],
        )
    assert told(second.content[0]) == {"type": "text", "text": "Sunny."}
    _, _, tool, seen = engine.requests[-1].messages
    assert isinstance(tool, ToolMessage) and tool.content.startswith("A photograph:")
    assert isinstance(seen, UserMessage) and seen.parts[1] == ImageInput(f"data:image/png;base64,{PIXEL}")


async def test_documents_of_text_are_read_with_their_names_also_in_results() -> None:
    engine = ScriptedEngine([[Call("get_weather", {"place": "Rome"})], [Say("Read.")]], model=SEER)
    plain: Any = {
        "type": "document",
        "title": "Notes",
        "source": {"type": "text", "media_type": "text/plain", "data": "A."},
    }
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    pieces: Any = {
        "type": "document",
        "context": "Of last year.",
        "citations": {"enabled": False},
        "source": {"type": "content", "content": [{"type": "text", "text": "B."}, picture]},
    }
    short: Any = {"type": "document", "source": {"type": "content", "content": "C."}}
    async with anthropic_house(engine) as (_, client):
        question: Any = {"role": "user", "content": [plain, pieces, {"type": "text", "text": "Well?"}]}
        first = await client.messages.create(**{**ASK, "messages": [question]}, tools=[WEATHER])
        result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": [short]}
        answered = [question, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        await client.messages.create(**{**ASK, "messages": answered}, tools=[WEATHER])
    asked, _, tool = engine.requests[-1].messages
    assert isinstance(asked, UserMessage) and isinstance(tool, ToolMessage)
    assert [getattr(part, "content", "picture") for part in asked.parts] == [
        "[document Notes]\nA.\n[end of document Notes]",
        "[document]\nOf last year.",
        "B.",
        "picture",
        "[end of document]",
        "Well?",
    ]
    assert tool.content == "[document]\nC.\n[end of document]"


async def test_a_call_whose_input_was_no_object_is_known_again_when_it_is_answered() -> None:
    engine = ScriptedEngine([[Call("get_weather", "nonsense")], [Say("Again.")]])
    async with anthropic_house(engine) as (api, client):
        first = await client.messages.create(**ASK, tools=[WEATHER])
        result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "What?", "is_error": True}
        answered = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        second = await client.messages.create(**{**ASK, "messages": answered}, tools=[WEATHER])
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
        calls = (await api.client.get("/api/v1/tool-calls")).json()["tool_calls"]
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert [call["status"] for call in calls] == ["answered"]


async def test_two_messages_in_a_row_are_the_same_conversation_as_in_openais_dialect() -> None:
    engine = ScriptedEngine([[Say("One.")], [Say("Two.")]])
    said: Any = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Anyone?"}]
    async with anthropic_house(engine) as (api, client):
        first = await client.messages.create(**{**ASK, "messages": said})
        more = [*said, {"role": "assistant", "content": "One."}, {"role": "user", "content": "And?"}]
        second = await api.client.post("/v1/chat/completions", json={"model": SCRIPTED_MODEL, "messages": more})
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.json()['id'][9:]}")).json()
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert [type(message).__name__ for message in engine.requests[0].messages] == ["UserMessage", "UserMessage"]


async def test_an_answer_is_held_to_a_schema_in_either_form_of_the_field() -> None:
    schema: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted: Any = {"type": "json_schema", "schema": schema}
    engine = ScriptedEngine([[Say('{"city": "Rome"}')]])
    async with anthropic_house(engine) as (_, client):
        message = await client.messages.create(**ASK, output_config={"format": wanted})
        await client.messages.create(**ASK, extra_body={"output_format": wanted})
        parsed = await client.messages.parse(**ASK, output_format=City)
    assert json.loads(told(message.content[0])["text"]) == {"city": "Rome"}
    assert parsed.parsed_output == City(city="Rome")
    held = [request.response_format for request in engine.requests]
    assert held[:2] == [ResponseFormat("output", schema)] * 2
    assert held[2] is not None and held[2].schema["required"] == ["city"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", [[Say("I look.")], []])
async def test_a_message_whose_call_was_cut_off_is_known_again(streamed: bool, text: list[Say]) -> None:
    engine = ScriptedEngine([[*text, Call("get_weather", '{"city": "Rome", "pl')]], finish_as="length")
    async with anthropic_house(engine) as (api, client):
        ask = {**ASK, "tools": [WEATHER]}
        if streamed:
            async with client.messages.stream(**ask) as stream:
                first: Any = await stream.get_final_message()
        else:
            first = await client.messages.create(**ask)
        more = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "Go on."},
        ]
        second = await client.messages.create(**{**ask, "messages": more})
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
    assert first.stop_reason == "max_tokens"
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert [item["content"] for item in stored["input"]] == ["Go on."]
