"""`orchestrator db stats` and `db vacuum`: how large the database is, and smaller."""

import json
from pathlib import Path

import anyio
import pytest

from orchestrator.store.database import open_database
from tests.cli.program import run
from tests.store.samples import NOON
from tests.store.test_maintenance import fill

pytest_plugins = ("tests.store.databases",)


async def filled(url: str) -> None:
    database = await open_database(url)
    await fill(database)
    await database.aclose()


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a database with something in it."""
    anyio.run(filled, database_url)
    return {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path / "data")}


def test_the_size_of_a_database_is_shown_to_people_and_programs(environ: dict[str, str]) -> None:
    told = json.loads(run("db", "stats", "--json", **environ).stdout)
    assert (told["stored_responses"], told["in_progress"], told["expired_leases"], told["waiting_for_approval"]) == (
        *(5, 1, 1, 1),
    )
    assert told["oldest_response"].startswith(f"{NOON:%Y-%m-%dT%H:%M:%S}")
    assert [table["rows"] for table in told["tables"] if table["name"] == "tool_calls"] == [3]
    shown = run("db", "stats", **environ).stdout
    assert f"{told['kind']}" in shown and f"{NOON:%Y-%m-%d %H:%M:%S} UTC" in shown and "tool_calls" in shown


def test_a_vacuum_says_how_large_the_database_was_and_is(environ: dict[str, str]) -> None:
    told = json.loads(run("db", "vacuum", "--json", **environ).stdout)
    assert 0 < told["bytes"] and set(told) == {"bytes_before", "bytes"}
    shown = run("db", "vacuum", **environ).stdout
    assert " before, " in shown and shown.endswith(" now\n")


def test_an_empty_database_has_no_oldest_response(tmp_path: Path) -> None:
    shown = run("db", "stats", DATA_DIR=str(tmp_path / "d")).stdout
    assert "none" in shown
