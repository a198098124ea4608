"""The JSON reply: whole bodies, headers, and what a failure after the beginning becomes."""

import json
import re
from typing import Any

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import Limits
from orchestrator.core.response import Counters
from orchestrator.core.tools import ToolResult, text_content
from orchestrator.testing import Break, Call, FakeServer, MemoryStore, Say, ScriptedEngine, Stall, Think
from tests.api.house import CHAT, fake_tool, house, plain

pytestmark = pytest.mark.anyio

STATS = {
    "input_tokens": 10,
    "total_output_tokens": 5,
    "reasoning_output_tokens": 0,
    "tokens_per_second": 10.0,
    "time_to_first_token_seconds": 0.25,
    "cached_input_tokens": 8,
}


async def tell_time(arguments: JsonObject) -> ToolResult | str:
    """The one tool of these tests."""
    if arguments.get("zone") == "Mars":
        return ToolResult(text_content("no such zone"), "no such zone", is_error=True)
    return "noon"


ZONE = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}


def clock() -> FakeServer:
    return FakeServer([fake_tool("now", tell_time, ZONE)])


async def test_a_reply_has_everything_in_the_order_in_which_it_happened() -> None:
    script = [
        [Think("Let me see."), Call("now", {"zone": "UTC"}), Call("now", {"zone": "Mars"})],
        [Call("later"), Call("now", {"zone": 5}), Call("now", "[]")],
        [Say("It is noon.")],
    ]
    servers = {"mcp/clock": clock(), "watch": FakeServer()}
    integrations = ["mcp/clock", {"type": "ephemeral_mcp", "server_label": "watch", "server_url": "https://w.example"}]
    async with house(ScriptedEngine(script), servers) as api:
        response = await api.chat(integrations=integrations, metadata={"user": "me"})
    assert response.status_code == 200
    plugin = {"type": "plugin", "plugin_id": "mcp/clock"}
    call = {"type": "tool_call", "tool": "now", "provider_info": plugin, "call_id": "call_C", "duration_ms": 0}
    invalid = {"type": "invalid_arguments", "tool_name": "now", "provider_info": plugin}
    reply = plain_json(response)
    reasons = [item.pop("reason") for item in reply["output"] if item["type"] == "invalid_tool_call"]
    assert [reason[:34] for reason in reasons] == [
        "Cannot find tool with name later. ",
        "The arguments do not match the inp",
        "The arguments of now are not a JSO",
    ]
    assert reply == {
        "model_instance_id": "test/scripted",
        "output": [
            {"type": "reasoning", "content": "Let me see."},
            {**call, "arguments": {"zone": "UTC"}, "output": '[{"text":"noon","type":"text"}]', "is_error": False},
            {
                **call,
                "arguments": {"zone": "Mars"},
                "output": '[{"text":"no such zone","type":"text"}]',
                "is_error": True,
            },
            {"type": "invalid_tool_call", "metadata": {"type": "invalid_name", "tool_name": "later"}},
            {"type": "invalid_tool_call", "metadata": {**invalid, "arguments": {"zone": 5}}},
            {"type": "invalid_tool_call", "metadata": invalid},
            {"type": "message", "content": "It is noon."},
        ],
        "stats": {**STATS, "total_output_tokens": 15},
        "response_id": "resp_R",
        "status": "completed",
    }
    assert list(reply) == ["model_instance_id", "output", "stats", "response_id", "status"]


def plain_json(response: Any) -> Any:
    """The body with its random parts made equal."""
    return json.loads(plain(response.text))


async def test_the_reply_and_its_headers_name_the_stored_response() -> None:
    async with house() as api:
        response = await api.chat()
    assert re.fullmatch(r"resp_[0-9a-f]{48}", response.json()["response_id"])
    assert response.headers["X-Response-Id"] == response.json()["response_id"]
    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["X-Request-Id"])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


async def test_nothing_names_a_response_that_is_not_stored() -> None:
    async with house() as api:
        response = await api.chat(store=False)
    assert response.status_code == 200
    assert "response_id" not in response.json()
    assert "X-Response-Id" not in response.headers


async def test_a_load_and_what_nobody_counted_are_in_the_stats() -> None:
    load = [LoadStarted(), LoadProgressed(0.5), ModelReady(1.5)]
    async with house(ScriptedEngine([[Say("Hi.")]], load=load, counters=Counters(output_tokens=5))) as api:
        response = await api.chat()
    assert response.json()["stats"] == {
        "input_tokens": 0,
        "total_output_tokens": 5,
        "reasoning_output_tokens": 0,
        "tokens_per_second": 0.0,
        "time_to_first_token_seconds": 0.0,
        "model_load_time_seconds": 1.5,
        "unknown": ["input_tokens", "reasoning_output_tokens", "tokens_per_second", "time_to_first_token_seconds"],
    }


async def test_a_limit_that_ends_the_reply_is_told() -> None:
    async with house(ScriptedEngine([[Say("Once upon a")]], finish_as="length")) as api:
        response = await api.chat(max_output_tokens=5)
    assert plain_json(response) == {
        "model_instance_id": "test/scripted",
        "output": [{"type": "message", "content": "Once upon a"}],
        "stats": STATS,
        "response_id": "resp_R",
        "status": "incomplete",
        "incomplete_reason": "max_output_tokens",
    }


async def test_a_failure_after_the_beginning_has_the_errors_status_and_names_what_was_stored() -> None:
    error = OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine gave up.")
    async with house(ScriptedEngine([[Say("Well"), Break(error)]])) as api:
        response = await api.chat()
        stored = await api.client.get(f"/api/v1/responses/{response.headers['X-Response-Id']}")
    told = {"type": "internal_error", "message": "The engine gave up.", "code": "engine_error"}
    assert (response.status_code, response.json()) == (502, {"error": told})
    assert (stored.json()["status"], stored.json()["error"]) == ("failed", told)


async def test_a_failure_of_a_reply_that_is_not_stored_names_nothing() -> None:
    error = OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, "The prompt is too long.", param="input")
    async with house(ScriptedEngine([[Break(error)]])) as api:
        response = await api.chat(store=False)
    told = {
        "type": "invalid_request",
        "message": "The prompt is too long.",
        "code": "exceed_context_size",
        "param": "input",
    }
    assert (response.status_code, response.json()) == (400, {"error": told})
    assert "X-Response-Id" not in response.headers


async def test_a_failing_save_is_a_failure_that_names_the_request_and_no_response() -> None:
    class FullStore(MemoryStore):
        async def save_response(self, *args: Any, **kwargs: Any) -> None:
            raise OrchestratorError(ErrorKind.STORE_ERROR, "The disk is full.")

    async with house(store=FullStore()) as api:
        response = await api.client.post(
            CHAT, json={"model": "test/scripted", "input": "hi"}, headers={"X-Request-Id": "mine"}
        )
    told = {"type": "internal_error", "message": "The disk is full. (request mine)", "code": "store_error"}
    assert (response.status_code, response.json()) == (500, {"error": told})
    assert "X-Response-Id" not in response.headers


async def test_a_cancelled_reply_says_so() -> None:
    async with house(ScriptedEngine([[Say("Well"), Stall(anyio.Event())]])) as api:
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await api.chat())

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            with anyio.fail_after(5):
                await api.generating(1)
            await api.runs.close(5)
    assert plain_json(replies[0])["status"] == "cancelled"
    assert replies[0].status_code == 200


async def test_a_continued_chat_gets_its_history() -> None:
    engine = ScriptedEngine([[Say("Hi.")]])
    async with house(engine) as api:
        first = (await api.chat()).json()["response_id"]
        second = (await api.chat(input="And?", previous_response_id=first)).json()["response_id"]
        stored = (await api.client.get(f"/api/v1/responses/{second}")).json()
    assert stored["previous_response_id"] == first
    assert len(engine.requests[1].messages) == 3


async def test_text_that_is_no_unicode_still_makes_a_reply() -> None:
    async with house(ScriptedEngine([[Say("half \ud83d")]])) as api:
        response = await api.chat()
    assert response.status_code == 200
    assert '"content":"half \\ud83d"' in response.text


FORMAT: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


async def test_what_the_first_turn_and_the_last_message_must_be_reaches_the_engine() -> None:
    engine = ScriptedEngine([[Call("now")], [Say("{}")], [Call("now")], [Say("{}")]])
    async with house(engine, {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}) as api:
        for choice in ("required", {"tool": "now", "server": "mcp/clock"}):
            reply = await api.chat(integrations=["mcp/clock"], tool_choice=choice, response_format=FORMAT, ttl=60)
            assert (reply.status_code, reply.json()["status"]) == (200, "completed")
        (instance,) = api.instances.instances()
    first, second, named, _ = engine.requests
    assert (first.tool_choice, second.tool_choice) == ("required", "auto")
    assert named.tool_choice == named.tools[0]
    assert first.response_format == second.response_format
    assert first.response_format is not None and first.response_format.schema == {"type": "object"}
    assert instance.ttl_seconds == 60


@pytest.mark.parametrize("choice", ["required", {"tool": "now"}], ids=["any", "one"])
async def test_a_demanded_call_without_integrations_is_an_invalid_value(choice: Any) -> None:
    async with house() as api:
        reply = await api.chat(tool_choice=choice)
    error = {
        "type": "invalid_request",
        "message": '"tool_choice" demands a tool call, and no integrations offer any tools.',
        "code": "invalid_value",
        "param": "tool_choice",
    }
    assert (reply.status_code, reply.json()) == (400, {"error": error})


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "https://example.com/schema"}], ids=str)
async def test_a_response_format_that_is_no_schema_is_an_invalid_value(schema: dict[str, Any]) -> None:
    async with house() as api:
        reply = await api.chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (
        400,
        "invalid_value",
        "response_format.json_schema.schema",
    )


async def test_who_offers_many_tools_is_warned_in_the_reply() -> None:
    async with house(ScriptedEngine([[Say("Hi.")]] * 2), {"mcp/clock": clock()}, limits=Limits(warn_tools=0)) as api:
        told = (await api.chat(integrations=["mcp/clock"])).json()
        plain_one = (await api.chat()).json()
    (warning,) = told["warnings"]
    assert warning.startswith("1 tool is offered, and their definitions cost about ")
    assert "warnings" not in plain_one
