"""Running again, and branching from, what a decision of an OpenAI client made: the calls there, the answer behind them."""

from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.items import TextInput
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine
from tests.api.house import House, fake_tool
from tests.api.openai_responses.clients import MODEL, openai_house, texts_in
from tests.api.openai_responses.test_approvals import CLOCK_TOOL, answer, asked_in
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

ASK_ALWAYS: Any = {**CLOCK_TOOL, "require_approval": {"never": {"tool_names": ["look"]}}}


def script(request: Generate) -> Sequence[Call | Say]:
    """It looks, asks the clock, tells what that said, and has a word for everything else."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return [Call("now", {"zone": "UTC"})] if last.name == "look" else [Say(f"It is {last.content}.")]
    assert isinstance(last, UserMessage)
    said = [part.content for part in last.parts if isinstance(part, TextInput)]
    return [Call("look")] if said == ["Time?"] else [Say(f"{said}")]


def parts() -> tuple[ScriptedEngine, dict[str, FakeServer]]:
    return ScriptedEngine(script), {"mcp/clock": FakeServer([fake_tool(name, tell_time) for name in ("look", "now")])}


async def chain(client: Any, *, approve: bool = True) -> tuple[str, str, str]:
    """What asked about a call, what the decision made of it, and what was said then."""
    first = await client.responses.create(model=MODEL, input="Time?", tools=[ASK_ALWAYS])
    body: Any = {"model": MODEL, "tools": [ASK_ALWAYS]}
    said = [answer(asked_in(first)[0], approve=approve)]
    second = await client.responses.create(**body, input=said, previous_response_id=first.id)
    third = await client.responses.create(**body, input="more", previous_response_id=second.id)
    return first.id, second.id, third.id


def sent(engine: ScriptedEngine) -> list[tuple[Any, ...]]:
    """What the model was sent since the last look, without the ids of calls."""
    requests = list(engine.requests)
    engine.requests.clear()
    return [(texts_in(each.messages), [tool.name for tool in each.tools], each.sampling) for each in requests]


async def post(api: House, path: str, **body: Any) -> dict[str, Any]:
    reply = await api.client.post(f"/api/v1/responses/{path}", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("tools", ["stored", "live"])
async def test_what_a_decision_only_settled_stops_there_when_it_runs_again(tools: str, *, approve: bool) -> None:
    engine, servers = parts()
    async with openai_house(engine, servers) as (api, client):
        asked, went_on, _ = await chain(client, approve=approve)
        engine.requests.clear()
        again = await post(api, f"{asked}/replay", tools=tools)
        turns = len(sent(engine))
        behind = await post(api, f"{went_on}/replay", tools=tools)
        turns_behind = len(sent(engine))
    assert [item["type"] for item in again["output"]] == ["tool_call", "tool_call"]
    assert (again["report"]["status"], again["report"]["differences"]) == ("completed", [])
    assert (behind["report"]["status"], behind["report"]["differences"]) == ("completed", [])
    assert (turns, turns_behind) == ((2, 1) if tools == "stored" else (0, 0))


@pytest.mark.parametrize("tools", ["stored", "live"])
async def test_a_chain_with_a_decision_runs_again_as_it_ran(tools: str) -> None:
    engine, servers = parts()
    async with openai_house(engine, servers) as (api, client):
        *_, last = await chain(client)
        before = sent(engine)
        again = await post(api, f"{last}/chain/replay", tools=tools)
        now = sent(engine)
        listed = [await client.responses.retrieve(report["response_id"]) for report in again["reports"]]
    assert [report["differences"] for report in again["reports"]] == [[], [], []]
    assert now == (before if tools == "stored" else [])
    # Whoever reads the whole chain is told of each call once.
    kinds = [item.type for response in listed for item in response.output]
    assert kinds.count("mcp_call") == 2


async def test_a_branch_of_what_was_only_settled_goes_on_and_runs_again_as_it_did() -> None:
    engine, servers = parts()
    async with openai_house(engine, servers) as (api, client):
        asked, *_ = await chain(client)
        engine.requests.clear()
        branch = await post(api, f"{asked}/fork")
        turns = len(sent(engine))
        again = await post(api, f"{branch['response_id']}/replay", tools="stored")
    assert (turns, [item["type"] for item in branch["output"]]) == (1, ["tool_call", "tool_call", "message"])
    assert again["report"]["differences"] == []


async def test_a_branch_behind_a_decision_tells_the_call_once() -> None:
    engine, servers = parts()
    async with openai_house(engine, servers) as (api, client):
        asked, went_on, third = await chain(client)
        behind = await post(api, f"{went_on}/fork", at={"position": 1}, input="forked")
        beside = await post(api, f"{went_on}/fork", at={"position": 0})
        told = [await client.responses.retrieve(reply["response_id"]) for reply in (behind, beside)]
        said = await client.responses.retrieve(third)
        listed = [item.type async for item in client.responses.input_items.list(told[0].id)]
    assert [response.previous_response_id for response in told] == [went_on, asked]
    said_next, told_behind, told_beside = [[item.type for item in response.output] for response in (said, *told)]
    assert told_behind == said_next == ["mcp_list_tools", "message"]
    assert told_beside == ["mcp_call", "message"]
    assert listed == ["message"]


async def test_whoever_reads_what_a_decision_made_is_told_which_calls_it_goes_on_from() -> None:
    engine, servers = parts()
    async with openai_house(engine, servers) as (api, client):
        conversation = await client.conversations.create()
        body: Any = {"model": MODEL, "tools": [ASK_ALWAYS], "conversation": conversation.id}
        first = await client.responses.create(**body, input="Time?")
        second = await client.responses.create(**body, input=[answer(asked_in(first)[0])])
        forked = await post(api, f"{second.id}/fork", at={"position": 1}, input="forked")
        [waited] = [call for call in await api.store.list_calls(first.id, "local") if call.tool == "now"]
        ids = (first.id, second.id, forked["response_id"])
        read = [(await api.client.get(f"/api/v1/responses/{each}")).json().get("goes_on_from") for each in ids]
        [thread] = (await api.client.get("/api/v1/threads")).json()["threads"]
    assert read == [None, {"response_id": first.id, "call_ids": [waited.call_id]}, None]
    assert (thread["newest_response_id"], thread["input_preview"]) == (second.id, "Time?")
