"""Responses that go on without their client, and what becomes of those that are kept."""

from datetime import UTC, datetime
from typing import Any

import anyio
import openai
import pytest

from orchestrator.api.openai_responses import answers
from orchestrator.testing import Say, ScriptedEngine, Stall
from tests.api.openai_responses.clients import MODEL, openai_house, texts_of, told

pytestmark = pytest.mark.anyio


async def test_a_response_of_the_background_is_polled_cancelled_and_followed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It is followed long after its end, which stays when it was.
    monkeypatch.setattr(answers, "utc_now", lambda: datetime(2060, 1, 1, tzinfo=UTC))
    going_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once upon"), Stall(going_on), Say(" a time.")]])
    async with openai_house(engine) as (api, client):
        begun = await client.responses.create(model=MODEL, input="Tell", background=True)
        assert begun.status == "queued"
        await api.generating(1)
        assert (await client.responses.retrieve(begun.id)).status == "in_progress"
        going_on.set()
        await api.generating(0)
        events = [told(event) async for event in await client.responses.retrieve(begun.id, stream=True)]
        rest = [told(event) async for event in await client.responses.retrieve(begun.id, stream=True, starting_after=4)]
        ended = await client.responses.retrieve(begun.id)
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert rest == events[5:]
    assert events[-1]["response"] == told(ended)
    assert (ended.status, ended.background, ended.output_text) == ("completed", True, "Once upon a time.")


async def test_a_stream_of_the_background_goes_on_when_its_client_leaves() -> None:
    going_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once upon"), Stall(going_on), Say(" a time.")]])
    async with openai_house(engine) as (api, client):
        stream = await client.responses.create(model=MODEL, input="Tell", background=True, stream=True)
        heard: list[Any] = []
        async for event in stream:
            heard.append(told(event))
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await api.generating(1)
        going_on.set()
        response_id, last = heard[0]["response"]["id"], heard[-1]["sequence_number"]
        rest = [
            told(event)
            async for event in await client.responses.retrieve(response_id, stream=True, starting_after=last)
        ]
    assert [event["sequence_number"] for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert rest[-1]["response"]["output"][0]["content"][0]["text"] == "Once upon a time."


async def test_cancelling_ends_a_response_and_tells_what_there_is() -> None:
    engine = ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])
    async with openai_house(engine) as (api, client):
        begun = await client.responses.create(model=MODEL, input="Tell", background=True)
        await api.generating(1)
        cancelled = await client.responses.cancel(begun.id)
    assert (cancelled.status, told(cancelled)["output"][0]["status"]) == ("cancelled", "incomplete")
    assert cancelled.usage is None, "nobody counted, and that is not the same as nothing"


async def test_deleting_a_response_makes_its_id_unknown() -> None:
    async with openai_house() as (_, client):
        response = await client.responses.create(model=MODEL, input="Hi")
        await client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError) as gone:
            await client.responses.retrieve(response.id)
    assert (gone.value.code, gone.value.type) == ("response_not_found", "invalid_request_error")


async def test_a_response_that_others_continue_is_not_deleted_alone_and_no_client_asks_again() -> None:
    async with openai_house() as (_, client):
        first = await client.responses.create(model=MODEL, input="Hi")
        second = await client.responses.create(model=MODEL, input="Hi", previous_response_id=first.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.delete(first.id)
        await client.responses.delete(first.id, extra_query={"subtree": "true"})
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(second.id)
    assert "?subtree=true" in refused.value.message and refused.value.param == "response_id"


async def test_what_is_not_stored_has_an_id_and_is_not_found() -> None:
    async with openai_house() as (_, client):
        response = await client.responses.create(model=MODEL, input="Hi", store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)
    assert (response.id[:5], told(response)["store"]) == ("resp_", False)


async def test_a_stored_item_can_be_referred_to() -> None:
    engine = ScriptedEngine([[Say("Papaya.")]])
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input=[{"role": "user", "content": "A word?"}])
        asked = [item async for item in client.responses.input_items.list(first.id)]
        references: Any = [
            {"type": "item_reference", "id": asked[0].id},
            {"id": first.output[0].id},
            {"role": "user", "content": "Again?"},
        ]
        await client.responses.create(model=MODEL, input=references)
        with pytest.raises(openai.BadRequestError) as unknown:
            await client.responses.create(model=MODEL, input=[{"type": "item_reference", "id": "msg_none"}])
    assert texts_of(engine) == [("user", "A word?"), ("assistant", "", "Papaya."), ("user", "Again?")]
    assert unknown.value.param == "input.0.id"
