"""Messages that pause: for an approval, or at a limit of turns; and how a client goes on with them, as Anthropic's do."""

from typing import Any

import anthropic
import pytest

from orchestrator.core.request import Limits
from orchestrator.testing import SCRIPTED_MODEL, Call, Say, ScriptedEngine
from tests.api.anthropic_messages.clients import anthropic_house, told
from tests.api.anthropic_messages.test_client import ASK, CALLS, CLOCK, USE_CLOCK
from tests.api.house import house
from tests.api.test_approvals import APPROVE, ASKING, DENY, counter

pytestmark = pytest.mark.anyio

GUARDED: Any = {**ASK, "extra_body": {"integrations": [ASKING]}}


def scripted() -> ScriptedEngine:
    return ScriptedEngine([[Say("I count."), Call("look"), Call("count", {"n": 2})], [Say("Done.")], [Say("Indeed.")]])


def kinds(blocks: list[Any]) -> list[str]:
    return [block["type"] for block in blocks]


async def asked(client: Any, messages: list[Any], *, streamed: bool, **fields: Any) -> Any:
    """The message that answers `messages`."""
    ask = {**GUARDED, **fields, "messages": messages}
    if not streamed:
        return await client.beta.messages.create(**ask)
    async with client.beta.messages.stream(**ask) as stream:
        return await stream.get_final_message()


async def decide(api: Any, message: Any, decision: Any) -> Any:
    """The reply to a decision about the call of `message` that waits."""
    stored = (await api.client.get(f"/api/v1/responses/resp_{message.id[4:]}")).json()
    [pending] = stored["pending_approvals"]
    path = f"/api/v1/responses/resp_{message.id[4:]}/approvals"
    return await api.client.post(path, json={"approvals": [{"call_id": pending["call_id"], **decision}]})


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_that_waits_pauses_the_message_and_it_goes_on_once_it_is_approved(streamed: bool) -> None:
    server = counter()
    async with anthropic_house(scripted(), {"mcp/counter": server}) as (api, client):
        first = await asked(client, ASK["messages"], streamed=streamed)
        paused = [told(block) for block in first.content]
        history = [*ASK["messages"], {"role": "assistant", "content": paused}]
        with pytest.raises(anthropic.APIStatusError) as early:
            await asked(client, history, streamed=streamed)
        decided = await decide(api, first, APPROVE)
        second = await asked(client, history, streamed=streamed)
        rest = [told(block) for block in second.content]
        with pytest.raises(anthropic.BadRequestError, match="must end with a message of the user"):
            await asked(client, [*history, {"role": "assistant", "content": rest}], streamed=streamed)
        over = [*history, {"role": "assistant", "content": rest}, {"role": "user", "content": "Sure?"}]
        third = await asked(client, over, streamed=streamed)
        stored = (await api.client.get(f"/api/v1/responses/resp_{third.id[4:]}")).json()
    assert (first.stop_reason, sorted(kinds(paused))) == (
        "pause_turn",
        ["mcp_tool_result", "mcp_tool_use", "mcp_tool_use", "text"],
    )
    [waiting] = [block for block in paused if block["type"] == "mcp_tool_use" and block["name"] == "count"]
    assert waiting["input"] == {"n": 2}
    error: Any = early.value
    assert f"/api/v1/responses/resp_{first.id[4:]}/approvals" in error.body["error"]["message"]
    assert decided.json()["status"] == "completed"
    assert (second.id, second.stop_reason) == (first.id, "end_turn")
    assert [(block["type"], block.get("tool_use_id")) for block in rest] == [
        ("mcp_tool_result", waiting["id"]),
        ("text", None),
    ]
    assert (rest[0]["content"], rest[0]["is_error"]) == ([{"type": "text", "text": "counted 2"}], False)
    assert server.calls == [("look", {}), ("count", {"n": 2})]
    assert told(third.content[0])["text"] == "Indeed."
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"


async def test_a_call_that_was_denied_is_told_of_as_one_that_failed() -> None:
    async with anthropic_house(scripted(), {"mcp/counter": counter()}) as (api, client):
        first = await asked(client, ASK["messages"], streamed=False)
        await decide(api, first, DENY)
        second = await asked(
            client, [*ASK["messages"], {"role": "assistant", "content": first.content}], streamed=False
        )
    result, text = (told(block) for block in second.content)
    assert (result["type"], result["is_error"], text["text"]) == ("mcp_tool_result", True, "Done.")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_message_that_a_limit_of_turns_ended_goes_on_when_it_is_sent_back(streamed: bool) -> None:
    engine = ScriptedEngine(CALLS)
    async with anthropic_house(engine, CLOCK, limits=Limits(max_turns=1)) as (api, client):
        fields: Any = {"mcp_servers": [USE_CLOCK], "extra_body": {}}
        first = await asked(client, ASK["messages"], streamed=streamed, **fields)
        history = [*ASK["messages"], {"role": "assistant", "content": first.content}]
        second = await asked(client, history, streamed=streamed, **fields)
        stored = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}")).json()
    assert (first.stop_reason, second.stop_reason) == ("pause_turn", "end_turn")
    assert [told(block)["text"] for block in second.content] == ["It is noon."]
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert [type(message).__name__ for message in engine.requests[-1].messages] == [
        "UserMessage",
        "AssistantMessage",
        "ToolMessage",
    ]


async def test_calls_of_others_and_of_nobody_are_not_gone_on_with() -> None:
    use: Any = {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "count", "server_name": "counter", "input": {}}
    async with anthropic_house(scripted(), {"mcp/counter": counter()}) as (_, client):
        with pytest.raises(anthropic.BadRequestError, match="must end with a message of the user"):
            await asked(client, [*ASK["messages"], {"role": "assistant", "content": [use]}], streamed=False)


async def test_a_history_is_counted_whoever_speaks_last() -> None:
    async with house(ScriptedEngine([[]])) as api:
        said = [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": "Let me look."}]
        body = {"model": SCRIPTED_MODEL, "messages": said}
        counted = await api.client.post("/v1/messages/count_tokens", json=body)
        assert (counted.json(), counted.headers["X-Token-Count"]) == ({"input_tokens": 4 + 2 + 4 + 3}, "estimated")
