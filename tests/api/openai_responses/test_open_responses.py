"""The compliance cases of the Open Responses specification: what is asked, and what every reply has to be.

The requests are those of the specification's own tests; the model is scripted, so that pictures are seen.
Source: https://github.com/openresponses/openresponses, `src/lib/compliance-tests.ts`.
"""

import base64
import json
from typing import Any

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.prompt import SystemMessage, UserMessage
from orchestrator.testing import Break, Call, Say, ScriptedEngine, Think
from tests.api.house import House, house
from tests.api.openai_responses.clients import MODEL
from tests.api.openai_responses.specification import event_problems, response_problems

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SEES = Model(MODEL, "scripted", "llm", "test", "Sees", vision=True, trained_for_tool_use=True)
CALLING = [[Call("get_weather", {"location": "San Francisco, CA"})], [Say("It is 64 degrees.")]]


async def asked(api: House, **body: Any) -> Any:
    """A response without a stream, which is as it has to be."""
    reply = await api.client.post("/v1/responses", json={"model": MODEL, **body})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert response_problems(reply.json()) == []
    return reply.json()


async def streamed(api: House, **body: Any) -> list[Any]:
    """The events of a response, which are as they have to be, the terminal one included."""
    reply = await api.client.post("/v1/responses", json={"model": MODEL, "stream": True, **body})
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in reply.text.split("\n\n") if block and not block.startswith(":")]
    assert blocks.pop() == "data: [DONE]"
    events: list[Any] = []
    for number, block in enumerate(blocks):
        name, data = block.split("\n")  # no ids
        event = json.loads(data.removeprefix("data: "))
        assert (name, event["sequence_number"]) == (f"event: {event['type']}", number)
        assert event_problems(event) == []
        events.append(event)
    return events


def said(text: str) -> list[Any]:
    return [{"type": "message", "role": "user", "content": text}]


async def test_basic_text_response() -> None:
    async with house(ScriptedEngine([[Say("Hello my friend.")]])) as api:
        response = await asked(api, input=said("Say hello in exactly 3 words."))
    assert (response["status"], len(response["output"])) == ("completed", 1)


async def test_streaming_response() -> None:
    async with house(ScriptedEngine([[Say("1 2 3 4 5")]])) as api:
        events = await streamed(api, input=said("Count from 1 to 5."))
    assert events[-1]["response"]["status"] == "completed"


async def test_system_prompt() -> None:
    engine = ScriptedEngine([[Say("Ahoy.")]])
    async with house(engine) as api:
        pirate = {"type": "message", "role": "system", "content": "You are a pirate."}
        response = await asked(api, input=[pirate, *said("Say hello.")])
    assert response["status"] == "completed"
    assert engine.requests[0].messages[0] == SystemMessage("You are a pirate.")


async def test_tool_calling() -> None:
    async with house(ScriptedEngine(CALLING)) as api:
        response = await asked(api, input=said("What's the weather like in San Francisco?"), tools=[WEATHER])
    assert [item["type"] for item in response["output"]] == ["function_call"]


async def test_tool_calling_streaming() -> None:
    async with house(ScriptedEngine(CALLING)) as api:
        events = await streamed(api, input=said("What's the weather like in San Francisco?"), tools=[WEATHER])
    of_call = [event["type"] for event in events if event.get("item", {}).get("type") == "function_call"]
    kinds = {event["type"] for event in events}
    assert of_call == ["response.output_item.added", "response.output_item.done"]
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= kinds


async def test_function_call_round_trip() -> None:
    engine = ScriptedEngine(CALLING)
    async with house(engine) as api:
        choice = {"type": "function", "name": "get_weather"}
        question = "Use the weather tool to get the temperature in San Francisco."
        first = await asked(api, input=question, tools=[WEATHER], tool_choice=choice)
        call = first["output"][-1]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"temperature":"64 F"}'}
        stateless = await asked(api, input=[*said(question), call, output], tools=[WEATHER])
        second = await asked(api, previous_response_id=first["id"], input=[output], tools=[WEATHER])
    assert [response["status"] for response in (first, stateless, second)] == ["completed"] * 3
    assert first["tool_choice"] == choice


async def test_image_input() -> None:
    engine = ScriptedEngine([[Say("A heart.")]], model=SEES)
    content = [{"type": "input_text", "text": "What do you see?"}, {"type": "input_image", "image_url": PICTURE}]
    async with house(engine) as api:
        response = await asked(api, input=[{"type": "message", "role": "user", "content": content}])
    assert response["status"] == "completed"
    message = engine.requests[0].messages[0]
    assert isinstance(message, UserMessage)
    assert [part.data_url for part in message.parts if isinstance(part, ImageInput)] == [PICTURE]


async def test_file_input() -> None:
    engine = ScriptedEngine([[Say("Minutes.")]])
    data = base64.b64encode(b"# Minutes\nNoon.").decode()
    for given in (data, f"data:text/markdown;base64,{data}"):
        content = [
            {"type": "input_text", "text": "Answer with its title."},
            {"type": "input_file", "filename": "minutes.md", "file_data": given},
        ]
        async with house(engine) as api:
            response = await asked(api, input=[{"type": "message", "role": "user", "content": content}])
        assert response["status"] == "completed"
        message = engine.requests[-1].messages[0]
        assert isinstance(message, UserMessage)
        assert (
            getattr(message.parts[1], "content", "") == "[file minutes.md]\n# Minutes\nNoon.\n[end of file minutes.md]"
        )


@pytest.mark.parametrize(
    "data", ["JVBERi0xLjQKAAD/", "data:application/pdf;base64,AAD/", "no base64!", "data:text/plain;base64,ö"]
)
async def test_a_file_that_is_no_text_is_refused(data: str) -> None:
    content = [{"type": "input_file", "filename": "a.pdf", "file_data": data}]
    async with house() as api:
        body = {"model": MODEL, "input": [{"role": "user", "content": content}]}
        reply = await api.client.post("/v1/responses", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input.0.content.0.file_data")


async def test_multi_turn_conversation() -> None:
    async with house(ScriptedEngine([[Say("Alice.")]])) as api:
        hello = {"type": "message", "role": "assistant", "content": "Hello Alice! Nice to meet you."}
        response = await asked(api, input=[*said("My name is Alice."), hello, *said("What is my name?")])
    assert response["status"] == "completed"


async def test_previous_response_id() -> None:
    async with house(ScriptedEngine([[Say("OK")], [Say("papaya")]])) as api:
        first = await asked(api, input="Remember this code word: papaya. Reply with only OK.")
        second = await asked(api, previous_response_id=first["id"], input="What code word did I ask you to remember?")
    assert (second["status"], second["previous_response_id"]) == ("completed", first["id"])


@pytest.mark.parametrize("summary", [{}, {"summary": "auto"}])
async def test_reasoning_is_streamed_by_the_names_of_the_specification(summary: dict[str, str]) -> None:
    thinker = Model(MODEL, "scripted", "llm", "test", "Thinker", reasoning=ReasoningSupport(("off", "on"), "on"))
    engine = ScriptedEngine([[Think("Hm."), Say("Yes.")]], model=thinker)
    async with house(engine) as api:
        api.client.headers["OpenResponses-Version"] = "latest"
        events = await streamed(api, input=said("Well?"), reasoning={"effort": "low", **summary})
        response_id = events[-1]["response"]["id"]
        again = await api.client.get(f"/v1/responses/{response_id}", params={"stream": "true"})
    kinds = [event["type"] for event in events]
    assert {"response.reasoning.delta", "response.reasoning.done"} <= set(kinds)
    assert not any("reasoning_text" in kind for kind in kinds)
    assert "event: response.reasoning.delta" in again.text


async def test_an_error_while_streaming_is_told_by_the_failed_response() -> None:
    broken = Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine broke."))
    async with house(ScriptedEngine([[Say("Once"), broken]])) as api:
        events = await streamed(api, input="Hi")
    assert "error" not in [event["type"] for event in events]
    failed = events[-1]
    assert (failed["type"], failed["response"]["error"]) == (
        "response.failed",
        {"code": "server_error", "message": "The engine broke."},
    )
    assert failed["response"]["output"][0]["status"] == "incomplete"


async def test_what_a_limit_ends_is_incomplete_and_so_is_its_last_item() -> None:
    async with house(ScriptedEngine([[Say("Once upon")]], finish_as="length")) as api:
        response = await asked(api, input="Tell.", max_output_tokens=5)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][-1]["status"] == "incomplete"
