"""Units of work: what they promise, what is told when they fail, what SQLite is set to."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.util import await_only

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.store.database import Database, database_url, open_database
from orchestrator.store.tables import blobs, input_items
from tests.store.stores import sqlite_address

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

CONTRADICTION = "The store failed: what was to be written contradicts what is there."


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(sqlite_url)
    yield opened
    await opened.aclose()


def add(digest: str) -> Callable[[Connection], None]:
    """A unit of work that adds a row."""

    def work(connection: Connection) -> None:
        connection.execute(insert(blobs), {"digest": digest, "content": "x"})

    return work


def add_and_fail(connection: Connection) -> None:
    add("undone")(connection)
    raise RuntimeError("after the write")


def digests(connection: Connection) -> list[str]:
    return [*connection.execute(select(blobs.c.digest).order_by(blobs.c.digest)).scalars()]


def refer_to_nothing(connection: Connection) -> None:
    """Breaks a foreign key, which is noticed only by the commit."""
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    connection.execute(insert(input_items), {"response_id": "none", "position": 0, "type": "text"})


# ---- units of work ----------------------------------------------------------------------------


async def test_a_unit_that_raises_leaves_nothing_and_its_exception_is_its_own(database: Database) -> None:
    await database.write(add("a"))
    with pytest.raises(RuntimeError, match="after the write"):
        await database.write(add_and_fail)
    await database.write(add("b"))
    assert await database.read(digests) == ["a", "b"]


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await database.read(add("a"))
    assert caught.value.info.kind is ErrorKind.STORE_ERROR
    assert await database.read(digests) == []


async def test_a_read_sees_one_snapshot_however_many_its_statements(database: Database) -> None:
    await database.write(add("a"))

    def read_write_read(connection: Connection) -> list[list[str]]:
        before = digests(connection)
        if connection.dialect.name == "sqlite":
            anyio.from_thread.run(database.write, add("b"))
        else:
            await_only(database.write(add("b")))
        return [before, digests(connection)]

    assert await database.read(read_write_read) == [["a"], ["a"]]
    assert await database.read(digests) == ["a", "b"]


async def test_what_contradicts_is_told_without_sql_or_values(database: Database) -> None:
    await database.write(add("secret digest"))
    with pytest.raises(OrchestratorError) as caught:
        await database.write(add("secret digest"))
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, CONTRADICTION)


async def test_a_defect_of_the_code_is_not_dressed_up_as_a_failing_store(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(select(blobs.c["no such column"]))

    with pytest.raises(KeyError, match="no such column"):
        await database.read(work)


# ---- SQLite: groups and cancellation ----------------------------------------------------------


class Gate:
    """A unit of work that waits, and with it everything that is asked for meanwhile."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self._leave = threading.Event()

    def work(self, connection: Connection) -> None:
        add("gate")(connection)
        anyio.from_thread.run_sync(self.entered.set)
        assert self._leave.wait(30)

    def leave(self) -> None:
        self._leave.set()


async def ask_behind_gate(database: Database, *works: Callable[[Connection], None]) -> list[Exception | None]:
    """What comes of works that all wait while another one is busy, and so run in one transaction."""
    gate, results = Gate(), list[Exception | None](None for _ in works)

    async def ask(place: int, work: Callable[[Connection], None]) -> None:
        try:
            await database.write(work)
        except Exception as error:
            results[place] = error

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(database.write, gate.work)
            await gate.entered.wait()
            for place, work in enumerate(works):
                tasks.start_soon(ask, place, work)
            await anyio.wait_all_tasks_blocked()
            gate.leave()
    return results


async def test_units_that_wait_share_a_commit_and_one_that_fails_undoes_only_itself(sqlite: Database) -> None:
    transactions: set[str] = set()

    def remember(connection: Connection) -> None:
        add(f"r{len(transactions)}")(connection)
        transactions.add(repr(connection.get_transaction()))

    results = await ask_behind_gate(sqlite, remember, add_and_fail, add("b"), add("b"), remember)
    assert [type(result) for result in results] == [
        type(None),
        RuntimeError,
        type(None),
        OrchestratorError,
        type(None),
    ]
    assert len(transactions) == 1
    assert await sqlite.read(digests) == ["b", "gate", "r0", "r1"]


async def test_a_commit_that_fails_is_told_to_everyone_whose_work_was_in_it(sqlite: Database) -> None:
    results = await ask_behind_gate(sqlite, add("a"), refer_to_nothing, add("b"))
    told = [result.info for result in results if isinstance(result, OrchestratorError)]
    assert told == [ErrorInfo(ErrorKind.STORE_ERROR, CONTRADICTION)] * 3
    assert await sqlite.read(digests) == ["gate"]


async def test_a_unit_can_be_cancelled_until_it_begins(sqlite: Database) -> None:
    gate = Gate()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sqlite.write, gate.work)
            await gate.entered.wait()
            with anyio.move_on_after(0):
                await sqlite.write(add("late"))
            gate.leave()
    assert await sqlite.read(digests) == ["gate"]


async def test_a_unit_that_has_begun_runs_to_its_end_however_its_asker_is_torn_away(sqlite: Database) -> None:
    gate = Gate()
    # Not a task group's cancellation, which waits for the thread: the kind that only tears away.
    asker = asyncio.get_running_loop().create_task(sqlite.write(gate.work))
    with anyio.fail_after(30):
        await gate.entered.wait()
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sqlite.write, add("next"))
            await anyio.wait_all_tasks_blocked()
            gate.leave()
    assert await sqlite.read(digests) == ["gate", "next"]


async def test_a_cancelled_write_to_postgres_leaves_a_usable_connection(postgres_url: str) -> None:
    database = await open_database(postgres_url)
    entered = anyio.Event()

    def work(connection: Connection) -> None:
        entered.set()
        add("a")(connection)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.write, work)
        await entered.wait()
        tasks.cancel_scope.cancel()
    assert await database.read(digests) == ["a"]
    await database.aclose()


# ---- settings ---------------------------------------------------------------------------------


async def test_the_pragmas_that_durability_and_privacy_rest_on_are_in_force(sqlite: Database) -> None:
    def pragmas(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout", "query_only")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 20_000,
        "query_only": 0,
    }
    assert await sqlite.write(pragmas) == expected
    assert await sqlite.read(pragmas) == expected | {"query_only": 1}


async def test_postgres_plans_each_query_for_the_tables_as_they_are(postgres_url: str) -> None:
    def settings(connection: Connection) -> dict[str, object]:
        names = ("plan_cache_mode", "application_name", "transaction_isolation", "transaction_read_only")
        return {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names}

    database = await open_database(postgres_url)
    expected = {"plan_cache_mode": "force_custom_plan", "application_name": "orchestrator"}
    writing = {"transaction_isolation": "read committed", "transaction_read_only": "off"}
    reading = {"transaction_isolation": "repeatable read", "transaction_read_only": "on"}
    assert await database.write(settings) == expected | writing
    assert await database.read(settings) == expected | reading
    assert await database.write(settings) == expected | writing
    await database.aclose()


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite+aiosqlite:////data/x.db", "sqlite"),
        ("sqlite:///x.db", "sqlite"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql://u@h/d", "postgresql+asyncpg"),
        ("postgres://u@h/d", "postgresql+asyncpg"),
    ],
)
def test_an_address_may_be_written_in_the_usual_ways(text: str, driver: str) -> None:
    assert database_url(text).drivername == driver


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The database URL cannot be read."),
        ("x.db", "The database URL cannot be read."),
        ("postgresql://u:secret@h:port/d", "The database URL cannot be read."),
        (
            "mysql://u:secret@h/d",
            "A database URL begins with sqlite+aiosqlite:///… or postgresql+asyncpg://…, not with mysql.",
        ),
        ("sqlite://", "An SQLite database needs a file: sqlite+aiosqlite:///<path>."),
        ("sqlite+aiosqlite:///:memory:", "An SQLite database needs a file: sqlite+aiosqlite:///<path>."),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(text: str, message: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        database_url(text)
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, message)


# ---- what goes wrong outside ------------------------------------------------------------------


async def test_a_database_that_does_not_answer_is_told_by_its_cause(tmp_path: Path, free_tcp_port: int) -> None:
    text = tmp_path / "text.db"
    text.write_text("This is no database. " * 100)
    causes = {
        sqlite_address(tmp_path / "missing" / "x.db"): "the database file cannot be opened",
        sqlite_address(text): "the database file is not an SQLite database",
        f"postgresql://u:secret@127.0.0.1:{free_tcp_port}/d": "the database server cannot be reached",
    }
    for url, cause in causes.items():
        with pytest.raises(OrchestratorError) as caught:
            await open_database(url)
        assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, f"The store failed: {cause}.")


async def test_a_postgres_database_that_is_not_there_is_told(empty_postgres_url: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await open_database(empty_postgres_url.replace("/orchestrator_", "/missing_"))
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, "The store failed: the database does not exist.")


async def test_tables_that_are_not_there_are_told(empty_postgres_url: str) -> None:
    database = await open_database(empty_postgres_url)
    with pytest.raises(OrchestratorError) as caught:
        await database.read(digests)
    message = "The store failed: the tables are not the ones this version needs, or may not be used."
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, message)
    await database.aclose()


async def test_a_full_disk_is_told_and_ends_nothing_else(sqlite: Database) -> None:
    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.execute(insert(blobs), {"digest": "large", "content": "x" * 100_000})

    await sqlite.write(add("a"))
    with pytest.raises(OrchestratorError) as caught:
        await sqlite.write(fill)
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, "The store failed: the disk is full.")
    assert await sqlite.read(digests) == ["a"]
