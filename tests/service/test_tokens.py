"""API tokens: made, verified, rotated, ended."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.ports import Token, TokenLimits
from orchestrator.service.tokens import TokenService
from orchestrator.testing import MemoryTokenStore

pytestmark = pytest.mark.anyio

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INVALID = ErrorInfo(ErrorKind.INVALID_API_KEY, "The API token is not valid.")


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


async def verified(tokens: TokenService, text: str) -> ErrorInfo | Token:
    try:
        return await tokens.verify(text)
    except OrchestratorError as error:
        return error.info


async def problem(
    tokens: TokenService, name: str = "x", permissions: tuple[str, ...] = ("chat",), **more: object
) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as raised:
        await tokens.create_token(name, permissions, **more)  # pyright: ignore[reportArgumentType] - wrong on purpose
    return raised.value.info


async def test_a_token_has_its_shape_and_an_owner_of_its_own() -> None:
    store = MemoryTokenStore()
    token, text = await TokenService(store).create_token("laptop", ["chat", "plugins"])
    assert re.fullmatch(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}", text)
    assert text[6:14] == token.id
    assert re.fullmatch(r"owner_[0-9a-f]{16}", token.owner)
    assert (token.name, token.permissions, token.revoked_at) == ("laptop", {"chat", "plugins"}, None)
    assert await store.find_token(token.id) == token


async def test_no_two_tokens_are_alike() -> None:
    tokens = TokenService(MemoryTokenStore())
    made = [await tokens.create_token(f"t{number}", ["chat"]) for number in range(50)]
    assert len({text for _, text in made}) == len({token.owner for token, _ in made}) == 50


async def test_a_token_is_verified_until_it_is_revoked() -> None:
    tokens = TokenService(MemoryTokenStore())
    token, text = await tokens.create_token("laptop", ["chat"])
    assert await verified(tokens, text) == token
    ended = await tokens.revoke(token.id)
    assert ended == replace(token, revoked_at=ended.revoked_at)
    assert await verified(tokens, text) == INVALID


async def test_a_token_is_verified_until_it_expires_and_its_holder_is_told() -> None:
    clock = Clock()
    tokens = TokenService(MemoryTokenStore(), now=clock)
    token, text = await tokens.create_token("laptop", ["chat"], expires_at=NOON + HOUR)
    clock.now = NOON + HOUR - timedelta(seconds=1)
    assert await verified(tokens, text) == token
    clock.now = NOON + HOUR
    assert await verified(tokens, text) == ErrorInfo(
        ErrorKind.INVALID_API_KEY, "The API token expired at 2030-01-01T13:00:00Z."
    )
    assert await verified(tokens, text[:-1] + ("a" if text[-1] != "a" else "b")) == INVALID


async def test_the_secret_of_another_token_does_not_fit() -> None:
    tokens = TokenService(MemoryTokenStore())
    (first, one), (_, other) = await tokens.create_token("a", ["chat"]), await tokens.create_token("b", ["chat"])
    mixed = f"sk-lm-{first.id}:{other[15:]}"
    assert await verified(tokens, one) == first
    assert await verified(tokens, mixed) == INVALID


async def test_a_rotated_token_is_the_same_but_for_its_text_and_the_old_one_ends_after_its_grace() -> None:
    clock = Clock()
    tokens = TokenService(MemoryTokenStore(), now=clock)
    limits = TokenLimits(requests_per_minute=5)
    old, text = await tokens.create_token("laptop", ["chat"], expires_at=NOON + 9 * HOUR, limits=limits)
    new, new_text = await tokens.rotate(old.id, grace=HOUR)
    assert new == replace(old, id=new.id, lineage=old.id)
    assert (new.id, new_text) != (old.id, text)
    assert isinstance(await verified(tokens, text), Token)
    clock.now += HOUR
    assert isinstance(await verified(tokens, text), ErrorInfo)
    assert await verified(tokens, new_text) == new
    newest, _ = await tokens.rotate(new.id)
    assert newest.account == new.account == old.account == old.id
    assert await verified(tokens, new_text) == INVALID


async def test_what_there_is_not_is_not_rotated_or_revoked() -> None:
    tokens = TokenService(MemoryTokenStore())
    token, _ = await tokens.create_token("laptop", ["chat"])
    await tokens.revoke(token.id)
    for token_id in (token.id, "nothing1"):
        for act in (tokens.rotate, tokens.revoke):
            with pytest.raises(OrchestratorError) as raised:
                await act(token_id)
            assert raised.value.info.kind is ErrorKind.TOKEN_NOT_FOUND


async def test_a_name_belongs_to_one_valid_token_at_a_time() -> None:
    tokens = TokenService(MemoryTokenStore())
    token, _ = await tokens.create_token("ci", ["chat"])
    message = "There is a valid token called 'ci' already: revoke it, rotate it, or choose another name."
    assert await problem(tokens, "ci") == ErrorInfo(ErrorKind.TOKEN_CONFLICT, message, "name")
    await tokens.revoke(token.id)
    await tokens.create_token("ci", ["chat"])


async def test_a_name_that_is_revoked_ends_every_token_that_has_it() -> None:
    tokens = TokenService(MemoryTokenStore())
    leaked, leaked_text = await tokens.create_token("ci", ["chat"])
    other, other_text = await tokens.create_token("other", ["chat"])
    new, new_text = await tokens.rotate(leaked.id, grace=HOUR)
    assert [token.id for token in await tokens.revoke_named("ci")] == [leaked.id, new.id]
    assert [await verified(tokens, text) for text in (leaked_text, new_text)] == [INVALID, INVALID]
    assert await verified(tokens, other_text) == other
    with pytest.raises(OrchestratorError, match="There is no valid token called 'ci'"):
        await tokens.revoke_named("ci")


async def test_a_token_in_its_grace_is_not_rotated_while_the_new_one_is_valid() -> None:
    tokens = TokenService(MemoryTokenStore())
    old, text = await tokens.create_token("ci", ["chat"])
    new, _ = await tokens.rotate(old.id, grace=HOUR)
    with pytest.raises(OrchestratorError) as raised:
        await tokens.rotate(old.id)
    assert raised.value.info.kind is ErrorKind.TOKEN_CONFLICT
    assert isinstance(await verified(tokens, text), Token)
    await tokens.revoke(new.id)
    assert (await tokens.rotate(old.id))[0].name == "ci"


class LateStore(MemoryTokenStore):
    """Another process makes its first token after this one has looked for tokens."""

    async def list_tokens(self) -> list[Token]:
        return []


async def test_the_first_token_is_made_by_one_of_two_processes() -> None:
    store = LateStore()
    made = [await TokenService(store).bootstrap() for _ in range(2)]
    assert [text is None for text in made] == [False, True]


async def test_what_makes_no_token_says_which_field_it_is() -> None:
    tokens = TokenService(MemoryTokenStore(), now=Clock())
    assert (await problem(tokens, " ")).param == "name"
    assert (await problem(tokens, "x" * 201)).param == "name"
    assert (await problem(tokens, permissions=())).message == "A token needs at least one permission."
    assert (await problem(tokens, permissions=("chat", "fly"))).param == "permissions"
    assert (await problem(tokens, expires_at=NOON)).param == "expires_at"
    assert (await problem(tokens, limits=TokenLimits(concurrent_runs=0))).param == "limits.concurrent_runs"


async def test_the_first_token_is_made_once() -> None:
    store = MemoryTokenStore()
    tokens = TokenService(store)
    text = await tokens.bootstrap()
    assert text is not None
    first = await tokens.verify(text)
    assert (first.name, first.permissions) == ("bootstrap", {"admin"})
    assert await tokens.bootstrap() is None
    await tokens.revoke(first.id)
    assert await tokens.bootstrap() is None
