"""Several users in one chat are told apart by their names, where the client says these."""

from typing import Any

import pytest

from orchestrator.core.items import TextInput
from orchestrator.core.prompt import UserMessage
from orchestrator.engines.openai_request import wire_message
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine
from tests.api.house import house

pytestmark = pytest.mark.anyio


async def test_names_of_users_reach_the_engine_and_tell_one_history_from_another() -> None:
    engine = ScriptedEngine([[Say("Hello.")]])
    async with house(engine) as api:

        async def ask(*messages: dict[str, Any]) -> tuple[str, Any]:
            reply = await api.client.post(
                "/v1/chat/completions", json={"model": SCRIPTED_MODEL, "messages": list(messages)}
            )
            assert reply.status_code == 200, reply.text
            response_id = reply.headers["X-Response-Id"]
            return response_id, (await api.client.get(f"/api/v1/responses/{response_id}")).json()

        bob, said = {"role": "user", "name": "bob", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
        eve = {
            "role": "user",
            "name": "eve",
            "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "I?"}],
        }
        first, stored = await ask(bob)
        _, second = await ask(bob, said, eve)
        _, other = await ask({**bob, "name": "ada"}, said, eve)
    assert stored["input"] == [{"type": "text", "content": "Hi", "begins": True, "name": "bob"}]
    assert (second["previous_response_id"], other["previous_response_id"]) == (first, None)
    asked = [message for message in engine.requests[1].messages if isinstance(message, UserMessage)]
    assert asked == [
        UserMessage((TextInput("Hi"),), "bob"),
        UserMessage((TextInput("And"), TextInput("I?")), "eve"),
    ]
    assert [wire_message(message) for message in (asked[0], UserMessage((TextInput("Hi"),)))] == [
        {"role": "user", "name": "bob", "content": "Hi"},
        {"role": "user", "content": "Hi"},
    ]
