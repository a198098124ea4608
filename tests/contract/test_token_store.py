"""What every `TokenStore` promises: the twin, SQLite and Postgres alike."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Admission, RunClaim, Token, TokenLimits
from orchestrator.service.callers import Caller
from orchestrator.service.quotas import Quotas
from orchestrator.service.tokens import TokenService
from orchestrator.store.database import open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.tokens import SqlTokenStore
from tests.store.readings import (
    store_error,
)
from tests.store.samples import (
    MINUTE,
    NOON,
)
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


async def test_tokens_are_found_listed_and_revoked_once(stores: Stores) -> None:
    tokens = stores.tokens
    first = Token(
        "abcd1234",
        "laptop",
        "ada",
        frozenset({"chat", "plugins:mcp/clock"}),
        NOON,
        expires_at=NOON + 5 * MINUTE,
        limits=TokenLimits(60, 2, 1000),
    )
    second = Token("efgh5678", "phone", "ada", frozenset(), NOON - MINUTE)
    await tokens.create_token(first, b"\x00digest")
    await tokens.create_token(second, b"other")
    assert await tokens.list_tokens() == [second, first]
    assert await tokens.find_token("abcd1234") == first
    assert await tokens.match_token("abcd1234", b"\x00digest") == first
    assert await tokens.match_token("abcd1234", b"other") is None
    assert await tokens.match_token("unknown", b"\x00digest") is None
    assert await tokens.find_token("unknown") is None

    assert await tokens.revoke_token("abcd1234", NOON + MINUTE)
    assert not await tokens.revoke_token("abcd1234", NOON + 2 * MINUTE)
    assert not await tokens.revoke_token("unknown", NOON)
    revoked = replace(first, revoked_at=NOON + MINUTE)
    assert await tokens.match_token("abcd1234", b"\x00digest") == revoked
    assert await tokens.list_tokens() == [second, revoked]
    with store_error():
        await tokens.create_token(replace(first, name="again"), b"third")
    with pytest.raises(OrchestratorError, match="There is a valid token called 'phone' already"):
        await tokens.create_token(replace(second, id="ijkl9012"), b"third")
    assert await tokens.list_tokens() == [second, revoked]


@pytest.mark.parametrize(
    ("ends", "ends_at", "revoked_at", "expires_at"),
    [
        (None, NOON, NOON, None),
        (None, NOON + MINUTE, None, NOON + MINUTE),
        (NOON + MINUTE, NOON + 2 * MINUTE, None, NOON + MINUTE),
        (NOON + MINUTE, NOON, NOON, NOON + MINUTE),
    ],
)
async def test_a_replaced_token_ends_when_it_is_told_to_and_never_later_than_it_would_have(
    stores: Stores,
    ends: datetime | None,
    ends_at: datetime,
    revoked_at: datetime | None,
    expires_at: datetime | None,
) -> None:
    tokens = stores.tokens
    old = Token("abcd1234", "laptop", "ada", frozenset({"chat"}), NOON - MINUTE, expires_at=ends)
    new = replace(old, id="efgh5678", created_at=NOON)
    await tokens.create_token(old, b"old")
    assert await tokens.replace_token("abcd1234", new, b"new", ends_at)
    assert await tokens.list_tokens() == [replace(old, revoked_at=revoked_at, expires_at=expires_at), new]
    assert await tokens.match_token("efgh5678", b"new") == new


async def test_a_name_is_revoked_for_all_that_have_it_and_are_valid(stores: Stores) -> None:
    tokens = stores.tokens
    expired = Token("abcd1234", "ci", "ada", frozenset({"chat"}), NOON - 9 * MINUTE, expires_at=NOON - 8 * MINUTE)
    graced = replace(expired, id="efgh5678", created_at=NOON - 8 * MINUTE, expires_at=None)
    new = replace(graced, id="ijkl9012", created_at=NOON)
    other = replace(graced, id="mnop3456", name="other")
    for token in (expired, graced, other):
        await tokens.create_token(token, b"digest")
    assert await tokens.replace_token("efgh5678", new, b"new", NOON + 9 * MINUTE)
    with pytest.raises(OrchestratorError, match="There is a valid token called 'ci' already"):
        await tokens.replace_token("efgh5678", replace(new, id="qrst7890"), b"newer", NOON)

    graced = replace(graced, expires_at=NOON + 9 * MINUTE)
    at = NOON + MINUTE
    ended = [replace(token, revoked_at=at) for token in (graced, new)]
    assert await tokens.revoke_named("ci", at) == ended
    assert await tokens.revoke_named("ci", at) == []
    assert await tokens.list_tokens() == [expired, ended[0], other, ended[1]]
    await tokens.create_token(replace(new, id="uvwx1234", created_at=at), b"again")


async def test_of_many_that_make_one_name_at_once_one_gets_it(store_url: str | None, tmp_path: Path) -> None:
    if store_url is None:  # the twin does nothing at once
        return
    databases = [await open_database(store_url) for _ in range(2)]
    try:
        services = [TokenService(SqlTokenStore(each, Sealer((), tmp_path / "encryption.key"))) for each in databases]
        kinds: list[ErrorKind | None] = []
        first: list[str | None] = []

        async def make(service: TokenService) -> None:
            try:
                await service.create_token("dup", ["chat"])
            except OrchestratorError as error:
                kinds.append(error.info.kind)
            else:
                kinds.append(None)

        async def start(service: TokenService) -> None:
            first.append(await service.bootstrap())

        async with anyio.create_task_group() as tasks:
            for service in services:
                tasks.start_soon(start, service)
        assert len([text for text in first if text is not None]) == 1
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(make, services[number % 2])
        assert sorted(kinds, key=str) == [None, *[ErrorKind.TOKEN_CONFLICT] * 9]
        assert [token.name for token in await services[0].list_tokens()] == ["bootstrap", "dup"]
    finally:
        for each in databases:
            await each.aclose()


async def test_a_token_that_is_over_is_not_replaced(stores: Stores) -> None:
    tokens = stores.tokens
    expired = Token("abcd1234", "a", "ada", frozenset({"chat"}), NOON - MINUTE, expires_at=NOON)
    revoked = Token("efgh5678", "b", "ada", frozenset({"chat"}), NOON - MINUTE, revoked_at=NOON)
    for token in (expired, revoked):
        await tokens.create_token(token, b"digest")
    new = Token("ijkl9012", "c", "ada", frozenset({"chat"}), NOON)
    for old in ("abcd1234", "efgh5678", "unknown"):
        assert not await tokens.replace_token(old, new, b"new", NOON)
    assert await tokens.list_tokens() == [expired, revoked]


async def test_what_an_account_spends_adds_up_by_the_day(stores: Stores) -> None:
    tokens, day, next_day = stores.tokens, NOON.date(), (NOON + timedelta(days=1)).date()
    assert await tokens.spent("abcd1234", day) == 0
    await tokens.settle_run(None, "abcd1234", day, 10)
    await tokens.settle_run(None, "abcd1234", day, 2**40)
    await tokens.settle_run(None, "abcd1234", next_day, 1)
    await tokens.settle_run("gone", "abcd1234", next_day, 2)
    await tokens.settle_run(None, "another1", day, 5)
    assert [await tokens.spent("abcd1234", at) for at in (day, next_day)] == [10 + 2**40, 3]


async def test_requests_are_counted_over_any_sixty_seconds(stores: Stores) -> None:
    second = MINUTE / 60
    told: list[float | None] = []
    for at in (0, 20, 30, 59, 60, 61, 80):
        moment = NOON + at * second
        free_at = await stores.tokens.count_request("abcd1234", 2, moment)
        told.append(None if free_at is None else (free_at - moment).total_seconds())
    assert told == [None, None, 30.0, 1.0, None, 19.0, None]
    assert await stores.tokens.count_request("another1", 2, NOON) is None


async def test_runs_hold_what_they_are_admitted_with_until_they_are_settled_or_their_lease_is_over(
    stores: Stores,
) -> None:
    tokens, day = stores.tokens, NOON.date()
    limits = TokenLimits(concurrent_runs=3, output_tokens_per_day=100)

    async def admit(id: str, asked: int | None, at: datetime = NOON) -> Admission:
        claim = RunClaim(id, "abcd1234", at.date(), asked, at + MINUTE)
        return await tokens.admit_run(claim, limits, at)

    assert await admit("a", 10) == Admission(True, 10, 0, 0, 0)
    assert await admit("b", None) == Admission(True, 90, 1, 10, 0)
    assert await admit("c", 5) == Admission(False, 0, 2, 100, 0)
    await tokens.settle_run("b", "abcd1234", day, 50)
    assert await admit("d", 5) == Admission(True, 5, 1, 10, 50)
    assert await admit("e", 5) == Admission(True, 5, 2, 15, 50)
    assert await admit("f", 5) == Admission(False, 5, 3, 20, 50)
    assert await tokens.admit_run(RunClaim("g", "another1", day, None, NOON), limits, NOON) == Admission(
        True, 100, 0, 0, 0
    )
    await tokens.renew_runs(["a"], NOON + 3 * MINUTE)
    assert await admit("h", None, NOON + 2 * MINUTE) == Admission(True, 40, 1, 10, 50)
    tomorrow = NOON + timedelta(days=1)
    await tokens.renew_runs(["h"], tomorrow + MINUTE)
    assert await admit("i", None, tomorrow) == Admission(True, 100, 1, 0, 0)
    await tokens.settle_run("h", "abcd1234", tomorrow.date(), 7)
    assert [await tokens.spent("abcd1234", at) for at in (day, tomorrow.date())] == [57, 0]


async def test_those_that_have_ended_are_found_among_those_that_are_asked_for(stores: Stores) -> None:
    tokens = stores.tokens
    for id, ends in (("abcd1234", None), ("efgh5678", NOON + MINUTE), ("ijkl9012", None), ("mnop3456", None)):
        await tokens.create_token(Token(id, id, "ada", frozenset({"chat"}), NOON, expires_at=ends), b"digest")
    for id in ("abcd1234", "mnop3456"):
        await tokens.revoke_token(id, NOON)
    asked = ["abcd1234", "efgh5678", "ijkl9012", "unknown1"]
    assert [token.id for token in await tokens.find_ended(asked, NOON)] == ["abcd1234"]
    assert [token.id for token in await tokens.find_ended(asked, NOON + MINUTE)] == ["abcd1234", "efgh5678"]


async def test_limits_hold_however_many_ask_at_once_of_two_processes(store_url: str | None, tmp_path: Path) -> None:
    if store_url is None:  # the twin does nothing at once
        return
    databases = [await open_database(store_url) for _ in range(2)]
    try:
        stores = [SqlTokenStore(each, Sealer((), tmp_path / "encryption.key")) for each in databases]
        quotas = [Quotas(store) for store in stores]
        who = Caller("ada", "abcd1234", limits=TokenLimits(5, 6, 20))
        given: list[int | None] = []
        requests = 0

        async def ask(number: int) -> None:
            nonlocal requests
            try:
                async with quotas[number % 2].admitted(who, 4) as ticket:
                    given.append(ticket.output_tokens)
            except OrchestratorError as error:
                assert error.info.kind is ErrorKind.RATE_LIMITED
            try:
                await quotas[number % 2].count_request(replace(who, token_id=f"rotated{number}", account="abcd1234"))
            except OrchestratorError:
                return
            requests += 1

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(ask, number)
        assert (given, requests) == ([4] * 5, 5)
    finally:
        for each in databases:
            await each.aclose()


async def test_two_processes_on_one_database_know_of_each_others_tokens_at_once(
    store_url: str | None, tmp_path: Path
) -> None:
    if store_url is None:  # the twin is one process's
        return
    here, there = [await open_database(store_url) for _ in range(2)]
    try:
        stores = [SqlTokenStore(database, Sealer((), tmp_path / "encryption.key")) for database in (here, there)]
        one, other = map(TokenService, stores)
        token, text = await one.create_token("shop", ["chat"], limits=TokenLimits(output_tokens_per_day=100))
        assert await other.verify(text) == token
        with pytest.raises(OrchestratorError, match="There is a valid token called 'shop' already"):
            await other.create_token("shop", ["chat"])

        who = Caller(token.owner, token.id, token.permissions, token.limits)
        quotas = [Quotas(store) for store in stores]
        async with quotas[0].admitted(who, None) as ticket:
            await quotas[0].settle(ticket, 60)
        async with quotas[1].admitted(who, None) as ticket:
            assert ticket.output_tokens == 40
            await quotas[1].settle(ticket, 40)
        with pytest.raises(OrchestratorError, match="used up its 100 output tokens"):
            async with quotas[0].admitted(who, None):
                pass

        new, new_text = await other.rotate(token.id)
        assert await one.verify(new_text) == new
        with pytest.raises(OrchestratorError, match="The API token is not valid"):
            await one.verify(text)
        await one.revoke(new.id)
        with pytest.raises(OrchestratorError, match="The API token is not valid"):
            await other.verify(new_text)
        assert await other.bootstrap() is None
    finally:
        await here.aclose()
        await there.aclose()
