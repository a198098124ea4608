"""`/api/v1/tokens`, and what tokens are held to."""

from typing import Any

import anyio
import httpx
import pytest

from orchestrator.core.json_types import JsonObject
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Stall
from tests.api.house import CHAT, House, chat_body, fake_tool, house, served

pytestmark = pytest.mark.anyio

TOKENS = "/api/v1/tokens"


async def made(api: House, **body: Any) -> dict[str, Any]:
    response = await api.client.post(TOKENS, json={"name": "t", "permissions": ["chat"], **body})
    assert response.status_code == 200, response.text
    return response.json()


async def chat(api: House, key: str, **body: Any) -> httpx.Response:
    return await api.client.post(CHAT, json=chat_body(**body), headers={"x-api-key": key})


async def test_a_token_is_made_shown_once_listed_rotated_and_revoked() -> None:
    async with house() as api:
        limits = {"requests_per_minute": 60}
        new = await made(api, name="shop", expires_at="2199-01-01T00:00:00Z", limits=limits)
        text = new.pop("token")
        assert text.startswith(f"sk-lm-{new['id']}:")
        assert new | {"owner": "", "id": "", "created_at": ""} == {
            "id": "",
            "name": "shop",
            "owner": "",
            "permissions": ["chat"],
            "created_at": "",
            "limits": limits,
            "valid": True,
            "expires_at": "2199-01-01T00:00:00Z",
        }
        assert (await api.client.get(TOKENS)).json() == {"tokens": [new]}
        assert (await chat(api, text)).status_code == 200

        rotated = (await api.client.post(f"{TOKENS}/{new['id']}/rotate", json={"grace_seconds": 60})).json()
        assert [(await chat(api, key)).status_code for key in (text, rotated["token"])] == [200, 200]
        revoked = (await api.client.delete(f"{TOKENS}/{rotated['id']}")).json()
        assert (revoked["valid"], revoked["owner"]) == (False, new["owner"])
        assert [(await chat(api, key)).status_code for key in (text, rotated["token"])] == [200, 401]
        gone = await api.client.delete(f"{TOKENS}/{rotated['id']}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "token_not_found")


async def test_a_token_shares_the_owner_that_it_is_given() -> None:
    async with house() as api:
        first = await made(api, name="a")
        second = await made(api, name="b", owner=first["owner"])
        response = (await chat(api, first["token"])).json()["response_id"]
        read = await api.client.get(f"/api/v1/responses/{response}", headers={"x-api-key": second["token"]})
    assert read.status_code == 200


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"name": None}, "invalid_type", "name"),
        ({"name": " "}, "invalid_value", "name"),
        ({"permissions": []}, "invalid_value", "permissions"),
        ({"permissions": ["fly"]}, "invalid_value", "permissions"),
        ({"permissions": ["plugins:clock"]}, "invalid_value", "permissions"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_value", "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "invalid_value", "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+10:00"}, "invalid_value", "expires_at"),
        ({"expires_at": "tomorrow"}, "invalid_value", "expires_at"),
        ({"limits": {"requests_per_minute": 0}}, "invalid_value", "limits.requests_per_minute"),
        ({"limits": {"requests": 1}}, "unrecognized_keys", "limits.requests"),
        ({"secret": "x"}, "unrecognized_keys", "secret"),
    ],
)
async def test_what_makes_no_token_says_where_it_is_wrong(change: dict[str, Any], code: str, param: str) -> None:
    async with house() as api:
        response = await api.client.post(TOKENS, json={"name": "t", "permissions": ["chat"], **change})
        listed = (await api.client.get(TOKENS)).json()
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert listed == {"tokens": []}


async def test_only_who_may_do_everything_manages_tokens() -> None:
    async with house() as api:
        key = (await made(api, permissions=["chat", "models.manage", "audit.read_all", "plugins"]))["token"]
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/abcd1234"), ("POST", "/abcd1234/rotate")):
            response = await api.client.request(method, TOKENS + path, headers={"x-api-key": key})
            assert (response.status_code, response.json()["error"]["code"]) == (403, "permission_denied")


async def test_a_token_for_some_tools_of_a_plugin_offers_these_alone() -> None:
    names = ("read_note", "list_notes", "write_note")

    async def done(arguments: JsonObject) -> str:
        return "done"

    notes = FakeServer([fake_tool(name, done) for name in names])
    engine = ScriptedEngine([[Call("read_note", "{}"), Call("write_note", "{}")], [Say("Done.")]])
    async with house(engine, {"mcp/notes": notes, "mcp/clock": FakeServer()}) as api:
        key = (await made(api, permissions=["chat", "plugins:mcp/no*/read_*", "plugins:mcp/notes/list_notes"]))["token"]
        reply = (await chat(api, key, integrations=["mcp/notes"])).json()
        assert [item["type"] for item in reply["output"]] == ["tool_call", "invalid_tool_call", "message"]
        assert reply["output"][1]["metadata"]["tool_name"] == "write_note"
        assert [tool.definition.name for tool in engine.requests[0].tools] == ["read_note", "list_notes"]

        narrowed = [{"type": "plugin", "id": "mcp/notes", "allowed_tools": ["write_note"]}]
        withheld = await chat(api, key, integrations=narrowed)
        other = await chat(api, key, integrations=["mcp/clock"])
    assert (withheld.status_code, withheld.json()["error"]) == (
        403,
        {
            "type": "invalid_request",
            "message": "The tool 'write_note' of 'mcp/notes' is not allowed by the API token.",
            "code": "permission_denied",
            "param": "integrations.0.allowed_tools.0",
        },
    )
    assert (other.status_code, other.json()["error"]["message"]) == (
        403,
        "Permission denied to use plugin 'mcp/clock': the API token allows other plugins only.",
    )


async def test_requests_beyond_a_tokens_rate_are_told_when_to_come_back() -> None:
    async with house() as api:
        key = (await made(api, limits={"requests_per_minute": 2}))["token"]
        answers = [await chat(api, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 50 <= int(answers[2].headers["Retry-After"]) <= 60


async def test_a_token_has_its_own_limit_of_runs_at_once() -> None:
    async with house(ScriptedEngine([[Stall(anyio.Event())]])) as api, served(api.app) as client:
        key = (await made(api, limits={"concurrent_runs": 1}))["token"]
        other = (await made(api, name="other"))["token"]
        stream = chat_body(stream=True)
        async with (
            client.stream("POST", CHAT, json=stream, headers={"x-api-key": key}) as first,
            client.stream("POST", CHAT, json=stream, headers={"x-api-key": other}) as second,
        ):
            assert (first.status_code, second.status_code) == (200, 200)
            refused = await client.post(CHAT, json=chat_body(), headers={"x-api-key": key})
    assert refused.status_code == 429
    assert "1 run already" in refused.json()["error"]["message"]


async def test_what_is_left_of_the_day_bounds_a_run_and_nothing_left_refuses_it() -> None:
    async with house(ScriptedEngine([[Say("one two three four")]])) as api:
        key = (await made(api, limits={"output_tokens_per_day": 3}))["token"]
        first = (await chat(api, key)).json()
        second = await chat(api, key)
    assert api.engine.requests[0].max_output_tokens == 3
    assert first["stats"]["total_output_tokens"] >= 3
    assert second.status_code == 429
    assert "output tokens of today" in second.json()["error"]["message"]


async def test_one_run_after_the_other_is_not_two_at_once_and_rotation_starts_no_new_day() -> None:
    async with house(ScriptedEngine([[Say("one two three four")]])) as api:
        new = await made(api, limits={"concurrent_runs": 1, "output_tokens_per_day": 12})
        first = [(await chat(api, new["token"], max_output_tokens=4)).status_code for _ in range(3)]
        rotated = (await api.client.post(f"{TOKENS}/{new['id']}/rotate", json={})).json()
        used_up = await chat(api, rotated["token"])
    assert first == [200, 200, 200]
    assert used_up.status_code == 429


async def test_parallel_runs_share_what_is_left_of_the_day() -> None:
    gate = anyio.Event()
    async with house(ScriptedEngine([[Stall(gate), Say("one two")]])) as api:
        key = (await made(api, limits={"output_tokens_per_day": 20}))["token"]
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await chat(api, key, max_output_tokens=10))
            if len(answers) == 3:
                gate.set()

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(ask)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
    assert [request.max_output_tokens for request in api.engine.requests] == [10, 10]
    assert "max_output_tokens" in next(answer for answer in answers if answer.status_code == 429).text
