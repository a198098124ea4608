"""Replies and events hold what OpenAI's types say of them: nothing is missing, and nothing is of another kind.

The client takes whatever it is sent; its types, checked for once, do not.
"""

import json
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai.pagination import AsyncConversationCursorPage
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Think
from tests.api.house import House, fake_tool, house
from tests.api.openai_responses.clients import MODEL
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
THINKER = Model(MODEL, "scripted", "llm", "test", "Thinker", reasoning=ReasoningSupport(("off", "on"), "on"))
FUNCTION: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "strict": False,
    "parameters": {"type": "object", "properties": {}},
}
NEVER = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
ASKS = {"type": "mcp", "server_label": "clock"}
WHOLE = [Think("Hm."), Say("Well."), Call("now", {}), Call("bogus", {}), Call("fail", {})]


async def fail(arguments: Any) -> str:
    raise RuntimeError("no")


@asynccontextmanager
async def place(*turns: Any) -> AsyncGenerator[House]:
    server = FakeServer([fake_tool("now", tell_time), fake_tool("fail", fail)])
    async with house(ScriptedEngine([*turns], model=THINKER), {"mcp/clock": server}) as api:
        yield api


async def events_of(api: House, **body: Any) -> list[Any]:
    """The events of a stream, each held against its type."""
    reply = await api.client.post("/v1/responses", json={"model": MODEL, "stream": True, **body})
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n") if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    for event in events:
        EVENT.validate_python(event)
    return events


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Hi"},
        {"input": "Hi", "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        {
            "input": "Hi",
            "tools": [NEVER, FUNCTION],
            "text": {"format": {"type": "json_object"}},
            "metadata": {"a": "b"},
        },
        {"input": "Hi", "background": True},
        {"input": "Hi", "top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        {"input": "Hi", "instructions": "Be brief.", "max_output_tokens": 5, "temperature": 0.5, "user": "ada"},
    ],
)
async def test_every_event_and_the_response_are_of_their_types(body: dict[str, Any]) -> None:
    turns = [WHOLE, [Call("get_weather", {"place": "Rome"})]] if "tools" in body else [[Think("Hm."), Say("Well.")]]
    async with place(*turns) as api:
        events = await events_of(api, **body)
        last = events[-1]["response"]
        read = (await api.client.get(f"/v1/responses/{last['id']}")).json()
        said = (await api.client.get(f"/v1/responses/{last['id']}/input_items")).json()
    for response in (last, read):
        Response.model_validate(response)
    for item in said["data"]:
        ITEM.validate_python(item)
    assert last["status"] == "completed"


async def test_questions_answers_and_conversations_are_of_their_types() -> None:
    async with place([Call("now", {})], [Say("Noon.")]) as api:
        conversation = (await api.client.post("/v1/conversations", json={"metadata": {"a": "b"}})).json()
        first = (await events_of(api, input="Time?", tools=[ASKS], conversation=conversation["id"]))[-1]["response"]
        answer = {"type": "mcp_approval_response", "approval_request_id": first["output"][-1]["id"], "approve": True}
        again = await events_of(api, input=[answer], tools=[ASKS], conversation=conversation["id"])
        items = (await api.client.get(f"/v1/conversations/{conversation['id']}/items?order=asc")).json()
        gone = (await api.client.delete(f"/v1/conversations/{conversation['id']}")).json()
    for response in (first, again[-1]["response"]):
        Response.model_validate(response)
    Conversation.model_validate(conversation)
    AsyncConversationCursorPage[Any].model_validate(items)
    kinds = [TypeAdapter(ConversationItem).validate_python(item).type for item in items["data"]]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a union of all that OpenAI has
    assert kinds[-3:] == ["mcp_approval_response", "mcp_call", "message"]
    ConversationDeletedResource.model_validate(gone)


async def test_the_types_would_notice() -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError, match="delta"):
        EVENT.validate_python({"type": "response.output_text.delta", "item_id": "x"})
