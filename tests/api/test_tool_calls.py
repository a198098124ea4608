"""The audit over HTTP: who may see what, how it is asked for, and that looking is itself written down."""

import json
from typing import Any

import pytest

from orchestrator.api.audit_query import MOST_PATTERNS
from orchestrator.api.tool_calls import ExportStream
from orchestrator.core.items import ServerIdentity
from orchestrator.ports.audit import CallFilter
from orchestrator.service.audit import CallExport, percentile
from orchestrator.service.audit_export import ExportFormat
from orchestrator.service.callers import Caller
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine
from orchestrator.testing_audit import MemoryAudit
from orchestrator.testing_store import MemoryStore
from tests.api.house import House, chat_body, fake_tool, house
from tests.api.test_openapi import validator
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

PATH = "/api/v1/tool-calls"
SCRIPT = [[Call("now", '{"zone": "UTC"}'), Call("fly")], [Say("Noon.")]]


def clock_house(**options: Any) -> Any:
    """Somebody asks the clock once, and for a tool that there is not, in each chat."""
    return house(ScriptedEngine(SCRIPT * 3), {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}, **options)


async def token(api: House, *permissions: str) -> tuple[str, dict[str, str]]:
    """An owner and the headers of its token."""
    made, text = await api.tokens.create_token("-".join(permissions), permissions)
    return made.owner, {"Authorization": f"Bearer {text}"}


async def listed(api: House, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
    response = await api.client.get(PATH, params=query, headers=headers)
    assert response.status_code == 200, response.text
    assert [str(problem) for problem in validator("AuditedCallList").iter_errors(response.json())] == []
    calls: list[dict[str, Any]] = response.json()["tool_calls"]
    return calls


async def test_calls_are_listed_filtered_and_shown_whole() -> None:
    async with clock_house() as api:
        chat = (await api.chat(integrations=["mcp/clock"])).json()
        calls = await listed(api)
        assert {(call["tool"], call["status"]) for call in calls} == {("now", "succeeded"), (None, "invalid")}
        query: dict[str, Any] = {"plugin": "mcp/clock", "arguments.zone": "U*", "response_id": chat["response_id"]}
        found = await listed(api, **query)
        assert [call["call_id"] for call in found] == [chat["output"][0]["call_id"]]
        digest = found[0]["definition_digest"]
        digits = digest.removeprefix("sha256:").upper()
        others: list[dict[str, Any]] = [{"plugin": "clock"}, {"plugin": "MCP/Clock"}, {"definition_digest": digits}]
        for other in others:
            assert found[0] in await listed(api, **other)
        whole = (await api.client.get(f"{PATH}/{found[0]['call_id']}")).json()
        assert [str(problem) for problem in validator("AuditedCallWhole").iter_errors(whole)] == []
        assert whole | found[0] == whole
        assert (whole["output"], whole["definition"]["name"]) == (chat["output"][0]["output"], "now")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("csv", b"text/csv; charset=utf-8"),
        ("jsonl", b"application/jsonl"),
        ("parquet", b"application/vnd.apache.parquet"),
    ],
)
def test_an_export_names_its_type_once(form: ExportFormat, told: bytes) -> None:
    stream = ExportStream(CallExport(MemoryAudit(MemoryStore()), Caller("ada"), CallFilter(), {}, ()), form)
    assert [value for name, value in stream.encode_headers() if name.lower() == b"content-type"] == [told]


async def test_the_definitions_of_an_export_are_told_by_the_same_filters() -> None:
    async with clock_house() as api:
        await api.chat(integrations=["mcp/clock"])
        [called] = await listed(api, tool="now")
        whole = (await api.client.get(f"{PATH}/{called['call_id']}")).json()
        response = await api.client.get(f"{PATH}/export/definitions?tool=now")
        assert response.headers["content-type"] == "application/jsonl"
        assert response.headers["content-disposition"].endswith('.definitions.jsonl"')
        [told] = [json.loads(line) for line in response.text.splitlines()]
        assert told == {"digest": called["definition_digest"], "definition": whole["definition"]}
        assert (await api.client.get(f"{PATH}/export/definitions?tool=other")).text == ""
        refused = await api.client.get(f"{PATH}/export/definitions?format=csv")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unrecognized_keys")


async def test_a_call_says_which_server_was_called_also_when_its_response_is_deleted_or_was_never_stored() -> None:
    server = ServerIdentity("https://clock.example/mcp", "clock", "1.2")
    told = {"address": "https://clock.example/mcp", "name": "clock", "version": "1.2"}
    servers = {"mcp/clock": FakeServer([fake_tool("now", tell_time)], server=server)}
    async with house(ScriptedEngine(SCRIPT * 2), servers) as api:
        chat = (await api.chat(integrations=["mcp/clock"])).json()
        await api.chat(integrations=["mcp/clock"], store=False)
        assert (await api.client.delete(f"/api/v1/responses/{chat['response_id']}")).status_code == 200
        calls = await listed(api)
        assert [(call["tool"], call["server"]) for call in calls if call["tool"]] == [("now", told)] * 2
        assert {call["server"] is None for call in calls if not call["tool"]} == {True}
        assert len(await listed(api, server="https://clock.example/mcp")) == 2
        assert await listed(api, server="https://other.example/mcp") == []
        whole = (await api.client.get(f"{PATH}/{calls[0]['call_id']}")).json()
        assert whole["server"] == calls[0]["server"]


async def test_pages_follow_each_other_by_their_cursors() -> None:
    async with clock_house() as api:
        for _ in range(3):
            await api.chat(integrations=["mcp/clock"])
        everything = [call["call_id"] for call in await listed(api)]
        assert len(everything) == 6
        found: list[str] = []
        query: dict[str, Any] = {"limit": 2, "order": "asc"}
        while True:
            page = (await api.client.get(PATH, params=query)).json()
            found += [call["call_id"] for call in page["tool_calls"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert found == everything[::-1]


async def test_an_owner_sees_its_own_calls_and_an_auditor_everybodys_which_is_recorded() -> None:
    async with clock_house(require_authentication=True) as api:
        owner, ada = await token(api, "chat", "plugins", "audit.read")
        _, bob = await token(api, "audit.read")
        auditor, carol = await token(api, "audit.read_all")
        _, admin = await token(api, "admin")
        body = chat_body(integrations=["mcp/clock"])
        assert (await api.client.post("/api/v1/chat", json=body)).status_code == 401
        chat = await api.client.post("/api/v1/chat", json=body, headers=ada)
        assert chat.status_code == 200, chat.text
        call_id = chat.json()["output"][0]["call_id"]
        assert len(await listed(api, ada)) == len(await listed(api, ada, owner=owner)) == 2
        assert await listed(api, bob) == [] == await listed(api, admin)
        for query in ({"owner": owner}, {"owner": "*"}):
            refused = await api.client.get(PATH, params=query, headers=bob)
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "owner")
        hidden = await api.client.get(f"{PATH}/{call_id}", headers=bob)
        assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "call_not_found")
        assert (await api.client.get(f"{PATH}/events", headers=ada)).status_code == 403

        assert len(await listed(api, carol, tool="now")) == 1
        assert len(await listed(api, admin, owner="*")) == 2
        assert (await api.client.get(f"{PATH}/{call_id}", headers=carol)).status_code == 200
        assert (await api.client.get(f"{PATH}/stats", headers=carol)).status_code == 200
        events = (await api.client.get(f"{PATH}/events", headers=carol)).json()
        assert [str(problem) for problem in validator("AuditEventList").iter_errors(events)] == []
        assert [(event["actor"] == auditor, event["details"]) for event in events["events"]] == [
            (True, {"use": "events", "asked": {}}),
            (True, {"use": "stats", "asked": {}}),
            (True, {"use": "get", "asked": {"call_id": call_id}}),
            (False, {"use": "list", "asked": {}}),
            (True, {"use": "list", "asked": {"tool": "now"}}),
        ]


async def test_a_token_without_permission_sees_nothing() -> None:
    async with clock_house(require_authentication=True) as api:
        _, headers = await token(api, "chat")
        for path in (
            PATH,
            f"{PATH}/stats",
            f"{PATH}/export",
            f"{PATH}/export/definitions",
            f"{PATH}/events",
            f"{PATH}/call_1",
        ):
            response = await api.client.get(path, headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "permission_denied")
            assert (await api.client.get(path)).status_code == 401


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("order=up", "order"),
        ("status=good", "status"),
        ("is_error=yes", "is_error"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("duration_min=-1", "duration_min"),
        ("duration_max=99999999999", "duration_max"),
        ("tool=", "tool"),
        ("tool=a&tool=b", "tool"),
        ("plugin=mcp/a&server_label=b", "server_label"),
        ("plugin=", "plugin"),
        ("response_id=xx", "response_id"),
        ("definition_digest=142a9b", "definition_digest"),
        ("definition_digest=sha256:" + "g" * 64, "definition_digest"),
        ("arguments.=x", "arguments."),
        ("&".join(f"arguments.{'a' * n}=x" for n in range(1, MOST_PATTERNS + 2)), "arguments"),
    ],
)
async def test_what_cannot_be_asked_is_told_with_its_name(query: str, param: str) -> None:
    async with house() as api:
        response = await api.client.get(f"{PATH}?{query}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_value", param)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{PATH}?tol=now", "unrecognized_keys"),
        (f"{PATH}/events?tool=now", "unrecognized_keys"),
        (f"{PATH}/stats?limit=5", "unrecognized_keys"),
        (f"{PATH}/stats?bucket=5", "invalid_value"),
        (f"{PATH}/export?format=xml", "invalid_value"),
        (f"{PATH}/events?cursor=x", "invalid_value"),
        (f"{PATH}/events?limit=1&limit=2", "invalid_value"),
    ],
)
async def test_each_route_knows_its_parameters(path: str, code: str) -> None:
    async with house() as api:
        response = await api.client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


async def test_moments_may_be_days_and_have_zones() -> None:
    async with clock_house() as api:
        await api.chat(integrations=["mcp/clock"])
        query: dict[str, Any] = {"from": "2020-01-01", "to": "2999-01-01T00:00:00+02:00"}
        assert len(await listed(api, **query)) == 2
        response = await api.client.get(f"{PATH}?from=2020-01-01T00:00:00+02:00")
        assert (response.status_code, len(response.json()["tool_calls"])) == (200, 2)


async def test_statistics_are_told_by_tool_and_time() -> None:
    async with clock_house() as api:
        await api.chat(integrations=["mcp/clock"])
        whole = (await api.client.get(f"{PATH}/stats")).json()
        by_day = (await api.client.get(f"{PATH}/stats", params={"bucket": "1d", "tool": "now"})).json()
    for body in (whole, by_day):
        assert [str(problem) for problem in validator("ToolStatisticsList").iter_errors(body)] == []
    invented, now = whole["stats"]
    assert (invented["tool"], invented["statuses"], invented["error_rate"]) == (None, {"invalid": 1}, 1.0)
    assert (now["tool"], now["calls"], now["errors"], now["statuses"]) == ("now", 1, 0, {"succeeded": 1})
    assert now["p50_ms"] == now["p99_ms"] is not None
    assert [row["since"][10:] for row in by_day["stats"]] == ["T00:00:00Z"]


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([(1, 50), (2, 45), (3, 4), (9, 1)], 50) == 1
    assert percentile([(1, 50), (2, 45), (3, 4), (9, 1)], 95) == 2
    assert percentile([(1, 50), (2, 45), (3, 4), (9, 1)], 99) == 3
    assert percentile([(7, 1)], 50) == percentile([(7, 1)], 99) == 7
    assert percentile([], 50) is None
