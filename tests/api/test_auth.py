"""Who may come in and what they may do (contract, sections 4 and 7)."""

import re
from typing import Any

import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.ports import Token
from orchestrator.service.tokens import TokenService
from orchestrator.testing import FakeServer, MemoryStore
from tests.api.house import CHAT, House, chat_body, house

pytestmark = pytest.mark.anyio

INVALID = {"type": "invalid_request", "message": "The API token is not valid.", "code": "invalid_api_key"}
MISSING = {
    "type": "invalid_request",
    "message": "An API token is required. Send it as 'Authorization: Bearer …' or 'x-api-key: …'.",
    "code": "invalid_api_key",
}
DOWNLOADS = [
    ("POST", "/api/v1/models/download"),
    ("GET", "/api/v1/models/download/status/{job_id:str}"),
    *[("POST", f"/api/v1/models/download/{{job_id:str}}/{action}") for action in ("pause", "resume", "cancel")],
]
GUARDED = [("POST", CHAT), ("GET", "/api/v1/models"), ("GET", "/api/v1/responses/resp_1"), *DOWNLOADS]
OPEN = [("GET", "/health"), ("GET", "/schema"), ("GET", "/schema/openapi.json"), ("GET", "/schema/page.js")]


async def token_text(api: House, *permissions: str, owner: str | None = None) -> str:
    return (await api.tokens.create_token("test", permissions, owner=owner))[1]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_where_tokens_are_required_nobody_gets_further_without_one(method: str, path: str) -> None:
    async with house(require_authentication=True) as api:
        response = await api.client.request(method, path)
    assert (response.status_code, response.json()) == (401, {"error": MISSING})
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_what_tells_nothing_is_open_to_all(method: str, path: str) -> None:
    async with house(require_authentication=True) as api:
        response = await api.client.request(method, path)
    assert response.status_code == 200


async def test_every_route_is_either_guarded_or_known_to_be_open() -> None:
    async with house() as api:
        routes = {(method, route.path) for route in api.app.routes for method in route.methods if method != "OPTIONS"}
    known = {("GET", "/api/v1/responses/{response_id:str}"), ("GET", "/schema/{asset:str}"), *GUARDED, *OPEN}
    assert routes == known - {("GET", "/api/v1/responses/resp_1"), ("GET", "/schema/page.js")}


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
@pytest.mark.parametrize("required", [True, False])
async def test_a_bad_token_is_refused_even_where_none_is_required_and_is_not_echoed(bad: str, required: bool) -> None:
    async with house(require_authentication=required) as api:
        for name, value in ((b"Authorization", f"Bearer {bad}"), (b"x-api-key", f"!{bad}")):
            response = await api.client.get("/api/v1/models", headers={name: value.encode()})
            assert (response.status_code, response.json()) == (401, {"error": INVALID})
            assert response.headers["WWW-Authenticate"] == "Bearer"


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


class TestTokens:
    """The token service itself."""

    async def test_a_token_has_its_shape_and_is_kept_without_its_secret(self) -> None:
        store = MemoryStore()
        token, text = await TokenService(store).create_token("laptop", ["chat", "plugins"])
        assert re.fullmatch(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}", text)
        assert text[6:14] == token.id
        assert re.fullmatch(r"owner_[0-9a-f]{16}", token.owner)
        assert (token.name, token.permissions, token.revoked_at) == ("laptop", {"chat", "plugins"}, None)
        found = await store.find_token(token.id)
        assert found is not None
        assert (found[0], len(found[1])) == (token, 32)
        assert text[15:] not in str(found)

    async def test_no_two_tokens_are_alike(self) -> None:
        tokens = TokenService(MemoryStore())
        made = [await tokens.create_token("t", ["chat"]) for _ in range(50)]
        assert len({text for _, text in made}) == len({token.owner for token, _ in made}) == 50

    async def test_a_token_is_verified_until_it_is_revoked(self) -> None:
        store = MemoryStore()
        tokens = TokenService(store)
        token, text = await tokens.create_token("laptop", ["chat"])
        assert await tokens.verify(text) == token
        await store.revoke_token(token.id, token.created_at)
        assert await refusal(tokens, text) == ErrorInfo(ErrorKind.INVALID_API_KEY, "The API token is not valid.")

    async def test_the_secret_of_another_token_does_not_fit(self) -> None:
        tokens = TokenService(MemoryStore())
        (first, one), (_, other) = await tokens.create_token("a", ["chat"]), await tokens.create_token("b", ["chat"])
        mixed = f"sk-lm-{first.id}:{other[15:]}"
        assert await tokens.verify(one) == first
        assert await refusal(tokens, mixed) == ErrorInfo(ErrorKind.INVALID_API_KEY, "The API token is not valid.")

    async def test_a_permission_that_there_is_not_is_refused(self) -> None:
        with pytest.raises(OrchestratorError) as raised:
            await TokenService(MemoryStore()).create_token("laptop", ["chat", "fly"])
        known = "chat, models.read, models.manage, plugins, ephemeral_mcp, audit.read, audit.read_all, admin"
        message = f"There is no permission 'fly', only: {known}."
        assert raised.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "permissions")


async def refusal(tokens: TokenService, text: str) -> ErrorInfo | Token:
    try:
        return await tokens.verify(text)
    except OrchestratorError as error:
        return error.info
