"""A chain that goes through every dialect is one graph, and reads the same from each side."""

import pytest
from openai import AsyncOpenAI

from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine
from tests.api.anthropic_messages.clients import anthropic_house
from tests.api.anthropic_messages.test_client import seen
from tests.api.house import CHAT, chat_body

pytestmark = pytest.mark.anyio


async def test_thread_openai_anthropic_native_and_another_thread_make_one_chain() -> None:
    engine = ScriptedEngine(
        [[Say("One.")], [Say("Two.")], [Say("Three.")], [Say("Four.")], [Say("Five.")], [Say("Six.")]]
    )
    async with anthropic_house(engine) as (api, client):
        openai = AsyncOpenAI(base_url=f"{str(client.base_url).rstrip('/')}/v1", api_key="none", max_retries=0)
        async with openai:
            begun = await api.client.post(CHAT, json=chat_body(input="A?", reasoning_effort="low"))
            thread = begun.json()["thread_id"]
            conversation = thread.replace("thread_", "conv_")
            second = await openai.responses.create(model=SCRIPTED_MODEL, input="B?", conversation=conversation)
            history = [
                {"role": "user", "content": "A?"},
                {"role": "assistant", "content": "One."},
                {"role": "user", "content": [{"type": "text", "text": "B?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
                {"role": "user", "content": "C?"},
            ]
            third = await client.messages.create(model=SCRIPTED_MODEL, max_tokens=100, messages=history)
            third_id = f"resp_{third.id[4:]}"
            fourth = (await api.client.post(CHAT, json=chat_body(input="D?", previous_response_id=third_id))).json()
            made = await api.client.post("/api/v1/threads", json={"response_id": fourth["response_id"]})
            fifth = await api.client.post(CHAT, json=chat_body(input="F?", thread_id=made.json()["thread_id"]))
            last_prompt = seen(engine)
            branch = await api.client.post(CHAT, json=chat_body(input="E?", thread_id=thread))
            as_openai = await openai.responses.retrieve(third_id)
        ids = [begun.headers["x-response-id"], second.id, third_id, fourth["response_id"]]
        ids.append(fifth.headers["x-response-id"])
        chain = (await api.client.get(f"/api/v1/responses/{ids[-1]}/chain")).json()["responses"]
        stored = [(await api.client.get(f"/api/v1/responses/{each}")).json() for each in ids]
        aside = (await api.client.get(f"/api/v1/responses/{branch.headers['x-response-id']}")).json()
    assert [node["response_id"] for node in chain] == ids
    assert [each["previous_response_id"] for each in stored] == [None, *ids[:-1]]
    assert [[item["content"] for item in each["input"]] for each in stored] == [[f"{letter}?"] for letter in "ABCDF"]
    assert {each["root_id"] for each in [*stored, aside]} == {ids[0]}
    assert aside["previous_response_id"] == second.id
    assert (as_openai.output_text, as_openai.previous_response_id) == ("Three.", second.id)
    assert last_prompt == [
        ("user", "A?"),
        ("assistant", "", "One."),
        ("user", "B?"),
        ("assistant", "", "Two."),
        ("user", "C?"),
        ("assistant", "", "Three."),
        ("user", "D?"),
        ("assistant", "", "Four."),
        ("user", "F?"),
    ]
