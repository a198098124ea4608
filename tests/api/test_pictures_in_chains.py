"""Pictures that a user showed need a model that sees them, whenever they were shown and in whatever dialect."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine
from tests.api.house import house

pytestmark = pytest.mark.anyio

PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def test_a_chain_with_a_picture_does_not_go_on_with_a_model_that_does_not_see() -> None:
    engine = ScriptedEngine([[Say("A dot.")]])
    engine.model = replace(engine.model, vision=True)
    shown: list[Any] = [{"type": "text", "content": "What is it?"}, {"type": "image", "data_url": PICTURE}]
    async with house(engine) as api:
        begun = (await api.chat(input=shown)).json()["response_id"]
        assert (await api.chat(input="Sure?", previous_response_id=begun)).status_code == 200
        engine.model = replace(engine.model, vision=False)
        # What is listed is asked for again then.
        await api.client.post("/api/v1/models/load", json={"model": SCRIPTED_MODEL})
        ours = await api.chat(input="Sure?", previous_response_id=begun)
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
        history = [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "A dot."},
            {"role": "user", "content": "Sure?"},
        ]
        theirs = await api.client.post("/v1/chat/completions", json={"model": SCRIPTED_MODEL, "messages": history})
    assert (ours.status_code, ours.json()["error"]["param"], theirs.status_code) == (400, "input", 400)
    assert "does not see images, and the chat that goes on has some" in ours.json()["error"]["message"]
    assert "does not see images" in theirs.json()["error"]["message"]
    assert len(engine.requests) == 2
