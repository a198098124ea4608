"""Chats put in short, and prompts that are counted, as OpenAI's own client has them."""

from typing import Any

import openai
import pytest

from orchestrator.testing import Say, ScriptedEngine
from tests.api.openai_responses.clients import CLOCK, MODEL, USE_CLOCK, WEATHER, openai_house, texts_of

pytestmark = pytest.mark.anyio


def plainly(item: Any) -> Any:
    """An item of a chat in short: the client's types know none of what users said, which OpenAI answers with, too."""
    return item.model_dump(mode="json", exclude_none=True, warnings=False)


async def test_a_chat_put_in_short_goes_on_from_what_its_users_said_and_the_rest_in_short() -> None:
    engine = ScriptedEngine([[Say("Hello Alice.")], [Say("Greeted.")], [Say("All of it.")], [Say("Alice.")]])
    rules: Any = {"role": "developer", "content": "Be kind."}
    async with openai_house(engine) as (api, client):
        first = await client.responses.create(model=MODEL, input=[rules, {"role": "user", "content": "I am Alice."}])
        short = await client.responses.compact(model=MODEL, previous_response_id=first.id)
        output = [plainly(item) for item in short.output]
        more: Any = {"role": "user", "content": "And Bob."}
        shorter = await client.responses.compact(model=MODEL, input=[*output, more], service_tier="auto")
        again = [plainly(item) for item in shorter.output]
        who: Any = {"role": "user", "content": "Who am I?"}
        last: Any = {"type": "item_reference", "id": again[-1]["id"]}
        await client.responses.create(model=MODEL, input=[*again[:-1], last, who])
        stored = (await api.client.get(f"/api/v1/responses/{short.id}")).json()
        with pytest.raises(openai.BadRequestError) as nothing:
            await client.responses.compact(model=MODEL)
    kinds = [(item["type"], item.get("role"), item.get("content")) for item in output]
    assert kinds == [
        ("message", "developer", [{"type": "input_text", "text": "Be kind."}]),
        ("message", "user", [{"type": "input_text", "text": "I am Alice."}]),
        ("compaction", None, None),
    ]
    summary = "[what was said before, in short]\nAll of it.\n[end of what was said before]"
    assert texts_of(engine) == [
        ("system", "Be kind."),
        ("user", "I am Alice."),
        ("user", "And Bob."),
        ("user", summary),
        ("user", "Who am I?"),
    ]
    assert (short.object, nothing.value.param) == ("response.compaction", "input")
    assert (stored["previous_response_id"], stored["output"][0]["content"]) == (first.id, "Greeted.")


async def test_of_a_long_chat_put_in_short_the_newest_words_are_kept() -> None:
    said: Any = [{"role": "user", "content": f"{number} " + "x" * 20_000} for number in range(3)]
    async with openai_house(ScriptedEngine([[Say("Short.")]])) as (_, client):
        short = await client.responses.compact(model=MODEL, input=said)
    assert [(plainly(item).get("content") or [{"text": "…"}])[0]["text"][:1] for item in short.output] == ["2", "…"]


async def test_a_prompt_is_counted_with_all_that_it_holds_and_nothing_is_generated() -> None:
    engine = ScriptedEngine([[Say("Hi.")]])
    async with openai_house(engine, CLOCK) as (_, client):
        first = await client.responses.create(model=MODEL, input="Hello there, how are you?")
        counts = [
            (await client.responses.input_tokens.count(model=MODEL, input="Hi", **more)).input_tokens
            for more in (
                {},
                {"instructions": "Be as brief as you can."},
                {"tools": [WEATHER]},
                {"tools": [USE_CLOCK]},
                {"previous_response_id": first.id},
            )
        ]
        gone = {"type": "mcp", "server_label": "gone", "require_approval": "never"}
        with pytest.raises(openai.APIStatusError) as failed:
            await client.responses.input_tokens.count(model=MODEL, input="Hi", tools=[WEATHER, gone])
    assert counts[0] > 0
    assert all(count > counts[0] for count in counts[1:])
    assert len(engine.requests) == 1
    assert (failed.value.status_code, failed.value.param) == (400, "tools.1.server_label")
