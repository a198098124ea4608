"""What a response says when it is read: the same as it said at first, and of those of other dialects as much as there is."""

from datetime import UTC, datetime
from typing import Any

import anyio
import openai
import pytest

from orchestrator.api.openai_responses.foreign import foreign_settings
from orchestrator.api.openai_responses.heads import ResponseHead, ended
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.prompt import SystemMessage
from orchestrator.core.response import SERVICE_STOPS, Cancelled, ChatResult, Stats
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Stall
from tests.api.house import fake_tool
from tests.api.openai_responses.clients import MODEL, openai_house, told
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

CLOCK = {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
THINKER = Model(MODEL, "scripted", "llm", "test", "Thinker", reasoning=ReasoningSupport(("off", "low", "high"), "off"))


async def test_a_response_of_another_dialect_is_read_with_what_its_request_said() -> None:
    show: Any = {"type": "function", "name": "show", "description": "Shows.", "parameters": {"type": "object"}}
    async with openai_house(ScriptedEngine([[Say("Noon.")]], model=THINKER), CLOCK) as (api, client):
        made = await api.chat(
            input="Time?",
            reasoning="high",
            integrations=[{"type": "plugin", "id": "mcp/clock", "allowed_tools": ["now"]}],
            tools=[show],
            parallel_tool_calls=False,
            max_tool_calls=3,
        )
        read = told(await client.responses.retrieve(made.json()["response_id"]))
    assert (read["reasoning"]["effort"], read["parallel_tool_calls"], read["max_tool_calls"]) == ("high", False, 3)
    function, server = read["tools"]
    assert (function["type"], function["name"], function["description"]) == ("function", "show", "Shows.")
    assert (server["type"], server["server_label"], server["allowed_tools"], server["require_approval"]) == (
        *("mcp", "clock"),
        *(["now"], "never"),
    )


def test_settings_of_every_kind_are_told_in_openais_words() -> None:
    ephemeral: JsonObject = {
        "type": "ephemeral_mcp",
        "server_label": "web",
        "server_url": "https://mcp.example/",
        "allowed_tools": None,
        "read_only": True,
        "header_names": ["X-Key"],
        "require_approval": {"default": "always", "always": {}, "never": {"tool_names": ["find"]}},
    }
    schema: JsonObject = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert foreign_settings(
        {
            "model": "m",
            "background": True,
            "reasoning": "on",
            "integrations": [ephemeral],
            "tool_choice": {"tool": "find", "server": "web"},
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
    ) == {
        "background": True,
        "reasoning": {"effort": "medium", "summary": None},
        "tools": [
            {
                "type": "mcp",
                "server_label": "web",
                "server_url": "https://mcp.example/",
                "allowed_tools": {"read_only": True},
                "require_approval": {"always": {}, "never": {"tool_names": ["find"]}},
                "headers": None,
            }
        ],
        "tool_choice": {"type": "mcp", "server_label": "web", "name": "find"},
        "text": {"format": {"type": "json_schema", **schema}, "verbosity": "medium"},
    }
    anything: JsonObject = {
        "type": "json_schema",
        "json_schema": {"name": "json_object", "schema": {}, "strict": False},
    }
    assert foreign_settings({"tool_choice": {"tool": "f", "server": "client"}, "response_format": anything}) == {
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
    }
    assert foreign_settings({"tool_choice": "required"}) == {"tool_choice": "required"}


async def test_a_server_of_which_nothing_is_offered_is_listed_without_tools() -> None:
    tools: Any = [
        {"type": "mcp", "server_label": "clock", "require_approval": "never", "allowed_tools": {"read_only": True}}
    ]
    async with openai_house(ScriptedEngine([[Say("I cannot.")]]), CLOCK) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Time?", tools=tools, stream=True)
        events = [told(event) async for event in stream]
        last = events[-1]["response"]
        stored = told(await client.responses.retrieve(last["id"]))
        none = await client.responses.create(model=MODEL, input="Time?", tools=tools, tool_choice="none")
    listed = last["output"][0]
    assert (listed["type"], listed["server_label"], listed["tools"]) == ("mcp_list_tools", "clock", [])
    assert stored["output"] == last["output"]
    assert [item.type for item in none.output] == ["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_has_one_time_of_its_beginning(*, stream: bool) -> None:
    async with openai_house(ScriptedEngine([[Say("Hi.")]])) as (api, client):
        if stream:
            events = [event async for event in await client.responses.create(model=MODEL, input="Hi", stream=True)]
            assert {event.response.created_at for event in events if hasattr(event, "response")} == {
                events[0].response.created_at
            }
            response = events[-1].response
        else:
            response = await client.responses.create(model=MODEL, input="Hi")
        read = await client.responses.retrieve(response.id)
        native = (await api.client.get(f"/api/v1/responses/{response.id}")).json()
    assert read.created_at == response.created_at
    assert int(datetime.fromisoformat(native["created_at"]).timestamp()) == response.created_at


def test_what_the_end_of_the_service_ended_failed_and_was_not_cancelled() -> None:
    head = ResponseHead("resp_" + "a" * 48, datetime.now(UTC), "m")
    stopped, cancelled = (
        ended(head, ChatResult("m", (), Stats(), Cancelled(reason)), [], datetime.now(UTC))
        for reason in (SERVICE_STOPS, "the client asked for it")
    )
    assert stopped.error is not None
    assert (stopped.status, stopped.error.code, stopped.incomplete_details) == ("failed", "server_error", None)
    assert stopped.error.message == "The service was stopped before the response was finished. Ask again."
    assert (cancelled.status, cancelled.error) == ("cancelled", None)


async def test_a_response_of_the_background_that_the_end_of_the_service_ended_is_read_as_failed() -> None:
    engine = ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])
    async with openai_house(engine) as (api, client):
        begun = await client.responses.create(model=MODEL, input="Tell", background=True)
        await api.generating(1)
        run = api.runs.find(begun.id)
        assert run is not None
        run.cancel(SERVICE_STOPS)
        await api.generating(0)
        read = told(await client.responses.retrieve(begun.id))
        events = [told(event) async for event in await client.responses.retrieve(begun.id, stream=True)]
    assert (read["status"], read["error"]["code"]) == ("failed", "server_error")
    assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", read)


async def test_a_forced_server_is_the_only_one_and_any_tool_of_it_will_do() -> None:
    engine = ScriptedEngine([[Call("now", {"zone": "UTC"})], [Say("Noon.")]])
    show: Any = {"type": "function", "name": "show", "parameters": {"type": "object"}}
    clock: Any = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
    async with openai_house(engine, CLOCK) as (_, client):
        response = await client.responses.create(
            model=MODEL, input="Time?", tools=[show, clock], tool_choice={"type": "mcp", "server_label": "clock"}
        )
    assert ([tool.name for tool in engine.requests[0].tools], engine.requests[0].tool_choice) == (["now"], "required")
    assert response.output_text == "Noon."


async def test_instructions_alone_are_what_is_asked() -> None:
    engine = ScriptedEngine([[Say("Snow falls.")], [Say("Again.")]])
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input=[{"role": "developer", "content": "Write a haiku."}])
        second = await client.responses.create(model=MODEL, input="Again.", previous_response_id=first.id)
        listed = [told(item)["role"] async for item in client.responses.input_items.list(first.id)]
    assert engine.requests[0].messages == (SystemMessage("Write a haiku."),)
    assert engine.requests[1].messages[0] == SystemMessage("Write a haiku.")
    assert (first.output_text, second.output_text, len(listed)) == ("Snow falls.", "Again.", 1)


async def test_who_waits_for_a_response_when_the_service_ends_is_told_to_ask_again() -> None:
    engine = ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])
    refused: list[openai.APIStatusError] = []
    async with openai_house(engine) as (api, client):

        async def ask() -> None:
            with pytest.raises(openai.InternalServerError) as error:
                await client.responses.create(model=MODEL, input="Tell")
            refused.append(error.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await api.generating(1)
            await api.runs.drain(0)
    assert [(error.status_code, error.code) for error in refused] == [(503, "engine_unavailable")]
