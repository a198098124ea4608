"""`/v1/responses` as OpenAI's own client has it, over a scripted model."""

import json
from typing import Any

import openai
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.testing import Break, Call, Say, ScriptedEngine, Think
from tests.api.openai_responses.clients import CALLS, CLOCK, MODEL, USE_CLOCK, WEATHER, openai_house, texts_of, told

pytestmark = pytest.mark.anyio


async def test_a_text_is_answered_with_a_response_that_has_everything() -> None:
    async with openai_house(ScriptedEngine([[Say("Hello there.")]])) as (_, client):
        response = await client.responses.create(
            model=MODEL,
            input="Hi",
            instructions="Be kind.",
            temperature=0.5,
            top_p=0.9,
            max_output_tokens=100,
            metadata={"topic": "greetings"},
            user="ada",
            truncation="disabled",
            service_tier="auto",
        )
        again = await client.responses.retrieve(response.id)
    assert response.output_text == "Hello there."
    assert told(again) == told(response)
    shown = told(response)
    assert shown["output"] == [
        {
            "id": f"msg_{response.id[5:]}_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}],
            **({"phase": None} if "phase" in shown["output"][0] else {}),
        }
    ]
    known = {
        name: shown[name]
        for name in ("object", "status", "model", "instructions", "metadata", "temperature", "top_p", "user")
    }
    assert known == {
        "object": "response",
        "status": "completed",
        "model": MODEL,
        "instructions": "Be kind.",
        "metadata": {"topic": "greetings"},
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "ada",
    }
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


async def test_a_stream_ends_with_the_response_and_can_be_told_again() -> None:
    async with openai_house(ScriptedEngine([[Say("Hello there.")]])) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        events = [told(event) async for event in stream]
        response_id = events[0]["response"]["id"]
        again = [told(event) async for event in await client.responses.retrieve(response_id, stream=True)]
        stored = await client.responses.retrieve(response_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 2,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == "Hello there."
    assert events[-1]["response"] == told(stored)
    assert again[-1]["response"] == told(stored)


async def test_the_clients_stream_helper_puts_the_response_together() -> None:
    async with openai_house(ScriptedEngine(CALLS), CLOCK) as (_, client):
        async with client.responses.stream(model=MODEL, input="What time is it?", tools=[USE_CLOCK]) as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_response()
    assert final.output_text == "It is noon."
    assert {"response.mcp_call.completed", "response.mcp_list_tools.completed"} <= kinds


async def test_a_chain_goes_on_from_the_previous_response_in_every_dialect() -> None:
    engine = ScriptedEngine([[Say("Papaya.")]])
    async with openai_house(engine) as (api, client):
        first = (await api.chat(input="Remember papaya.", system_prompt="Be brief.")).json()
        second = await client.responses.create(
            model=MODEL, input="Which word?", previous_response_id=first["response_id"], instructions="Be long."
        )
        assert texts_of(engine) == [
            ("system", "Be long."),
            ("user", "Remember papaya."),
            ("assistant", "", "Papaya."),
            ("user", "Which word?"),
        ]
        third = (await api.chat(input="Sure?", previous_response_id=second.id)).json()
        read = await client.responses.retrieve(third["response_id"])
    assert (read.previous_response_id, read.instructions, read.output_text) == (second.id, "Be long.", "Papaya.")


async def test_instructions_are_not_inherited() -> None:
    engine = ScriptedEngine([[Say("Yes.")]])
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input="Hi", instructions="Be brief.")
        await client.responses.create(model=MODEL, input="Ho", previous_response_id=first.id)
    assert texts_of(engine) == [("user", "Hi"), ("assistant", "", "Yes."), ("user", "Ho")]


async def test_a_history_is_told_to_the_model_as_it_was_sent() -> None:
    engine = ScriptedEngine([[Say("Alice.")]])
    items: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": "I am Alice."},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "A name."}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        },
        {"role": "user", "content": [{"type": "input_text", "text": "The weather?"}]},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"place":"Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "Sun."},
        {"role": "user", "content": "And my name?"},
    ]
    async with openai_house(engine) as (_, client):
        response = await client.responses.create(model=MODEL, input=items)
        listed = [told(item) async for item in client.responses.input_items.list(response.id, order="asc", limit=4)]
    assert texts_of(engine) == [
        ("system", "Be brief.\n\nBe kind."),
        ("user", "I am Alice."),
        ("assistant", "A name.", "Hello."),
        ("user", "The weather?"),
        ("assistant", "", "", ("get_weather", '{"place":"Rome"}')),
        ("tool", "get_weather", "Sun."),
        ("user", "And my name?"),
    ]
    assert [item["type"] for item in listed] == [
        *["message"] * 3,
        "reasoning",
        *["message"] * 2,
        "function_call",
        "function_call_output",
        "message",
    ]


async def test_a_function_call_goes_to_the_client_and_its_output_comes_back() -> None:
    engine = ScriptedEngine([[Say("Let me see."), Call("get_weather", {"place": "Rome"})], [Say("Sunny.")]])
    async with openai_house(engine) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Weather?", tools=[WEATHER], stream=True)
        events = [told(event) async for event in stream]
        first = await client.responses.retrieve(events[0]["response"]["id"])
        call: Any = first.output[-1]
        second = await client.responses.create(
            model=MODEL,
            previous_response_id=first.id,
            tools=[WEATHER],
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": '{"sky":"clear"}'}],
        )
    assert (call.type, call.name, json.loads(call.arguments), call.status) == (
        "function_call",
        "get_weather",
        {"place": "Rome"},
        "completed",
    )
    assert (first.status, second.output_text) == ("completed", "Sunny.")
    kinds = [event["type"] for event in events if event.get("item_id", "").startswith("fc_")]
    assert kinds[-1] == "response.function_call_arguments.done"
    assert set(kinds[:-1]) == {"response.function_call_arguments.delta"}
    assert texts_of(engine)[-2:] == [
        ("assistant", "", "Let me see.", ("get_weather", '{"place":"Rome"}')),
        ("tool", "get_weather", '{"sky":"clear"}'),
    ]


async def test_tools_of_servers_run_here_and_are_told_as_openai_tells_them() -> None:
    async with openai_house(ScriptedEngine(CALLS), CLOCK) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Time?", tools=[USE_CLOCK], stream=True)
        events = [told(event) async for event in stream]
        response = await client.responses.retrieve(events[0]["response"]["id"])
    about = [event["type"] for event in events if "mcp" in event["type"]]
    assert about == [
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
    ]
    listed, call, message = (told(item) for item in response.output)
    assert (listed["server_label"], [tool["name"] for tool in listed["tools"]]) == ("clock", ["now"])
    assert (call["server_label"], call["name"], json.loads(call["arguments"])) == ("clock", "now", {"zone": "UTC"})
    assert (call["status"], call["error"], call["output"]) == ("completed", None, "noon")
    assert message["content"][0]["text"] == "It is noon."
    assert told(response)["output"] == events[-1]["response"]["output"]


async def test_a_history_with_calls_of_servers_goes_on_from_what_is_stored_of_it() -> None:
    engine = ScriptedEngine([*CALLS, [Say("At one.")], [Say("Yes.")]])
    async with openai_house(engine, CLOCK) as (api, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[USE_CLOCK])
        sent = [item.model_dump(mode="json", exclude_none=True) for item in first.output]
        history: Any = [{"role": "user", "content": "Time?"}, *sent]
        lunch: Any = {"role": "user", "content": "And lunch?"}
        second = await client.responses.create(model=MODEL, input=[*history, lunch])
        called = [item for item in history if item.get("type") != "mcp_list_tools"]
        elsewhere: Any = [{"role": "user", "content": "Elsewhere?"}, *called[1:], lunch]
        third = await client.responses.create(model=MODEL, input=elsewhere)
        read = (await api.client.get(f"/api/v1/responses/{third.id}")).json()
    assert [item["type"] for item in sent] == ["mcp_list_tools", "mcp_call", "message"]
    assert (second.previous_response_id, third.previous_response_id) == (first.id, None)
    call_id = read["input"][1]["call_id"]
    assert read["input"][1:3] == [
        {
            "type": "function_call",
            "call_id": call_id,
            "name": "now",
            "arguments": sent[1]["arguments"],
            "begins": True,
            "of_server": True,
            "server": "clock",
        },
        {
            "type": "function_call_output",
            "call_id": call_id,
            "name": "now",
            "output": '[{"type":"text","text":"noon"}]',
            "is_error": False,
            "of_server": True,
        },
    ]


async def test_reasoning_is_told_whole_and_as_its_own_summary_where_that_is_asked_for() -> None:
    thinker = Model(MODEL, "scripted", "llm", "test", "Thinker", reasoning=ReasoningSupport(("off", "on"), "on"))
    engine = ScriptedEngine([[Think("Hm, hm."), Say("Yes.")]], model=thinker)
    async with openai_house(engine) as (_, client):
        stream = await client.responses.create(
            model=MODEL,
            input="Hi",
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content"],
            stream=True,
        )
        events = [told(event) async for event in stream]
        thought = events[-1]["response"]["output"][0]
        again: Any = [
            {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": thought["encrypted_content"]}
        ]
        await client.responses.create(
            model=MODEL, input=[{"role": "user", "content": "Hi"}, *again, {"role": "user", "content": "Go on"}]
        )
    assert engine.requests[0].reasoning == "on"
    assert ("assistant", "Hm, hm.", "") in texts_of(engine)
    assert (thought["summary"], thought["content"]) == (
        [{"type": "summary_text", "text": "Hm, hm."}],
        [{"type": "reasoning_text", "text": "Hm, hm."}],
    )
    kinds = [event["type"] for event in events if event.get("item_id", "").startswith("rs_")]
    assert kinds == [
        "response.reasoning_summary_part.added",
        "response.content_part.added",
        *["response.reasoning_text.delta", "response.reasoning_summary_text.delta"] * 2,
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]


async def test_json_is_demanded_of_the_engine() -> None:
    engine = ScriptedEngine([[Say('{"a":1}')]])
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    async with openai_house(engine) as (_, client):
        formats: list[Any] = [
            {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
            {"type": "json_object"},
        ]
        answers = [await client.responses.create(model=MODEL, input="Hi", text={"format": each}) for each in formats]
    wanted = [request.response_format for request in engine.requests]
    assert [each and (each.name, each.schema, each.strict) for each in wanted] == [
        ("n", schema, True),
        ("json_object", {"type": "object"}, False),
    ]
    assert told(answers[0])["text"]["format"]["schema"] == schema


async def test_the_prompts_of_all_turns_are_counted_and_no_tools_are_left_after_the_last_call_that_may_be_made() -> (
    None
):
    engine = ScriptedEngine(CALLS)
    async with openai_house(engine, CLOCK) as (_, client):
        response = await client.responses.create(model=MODEL, input="Time?", tools=[USE_CLOCK], max_tool_calls=1)
    assert (response.status, response.output_text) == ("completed", "It is noon.")
    assert [[tool.name for tool in request.tools] for request in engine.requests] == [["now"], []]
    usage = told(response)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (20, 10, 30)
    assert usage["input_tokens_details"]["cached_tokens"] == 16


async def test_the_same_history_sent_again_goes_on_in_one_graph() -> None:
    engine = ScriptedEngine([[Say("Hello Alice.")]])
    async with openai_house(engine) as (_, client):
        said: Any = [{"role": "user", "content": "I am Alice."}]
        first = await client.responses.create(model=MODEL, input=said)
        said += [item.model_dump(mode="json", exclude_none=True) for item in first.output]
        second = await client.responses.create(model=MODEL, input=[*said, {"role": "user", "content": "Who?"}])
    assert second.previous_response_id == first.id


async def test_what_fails_while_it_is_made_is_an_error_of_the_client() -> None:
    broken = Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine broke."))
    async with openai_house(ScriptedEngine([[Say("Once"), broken]])) as (_, client):
        with pytest.raises(openai.InternalServerError) as failed:
            await client.responses.create(model=MODEL, input="Hi")
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        heard = [told(event) async for event in stream]
        stored = await client.responses.retrieve(heard[-1]["response"]["id"])
    assert (failed.value.status_code, failed.value.code) == (502, "engine_error")
    assert [event["type"] for event in heard[-2:]] == ["response.output_item.done", "response.failed"]
    last = heard[-1]["response"]
    error = last["error"]
    assert (last["status"], error["code"], error["message"]) == ("failed", "server_error", "The engine broke.")
    assert last["output"][0]["content"][0]["text"] == "Once"
    assert told(stored) == last


LIKELY = TokenLogprob(LikelyToken("Hi", -0.25), (LikelyToken("Hi", -0.25), LikelyToken("Hé", -1.5, b"H\xc3\xa9")))
TOLD = [
    {
        "token": "Hi",
        "logprob": -0.25,
        "bytes": [72, 105],
        "top_logprobs": [
            {"token": "Hi", "logprob": -0.25, "bytes": [72, 105]},
            {"token": "Hé", "logprob": -1.5, "bytes": [72, 195, 169]},
        ],
    }
]


async def test_how_likely_the_tokens_were_is_told_and_kept() -> None:
    engine = ScriptedEngine([[Say("Hi", (LIKELY,))]])
    included: Any = {"include": ["message.output_text.logprobs"]}
    async with openai_house(engine) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Hi", top_logprobs=2, stream=True, **included)
        events = [told(event) async for event in stream]
        last = events[-1]["response"]
        read = told(await client.responses.retrieve(last["id"]))
        await client.responses.create(model=MODEL, input="Hi", top_logprobs=0, **included)
    texts = {event["type"]: event["logprobs"] for event in events if "output_text" in event["type"]}
    assert set(texts) == {"response.output_text.delta", "response.output_text.done"}
    assert all(said[0]["top_logprobs"][1]["logprob"] == -1.5 for said in texts.values())
    assert (last["top_logprobs"], read["top_logprobs"]) == (2, 2)
    assert last["output"][0]["content"][0]["logprobs"] == read["output"][0]["content"][0]["logprobs"] == TOLD
    assert [request.sampling.logprobs for request in engine.requests] == [2, 0]
