"""What redaction took out of a run that waits is in the database only encrypted, and lost with its key."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.approvals import Approve
from orchestrator.core.json_types import JsonObject
from orchestrator.ports import Suspension
from orchestrator.store.database import Database, open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.responses import SqlResponseStore
from tests.contract.test_suspended_runs import ITEMS, SUSPENSION, by_ada
from tests.store.samples import NOON, STATS, new_response
from tests.store.stores import TEST_KEY
from tests.store.test_privacy import everything

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

SECRET = "canary-66aa"
WITHHELD: JsonObject = {"texts": {"0": SECRET}}


def sealer(key: bytes = TEST_KEY) -> Sealer:
    return Sealer([key], Path("unused"))


async def put_away(database: Database, keys: Sealer | None) -> SqlResponseStore:
    store = SqlResponseStore(database, sealer=keys)
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", ITEMS, NOON)
    await store.suspend_response("resp_a", replace(SUSPENSION, withheld=WITHHELD), STATS, NOON)
    return store


async def suspension(store: SqlResponseStore) -> Suspension | None:
    run = await store.read_run("resp_a", "ada")
    return None if run is None else run.suspension


async def test_it_is_sealed_in_the_row_and_opened_by_the_same_key_only(database_url: str) -> None:
    database = await open_database(database_url)
    await put_away(database, sealer())
    rows = await database.read(everything)
    found = [await suspension(SqlResponseStore(database, sealer=keys)) for keys in (sealer(), sealer(bytes(32)), None)]
    stranger = SqlResponseStore(database, sealer=sealer(bytes(32)))
    await stranger.record_decisions("resp_a", [by_ada("call_1", Approve())], {"edits": {"call_1": {"pin": SECRET}}})
    kept = await suspension(SqlResponseStore(database, sealer=sealer()))
    after = await database.read(everything)
    await database.aclose()
    assert SECRET not in rows and SECRET not in after
    assert found == [replace(SUSPENSION, withheld=WITHHELD), SUSPENSION, SUSPENSION]
    assert kept == replace(SUSPENSION, withheld=WITHHELD), "who cannot read it does not put anything in its place"


async def test_where_no_key_can_be_had_it_is_not_kept(sqlite_url: str, tmp_path: Path) -> None:
    """The way to the key file is a file here."""
    (tmp_path / "nowhere").write_text("")
    for keys in (None, Sealer([], tmp_path / "nowhere" / "key")):
        database = await open_database(sqlite_url)
        store = SqlResponseStore(database, sealer=keys)
        await store.open_response(new_response(f"resp_{keys is None}"))
        await store.suspend_response(f"resp_{keys is None}", replace(SUSPENSION, withheld=WITHHELD), STATS, NOON)
        run = await store.read_run(f"resp_{keys is None}", "ada")
        rows = await database.read(everything)
        await database.aclose()
        assert run is not None and run.suspension == SUSPENSION
        assert SECRET not in rows
