"""Who may come in and what they may do (contract, sections 4 and 7); route by route in `tests/authorisation`."""

from typing import Any

import pytest

from orchestrator.testing import FakeServer
from tests.api.house import CHAT, House, chat_body, house

pytestmark = pytest.mark.anyio

INVALID = {"type": "invalid_request", "message": "The API token is not valid.", "code": "invalid_api_key"}
MISSING = {
    "type": "invalid_request",
    "message": "An API token is required. Send it as 'Authorization: Bearer …' or 'x-api-key: …'.",
    "code": "invalid_api_key",
}
OPEN = [("GET", "/health"), ("GET", "/schema"), ("GET", "/schema/openapi.json"), ("GET", "/schema/page.js")]


async def token_text(api: House, *permissions: str, owner: str | None = None) -> str:
    made = len(await api.tokens.list_tokens())
    return (await api.tokens.create_token(f"test {made}", permissions, owner=owner))[1]


async def test_who_sends_no_token_is_told_how_to() -> None:
    async with house(require_authentication=True) as api:
        response = await api.client.get("/api/v1/models")
    assert (response.status_code, response.json()) == (401, {"error": MISSING})
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_what_tells_nothing_is_open_to_all(method: str, path: str) -> None:
    async with house(require_authentication=True) as api:
        response = await api.client.request(method, path)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        "sk-lm-abcdefgh:abcdefghijklmnopqrst",
        "sk-lm-abcdefgh:short",
        "sk-lm-abcdefgh:abcdefghijklmnopqrst ",
        "lm-studio",
        "",
        "ü",
        "sk-lm-" + "a" * 10_000,
    ],
)
async def test_a_bad_token_is_refused_and_is_not_echoed(bad: str) -> None:
    async with house(require_authentication=True) as api:
        for name, value in ((b"Authorization", f"Bearer {bad}"), (b"x-api-key", f"!{bad}")):
            response = await api.client.get("/api/v1/models", headers={name: value.encode()})
            assert (response.status_code, response.json()) == (401, {"error": INVALID})
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_where_no_token_is_required_a_bad_one_is_refused_and_a_placeholder_is_not() -> None:
    async with house(require_authentication=False) as api:
        statuses = [
            (await api.client.get("/api/v1/models", headers={"Authorization": f"Bearer {sent}"})).status_code
            for sent in ("sk-lm-abcdefgh:abcdefghijklmnopqrst", "lm-studio", "")
        ]
    assert statuses == [401, 200, 200]


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "authorization: bearer  {}", "x-api-key: {}"])
async def test_a_good_token_lets_in(header: str) -> None:
    async with house(require_authentication=True) as api:
        name, value = header.format(await token_text(api, "chat")).split(": ")
        response = await api.client.post(CHAT, json=chat_body(), headers={name: value})
    assert response.status_code == 200


async def test_another_authorization_scheme_is_no_token() -> None:
    async with house(require_authentication=True) as api:
        basic = {"Authorization": "Basic dXNlcjpwYXNz"}
        alone = await api.client.get("/api/v1/models", headers=basic)
        key = await token_text(api, "admin")
        beside = await api.client.get("/api/v1/models", headers={**basic, "x-api-key": key})
    assert (alone.json(), beside.status_code) == ({"error": MISSING}, 200)


def denied(message: str, param: str | None = None) -> dict[str, Any]:
    error = {"type": "invalid_request", "message": message, "code": "permission_denied"}
    return {"error": error if param is None else {**error, "param": param}}


async def test_a_token_does_what_its_permissions_say_and_nothing_else() -> None:
    plugin = {"integrations": ["mcp/clock"]}
    ephemeral = {
        "integrations": [{"type": "ephemeral_mcp", "server_label": "search", "server_url": "https://mcp.example"}]
    }
    async with house(servers={"mcp/clock": FakeServer(), "search": FakeServer()}) as api:

        async def ask(permissions: str, **body: Any) -> tuple[int, Any]:
            key = await token_text(api, *permissions.split())
            response = await api.client.post(CHAT, json=chat_body(**body), headers={"x-api-key": key})
            return response.status_code, response.json() if response.status_code != 200 else None

        assert await ask("chat") == (200, None)
        assert await ask("admin", **plugin) == (200, None)
        assert await ask("chat plugins", **plugin) == (200, None)
        assert await ask("chat ephemeral_mcp", **ephemeral) == (200, None)
        assert await ask("plugins") == (403, denied("The API token has no permission to chat."))
        message = "Permission denied to use plugin 'mcp/clock': the API token does not allow plugins."
        assert await ask("chat ephemeral_mcp", **plugin) == (403, denied(message, "integrations"))
        message = "Permission denied: the API token does not allow ephemeral MCP servers."
        assert await ask("chat plugins", **ephemeral) == (403, denied(message, "integrations"))


async def test_reading_needs_its_permission_too() -> None:
    async with house() as api:
        chatter, reader = await token_text(api, "chat"), await token_text(api, "models.read")
        models = [await api.client.get("/api/v1/models", headers={"x-api-key": key}) for key in (chatter, reader)]
        responses = [
            await api.client.get("/api/v1/responses/resp_1", headers={"x-api-key": key}) for key in (chatter, reader)
        ]
    assert [response.status_code for response in models] == [403, 200]
    assert models[0].json() == denied("The API token has no permission to list models.")
    assert [response.status_code for response in responses] == [404, 403]
    assert responses[1].json() == denied("The API token has no permission to read responses.")


async def test_an_owner_sees_its_own_responses_only_and_keeps_them_with_a_new_token() -> None:
    async with house() as api:
        mine, theirs = await token_text(api, "chat", owner="me"), await token_text(api, "chat", owner="them")
        renewed = await token_text(api, "chat", owner="me")
        made = await api.client.post(CHAT, json=chat_body(), headers={"x-api-key": mine})
        path = f"/api/v1/responses/{made.json()['response_id']}"
        found = [
            (await api.client.get(path, headers={"x-api-key": key})).status_code for key in (mine, renewed, theirs)
        ]
        local = (await api.client.get(path)).status_code
        continued = [
            await api.client.post(
                CHAT, json=chat_body(previous_response_id=made.json()["response_id"]), headers={"x-api-key": key}
            )
            for key in (renewed, theirs)
        ]
    assert (found, local) == ([200, 200, 404], 404)
    assert [response.status_code for response in continued] == [200, 400]
