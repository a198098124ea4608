"""Approvals over HTTP: what waits, who decides, and what the client is told when it cannot be done."""

from typing import Any

import anyio
import httpx
import pytest

from orchestrator.api.sse import EXTENSIONS_HEADER
from orchestrator.core.approvals import ApprovalPolicy, ToolFilter
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import House, fake_tool, house
from tests.api.test_stream import events_in

pytestmark = pytest.mark.anyio

ADDRESS = "https://example.com/mcp"
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
REFUSED = "The user denied this call; it was not run."


async def count(arguments: JsonObject) -> str:
    return f"counted {arguments.get('n', 1)}"


async def look(arguments: JsonObject) -> str:
    return "seen"


def counter(**changes: Any) -> FakeServer:
    return FakeServer([fake_tool("count", count, NUMBER), fake_tool("look", look)], **changes)


ASKING = {"type": "plugin", "id": "mcp/counter", "require_approval": {"always": {"tool_names": ["count"]}}}


def engine(*calls: Call) -> ScriptedEngine:
    return ScriptedEngine([calls or [Call("count", {"n": 2})], [Say("Done.")]])


async def waiting(api: House, **body: Any) -> dict[str, Any]:
    response = await api.chat(**{"integrations": [ASKING], **body})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    assert reply["status"] == "awaiting_approval", reply
    return reply


async def decide(api: House, reply: dict[str, Any], *decisions: Any, **body: Any) -> httpx.Response:
    """Each of `decisions` is one about the pending call in its place, None for none."""
    made = [
        {"call_id": call["call_id"], **decision}
        for call, decision in zip(reply["pending_approvals"], decisions, strict=False)
        if decision is not None
    ]
    path = f"/api/v1/responses/{reply['response_id']}/approvals"
    return await api.client.post(path, json={"approvals": made, **body})


APPROVE, DENY = {"decision": "approve"}, {"decision": "deny"}


def tool_calls(reply: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (item["tool"], item["arguments"], item["output"], item["is_error"])
        for item in reply["output"]
        if item["type"] == "tool_call"
    ]


def output(text: str) -> str:
    return f'[{{"text":"{text}","type":"text"}}]'


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error.get("param")


async def test_a_call_that_needs_approval_waits_and_the_others_run_meanwhile() -> None:
    server = counter()
    async with house(engine(Call("count", {"n": 2}), Call("look")), {"mcp/counter": server}) as api:
        reply = await waiting(api)
        stored = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
    assert server.calls == [("look", {})]
    assert tool_calls(reply) == [("look", {}, output("seen"), False)]
    [pending] = reply["pending_approvals"]
    assert {**pending, "call_id": "", "expires_at": ""} == {
        "call_id": "",
        "tool": "count",
        "arguments": {"n": 2},
        "provider_info": {"type": "plugin", "plugin_id": "mcp/counter"},
        "expires_at": "",
    }
    assert (stored["status"], stored["pending_approvals"]) == ("awaiting_approval", [pending])
    assert stored["ended_at"] is None


async def test_what_is_approved_runs_and_the_same_response_goes_on() -> None:
    server = counter()
    async with house(engine(Call("count", {"n": 2}), Call("look")), {"mcp/counter": server}) as api:
        before = await waiting(api)
        after = (await decide(api, before, APPROVE)).json()
        stored = (await api.client.get(f"/api/v1/responses/{before['response_id']}")).json()
        continued = await api.chat(previous_response_id=before["response_id"])
    assert server.calls == [("look", {}), ("count", {"n": 2})]
    assert tool_calls(after) == [
        ("count", {"n": 2}, output("counted 2"), False),
        ("look", {}, output("seen"), False),
    ]
    assert (after["status"], after["response_id"]) == ("completed", before["response_id"])
    assert after["output"][-1] == {"type": "message", "content": "Done."}
    assert after["stats"]["total_output_tokens"] == 10
    assert stored["output"] == after["output"]
    assert "pending_approvals" not in stored
    assert continued.status_code == 200


async def test_edited_arguments_are_what_runs_and_both_are_told() -> None:
    server = counter()
    async with house(engine(), {"mcp/counter": server}) as api:
        before = await waiting(api)
        after = (await decide(api, before, {**APPROVE, "arguments": {"n": 7}})).json()
        stored = (await api.client.get(f"/api/v1/responses/{before['response_id']}")).json()
        [row] = await api.store.list_calls(before["response_id"], "local")
    assert server.calls == [("count", {"n": 7})]
    [call] = [item for item in after["output"] if item["type"] == "tool_call"]
    assert (call["arguments"], call["requested_arguments"]) == ({"n": 7}, {"n": 2})
    assert stored["output"] == after["output"]
    assert row.arguments == {"n": 2}


async def test_a_denial_and_its_reason_reach_the_model() -> None:
    server, scripted = counter(), engine()
    async with house(scripted, {"mcp/counter": server}) as api:
        before = await waiting(api)
        after = (await decide(api, before, {**DENY, "reason": "Not today."})).json()
    assert server.calls == []
    told = f"{REFUSED} The reason: Not today."
    assert tool_calls(after) == [("count", {"n": 2}, output(told), True)]
    assert getattr(scripted.requests[-1].messages[-1], "content", None) == told


async def test_decisions_may_come_one_by_one_and_from_several_at_once() -> None:
    server = counter()
    calls = [Call("count", {"n": number}) for number in range(4)]
    async with house(engine(*calls), {"mcp/counter": server}) as api:
        before = await waiting(api)
        first = (await decide(api, before, None, DENY)).json()
        assert first["status"] == "awaiting_approval"
        assert [call["arguments"] for call in first["pending_approvals"]] == [{"n": 0}, {"n": 2}, {"n": 3}]
        again = await decide(api, before, None, APPROVE)
        assert error_of(again) == (409, "approval_conflict", "approvals.0.call_id")
        answers: list[httpx.Response] = []

        async def answer(*decisions: Any) -> None:
            answers.append(await decide(api, before, *decisions))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, APPROVE)
            tasks.start_soon(answer, None, None, DENY)
            tasks.start_soon(answer, None, None, None, APPROVE)
    assert sorted(answer.json()["status"] for answer in answers) == [
        "awaiting_approval",
        "awaiting_approval",
        "completed",
    ]
    assert sorted(call["n"] for _, call in server.calls) == [0, 3]  # pyright: ignore[reportArgumentType] - they are numbers


async def test_of_two_who_decide_everything_at_once_one_is_heard() -> None:
    server = counter()
    async with house(engine(), {"mcp/counter": server}) as api:
        before = await waiting(api)
        answers: list[httpx.Response] = []

        async def answer() -> None:
            answers.append(await decide(api, before, APPROVE))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(answer)
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {error_of(answer)[1] for answer in answers if answer.status_code == 409} == {"approval_conflict"}
    assert server.calls == [("count", {"n": 2})]


async def test_a_run_may_wait_several_times() -> None:
    script = [[Call("count", {"n": 1})], [Call("count", {"n": 2})], [Say("Done.")]]
    server = counter()
    async with house(ScriptedEngine(script), {"mcp/counter": server}) as api:
        first = await waiting(api)
        second = (await decide(api, first, APPROVE)).json()
        assert second["status"] == "awaiting_approval"
        third = (await decide(api, second, APPROVE)).json()
    assert [arguments for _, arguments in server.calls] == [{"n": 1}, {"n": 2}]
    assert (third["status"], third["stats"]["total_output_tokens"]) == ("completed", 15)


# ---- streams ------------------------------------------------------------------------------------


async def test_the_stream_tells_at_once_where_it_is_asked_to_and_its_end_always() -> None:
    calls = [Call("count", {"n": 2})]
    async with house(ScriptedEngine([calls, calls, [Say("Done.")]]), {"mcp/counter": counter()}) as api:
        body = {"integrations": [ASKING], "stream": True}
        plain = events_in((await api.chat(**body)).text)
        request = {"model": "test/scripted", "input": "hello", **body}
        asked = await api.client.post("/api/v1/chat", json=request, headers={EXTENSIONS_HEADER: "true"})
        full = events_in(asked.text)
        assert "tool_call.approval_required" not in [name for _, name, _ in plain]
        [told] = [data for _, name, data in full if name == "tool_call.approval_required"]
        end = full[-1][2]["result"]
        [pending] = end["pending_approvals"]
        del pending["expires_at"]
        assert told == {"type": "tool_call.approval_required", **pending}
        assert end["status"] == "awaiting_approval"

        path = f"/api/v1/responses/{end['response_id']}/approvals"
        partial = await api.client.post(path, json={"approvals": [], "stream": True})
        assert [name for _, name, _ in events_in(partial.text)] == ["chat.start", "chat.end"]
        made = [{"call_id": pending["call_id"], "decision": "approve"}]
        rest = events_in((await api.client.post(path, json={"approvals": made, "stream": True})).text)
    names = [name for _, name, _ in rest]
    assert names[:5] == ["chat.start", "tool_call.start", "tool_call.name", "tool_call.arguments", "tool_call.success"]
    assert names[-1] == "chat.end"
    assert rest[-1][2]["result"]["status"] == "completed"


# ---- what cannot be -----------------------------------------------------------------------------


NONSENSE: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "approvals"),
    ({"approvals": [{"call_id": "x"}]}, "missing_required_parameter", "approvals.0.decision"),
    ({"approvals": [{"call_id": "x", "decision": "maybe"}]}, "invalid_value", "approvals.0.decision"),
    ({"approvals": [{"call_id": "x", **APPROVE, "reason": "ok"}]}, "invalid_value", "approvals.0.reason"),
    ({"approvals": [{"call_id": "x", **DENY, "arguments": {}}]}, "invalid_value", "approvals.0.arguments"),
    ({"approvals": [{"call_id": "call_x", **APPROVE}]}, "invalid_value", "approvals.0.call_id"),
    ({"approvals": [], "answer": 1}, "unrecognized_keys", "answer"),
]


@pytest.mark.parametrize(("body", "code", "param"), NONSENSE, ids=str)
async def test_a_body_that_makes_no_sense_is_refused(body: dict[str, Any], code: str, param: str) -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        reply = await waiting(api)
        response = await api.client.post(f"/api/v1/responses/{reply['response_id']}/approvals", json=body)
        assert error_of(response) == (400, code, param)
        assert (await decide(api, reply, APPROVE)).json()["status"] == "completed", "nothing was decided before"


async def test_arguments_that_the_tool_does_not_take_are_the_deciders_error() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        reply = await waiting(api)
        response = await decide(api, reply, {**APPROVE, "arguments": {"n": "two"}})
        assert error_of(response) == (400, "invalid_value", "approvals.0.arguments")
        call_id = reply["pending_approvals"][0]["call_id"]
        twice = [{"call_id": call_id, **APPROVE}, {"call_id": call_id, **DENY}]
        path = f"/api/v1/responses/{reply['response_id']}/approvals"
        response = await api.client.post(path, json={"approvals": twice})
        assert error_of(response) == (400, "invalid_value", "approvals.1.call_id")


async def test_only_what_waits_can_be_decided_about_and_only_by_its_owner() -> None:
    async with house(engine(), {"mcp/counter": counter()}, require_authentication=True) as api:
        ada = {"Authorization": f"Bearer {(await api.tokens.create_token('ada', ['admin'], owner='ada'))[1]}"}
        bob = {"Authorization": f"Bearer {(await api.tokens.create_token('bob', ['admin'], owner='bob'))[1]}"}
        body = {"model": "test/scripted", "input": "hello", "integrations": [ASKING]}
        reply = (await api.client.post("/api/v1/chat", json=body, headers=ada)).json()
        path = f"/api/v1/responses/{reply['response_id']}/approvals"
        made = {"approvals": [{"call_id": reply["pending_approvals"][0]["call_id"], **APPROVE}]}
        for other in (path, "/api/v1/responses/resp_unknown/approvals"):
            response = await api.client.post(other, json=made, headers=bob)
            assert error_of(response) == (404, "response_not_found", "response_id")
        assert (await api.client.post(path, json=made, headers=ada)).status_code == 200
        response = await api.client.post(path, json=made, headers=ada)
        assert error_of(response) == (409, "approval_conflict", "response_id")
        [row] = await api.store.list_calls(reply["response_id"], "ada")
    assert row.decision is not None
    assert (row.decision.owner, row.decision.token_id is not None) == ("ada", True)


async def test_a_response_that_waits_cannot_be_continued() -> None:
    async with house(engine(), {"mcp/counter": counter()}) as api:
        reply = await waiting(api)
        response = await api.chat(previous_response_id=reply["response_id"])
    assert error_of(response) == (409, "response_not_finished", "previous_response_id")


async def test_what_is_not_stored_cannot_wait() -> None:
    server = counter(approval=ApprovalPolicy(always=ToolFilter(("count",))))
    async with house(engine(), {"mcp/counter": server}) as api:
        response = await api.chat(integrations=[ASKING], store=False)
        assert error_of(response) == (400, "invalid_value", "integrations.0.require_approval")
        reply = (await api.chat(integrations=["mcp/counter"], store=False)).json()
    [(_, _, told, is_error)] = tool_calls(reply)
    assert is_error
    assert "a response that is not stored cannot wait" in told
    assert server.calls == []


async def test_what_mcp_json_wants_approved_no_request_can_have_without() -> None:
    server = counter(approval=ApprovalPolicy("always"))
    async with house(engine(), {"mcp/counter": server}) as api:
        loose = {"type": "plugin", "id": "mcp/counter", "require_approval": "never"}
        assert (await waiting(api, integrations=[loose]))["status"] == "awaiting_approval"


# ---- what happens meanwhile ---------------------------------------------------------------------


async def test_a_tool_that_was_changed_meanwhile_is_not_run() -> None:
    server = counter()
    async with house(engine(), {"mcp/counter": server}) as api:
        reply = await waiting(api)
        server.tools = [fake_tool("count", count, {"type": "object"})]
        after = (await decide(api, reply, APPROVE)).json()
    [(_, _, told, is_error)] = tool_calls(after)
    assert is_error
    assert "the tool count was changed by its server since it was called" in told
    assert server.calls == []


async def test_a_server_that_is_gone_leaves_the_response_waiting_and_nothing_decided() -> None:
    server = counter()
    async with house(engine(), {"mcp/counter": server}) as api:
        reply = await waiting(api)
        server.error = OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, "It is gone.", param="integrations")
        assert error_of(await decide(api, reply, DENY)) == (424, "plugin_connection_error", "integrations")
        server.error = None
        after = (await decide(api, reply, APPROVE)).json()
    assert after["status"] == "completed"
    assert server.calls == [("count", {"n": 2})]


async def test_header_values_must_come_along_once_more_and_nothing_else_can_be_changed() -> None:
    remote = {
        "type": "ephemeral_mcp",
        "server_label": "counter",
        "server_url": f"{ADDRESS}?key=s3cret",
        "headers": {"Authorization": "Bearer s3cret"},
        "require_approval": "always",
    }
    server = counter()
    async with house(engine(), {"counter": server}) as api:
        reply = await waiting(api, integrations=[remote])
        stored = await api.client.get(f"/api/v1/responses/{reply['response_id']}")
        assert "s3cret" not in stored.text
        missing = await decide(api, reply, APPROVE)
        assert error_of(missing) == (409, "integration_credentials_required", "integrations")
        elsewhere = await decide(
            api, reply, APPROVE, integrations=[{**remote, "server_url": "https://evil.example/mcp"}]
        )
        assert error_of(elsewhere) == (400, "invalid_value", "integrations.0.server_url")
        more = await decide(api, reply, APPROVE, integrations=[remote, "mcp/other"])
        assert error_of(more) == (400, "invalid_value", "integrations.1")
        after = (await decide(api, reply, APPROVE, integrations=[remote])).json()
    assert after["status"] == "completed"
    assert server.calls == [("count", {"n": 2})]


async def test_an_engine_that_breaks_after_the_approval_leaves_the_result_in_the_response() -> None:
    broken = OrchestratorError(ErrorKind.ENGINE_ERROR, "it broke")
    server = counter()
    async with house(ScriptedEngine([[Call("count", {"n": 2})], [Break(broken)]]), {"mcp/counter": server}) as api:
        reply = await waiting(api)
        assert error_of(await decide(api, reply, APPROVE))[:2] == (502, "engine_error")
        stored = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
    assert stored["status"] == "failed"
    assert tool_calls(stored) == [("count", {"n": 2}, output("counted 2"), False)]


SETTINGS: dict[str, Any] = {
    "system_prompt": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.5,
    "min_p": 0.1,
    "top_k": 3,
    "repeat_penalty": 1.1,
    "seed": 7,
    "stop": ["."],
    "max_output_tokens": 100,
    "context_length": 2048,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "max_turns": 5,
    "ttl": 100,
    "metadata": {"ticket": "42"},
    "tool_choice": {"tool": "count", "server": "mcp/counter"},
}


async def test_the_run_goes_on_with_the_settings_that_it_began_with() -> None:
    scripted = engine()
    async with house(scripted, {"mcp/counter": counter()}) as api:
        first = (await api.chat()).json()
        scripted.requests.clear()
        reply = await waiting(api, previous_response_id=first["response_id"], **SETTINGS)
        await decide(api, reply, APPROVE)
    before, after = scripted.requests
    assert after.messages[: len(before.messages)] == before.messages
    assert (after.turn, after.tools, after.sampling, after.response_format, after.max_output_tokens) == (
        2,
        before.tools,
        before.sampling,
        before.response_format,
        95,
    )
