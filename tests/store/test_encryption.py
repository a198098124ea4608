"""What is encrypted at rest, and what is said when its key is not there."""

import re
import stat
import threading
from pathlib import Path

import pytest

from orchestrator.core.errors import OrchestratorError
from orchestrator.ports import UnreadableCredentialError
from orchestrator.store.database import open_database
from orchestrator.store.encryption import MissingKeyError, Sealer, key_id, new_key, parse_key
from orchestrator.store.oauth_credentials import SqlOAuthCredentialStore
from tests.store.samples import NOON

pytest_plugins = ("tests.store.databases",)


def test_what_is_sealed_opens_with_its_key_and_under_its_context_only(tmp_path: Path) -> None:
    first, second = parse_key(new_key()), parse_key(new_key())
    sealed, sealed_with = Sealer([first], tmp_path / "key").seal(b"token", "mcp/x")
    assert sealed_with == key_id(first)
    assert b"token" not in sealed
    assert Sealer([second, first], tmp_path / "key").open(sealed, sealed_with, "mcp/x") == b"token"
    with pytest.raises(OrchestratorError, match="was changed"):
        Sealer([first], tmp_path / "key").open(sealed, sealed_with, "mcp/y")
    with pytest.raises(MissingKeyError, match=f"{sealed_with} is not in ORCHESTRATOR_ENCRYPTION_KEY"):
        Sealer([second], tmp_path / "key").open(sealed, sealed_with, "mcp/x")
    assert not (tmp_path / "key").exists()


def test_a_key_file_is_made_when_it_is_first_needed_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "encryption.key"
    with pytest.raises(MissingKeyError, match=re.escape(str(file))):
        Sealer((), file).open(b"", "0" * 12, "x")
    assert not file.exists()
    sealed, sealed_with = Sealer((), file).seal(b"token", "x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Sealer((), file).open(sealed, sealed_with, "x") == b"token"
    assert [path.name for path in tmp_path.iterdir()] == ["encryption.key"]


def test_many_who_need_a_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(Sealer((), tmp_path / "key").seal(b"", "")[1])) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and len(set(found)) == 1


@pytest.mark.parametrize("text", ["", "# a comment\n", "short", "ä", "A" * 44])
def test_a_file_without_a_key_is_named_and_not_repeated(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(OrchestratorError, match=rf"key file {re.escape(str(file))} holds no key") as caught:
        Sealer((), file).seal(b"", "")
    assert not text or text not in str(caught.value)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(new_key())
    file.chmod(0o640)
    with pytest.raises(OrchestratorError, match=r"can be read by other users; run: chmod 600 "):
        Sealer((), file).seal(b"", "")


@pytest.mark.anyio
async def test_a_lost_key_is_said_with_what_to_do_and_a_new_login_replaces_the_old(
    database_url: str, tmp_path: Path
) -> None:
    database = await open_database(database_url)
    try:
        old = SqlOAuthCredentialStore(database, Sealer((), tmp_path / "old.key"))
        await old.write_credential("k", "mcp/x", b"secret-token", NOON, replaces=None)
        new = SqlOAuthCredentialStore(database, Sealer((), tmp_path / "new.key"))
        lost = key_id(parse_key((tmp_path / "old.key").read_text()))
        with pytest.raises(UnreadableCredentialError) as caught:
            await new.read_credential("k")
        assert str(caught.value) == (
            f"The login of 'mcp/x' cannot be read: the encryption key {lost} is not in {tmp_path / 'new.key'}. "
            "Bring that key back, or log in again: orchestrator plugins login mcp/x"
        )
        await new.write_credential("k", "mcp/x", b"fresh", NOON, replaces=None)
        found = await new.read_credential("k")
        assert found is not None and (found.content, found.revision) == (b"fresh", 2)
    finally:
        await database.aclose()


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("test.db*")]


@pytest.mark.anyio
async def test_no_part_of_a_token_is_in_the_database_file(sqlite_url: str, tmp_path: Path) -> None:
    database = await open_database(sqlite_url)
    try:
        store = SqlOAuthCredentialStore(database, Sealer((), tmp_path / "key"))
        await store.write_credential("k", "mcp/x", b"access-token-of-ada", NOON, replaces=None)
    finally:
        await database.aclose()
    files = written(tmp_path)
    assert files and not any(b"token-of-ada" in content for content in files)
