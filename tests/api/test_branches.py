"""Comparing branches and running responses again, over HTTP."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from orchestrator.core.approvals import ApprovalPolicy, ToolFilter
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.tools import ToolAnnotations
from orchestrator.service import branches
from orchestrator.testing import Break, Call, FakeServer, FakeTool, MemoryStore, Say, ScriptedEngine, Think
from tests.api.house import House, fake_tool, house
from tests.api.test_approvals import ADDRESS, APPROVE, DENY, NUMBER, count, decide, error_of, output, tool_calls
from tests.api.test_auth import token_text
from tests.api.test_redaction import LOGIN, RULES, vault
from tests.api.test_stream import events_in

pytestmark = pytest.mark.anyio

PLUGIN = ["mcp/counter"]
SCRIPT = [
    [Think("Hm."), Call("count", {"n": 1}), Call("look")],
    [Call("count", {"n": 2})],
    [Say("Done.")],
]


def read_only(tool: FakeTool) -> FakeTool:
    return replace(tool, definition=replace(tool.definition, annotations=ToolAnnotations(read_only=True)))


class World:
    """A server of which `look` only reads, with answers that can change."""

    def __init__(self) -> None:
        self.seen = "one"
        tools = [fake_tool("count", count, NUMBER), read_only(fake_tool("look", self.look))]
        self.server = FakeServer(tools)

    async def look(self, arguments: JsonObject) -> str:
        return self.seen


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def api(world: World) -> AsyncGenerator[House]:
    async with house(ScriptedEngine([*SCRIPT, *SCRIPT, *SCRIPT]), {"mcp/counter": world.server}) as opened:
        yield opened


async def finished(api: House, **body: Any) -> dict[str, Any]:
    """A response of reasoning, two calls, a third one and a message."""
    reply: dict[str, Any] = (await api.chat(integrations=PLUGIN, **body)).json()
    assert [item["type"] for item in reply["output"]] == ["reasoning", *["tool_call"] * 3, "message"]
    return reply


async def fork(api: House, reply: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await api.client.post(f"/api/v1/responses/{reply['response_id']}/fork", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def replay(api: House, reply: dict[str, Any], **body: Any) -> httpx.Response:
    return await api.client.post(f"/api/v1/responses/{reply['response_id']}/replay", json=body)


async def replayed(api: House, reply: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await replay(api, reply, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def diff(api: House, a: dict[str, Any], b: dict[str, Any], **query: str) -> httpx.Response:
    params = {"a": a["response_id"], "b": b["response_id"], **query}
    return await api.client.get("/api/v1/responses/diff", params=params)


# ---- diff -------------------------------------------------------------------------------------


async def test_a_fork_shares_what_it_kept_and_tells_what_it_changed(api: House) -> None:
    reply = await finished(api)
    call_id = reply["output"][1]["call_id"]
    branch = await fork(api, reply, at={"call_id": call_id}, arguments={"n": 9}, temperature=0.5)
    compared = (await diff(api, reply, branch)).json()
    info = {"type": "plugin", "plugin_id": "mcp/counter"}
    origin = reply["response_id"]
    assert (compared["equal"], compared["common_ancestor"], compared["shared_responses"]) == (False, origin, 0)
    assert compared["shared_items"] == 1
    other = await fork(api, reply, at={"position": 3})
    for pair in ((branch, reply), (other, branch)):
        turned = (await diff(api, *pair)).json()
        assert (turned["common_ancestor"], turned["shared_items"]) == (origin, 1)
    [pair] = compared["responses"]
    assert (pair["status"], pair["a"], pair["b"]) == ("changed", reply["response_id"], branch["response_id"])
    assert pair["changes"] == [{"field": "parameters.temperature", "b": 0.5}]
    assert pair["input"] == [
        {"status": "equal", "type": "text", "position_a": 0, "position_b": 0, "shared": False, "changes": []}
    ]
    thought, called, *_ = pair["output"]
    assert thought == {
        "status": "equal",
        "type": "reasoning",
        "position_a": 0,
        "position_b": 0,
        "shared": True,
        "changes": [],
    }
    assert called == {
        "status": "changed",
        "type": "tool_call",
        "position_a": 1,
        "position_b": 1,
        "call_id_a": call_id,
        "call_id_b": branch["output"][1]["call_id"],
        "tool": "count",
        "provider_info": info,
        "shared": False,
        "changes": [
            {"field": "arguments.n", "a": 1, "b": 9},
            {"field": "output", "a": output("counted 1"), "b": output("counted 9")},
        ],
    }


async def test_branches_are_compared_from_their_last_common_response_on(api: House) -> None:
    root = await finished(api)
    a = await finished(api, previous_response_id=root["response_id"])
    b = await finished(api, previous_response_id=root["response_id"], input="Something else")
    compared = (await diff(api, a, b)).json()
    assert (compared["common_ancestor"], compared["shared_responses"]) == (root["response_id"], 1)
    assert [(pair["a"], pair["b"]) for pair in compared["responses"]] == [(a["response_id"], b["response_id"])]
    [said] = compared["responses"][0]["input"]
    assert said["changes"] == [{"field": "content", "a": "hello", "b": "Something else"}]
    longer = (await diff(api, root, a)).json()
    assert [(pair["status"], pair["a"], pair["b"]) for pair in longer["responses"]] == [
        ("added", None, a["response_id"])
    ]
    same = (await diff(api, a, a)).json()
    assert (same["equal"], same["responses"]) == (True, [])


async def test_branches_that_are_too_long_are_refused(api: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "MOST", 0)
    reply, other = await finished(api), await finished(api)
    assert error_of(await diff(api, reply, other)) == (400, "invalid_value", "a")


@pytest.mark.parametrize("query", [{}, {"a": "resp_a"}, {"a": "resp_a", "b": ""}, {"c": "x"}], ids=str)
async def test_a_comparison_wants_two_responses(api: House, query: dict[str, str]) -> None:
    answer = await api.client.get("/api/v1/responses/diff", params=query)
    assert answer.status_code == 400


async def test_another_owners_response_is_answered_as_an_unknown_one() -> None:
    store = MemoryStore()
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": World().server}, store=store) as api:
        mine = await finished(api)
        node = store.nodes[mine["response_id"]]
        theirs = replace(node.new, id="resp_theirs", owner="bob")
        store.nodes["resp_theirs"] = replace(node, new=theirs)
        store.nodes["resp_replay"] = replace(node, new=replace(theirs, id="resp_replay", replay_of="resp_theirs"))
        for id, unknown in (("resp_theirs", "resp_nobody"), ("resp_replay", "resp_nobody")):
            for method, path, body in (
                ("POST", "/api/v1/responses/{}/replay", {}),
                ("POST", "/api/v1/responses/{}/fork", {"at": {"position": 0}}),
                ("GET", "/api/v1/responses/{}/replay", None),
                ("GET", f"/api/v1/responses/diff?a={mine['response_id']}&b={{}}", None),
                ("GET", f"/api/v1/responses/diff?b={mine['response_id']}&a={{}}", None),
            ):
                answers = [await api.client.request(method, path.format(each), json=body) for each in (id, unknown)]
                assert answers[0].status_code == 404, path
                assert answers[0].json() == answers[1].json(), path


async def test_an_auditor_compares_others_branches_by_name_and_that_is_written_down() -> None:
    async with house(ScriptedEngine([[Say("One.")], [Say("Two.")]]), require_authentication=True) as api:
        keys = {
            name: {"x-api-key": await token_text(api, *permissions, owner=name)}
            for name, permissions in (("ada", ["chat"]), ("eve", ["chat"]), ("auditor", ["chat", "audit.read_all"]))
        }
        said = {"model": "test/scripted", "input": "x"}
        id = (await api.client.post("/api/v1/chat", json=said, headers=keys["ada"])).json()["response_id"]
        replay = await api.client.post(f"/api/v1/responses/{id}/replay", json={}, headers=keys["ada"])
        again = replay.json()["response_id"]
        paths = (f"/api/v1/responses/diff?a={id}&b={again}", f"/api/v1/responses/{again}/replay?")

        async def statuses(who: str, query: str) -> list[int]:
            return [(await api.client.get(f"{each}{query}", headers=keys[who])).status_code for each in paths]

        assert await statuses("ada", "") == await statuses("ada", "&owner=ada") == [200, 200]
        assert await statuses("eve", "") == await statuses("auditor", "") == [404, 404]
        assert await statuses("eve", "&owner=ada") == [403, 403]
        assert api.graph.readings == []
        assert await statuses("auditor", "&owner=ada") == await statuses("auditor", "&owner=*") == [200, 200]
        for path in (f"/api/v1/responses/{id}/fork", f"/api/v1/responses/{id}/replay"):
            assert (await api.client.post(path, json={}, headers=keys["auditor"])).status_code == 404
    assert api.graph.readings[:2] == [("auditor", "diff", f"ada {id} {again}"), ("auditor", "replay", f"ada {again}")]


# ---- replay with live tools -------------------------------------------------------------------


async def test_a_replay_asks_only_tools_that_read_and_says_what_they_answer_otherwise(api: House, world: World) -> None:
    reply = await finished(api, metadata={"ticket": "7"})
    world.server.calls.clear()
    again = await replayed(api, reply)
    assert again["report"]["equal"] is True
    assert world.server.calls == [("look", {})]
    world.seen = "two"
    answer = await replayed(api, reply)
    report = answer["report"]
    info = {"type": "plugin", "plugin_id": "mcp/counter"}
    counted = [item["call_id"] for item in answer["output"] if item.get("tool") == "count"]
    not_run = {"tool": "count", "provider_info": info, "reason": "not_read_only"}
    statuses = [(item["tool"], item.get("status")) for item in answer["output"] if item["type"] == "tool_call"]
    assert statuses == [("count", "replayed"), ("look", None), ("count", "replayed")]
    assert report == {
        "response_id": answer["response_id"],
        "replay_of": reply["response_id"],
        "tools": "live",
        "status": "completed",
        "equal": False,
        "differences": [
            {
                "type": "result",
                "tool": "look",
                "provider_info": info,
                "position_a": 2,
                "position_b": 2,
                "changes": [{"field": "output", "a": output("one"), "b": output("two")}],
            }
        ],
        "not_run": [
            {"call_id": counted[0], "position": 1, **not_run},
            {"call_id": counted[1], "position": 3, **not_run},
        ],
    }
    assert [item.get("content") for item in answer["output"]] == ["Hm.", None, None, None, "Done."]
    rows = await api.store.list_calls(answer["response_id"], "local")
    assert [(row.tool, row.status, row.duration_ms == 0) for row in rows] == [
        ("count", "replayed", True),
        ("look", "succeeded", rows[1].duration_ms == 0),
        ("count", "replayed", True),
    ]
    stored = (await api.client.get(f"/api/v1/responses/{answer['response_id']}")).json()
    assert (stored["replay_of"], stored["root_id"], stored["metadata"]) == (
        reply["response_id"],
        reply["response_id"],
        {"ticket": "7"},
    )
    assert stored["parameters"]["replay"] == {"tools": "live", "allow_tools": []}
    original = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
    assert original["output"] == reply["output"]
    later = (await api.client.get(f"/api/v1/responses/{answer['response_id']}/replay")).json()
    assert later == report


async def test_a_chain_is_run_again_as_a_chain_of_its_own_with_one_report(api: House, world: World) -> None:
    first = await finished(api)
    second = await finished(api, previous_response_id=first["response_id"])
    third = await finished(api, previous_response_id=second["response_id"])
    ids = [reply["response_id"] for reply in (first, second, third)]
    path = f"/api/v1/responses/{ids[-1]}/chain/replay"
    world.seen = "two"
    told = (await api.client.post(path, json={})).json()
    assert [report["replay_of"] for report in told["reports"]] == ids
    assert (told["equal"], told["left"]) == (False, [])
    assert {found["type"] for report in told["reports"] for found in report["differences"]} == {"result"}
    replays = [report["response_id"] for report in told["reports"]]
    assert told["response_id"] == replays[-1]
    chain = (await api.client.get(f"/api/v1/responses/{replays[-1]}/chain")).json()
    assert [each["response_id"] for each in chain["responses"]] == replays
    assert (await api.client.get(f"/api/v1/responses/{replays[-1]}/chain/replay")).json() == told
    world.seen = "one"
    part = (await api.client.post(path, json={"from": ids[1]})).json()
    assert (part["equal"], [report["replay_of"] for report in part["reports"]]) == (True, ids[1:])
    chain = (await api.client.get(f"/api/v1/responses/{part['response_id']}/chain")).json()
    assert chain["responses"][0]["response_id"] == ids[0]
    assert (await api.client.get(f"/api/v1/responses/{part['response_id']}/chain/replay")).json() == part


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"from": "resp_x"}, "from"),
        ({"allow_tools": ["mcp/counter/fly"]}, "allow_tools.0"),
        ({"integrations": ["mcp/other"]}, "integrations.0"),
        ({"model": "demo/model"}, "model"),
        ({"stream": True}, "stream"),
    ],
    ids=str,
)
async def test_a_chain_that_cannot_be_run_again_so_is_refused_before_anything_is(
    api: House, body: dict[str, Any], param: str
) -> None:
    first = await finished(api)
    second = await finished(api, previous_response_id=first["response_id"])
    before = len(api.store.nodes)
    answer = await api.client.post(f"/api/v1/responses/{second['response_id']}/chain/replay", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert len(api.store.nodes) == before
    gone = await api.client.post("/api/v1/responses/resp_x/chain/replay", json={})
    assert gone.status_code == 404
    none = await api.client.get(f"/api/v1/responses/{second['response_id']}/chain/replay")
    assert (none.status_code, none.json()["error"]["param"]) == (400, "response_id")


async def test_the_replay_of_a_chain_ends_where_one_fails_and_says_what_is_left() -> None:
    broken = Break(OrchestratorError(ErrorKind.STORE_ERROR, "The engine broke."))
    async with house(ScriptedEngine([*[[Say("One.")]] * 4, [broken]])) as api:
        ids: list[str] = []
        for _ in range(3):
            reply = await api.chat(previous_response_id=ids[-1] if ids else None)
            ids.append(reply.json()["response_id"])
        path = f"/api/v1/responses/{ids[-1]}/chain/replay"
        told = (await api.client.post(path, json={"tools": "stored"})).json()
    assert [(report["replay_of"], report["status"]) for report in told["reports"]] == [
        (ids[0], "completed"),
        (ids[1], "failed"),
    ]
    assert (told["equal"], told["left"], told["reason"]) == (False, ids[2:], "The engine broke.")


async def test_a_tool_that_writes_runs_where_it_is_named(api: House, world: World) -> None:
    reply = await finished(api)
    world.server.calls.clear()
    report = (await replayed(api, reply, allow_tools=["mcp/counter/count"]))["report"]
    assert world.server.calls == [("count", {"n": 1}), ("look", {}), ("count", {"n": 2})]
    assert (report["equal"], report["not_run"]) == (True, [])


async def test_a_call_that_needs_approval_never_runs_in_a_replay(api: House, world: World) -> None:
    reply = await finished(api)
    world.server.calls.clear()
    world.server.approval = ApprovalPolicy(always=ToolFilter(tool_names=("look",)))
    report = (await replayed(api, reply))["report"]
    assert report["status"] == "completed"
    assert world.server.calls == []
    assert [call["reason"] for call in report["not_run"]] == ["not_read_only", "needs_approval", "not_read_only"]


async def test_what_the_request_wanted_approved_stays_so_in_a_replay(world: World) -> None:
    world.server.tools = [read_only(tool) for tool in world.server.tools]
    asking = [{"type": "plugin", "id": "mcp/counter", "require_approval": {"always": {"tool_names": ["count"]}}}]
    async with house(ScriptedEngine([[Call("count", {"n": 1})], [Say("Done.")]]), {"mcp/counter": world.server}) as api:
        waits = (await api.chat(integrations=asking)).json()
        reply = (await decide(api, waits, {**APPROVE, "arguments": {"n": 5}})).json()
        assert tool_calls(reply) == [("count", {"n": 5}, output("counted 5"), False)]
        world.server.calls.clear()
        answer = await replayed(api, reply)
        assert (answer["report"]["equal"], world.server.calls) == (True, [])
        assert [call["reason"] for call in answer["report"]["not_run"]] == ["needs_approval"]
        assert tool_calls(answer) == tool_calls(reply)


async def test_what_was_denied_or_edited_is_not_run_again(world: World) -> None:
    world.server.tools = [read_only(tool) for tool in world.server.tools]
    world.server.approval = ApprovalPolicy(always=ToolFilter(tool_names=("count",)))
    script = [[Call("count", {"n": 1})], [Call("look")], [Say("Done.")], [Say("So.")]]
    async with house(ScriptedEngine(script), {"mcp/counter": world.server}) as api:
        waits = (await api.chat(integrations=PLUGIN)).json()
        reply = (await decide(api, waits, DENY)).json()
        edited = await fork(api, reply, at={"call_id": reply["output"][1]["call_id"]}, output={"text": "a lie"})
        world.server.approval = ApprovalPolicy()
        world.server.calls.clear()
        answer = await replayed(api, edited)
    assert world.server.calls == []
    assert answer["report"]["equal"] is True
    assert [call["reason"] for call in answer["report"]["not_run"]] == ["not_run_before", "edited_before"]
    assert [call[2] for call in tool_calls(answer)][1] == output("a lie")


async def test_tools_that_are_gone_changed_or_new_are_told(api: House, world: World) -> None:
    reply = await finished(api)
    tools = world.server.tools
    described = replace(tools[0], definition=replace(tools[0].definition, description="Counts otherwise."))
    world.server.tools = [described, fake_tool("fresh", count)]
    report = (await replayed(api, reply))["report"]
    assert [(found["type"], found.get("tool")) for found in report["differences"]] == [
        ("definition", "count"),
        ("tool_missing", "look"),
        ("tool_added", "fresh"),
        ("error", "look"),
    ]
    last = report["differences"][-1]["changes"]
    assert {"field": "type", "a": "tool_call", "b": "invalid_tool_call"} in last


async def test_a_call_whose_arguments_were_redacted_is_not_run_with_what_is_left_of_them() -> None:
    server = FakeServer([read_only(tool) for tool in vault().tools])
    async with house(ScriptedEngine([[LOGIN], [Say("Done.")]]), {"mcp/vault": server}, redaction=RULES) as api:
        reply = (await api.chat(integrations=["mcp/vault"])).json()
        server.calls.clear()
        report = (await replayed(api, reply))["report"]
    assert (server.calls, report["equal"]) == ([], True)
    assert [call["reason"] for call in report["not_run"]] == ["redacted"]


async def test_a_tool_that_allowed_tools_named_may_be_gone_in_a_replay(world: World) -> None:
    async with house(ScriptedEngine([[Call("look")], [Say("Done.")]]), {"mcp/counter": world.server}) as api:
        named = [{"type": "plugin", "id": "mcp/counter", "allowed_tools": ["look"]}]
        choice = {"tool": "look", "server": "mcp/counter"}
        reply = (await api.chat(integrations=named, tool_choice=choice)).json()
        world.server.tools = []
        report = (await replayed(api, reply))["report"]
    assert [found["type"] for found in report["differences"]] == ["tool_missing", "error"]


async def test_a_call_whose_arguments_have_become_invalid_is_an_error(api: House, world: World) -> None:
    reply = await finished(api)
    strict = {"type": "object", "properties": {"n": {"type": "string"}}}
    world.server.tools = [fake_tool("count", count, strict), world.server.tools[1]]
    report = (await replayed(api, reply))["report"]
    assert [(found["type"], found.get("tool")) for found in report["differences"]] == [
        ("definition", "count"),
        ("error", "count"),
        ("error", "count"),
    ]


async def test_a_replay_streams_like_any_run(api: House, world: World) -> None:
    reply = await finished(api)
    answer = await replay(api, reply, stream=True)
    events = events_in(answer.text)
    kinds = [kind for _, kind, _ in events]
    assert (kinds[0], kinds[-1]) == ("chat.start", "chat.end")
    assert kinds.count("tool_call.success") == 3
    result = events[-1][2]["result"]
    assert [item["type"] for item in result["output"]] == [item["type"] for item in reply["output"]]
    report = (await api.client.get(f"/api/v1/responses/{result['response_id']}/replay")).json()
    assert report["equal"] is True


async def test_a_response_that_ended_early_ends_so_again(world: World) -> None:
    script = [[Call("look")], [Call("look")]]
    async with house(ScriptedEngine(script), {"mcp/counter": world.server}) as api:
        cut = (await api.chat(integrations=PLUGIN, max_turns=1)).json()
        assert cut["incomplete_reason"] == "max_turns"
        answer = await replayed(api, cut)
    assert (answer["incomplete_reason"], answer["report"]["equal"]) == ("max_turns", True)


async def test_what_a_token_limit_cut_off_is_cut_off_again() -> None:
    engine = ScriptedEngine([[Say("one two three four five")]], finish_as="length")
    async with house(engine) as api:
        cut = (await api.chat(max_output_tokens=2)).json()
        assert cut["incomplete_reason"] == "max_output_tokens"
        answer = await replayed(api, cut)
    assert (answer["incomplete_reason"], answer["report"]["equal"]) == ("max_output_tokens", True)


async def test_header_values_must_come_along_for_live_tools_and_stored_ones_need_none(world: World) -> None:
    remote = {
        "type": "ephemeral_mcp",
        "server_label": "counter",
        "server_url": f"{ADDRESS}?key=s3cret",
        "headers": {"Authorization": "Bearer s3cret"},
    }
    script = [[Call("look")], [Say("Done.")], [Call("look")], [Say("Done.")]]
    async with house(ScriptedEngine(script), {"counter": world.server}) as api:
        reply = (await api.chat(integrations=[remote])).json()
        assert error_of(await replay(api, reply)) == (409, "integration_credentials_required", "integrations")
        elsewhere = await replay(api, reply, integrations=[{**remote, "server_url": "https://example.org/mcp"}])
        assert error_of(elsewhere) == (400, "invalid_value", "integrations.0.server_url")
        live = await replayed(api, reply, integrations=[remote], allow_tools=["counter/look"])
        stored = await replayed(api, reply, tools="stored")
        kept = repr([node.new for node in api.store.nodes.values()])
    assert (live["report"]["equal"], stored["report"]["equal"]) == (True, True)
    assert world.server.calls == [("look", {})] * 2
    assert "s3cret" not in kept


async def test_a_direct_call_can_be_replayed(world: World) -> None:
    world.server.tools = [read_only(tool) for tool in world.server.tools]
    async with house(servers={"mcp/counter": world.server}) as api:
        told = (
            await api.client.post("/api/v1/plugins/mcp/counter/tools/count/call", json={"arguments": {"n": 4}})
        ).json()
        report = (await replayed(api, told))["report"]
        assert (report["equal"], world.server.calls) == (True, [("count", {"n": 4})] * 2)
        answer = await replay(api, told, tools="stored")
    assert error_of(answer) == (400, "missing_required_parameter", "model")


# ---- replay with a live model -----------------------------------------------------------------


async def test_the_model_writes_anew_over_stored_answers_and_no_server_is_asked(world: World) -> None:
    engine = ScriptedEngine([*SCRIPT, *SCRIPT])
    async with house(engine, {"mcp/counter": world.server}) as api:
        reply = await finished(api)
        world.server.calls.clear()
        world.server.tools = []
        answer = await replayed(api, reply, tools="stored")
    assert world.server.calls == []
    assert answer["report"]["equal"] is True
    assert [call["reason"] for call in answer["report"]["not_run"]] == ["tools_stored"] * 3
    assert tool_calls(answer) == tool_calls(reply)
    first, second = engine.requests[0], engine.requests[3]
    assert (second.tools, second.messages) == (first.tools, first.messages)


async def test_a_model_that_asks_otherwise_is_told_that_nothing_is_stored(world: World) -> None:
    script = [*SCRIPT, [Think("Ha."), Call("count", {"n": 7}), Call("look")], [Call("look")], [Say("Else.")]]
    async with house(ScriptedEngine(script), {"mcp/counter": world.server}) as api:
        reply = await finished(api)
        world.server.calls.clear()
        answer = await replayed(api, reply, tools="stored")
    report = answer["report"]
    assert world.server.calls == []
    told = "The replay did not run this call: nothing is stored that count answered to these arguments."
    assert tool_calls(answer)[0] == ("count", {"n": 7}, output(told), True)
    assert tool_calls(answer)[2] == ("look", {}, output("one"), False)
    assert [(found["type"], found.get("tool")) for found in report["differences"]] == [
        ("text", None),
        ("arguments", "count"),
        ("error", "count"),
        ("call_removed", "count"),
        ("call_added", "look"),
        ("text", None),
    ]
    assert [call["reason"] for call in report["not_run"]] == ["nothing_stored", "tools_stored", "tools_stored"]


async def test_what_cannot_be_meant_is_refused(api: House) -> None:
    reply = await finished(api)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"allow_tools": ["mcp/counter/fly"]}, "invalid_value", "allow_tools.0"),
        ({"tools": "stored", "allow_tools": ["mcp/counter/count"]}, "invalid_value", "allow_tools"),
        ({"tools": "stored", "integrations": PLUGIN}, "invalid_value", "integrations"),
        ({"model": "x"}, "invalid_value", "model"),
        ({"tools": "both"}, "invalid_value", "tools"),
        ({"mode": "live"}, "unrecognized_keys", "mode"),
    ]
    for body, code, param in wrong:
        assert error_of(await replay(api, reply, **body)) == (400, code, param), body
    report = await api.client.get(f"/api/v1/responses/{reply['response_id']}/replay")
    assert error_of(report) == (400, "invalid_value", "response_id")


async def test_a_report_goes_with_the_original(api: House) -> None:
    reply = await finished(api)
    answer = await replayed(api, reply)
    assert (await api.client.delete(f"/api/v1/responses/{reply['response_id']}")).status_code == 200
    report = await api.client.get(f"/api/v1/responses/{answer['response_id']}/replay")
    assert error_of(report) == (404, "response_not_found", "response_id")
    assert "is deleted" in report.text


async def test_only_what_is_over_is_run_again(world: World) -> None:
    world.server.approval = ApprovalPolicy("always")
    async with house(ScriptedEngine(SCRIPT), {"mcp/counter": world.server}) as api:
        waiting = (await api.chat(integrations=PLUGIN)).json()
        assert error_of(await replay(api, waiting)) == (409, "response_not_finished", "response_id")
