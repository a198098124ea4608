"""Branches inside a response, over HTTP."""

from typing import Any

import pytest

from orchestrator.core.approvals import ApprovalPolicy
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Think
from tests.api.house import House, house
from tests.api.test_approvals import APPROVE, counter, decide, error_of, output, tool_calls

pytestmark = pytest.mark.anyio

PLUGIN = ["mcp/counter"]
SCRIPT = [
    [Think("Hm."), Call("count", {"n": 1}), Call("look")],
    [Call("count", {"n": 2})],
    [Say("Done.")],
    [Say("Again.")],
]


async def finished(api: House, **body: Any) -> dict[str, Any]:
    """A response of reasoning, two calls, a third one and a message."""
    reply = (await api.chat(integrations=PLUGIN, **body)).json()
    assert [item["type"] for item in reply["output"]] == ["reasoning", *["tool_call"] * 3, "message"]
    return reply


async def fork(api: House, reply: dict[str, Any], **body: Any) -> Any:
    return await api.client.post(f"/api/v1/responses/{reply['response_id']}/fork", json=body)


def call_id(reply: dict[str, Any], position: int) -> str:
    found: str = reply["output"][position]["call_id"]
    return found


async def test_a_call_with_other_arguments_runs_anew_and_the_branch_goes_on_from_it() -> None:
    server, engine = counter(), ScriptedEngine(SCRIPT)
    async with house(engine, {"mcp/counter": server}) as api:
        parent = (await api.chat()).json()
        engine.requests.clear()
        reply = await finished(api, previous_response_id=parent["response_id"])
        server.calls.clear()
        branch = (await fork(api, reply, at={"call_id": call_id(reply, 1)}, arguments={"n": 9})).json()
        stored = (await api.client.get(f"/api/v1/responses/{branch['response_id']}")).json()
        original = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
        journal = await api.store.list_calls(branch["response_id"], "local")
    assert server.calls == [("count", {"n": 9})]
    assert branch["output"][0] == reply["output"][0]
    look: tuple[str, dict[str, Any], str, bool] = ("look", {}, output("seen"), False)
    assert tool_calls(branch) == [("count", {"n": 9}, output("counted 9"), False), look]
    assert branch["output"][2] == reply["output"][2], "the call beside it is not run again, nor dropped"
    assert branch["output"][-1] == {"type": "message", "content": "Again."}
    assert stored["output"] == branch["output"]
    assert stored["forked_from"] == {"response_id": reply["response_id"], "position": 1, "rest": 1}
    assert stored["previous_response_id"] == parent["response_id"]
    assert original["output"] == reply["output"]
    assert [(row.status, row.arguments) for row in journal] == [("succeeded", {"n": 9})]
    assert engine.requests[-1].turn == 2
    assert engine.requests[-1].messages[:-3] == engine.requests[0].messages
    turn, counted, looked = engine.requests[-1].messages[-3:]
    _, was_counted, was_looked = engine.requests[1].messages[-3:]
    assert [call.name for call in getattr(turn, "calls", ())] == ["count", "look"]
    assert (getattr(counted, "content", None), getattr(was_counted, "content", None)) == ("counted 9", "counted 1")
    assert looked == was_looked


async def test_a_call_with_another_result_is_not_run_and_is_journaled_as_edited() -> None:
    server, engine = counter(), ScriptedEngine(SCRIPT)
    async with house(engine, {"mcp/counter": server}) as api:
        reply = await finished(api)
        server.calls.clear()
        told = {"text": "a million", "is_error": True}
        branch = (await fork(api, reply, at={"call_id": call_id(reply, 3)}, output=told)).json()
        [row] = await api.store.list_calls(branch["response_id"], "local")
        read = (await api.client.get(f"/api/v1/responses/{branch['response_id']}")).json()
        streamed = (await fork(api, reply, at={"call_id": call_id(reply, 3)}, output=told, stream=True)).text
        twice = (await fork(api, branch, at={"position": 4})).json()
    assert server.calls == []
    for whole in (branch, read, twice):
        statuses = [item.get("status") for item in whole["output"] if item["type"] == "tool_call"]
        assert statuses == [None, None, "edited"]
    assert streamed.count('"status":"edited"') == 2, "tool_call.success and chat.end have it"
    assert branch["output"][:3] == reply["output"][:3]
    assert tool_calls(branch)[-1] == ("count", {"n": 2}, output("a million"), True)
    assert (row.status, row.is_error) == ("edited", True)
    assert getattr(engine.requests[-1].messages[-1], "content", None) == "a million"


@pytest.mark.parametrize(
    ("place", "at"),
    [(1, {"output": {"text": "edited"}}), (2, {"output": {"text": "edited"}}), (2, {"arguments": {}})],
    ids=["first result", "last result", "last arguments"],
)
async def test_the_calls_beside_the_one_that_is_made_anew_stay_in_their_places(place: int, at: dict[str, Any]) -> None:
    server, engine = counter(), ScriptedEngine(SCRIPT)
    async with house(engine, {"mcp/counter": server}) as api:
        reply = await finished(api)
        server.calls.clear()
        branch = (await fork(api, reply, at={"call_id": call_id(reply, place)}, **at)).json()
        again = (await fork(api, branch, at={"position": 3})).json()
        await api.chat(input="And?", previous_response_id=branch["response_id"])
    other = 3 - place
    assert branch["output"][other] == reply["output"][other]
    assert [item["tool"] for item in branch["output"][1:3]] == ["count", "look"]
    assert again["output"][:3] == branch["output"][:3]
    edited = "edited" if "output" in at else "seen"
    first, second = ("edited", "seen") if place == 1 else ("counted 1", edited)
    for asked in (engine.requests[3], engine.requests[-1]):
        [results] = [
            [getattr(one, "content", None) for one in asked.messages[number + 1 : number + 3]]
            for number, message in enumerate(asked.messages)
            if len(getattr(message, "calls", ())) == 2
        ]
        assert results == [first, second]
    assert len(server.calls) == ("arguments" in at)


async def test_a_place_between_the_calls_of_a_turn_is_the_end_of_that_turn() -> None:
    server, engine = counter(), ScriptedEngine(SCRIPT)
    async with house(engine, {"mcp/counter": server}) as api:
        reply = await finished(api)
        branch = (await fork(api, reply, at={"position": 2})).json()
        stored = (await api.client.get(f"/api/v1/responses/{branch['response_id']}")).json()
    assert branch["output"] == [*reply["output"][:3], {"type": "message", "content": "Again."}]
    assert stored["forked_from"] == {"response_id": reply["response_id"], "position": 3}
    assert engine.requests[-1].messages == engine.requests[1].messages


async def test_the_same_question_can_be_asked_again_or_another_one_in_its_place() -> None:
    engine = ScriptedEngine([[Say("One.")], [Say("Two.")], [Say("Three.")]])
    async with house(engine) as api:
        reply = (await api.chat(temperature=0.1)).json()
        again = (await fork(api, reply, at={"position": 0}, temperature=0.9)).json()
        other = (await fork(api, reply, at={"position": 0}, input="Who are you?")).json()
        after = (await fork(api, reply, input="And then?")).json()
        stored = (await api.client.get(f"/api/v1/responses/{after['response_id']}")).json()
    assert [one["output"][0]["content"] for one in (again, other)] == ["Two.", "Three."]
    assert [request.sampling.temperature for request in engine.requests] == [0.1, 0.9, 0.1, 0.1]
    assert "Who are you?" in str(engine.requests[2].messages)
    assert stored["previous_response_id"] == reply["response_id"]
    assert "forked_from" not in stored


async def test_a_response_that_ended_with_calls_goes_on_from_its_end() -> None:
    server = counter()
    async with house(ScriptedEngine([[Call("count")], [Say("Done.")]]), {"mcp/counter": server}) as api:
        cut = (await api.chat(integrations=PLUGIN, max_turns=1)).json()
        assert cut["incomplete_reason"] == "max_turns"
        branch = (await fork(api, cut)).json()
    assert (branch["status"], branch["output"][-1]["content"]) == ("completed", "Done.")
    assert branch["output"][:1] == cut["output"]
    assert len(server.calls) == 1


async def test_a_branch_asks_for_the_same_approvals_as_any_call() -> None:
    server = counter()
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": server}) as api:
        reply = await finished(api)
        server.calls.clear()
        server.approval = ApprovalPolicy("always")
        branch = (await fork(api, reply, at={"call_id": call_id(reply, 3)}, arguments={"n": 5})).json()
        assert branch["status"] == "awaiting_approval"
        assert server.calls == []
        done = (await decide(api, branch, APPROVE)).json()
    assert server.calls == [("count", {"n": 5})]
    assert tool_calls(done)[-1] == ("count", {"n": 5}, output("counted 5"), False)


async def test_a_branch_of_a_branch_keeps_what_that_one_kept() -> None:
    server = counter()
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": server}) as api:
        reply = await finished(api)
        first = (await fork(api, reply, at={"call_id": call_id(reply, 3)}, output={"text": "x"})).json()
        second = (await fork(api, first, at={"position": 3})).json()
    assert second["output"][:3] == reply["output"][:3]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"at": {"position": 99}}, "at.position"),
        ({"at": {"position": 1}}, "at.position"),
        ({"at": {"position": 0, "call_id": "x"}}, "at"),
        ({"at": {"call_id": "call_x"}}, "at.call_id"),
        ({"arguments": {"n": 1}}, "arguments"),
        ({"at": {"position": 2}, "output": {"text": "x"}}, "output"),
        ({"at": {"position": 2}, "input": "x"}, "input"),
        ({}, "at"),
    ],
    ids=str,
)
async def test_a_branch_that_cannot_be_meant_is_refused(body: dict[str, Any], param: str) -> None:
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": counter()}) as api:
        reply = await finished(api)
        assert error_of(await fork(api, reply, **body)) == (400, "invalid_value", param)


async def test_arguments_must_fit_and_only_one_thing_can_be_edited() -> None:
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": counter()}) as api:
        reply = await finished(api)
        at = {"call_id": call_id(reply, 1)}
        bad = await fork(api, reply, at=at, arguments={"n": "one"})
        assert error_of(bad) == (400, "invalid_value", "arguments")
        both = await fork(api, reply, at=at, arguments={"n": 1}, output={"text": "x"})
        assert error_of(both) == (400, "invalid_value", "output")


async def test_only_a_response_of_ones_own_that_is_over_can_be_left() -> None:
    server = FakeServer(counter().tools, approval=ApprovalPolicy("always"))
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": server}) as api:
        waiting = (await api.chat(integrations=PLUGIN)).json()
        assert error_of(await fork(api, waiting)) == (409, "response_not_finished", "response_id")
        assert error_of(await fork(api, {"response_id": "resp_x"})) == (404, "response_not_found", "response_id")


async def test_a_call_that_is_made_as_it_was_is_told_to_the_model_in_the_words_that_it_wrote() -> None:
    written = '{ "n": 1 }'
    engine = ScriptedEngine([[Call("count", written)], [Say("Done.")]])
    async with house(engine, {"mcp/counter": counter()}) as api:
        reply = (await api.chat(integrations=PLUGIN)).json()
        at = {"call_id": call_id(reply, 0)}
        for changes in ({"output": {"text": "edited"}}, {"arguments": {"n": 1}}, {"arguments": {"n": 3}}):
            assert (await fork(api, reply, at=at, **changes)).status_code == 200
    told = [call.arguments for asked in engine.requests[1:] for call in getattr(asked.messages[-2], "calls", ())]
    assert told == [written, written, written, '{"n":3}']
