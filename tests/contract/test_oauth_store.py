"""What every `OAuthCredentialStore` promises: the twin, SQLite and Postgres alike."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from orchestrator.ports import OAuthCredential, OAuthCredentialStore
from orchestrator.store.database import open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.oauth_credentials import SqlOAuthCredentialStore
from orchestrator.testing_oauth import MemoryOAuthCredentialStore
from tests.store.samples import MINUTE, NOON

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str | None, tmp_path: Path) -> AsyncGenerator[OAuthCredentialStore]:
    if store_url is None:
        yield MemoryOAuthCredentialStore()
        return
    database = await open_database(store_url)
    try:
        yield SqlOAuthCredentialStore(database, Sealer((), tmp_path / "encryption.key"))
    finally:
        await database.aclose()


async def test_what_was_written_is_read_and_each_write_is_a_revision(store: OAuthCredentialStore) -> None:
    assert await store.read_credential("k") is None
    assert await store.write_credential("k", "mcp/x", b"one", NOON, replaces=None) == 1
    assert await store.read_credential("k") == OAuthCredential("k", "mcp/x", b"one", 1, NOON)
    assert await store.write_credential("k", "mcp/x", b"two", NOON + MINUTE, replaces=1) == 2
    assert await store.read_credential("k") == OAuthCredential("k", "mcp/x", b"two", 2, NOON + MINUTE)


async def test_a_write_over_another_revision_keeps_what_is_there(store: OAuthCredentialStore) -> None:
    assert await store.write_credential("k", "mcp/x", b"lost", NOON, replaces=1) is None
    assert await store.read_credential("k") is None
    await store.write_credential("k", "mcp/x", b"one", NOON, replaces=None)
    await store.write_credential("k", "mcp/x", b"two", NOON, replaces=None)
    assert await store.write_credential("k", "mcp/x", b"late", NOON, replaces=1) is None
    assert await store.read_credential("k") == OAuthCredential("k", "mcp/x", b"two", 2, NOON)


async def test_one_of_many_gets_the_claim_until_it_ends(store: OAuthCredentialStore) -> None:
    assert not await store.claim_credential("k", "a", NOON, NOON + MINUTE)
    await store.write_credential("k", "mcp/x", b"one", NOON, replaces=None)
    won: list[str] = []

    async def claim(holder: str) -> None:
        if await store.claim_credential("k", holder, NOON, NOON + MINUTE):
            won.append(holder)

    async with anyio.create_task_group() as tasks:
        for holder in "abcdefgh":
            tasks.start_soon(claim, holder)
    assert len(won) == 1
    await store.release_credential("k", "somebody else")
    assert not await store.claim_credential("k", "z", NOON, NOON + MINUTE)
    await store.release_credential("k", won[0])
    assert await store.claim_credential("k", "z", NOON, NOON + MINUTE)
    assert await store.claim_credential("k", "y", NOON + 2 * MINUTE, NOON + 3 * MINUTE)
    await store.write_credential("k", "mcp/x", b"two", NOON, replaces=None)
    assert await store.claim_credential("k", "x", NOON, NOON + MINUTE)


async def test_a_plugin_is_forgotten_with_all_its_credentials(store: OAuthCredentialStore) -> None:
    await store.write_credential("k1", "mcp/x", b"one", NOON, replaces=None)
    await store.write_credential("k2", "mcp/x", b"two", NOON, replaces=None)
    await store.write_credential("k3", "mcp/a", b"three", NOON + MINUTE, replaces=None)
    assert await store.list_credentials() == [("mcp/a", NOON + MINUTE), ("mcp/x", NOON), ("mcp/x", NOON)]
    assert await store.delete_credentials("mcp/x") == 2
    assert await store.delete_credentials("mcp/x") == 0
    assert await store.read_credential("k1") is None
    assert await store.list_credentials() == [("mcp/a", NOON + MINUTE)]
