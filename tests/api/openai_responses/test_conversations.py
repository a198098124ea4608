"""`/v1/conversations` as OpenAI's own client has them."""

from typing import Any

import openai
import pytest

from orchestrator.core.prompt import AssistantMessage, UserMessage
from orchestrator.testing import Say, ScriptedEngine
from tests.api.openai_responses.clients import MODEL, openai_house, told

pytestmark = pytest.mark.anyio

HELLO: Any = {"type": "message", "role": "user", "content": "I am Alice."}


def said_to(engine: ScriptedEngine) -> list[Any]:
    """What the model was told last, in short."""
    return [
        message.content
        if isinstance(message, AssistantMessage)
        else [getattr(part, "content", "") for part in message.parts]
        for message in engine.requests[-1].messages
        if isinstance(message, AssistantMessage | UserMessage)
    ]


async def test_a_conversation_takes_items_and_responses_in_turn() -> None:
    engine = ScriptedEngine([[Say("Hello Alice.")]])
    async with openai_house(engine) as (_, client):
        conversation = await client.conversations.create(metadata={"topic": "names"}, items=[HELLO])
        first = await client.responses.create(model=MODEL, input="Greet me.", conversation=conversation.id)
        added = await client.conversations.items.create(
            conversation.id, items=[{"role": "user", "content": "And now?"}]
        )
        second = await client.responses.create(model=MODEL, input="Well?", conversation={"id": conversation.id})
        listed = [told(item) async for item in client.conversations.items.list(conversation.id, order="asc", limit=2)]
        one = await client.conversations.items.retrieve(listed[0]["id"], conversation_id=conversation.id)
    texts = [item["content"][0]["text"] for item in listed]
    assert texts == ["I am Alice.", "Greet me.", "Hello Alice.", "And now?", "Well?", "Hello Alice."]
    assert said_to(engine) == [["I am Alice."], ["Greet me."], "Hello Alice.", ["And now?"], ["Well?"]]
    assert (first.conversation.id, second.previous_response_id is not None) == (conversation.id, True)
    assert ([item.id for item in added.data], told(one)) == ([listed[3]["id"]], listed[0])


async def test_an_empty_conversation_says_nothing_to_the_model() -> None:
    engine = ScriptedEngine([[Say("Hi.")]])
    async with openai_house(engine) as (api, client):
        conversation = await client.conversations.create()
        await client.responses.create(model=MODEL, input="Hello.", conversation=conversation.id)
        thread = (await api.client.get(f"/api/v1/threads/thread_{conversation.id[5:]}")).json()
    assert said_to(engine) == [["Hello."]]
    assert [response["model"] for response in thread["responses"]] == ["conversation", MODEL]


async def test_metadata_changes_and_stays_when_items_are_added() -> None:
    async with openai_house() as (_, client):
        conversation = await client.conversations.create(metadata={"a": "1"})
        await client.conversations.update(conversation.id, metadata={"b": "2"})
        await client.conversations.items.create(conversation.id, items=[HELLO])
        read = await client.conversations.retrieve(conversation.id)
    assert (conversation.metadata, read.metadata, read.object) == ({"a": "1"}, {"b": "2"}, "conversation")


async def test_a_thread_of_another_dialect_is_a_conversation() -> None:
    async with openai_house(ScriptedEngine([[Say("Hi.")]])) as (api, client):
        thread_id = (await api.chat(enable_thinking=False)).json()["thread_id"]
        read = await client.conversations.retrieve("conv_" + thread_id.removeprefix("thread_"))
        listed = [told(item) async for item in client.conversations.items.list(read.id)]
    assert (read.metadata, [item["role"] for item in listed]) == ({}, ["assistant", "user"])


async def test_a_deleted_conversation_is_not_there() -> None:
    async with openai_house() as (_, client):
        conversation = await client.conversations.create(items=[HELLO])
        deleted = await client.conversations.delete(conversation.id)
        for gone in (conversation.id, "conv_none", "thread_none"):
            with pytest.raises(openai.NotFoundError):
                await client.conversations.retrieve(gone)
    assert (deleted.deleted, deleted.object) == (True, "conversation.deleted")


async def test_a_conversation_is_deleted_with_what_goes_on_from_it_when_asked() -> None:
    async with openai_house() as (api, client):
        conversation = await client.conversations.create()
        first = await client.responses.create(model=MODEL, input="Hi", conversation=conversation.id)
        branch = await client.responses.create(model=MODEL, input="More", previous_response_id=first.id)
        deleted = await client.conversations.delete(conversation.id, extra_query={"subtree": "true"})
        gone = [(await api.client.get(f"/api/v1/responses/{id}")).status_code for id in (first.id, branch.id)]
    assert (deleted.to_dict(), gone) == (
        {"id": conversation.id, "object": "conversation.deleted", "deleted": True},
        [404, 404],
    )


async def test_single_items_are_not_deleted_and_unknown_ones_not_found() -> None:
    async with openai_house() as (_, client):
        conversation = await client.conversations.create(items=[HELLO])
        with pytest.raises(openai.APIStatusError) as refused:
            await client.conversations.items.delete("msg_1", conversation_id=conversation.id)
        with pytest.raises(openai.NotFoundError):
            await client.conversations.items.retrieve("msg_1", conversation_id=conversation.id)
        with pytest.raises(openai.BadRequestError) as unknown:
            await client.conversations.items.create(
                conversation.id, items=[{"type": "function_call_output", "call_id": "c", "output": "x"}]
            )
    assert (refused.value.status_code, unknown.value.param) == (405, "input")


async def test_calls_of_servers_in_a_history_are_read_back_as_they_were_sent() -> None:
    sent: Any = [
        {"type": "message", "role": "user", "content": "Time?"},
        {"type": "mcp_call", "id": "mcp_1", "server_label": "clock", "name": "now", "arguments": "{}", "output": "1"},
        {"type": "mcp_call", "id": "mcp_2", "server_label": "sun", "name": "up", "arguments": "{}", "error": "dark"},
        {"type": "mcp_call", "id": "mcp_3", "server_label": "sun", "name": "up", "arguments": "{}"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
    ]
    async with openai_house() as (_, client):
        conversation = await client.conversations.create(items=sent)
        listed = [told(item) async for item in client.conversations.items.list(conversation.id, order="asc")]
        again = await client.conversations.create(items=[{"id": item["id"]} for item in listed[1:4]])
        copied = [told(item) async for item in client.conversations.items.list(again.id, order="asc")]
    calls = [(item["server_label"], item["name"], item["status"], item["output"]) for item in listed[1:4]]
    assert [item["type"] for item in listed] == [item["type"] for item in sent]
    assert calls == [
        ("clock", "now", "completed", "1"),
        ("sun", "up", "failed", None),
        ("sun", "up", "completed", ""),
    ]
    assert [part["text"] for part in listed[-1]["output"]] == ["a", "b"]
    assert [{**item, "id": ""} for item in copied] == [{**item, "id": ""} for item in listed[1:4]]
