"""What every `TokenStore` promises: the twin, SQLite and Postgres alike."""

from dataclasses import replace

import pytest

from orchestrator.ports import Token
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
    first = Token("abcd1234", "laptop", "ada", frozenset({"chat", "plugins:mcp/clock"}), NOON)
    second = Token("efgh5678", "laptop", "ada", frozenset(), NOON - MINUTE)
    await tokens.create_token(first, b"\x00digest")
    await tokens.create_token(second, b"other")
    assert await tokens.list_tokens() == [second, first]
    assert await tokens.find_token("abcd1234") == (first, b"\x00digest")
    assert await tokens.find_token("unknown") is None

    assert await tokens.revoke_token("abcd1234", NOON + MINUTE)
    assert not await tokens.revoke_token("abcd1234", NOON + 2 * MINUTE)
    assert not await tokens.revoke_token("unknown", NOON)
    revoked = replace(first, revoked_at=NOON + MINUTE)
    assert await tokens.find_token("abcd1234") == (revoked, b"\x00digest")
    assert await tokens.list_tokens() == [second, revoked]
    with store_error():
        await tokens.create_token(replace(first, name="again"), b"third")
    assert await tokens.list_tokens() == [second, revoked]
