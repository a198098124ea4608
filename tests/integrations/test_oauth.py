"""Plugins with a login, against a real authorization server on loopback."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from structlog.testing import capture_logs

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.integrations.oauth.credential import encode
from orchestrator.store.database import open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.oauth_credentials import SqlOAuthCredentialStore
from tests.integrations.harness import SCOPE, catalog_of, plugin, refusal_to_open, serving
from tests.integrations.oauth_house import Browser, House, house_of
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.programs.oauth_app import OAuthApp

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

COULD_NOT = "The plugin 'mcp/x' could not be started (stage: authorise): "
NEEDS_LOGIN = ErrorInfo(
    ErrorKind.PLUGIN_CONNECTION_ERROR,
    COULD_NOT + "it needs a login: run `orchestrator plugins login mcp/x`.",
    "integrations",
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with house_of(tmp_path, OAuthApp()) as house:
        yield house


async def call(house: House, tool: str = "first", oauth: object = None) -> str:
    """The answer of a tool, asked for by a service in which nobody can log in."""
    async with house.catalog(oauth=oauth) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        return (await session.call_tool(tool, {})).text


async def test_without_a_login_it_is_said_how_to_get_one_and_nothing_is_registered(house: House) -> None:
    async with house.catalog() as catalog:
        assert await refusal_to_open(catalog, plugin()) == NEEDS_LOGIN
    assert house.app.registrations == 0


async def test_a_login_finds_everything_by_itself_and_serves_every_later_process(house: House) -> None:
    browser = Browser()
    await house.log_in(browser)
    (shown,) = browser.shown
    assert shown["code_challenge_method"] == "S256"
    assert shown["resource"] == f"{house.origin}/mcp"
    assert shown["scope"] == "read"
    assert house.app.registrations == 1
    assert await call(house) == "fine"
    assert await call(house) == "fine"
    assert len(browser.shown) == 1 and house.app.authority.refreshes == 0
    kept = await house.kept()
    assert house.tokens_seen()[-1] == f"Bearer {kept.access_token}"


async def test_a_token_near_its_end_is_renewed_before_it_is_used(house: House) -> None:
    await house.log_in()
    first = await house.kept()
    house.now += 3590
    assert await call(house) == "fine"
    second = await house.kept()
    assert first.access_token != second.access_token and first.refresh_token != second.refresh_token
    assert second.expires_at == house.now + 3600
    assert (house.app.authority.refreshes, house.app.authority.reuses) == (1, 0)
    used = house.tokens_seen()
    assert f"Bearer {second.access_token}" in used
    assert used.index(f"Bearer {second.access_token}") > max(
        place for place, token in enumerate(used) if token == f"Bearer {first.access_token}"
    )


async def test_a_token_that_the_server_no_longer_takes_is_renewed_and_the_request_repeated(house: House) -> None:
    await house.log_in()
    house.app.authority.access.clear()
    assert await call(house) == "fine"
    assert house.app.authority.refreshes == 1


async def test_many_who_wait_renew_once(house: House) -> None:
    await house.log_in()
    async with house.catalog() as catalog, catalog.open([plugin()], SCOPE) as (session,):
        house.app.authority.access.clear()
        answers: list[str] = []

        async def ask() -> None:
            answers.append((await session.call_tool("first", {})).text)

        async with anyio.create_task_group() as callers:
            for _ in range(20):
                callers.start_soon(ask)
    assert answers == ["fine"] * 20
    assert (house.app.authority.refreshes, house.app.authority.reuses) == (1, 0)


async def test_processes_that_share_a_database_renew_once_between_them(database_url: str, tmp_path: Path) -> None:
    """Each has a database connection and a catalog of its own; they share what is on disk."""
    async with AsyncExitStack() as closing:
        databases = [await open_database(database_url) for _ in range(4)]
        for database in databases:
            closing.push_async_callback(database.aclose)
        stores = [SqlOAuthCredentialStore(database, Sealer((), tmp_path / "key")) for database in databases]
        house = await closing.enter_async_context(house_of(tmp_path, OAuthApp(), stores[0]))
        await house.log_in()
        house.app.authority.access.clear()
        answers: list[str] = []

        async def ask(store: SqlOAuthCredentialStore) -> None:
            answers.append(await call(replace(house, store=store)))

        async with anyio.create_task_group() as processes:
            for store in stores:
                processes.start_soon(ask, store)
    assert answers == ["fine"] * 4
    assert (house.app.authority.refreshes, house.app.authority.reuses) == (1, 0)


async def test_a_renewal_goes_on_when_the_one_who_asked_for_it_goes_away(house: House) -> None:
    await house.log_in()
    house.app.authority.access.clear()
    house.app.holding = anyio.Event()
    async with house.catalog() as catalog:

        async def ask() -> None:
            async with catalog.open([plugin()], SCOPE) as (session,):
                await session.call_tool("first", {})

        async with anyio.create_task_group() as askers:
            askers.start_soon(ask)
            with anyio.fail_after(5):
                await house.app.hanging.wait()
            askers.cancel_scope.cancel()
        house.app.holding.set()
        await ask()
    assert (house.app.authority.refreshes, house.app.authority.reuses) == (1, 0)
    assert await call(house) == "fine"


async def test_a_refresh_token_that_is_refused_means_a_new_login(house: House) -> None:
    await house.log_in()
    house.app.authority.forget_everything()
    async with house.catalog() as catalog:
        assert await refusal_to_open(catalog, plugin()) == NEEDS_LOGIN
    kept = await house.kept()
    assert (kept.access_token, kept.refresh_token) == (None, None)
    await house.log_in()
    assert house.app.registrations == 1  # the client is still known there
    assert await call(house) == "fine"


async def test_an_authorization_server_that_is_down_costs_no_login(house: House) -> None:
    await house.log_in()
    house.app.answers["/token"] = (503, {})
    house.now += 3590  # due, and not expired yet
    assert await call(house) == "fine"
    house.now += 20
    async with house.catalog() as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert refused.message == COULD_NOT + f"its authorization server at {house.origin} answered 503."
    del house.app.answers["/token"]
    assert await call(house) == "fine"


async def test_a_tool_that_needs_more_rights_fails_alone_and_the_next_login_asks_for_them(house: House) -> None:
    await house.log_in()
    async with house.catalog() as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("second", {})
        assert (await session.call_tool("first", {})).text == "fine"
    assert caught.value.info.message == (
        "The tool 'second' of 'mcp/x' gave no result: it needs a login with more rights (scope: write): "
        "run `orchestrator plugins login mcp/x`."
    )
    browser = Browser()
    house.app.authority.forget_everything()
    await house.log_in(browser)
    assert [shown["scope"] for shown in browser.shown] == ["read write"]
    assert await call(house, "second") == "s4"


async def test_where_a_person_is_at_hand_more_rights_are_asked_for_at_once(house: House) -> None:
    browser = Browser()
    async with house.catalog(browser) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("second", {})).text == "s1"
    assert [shown["scope"] for shown in browser.shown] == ["read", "read write"]


async def test_scopes_of_the_file_are_asked_for_from_the_start(house: House) -> None:
    browser = Browser()
    await house.log_in(browser, {"scopes": "write"})
    assert [set(shown["scope"].split()) for shown in browser.shown] == [{"read", "write"}]


async def test_a_plugin_that_moves_takes_no_token_along(house: House) -> None:
    await house.log_in()
    other = FaultyApp()
    async with serving(other) as elsewhere:
        async with catalog_of(house.folder, {"x": {"url": f"{elsewhere}/fine"}}, credentials=house.store) as catalog:
            async with catalog.open([plugin()], SCOPE):
                pass
    assert {request.headers.get("authorization") for request in other.seen} == {None}


async def test_another_client_in_the_file_begins_anew(house: House) -> None:
    await house.log_in()
    async with house.catalog(oauth={"client_id": "other"}) as catalog:
        assert await refusal_to_open(catalog, plugin()) == NEEDS_LOGIN


@pytest.mark.parametrize(
    "oauth", [{"headers": {"Authorization": "Bearer key-hunter22"}}, {"oauth": False}], ids=["own header", "off"]
)
async def test_who_brings_a_token_or_wants_none_hears_of_no_login(house: House, oauth: dict[str, object]) -> None:
    async with catalog_of(house.folder, {"x": {**house.entry, **oauth}}, credentials=house.store) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert "(stage: HTTP status): it answered 401 Unauthorized." in refused.message


CHANGED_ANSWERS: list[tuple[dict[str, str | None], str]] = [
    ({"state": "made-up"}, "the browser came back from another login than this one."),
    ({"state": None}, "the browser came back from another login than this one."),
    ({"iss": "https://evil.example"}, "authorization response iss mismatch: https://evil.example != "),
    ({"code": "made-up"}, "refused (400, invalid_grant: authorization code does not exist)."),
]


@pytest.mark.parametrize(("changes", "reason"), CHANGED_ANSWERS)
async def test_an_answer_that_belongs_to_another_login_is_refused(
    house: House, changes: dict[str, str | None], reason: str
) -> None:
    async with house.catalog(Browser(changes=changes)) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert refused.message.startswith(COULD_NOT)
    assert reason in refused.message
    assert house.app.authority.access == {}


async def test_no_token_is_in_any_message_or_log_line(house: House) -> None:
    await house.log_in()
    kept = await house.kept()
    assert kept.access_token is not None and kept.refresh_token is not None and kept.client is not None
    house.app.authority.access.clear()
    error = {"error": "invalid_grant", "error_description": f"{kept.refresh_token} is not {kept.access_token}"}
    house.app.answers["/token"] = (400, error)
    with capture_logs() as lines:
        async with house.catalog(Browser()) as catalog:
            refused = await refusal_to_open(catalog, plugin())
    assert "refused (400, invalid_grant: ••• is not •••)" in refused.message
    for secret in (kept.access_token, kept.refresh_token, "code-"):
        assert secret not in refused.message + str(lines)
    assert not any(secret in repr(kept) for secret in (kept.access_token, kept.refresh_token, kept.client))


async def test_a_server_that_repeats_the_token_shows_nobody(house: House) -> None:
    await house.log_in()
    house.app.mode = "echoes-the-key"
    async with house.catalog() as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError, match=r"not allowed with Bearer •••\.$"):
            await session.call_tool("first", {})


# ---- the service's own credentials --------------------------------------------------------------


MACHINE: dict[str, str] = {"grant": "client_credentials", "client_id": "machine"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("said", [True, False])
async def test_a_service_with_a_secret_needs_nobody(tmp_path: Path, method: str, said: bool) -> None:
    app = OAuthApp(machine_secret="s3cret+of/the=machine", machine_methods=(method,))
    async with house_of(tmp_path, app) as house:
        more = {"token_endpoint_auth_method": method} if said else {}
        oauth = {**MACHINE, "client_secret": "s3cret+of/the=machine", **more}
        assert await call(house, oauth=oauth) == "fine"
        assert await call(house, oauth=oauth) == "fine"
        assert len(app.authority.access) == 1
        house.now += 3601
        app.authority.access.clear()
        assert await call(house, oauth=oauth) == "fine"
        assert app.authority.resources == [f"{house.origin}/mcp"] * 2
        assert b"s3cret" not in encode(await house.kept())


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
async def test_a_service_with_a_key_signs_for_itself(tmp_path: Path, kind: str) -> None:
    match kind:
        case "rsa":
            key = rsa.generate_private_key(65537, 2048)
        case "ec":
            key = ec.generate_private_key(ec.SECP256R1())
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    async with house_of(tmp_path, OAuthApp(machine_key=key.public_key())) as house:
        assert await call(house, oauth={**MACHINE, "private_key": pem}) == "fine"


async def test_a_secret_that_is_refused_is_said_and_not_repeated(tmp_path: Path) -> None:
    async with house_of(tmp_path, OAuthApp(machine_secret="right")) as house:
        async with house.catalog(
            oauth={**MACHINE, "client_secret": "wrong-hunter22", "issuer": house.origin}
        ) as catalog:
            refused = await refusal_to_open(catalog, plugin())
    assert f"its authorization server at {house.origin} refused (401, invalid_client: not " in refused.message
    assert "wrong-hunter22" not in refused.message


async def test_a_secret_goes_to_no_other_authorization_server_than_its_own(tmp_path: Path) -> None:
    app = OAuthApp(machine_secret="right")
    async with house_of(tmp_path, app) as house:
        async with house.catalog(
            oauth={**MACHINE, "client_secret": "right", "issuer": "http://127.0.0.1:1"}
        ) as catalog:
            refused = await refusal_to_open(catalog, plugin())
        assert refused.message.startswith(COULD_NOT)
        assert app.authority.access == {}
        oauth = {**MACHINE, "client_secret": "right"}
        assert await call(house, oauth=oauth) == "fine"
        # The first one found counts from then on.
        moved = OAuthApp(machine_secret="right")
        async with serving(moved) as elsewhere:
            moved.configure(elsewhere)
            house.names_authority(f"{elsewhere}/")
            app.authority.access.clear()
            async with house.catalog(oauth=oauth) as catalog:
                refused = await refusal_to_open(catalog, plugin())
        assert refused.message.startswith(COULD_NOT)
        assert moved.authority.access == {}
