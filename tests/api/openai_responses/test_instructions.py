"""What the system says: as instructions it is of one response, as items it is of the whole chat."""

from typing import Any

import pytest

from orchestrator.testing import Say, ScriptedEngine
from tests.api.openai_responses.clients import MODEL, openai_house, texts_of, told

pytestmark = pytest.mark.anyio

RULE: Any = {"role": "developer", "content": "Be brief."}
ASKED: Any = {"role": "user", "content": "When?"}
ANSWERED: Any = {"role": "assistant", "content": "Noon."}
THANKS: Any = {"role": "user", "content": "Thanks."}


def engine_of(turns: int) -> ScriptedEngine:
    return ScriptedEngine([[Say("Noon.")] for _ in range(turns)])


async def test_an_item_of_the_system_at_the_head_stays_for_what_goes_on_from_it() -> None:
    engine = engine_of(2)
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input=[RULE, ASKED], instructions="Be kind.")
        listed = [told(item) async for item in client.responses.input_items.list(first.id, order="asc")]
        assert texts_of(engine) == [("system", "Be kind.\n\nBe brief."), ("user", "When?")]
        second = await client.responses.create(model=MODEL, input="Thanks.", previous_response_id=first.id)
    assert [(item["role"], item["content"][0]["text"]) for item in listed] == [
        ("developer", "Be brief."),
        ("user", "When?"),
    ]
    assert (first.instructions, second.instructions) == ("Be kind.", None)
    assert texts_of(engine) == [
        ("system", "Be brief."),
        ("user", "When?"),
        ("assistant", "", "Noon."),
        ("user", "Thanks."),
    ]


async def test_who_sends_the_whole_chat_again_says_each_time_what_heads_it() -> None:
    engine = engine_of(6)
    said = [("user", "When?"), ("assistant", "", "Noon."), ("user", "Thanks.")]
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input=[RULE, ASKED])

        async def again(*heads: Any) -> Any:
            response = await client.responses.create(model=MODEL, input=[*heads, ASKED, ANSWERED, THANKS])
            assert response.previous_response_id == first.id
            return response

        await again(RULE)
        assert texts_of(engine) == [("system", "Be brief."), *said]
        await again({"role": "system", "content": "Be long."})
        assert texts_of(engine) == [("system", "Be long."), *said]
        bare = await again()
        assert texts_of(engine) == said
        await client.responses.create(model=MODEL, input="And?", previous_response_id=bare.id)
        assert texts_of(engine)[0] == ("user", "When?")
        messages = [RULE, ASKED, ANSWERED, THANKS]
        await client.chat.completions.create(model=MODEL, messages=messages)
    assert texts_of(engine) == [("system", "Be brief."), *said]


async def test_an_item_that_headed_a_chat_is_said_where_a_later_input_refers_to_it() -> None:
    engine = engine_of(2)
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input=[RULE, ASKED])
        [rule, _] = [told(item) async for item in client.responses.input_items.list(first.id, order="asc")]
        reference: Any = {"type": "item_reference", "id": rule["id"]}
        await client.responses.create(model=MODEL, input=[THANKS, reference])
    assert texts_of(engine) == [("user", "Thanks."), ("system", "Be brief.")]


async def test_instructions_that_a_dialect_leaves_out_are_left_out_of_its_own_turn_only() -> None:
    engine = engine_of(8)

    async def native(api: Any, previous: str | None, **changes: Any) -> str:
        body = {"model": MODEL, "input": "And?", "previous_response_id": previous, **changes}
        reply = await api.client.post("/api/v1/chat", json={key: value for key, value in body.items() if value})
        assert reply.status_code == 200, reply.text
        return reply.json()["response_id"]

    async with openai_house(engine) as (api, client):
        ours = await native(api, None, system_prompt="Be kind.")
        theirs = await client.responses.create(model=MODEL, input="Thanks.", previous_response_id=ours)
        assert texts_of(engine)[0] == ("user", "And?")
        await native(api, theirs.id)
        assert texts_of(engine)[0] == ("system", "Be kind.")
        other = await client.responses.create(
            model=MODEL, input="Thanks.", previous_response_id=theirs.id, instructions="Be brief."
        )
        await native(api, other.id)
        assert texts_of(engine)[0] == ("system", "Be brief.")
        cleared = await api.client.post(
            "/api/v1/chat", json={"model": MODEL, "input": "x", "system_prompt": "", "previous_response_id": ours}
        )
        then = await client.responses.create(model=MODEL, input="y", previous_response_id=cleared.json()["response_id"])
        await native(api, then.id)
        assert texts_of(engine)[0] == ("user", "And?")
