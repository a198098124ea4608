"""Calls that wait for approval in the dialects whose clients have no words for them: shown, and passed over by who goes on."""

import json
from typing import Any

import pytest

from orchestrator.core.prompt import PromptMessage, ToolMessage
from orchestrator.core.tools import text_content
from orchestrator.service.chats import PASSED_OVER
from orchestrator.testing import SCRIPTED_MODEL, Call, Say, ScriptedEngine
from tests.api.house import House, house
from tests.api.test_approvals import ASKING, counter

pytestmark = pytest.mark.anyio

COMPLETIONS = "/v1/chat/completions"
USER = {"role": "user", "content": "Count."}


def engine(*later: Say) -> ScriptedEngine:
    return ScriptedEngine([[Call("count", {"n": 2})], *([each] for each in later or (Say("Never mind."),))])


async def completed(api: House, messages: list[Any], **body: Any) -> dict[str, Any]:
    sent = {"model": SCRIPTED_MODEL, "messages": messages, "integrations": [ASKING], **body}
    response = await api.client.post(COMPLETIONS, json=sent)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def results_in(prompt: tuple[PromptMessage, ...]) -> list[str]:
    return [message.content for message in prompt if isinstance(message, ToolMessage)]


async def test_a_completion_that_waits_names_its_calls_and_does_not_say_that_it_stopped() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        [choice] = (await completed(api, [USER]))["choices"]
        [pending] = choice["pending_approvals"]
        assert pending == {
            "call_id": pending["call_id"],
            "tool": "count",
            "arguments": {"n": 2},
            "provider_info": {"type": "plugin", "plugin_id": "mcp/counter"},
            "expires_at": pending["expires_at"],
        }
        assert (choice["status"], choice["finish_reason"], choice["message"]) == (
            "awaiting_approval",
            "length",
            {"role": "assistant", "content": "", "refusal": None},
        )
        path = f"/api/v1/responses/{choice['response_id']}/approvals"
        decision = {"call_id": pending["call_id"], "decision": "approve"}
        decided = await api.client.post(path, json={"approvals": [decision]})
        assert decided.json()["output"][0]["output"] == text_content("counted 2")


async def test_the_last_chunk_of_a_stream_that_waits_names_its_calls() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        sent = {"model": SCRIPTED_MODEL, "messages": [USER], "integrations": [ASKING], "stream": True}
        text = (await api.client.post(COMPLETIONS, json=sent)).text
        lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
        [choice] = json.loads(lines[-1])["choices"]
        assert [call["tool"] for call in choice["pending_approvals"]] == ["count"]
        assert (choice["finish_reason"], choice["status"]) == ("length", "awaiting_approval")


@pytest.mark.parametrize("silence", ["", None, "left out"])
async def test_who_says_something_else_goes_on_in_the_same_chat_and_the_call_is_not_run(silence: str | None) -> None:
    scripted = engine()
    async with house(scripted, {"mcp/counter": counter()}) as api:
        [waiting] = (await completed(api, [USER]))["choices"]
        said = [] if silence == "left out" else [{"role": "assistant", "content": silence}]
        [answer] = (await completed(api, [USER, *said, {"role": "user", "content": "No, forget it."}]))["choices"]
        assert answer["message"]["content"] == "Never mind."
        assert results_in(scripted.requests[-1].messages) == [PASSED_OVER]
        first = (await api.client.get(f"/api/v1/responses/{waiting['response_id']}")).json()
        second = (await api.client.get(f"/api/v1/responses/{answer['response_id']}")).json()
        assert (first["status"], second["previous_response_id"]) == ("completed", waiting["response_id"])


async def test_a_response_that_was_decided_about_and_runs_is_not_taken_for_the_one_that_said_nothing() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        [waiting] = (await completed(api, [USER]))["choices"]
        path = f"/api/v1/responses/{waiting['response_id']}"
        await api.client.post(
            f"{path}/approvals",
            json={"approvals": [{"call_id": waiting["pending_approvals"][0]["call_id"], "decision": "deny"}]},
        )
        answer = await completed(api, [USER, {"role": "user", "content": "No."}])
        made = (await api.client.get(f"/api/v1/responses/{answer['choices'][0]['response_id']}")).json()
        assert made.get("previous_response_id") is None


async def test_natively_a_response_that_waits_is_still_not_one_to_go_on_from() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        [waiting] = (await completed(api, [USER]))["choices"]
        response = await api.chat(previous_response_id=waiting["response_id"])
        assert response.json()["error"]["code"] == "response_not_finished"


@pytest.mark.parametrize("known_by", ["its history", "its id"])
async def test_a_word_of_the_user_goes_on_past_a_message_that_waits(known_by: str) -> None:
    scripted = engine()
    async with house(scripted, {"mcp/counter": counter()}) as api:
        sent = {"model": SCRIPTED_MODEL, "max_tokens": 99, "integrations": [ASKING]}
        waiting = (await api.client.post("/v1/messages", json={**sent, "messages": [USER]})).json()
        no = {"role": "user", "content": "No, forget it."}
        if known_by == "its id":
            more: dict[str, Any] = {"messages": [no], "previous_response_id": waiting["id"]}
        else:
            used = {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "count", "server_name": "c", "input": {"n": 2}}
            said = {"role": "assistant", "content": waiting["content"] or [used]}
            more = {"messages": [USER, said, no]}
        answer = (await api.client.post("/v1/messages", json={**sent, **more})).json()
        assert answer["content"] == [{"type": "text", "text": "Never mind."}]
        assert results_in(scripted.requests[-1].messages) == [PASSED_OVER]


async def test_of_two_messages_that_wait_alike_the_one_that_is_spoken_of_is_passed_over() -> None:
    call = [Call("count", {"n": 2})]
    async with house(ScriptedEngine([call, call, [Say("Never mind.")]]), {"mcp/counter": counter()}) as api:
        sent = {"model": SCRIPTED_MODEL, "max_tokens": 99, "integrations": [ASKING]}
        first, second = [
            (await api.client.post("/v1/messages", json={**sent, "messages": [USER]})).json() for _ in "12"
        ]
        said = [USER, {"role": "assistant", "content": first["content"]}, {"role": "user", "content": "No."}]
        await api.client.post("/v1/messages", json={**sent, "messages": said})
        paths = [f"/api/v1/responses/resp_{message['id'].removeprefix('msg_')}" for message in (first, second)]
        states = [(await api.client.get(path)).json()["status"] for path in paths]
        assert states == ["completed", "awaiting_approval"]
