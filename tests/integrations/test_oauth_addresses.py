"""Where a server says that its authorization server is: only where the network policy lets anybody go."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx2
import pytest

from orchestrator.integrations.network_policy import HostRules, NetworkPolicy
from orchestrator.integrations.oauth.authority import LONGEST_ANSWER, open_authority_client
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.server_url import parse_server_url
from tests.integrations.harness import LOOPBACK, plugin, refusal_to_open, serving
from tests.integrations.oauth_house import Browser, House, house_of
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.programs.oauth_app import OAuthApp

pytestmark = pytest.mark.anyio
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with house_of(tmp_path, OAuthApp()) as house:
        yield house


async def refused_login(house: House) -> str:
    browser = Browser()
    async with house.catalog(browser) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert browser.shown == []
    before, _, reason = refused.message.partition("(stage: authorise): ")
    assert before == "The plugin 'mcp/x' could not be started "
    return reason


def metadata(house: House, **changes: object) -> tuple[int, object]:
    """What the authorization server says of itself, where it is changed."""
    issuer = f"{house.origin}/"
    return 200, {
        "issuer": issuer,
        "authorization_endpoint": f"{house.origin}/authorize",
        "token_endpoint": f"{house.origin}/token",
        "registration_endpoint": f"{house.origin}/register",
        "code_challenge_methods_supported": ["S256"],
        **changes,
    }


INWARD: list[tuple[str, str]] = [
    ("https://10.0.0.1", "the address is private"),
    ("https://10.1", "the address is private"),
    ("https://0xa9fea9fe", "the address is link-local"),
    ("https://169.254.169.254/latest", "the address is link-local"),
    ("https://[fd00:ec2::254]", "the address is private"),
    ("https://[::ffff:10.0.0.1]", "the address is private"),
    ("https://[64:ff9b::a00:1]", "the address is private"),
    ("https://[2002:a00:1::]", "the address is private"),
    ("https://0.0.0.0", "the address is unspecified"),
    ("https://100.64.0.1", "the address is shared by carriers"),
    ("http://10.0.0.1", "does not use https"),
    ("http://auth.example", "does not use https"),
    ("https://user:pass@auth.example", "must not hold a user name or a password"),
]


@pytest.mark.parametrize(("address", "reason"), INWARD)
async def test_an_authorization_server_inside_is_not_asked(house: House, address: str, reason: str) -> None:
    house.names_authority(address)
    assert reason in await refused_login(house)


@pytest.mark.parametrize("endpoint", ["registration_endpoint", "authorization_endpoint"])
async def test_an_endpoint_inside_is_not_used(house: House, endpoint: str) -> None:
    inside = "http://10.0.0.1/x" if endpoint == "authorization_endpoint" else "https://10.0.0.1/x"
    house.app.answers[METADATA] = metadata(house, **{endpoint: inside})
    reason = await refused_login(house)
    assert "the address is private" in reason or "http://10.0.0.1 does not use https" in reason


async def test_a_token_endpoint_inside_gets_no_code(house: House) -> None:
    house.app.answers[METADATA] = metadata(house, token_endpoint="https://10.0.0.1/x")
    async with house.catalog(Browser()) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert "its authorization server at https://10.0.0.1 cannot be asked (stage: resolve): " in refused.message


async def test_metadata_that_redirects_elsewhere_is_not_followed(house: House) -> None:
    other = FaultyApp()
    async with serving(other) as elsewhere:
        house.app.answers[METADATA] = (307, f"{elsewhere}/metadata")
        house.app.answers["/.well-known/openid-configuration"] = (302, f"{elsewhere}/metadata")
        house.app.answers["/register"] = (307, f"{elsewhere}/register")
        await refused_login(house)
    assert other.seen == []


async def test_a_name_that_leads_inside_is_not_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("127.0.0.1" if host == "inside.example" else "8.8.8.8", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    url = parse_server_url("https://outside.example/mcp")
    async with open_authority_client(url, OAuthConfig(), LOOPBACK) as client:
        with pytest.raises(AuthorizationError, match=r"\(stage: resolve\): the address is loopback, and only public"):
            await client.send(httpx2.Request("GET", "https://inside.example/"))


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "http://localhost:1/", "https://127.0.0.1:1/"])
async def test_a_server_elsewhere_sends_nobody_to_this_machine(address: str) -> None:
    for server in ("https://outside.example/mcp", "https://8.8.8.8/mcp", "http://10.0.0.1/mcp"):
        async with open_authority_client(parse_server_url(server), OAuthConfig(), LOOPBACK) as client:
            with pytest.raises(AuthorizationError, match="the address is loopback"):
                await client.send(httpx2.Request("GET", address))


async def test_what_the_file_names_may_be_anywhere() -> None:
    """The server's own origin, and the issuer; nothing listens there, which is how far it comes."""
    server = parse_server_url("http://127.0.0.1:1/mcp")
    strict = NetworkPolicy(deny=HostRules.parse(["127.0.0.0/8"], setting="DENY"))
    async with open_authority_client(server, OAuthConfig(issuer="http://127.0.0.2:1/"), strict) as client:
        for address in ("http://127.0.0.1:1/token", "http://127.0.0.2:1/token"):
            with pytest.raises(AuthorizationError, match=r"\(stage: connect\): connection refused"):
                await client.send(httpx2.Request("GET", address))
        with pytest.raises(AuthorizationError, match="list of denied hosts"):
            await client.send(httpx2.Request("GET", "http://127.0.0.3:1/token"))


async def test_answers_without_end_and_compressed_ones_are_not_read(house: House) -> None:
    house.app.answers[METADATA] = (200, "x" * LONGEST_ANSWER)
    assert f"it answered with more than {LONGEST_ANSWER} bytes" in await refused_login(house)
    async with serving(FaultyApp()) as origin:
        server = parse_server_url(f"{origin}/compresses")
        async with open_authority_client(server, OAuthConfig(), LOOPBACK) as client:
            with pytest.raises(AuthorizationError, match="compresses its answers"):
                await client.send(httpx2.Request("GET", f"{origin}/compresses"))


async def test_an_authorization_server_without_pkce_gets_nobody(house: House) -> None:
    for methods in (["plain"], None):
        house.app.answers[METADATA] = metadata(house, code_challenge_methods_supported=methods)
        assert await refused_login(house) == "its authorization server does not say that it supports PKCE with S256."


async def test_metadata_of_another_issuer_is_refused(house: House) -> None:
    house.app.answers[METADATA] = metadata(house, issuer="https://evil.example")
    assert "authorization server metadata issuer mismatch: https://evil.example != " in await refused_login(house)


async def test_metadata_of_another_resource_is_refused(house: House) -> None:
    path = "/.well-known/oauth-protected-resource/mcp"
    house.app.answers[path] = (200, {"resource": "https://evil.example/", "authorization_servers": [house.origin]})
    assert "protected resource https://evil.example/ does not match expected " in await refused_login(house)


async def test_a_server_that_has_no_authorization_server_says_so(house: House) -> None:
    for path in ("oauth-protected-resource/mcp", "oauth-protected-resource", "oauth-authorization-server"):
        house.app.answers[f"/.well-known/{path}"] = (404, {})
    house.app.answers["/register"] = (404, {})
    assert await refused_login(house) == f"its authorization server at {house.origin} refused (404)."
