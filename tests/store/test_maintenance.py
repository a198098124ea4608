"""The size of a database, and what a vacuum leaves of what was deleted."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from orchestrator.core.items import TextInput
from orchestrator.core.response import Completed
from orchestrator.ports import LONG_TEXT
from orchestrator.store import graph as graph_module
from orchestrator.store import search
from orchestrator.store.database import Database, open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.maintenance import TableSize, statistics, vacuum
from orchestrator.store.responses import SqlResponseStore
from tests.contract.test_suspended_runs import ITEMS, SUSPENSION
from tests.store.samples import MINUTE, NOON, STATS, answered, call, new_response

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

WORDS = tuple(f"{letter}qzcanary" for letter in "jkvwyz")
"""An index shortens a word by what it has in common with the one before it: these have nothing."""

LATER = NOON + MINUTE


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


async def fill(database: Database, responses: int = 3) -> None:
    """So many that ended, each with a long text; one that runs, its lease long over; one that waits."""
    store = SqlResponseStore(database)
    for number in range(responses):
        id = f"resp_{number}"
        said = TextInput(f"{WORDS[number % len(WORDS)]} {number} " + "x" * LONG_TEXT)
        await store.open_response(replace(new_response(id, at=NOON + number * MINUTE), input=(said,)))
        await store.save_response(id, Completed(), STATS, [], [], LATER)
    await store.open_response(new_response("resp_running"))
    await store.open_response(new_response("resp_waiting"))
    await store.journal_calls("resp_waiting", ITEMS, NOON)
    await store.suspend_response("resp_waiting", SUSPENSION, STATS, NOON)


def rows(tables: tuple[TableSize, ...]) -> dict[str, int]:
    return {table.name: table.rows for table in tables if table.rows}


async def test_everything_is_counted(database: Database) -> None:
    empty = await statistics(database)
    await fill(database)
    found = await statistics(database)
    assert empty.bytes > 0 and (empty.oldest_response, empty.stored_responses) == (None, 0)
    counted = rows(found.tables)
    assert {name: counted[name] for name in ("responses", "blobs", "tool_calls", "response_search")} == {
        "responses": 5,
        "blobs": 4,  # of three long texts, and of the picture that two have
        "tool_calls": 3,
        "response_search": 3,
    }
    assert found.blob_bytes > 3 * LONG_TEXT
    assert (found.stored_responses, found.deleted_responses) == (5, 0)
    assert (found.oldest_response, found.newest_response) == (NOON, NOON + 2 * MINUTE)
    assert (found.in_progress, found.expired_leases, found.waiting_for_approval) == (1, 1, 1)
    assert found.kind in ("sqlite", "postgres")
    assert all(table.bytes is None or table.bytes >= 0 for table in found.tables)
    assert found.search_bytes is None or found.search_bytes > 0


async def test_a_vacuum_gives_back_what_was_deleted(database: Database) -> None:
    await fill(database, 30)
    graph = SqlResponseGraph(database)
    await vacuum(database)
    before = await statistics(database)
    for number in range(30):
        await graph.delete_response(f"resp_{number}", "ada", LATER, subtree=False, keep_skeleton=False)
    await vacuum(database)
    after = await statistics(database)
    assert (after.stored_responses, after.deleted_responses) == (2, 0)
    assert rows(after.tables)["blobs"] == 1
    if after.kind == "sqlite":
        assert after.free_bytes == 0
        assert after.bytes < before.bytes - 20 * LONG_TEXT


async def a_deleted_word(url: str) -> tuple[Database, SqlResponseGraph]:
    database = await open_database(url)
    await fill(database)
    graph = SqlResponseGraph(database)
    await graph.delete_response("resp_1", "ada", datetime.now(UTC), subtree=False, keep_skeleton=True)
    await graph.overwrite()
    kept = await database.read(search.needs_merge)
    assert (WORDS[1].encode() in written(url)) is kept, "an older SQLite keeps the word in its index until then"
    return database, graph


def written(url: str) -> bytes:
    file = Path(url.partition(":///")[2])
    return b"".join([each.read_bytes() for each in sorted(file.parent.glob(f"{file.name}*"))])


async def test_a_word_of_a_deleted_response_is_not_in_the_file_after_a_vacuum(sqlite_url: str) -> None:
    database, _ = await a_deleted_word(sqlite_url)
    await vacuum(database)
    left = written(sqlite_url)
    await database.aclose()
    assert WORDS[1].encode() not in left
    assert WORDS[0].encode() in left


async def test_a_word_of_a_deleted_response_is_not_in_the_file_after_a_round_of_retention(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the index keeps deleted words until it is written anew, which takes a few steps."""
    monkeypatch.setattr(graph_module, "MERGE_PAUSE_SECONDS", 0)
    database, graph = await a_deleted_word(sqlite_url)
    await graph.overwrite(whole=True)
    left = written(sqlite_url)
    begun: list[bool] = []

    def step(connection: Connection, *, begin: bool) -> bool:
        begun.append(begin)
        return False

    monkeypatch.setattr(search, "merge_step", step)
    await graph.overwrite(whole=True)
    await database.aclose()
    assert WORDS[1].encode() not in left
    assert WORDS[0].encode() in left
    assert begun == [], "nothing was deleted since"


async def test_other_processes_write_while_the_index_is_written_anew(sqlite_url: str) -> None:
    database, graph = await a_deleted_word(sqlite_url)
    other = await open_database(sqlite_url)
    await graph.overwrite(whole=True)
    await SqlResponseStore(other).open_response(new_response("resp_new"))
    await SqlResponseStore(other).journal_calls("resp_new", [call(0, "call_new")], NOON)
    await SqlResponseStore(other).record_outcome("resp_new", "call_new", answered("fine"), NOON)
    found = await statistics(database)
    await other.aclose()
    await database.aclose()
    assert found.stored_responses == 5
