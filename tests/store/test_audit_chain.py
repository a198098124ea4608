"""The chain over the journal: what it commits to, and that whatever is changed is named."""

import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text, update

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue, canonical_json
from orchestrator.core.response import Completed
from orchestrator.core.storable_text import storable
from orchestrator.ports import ForkPoint
from orchestrator.ports.audit import AuditHead, AuditProblem, AuditVerification
from orchestrator.store import audit_chain as chain
from orchestrator.store import audit_links as links
from orchestrator.store import audit_outside, audit_proof, audit_shown, audit_verify, migrate, response_proof
from orchestrator.store.audit_verify import AuditRange, verify
from orchestrator.store.database import Database, open_database
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import audit_heads, call_arguments, tool_calls
from tests.store.decided import write_decisions
from tests.store.processes import writer_process
from tests.store.samples import (
    LEASE,
    MINUTE,
    NOON,
    STATS,
    answered,
    call,
    cut_call,
    ephemeral_call,
    invented_call,
    new_response,
    settled,
)
from tests.store.samples import text as message
from tests.store.stores import sqlite_address

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


ODD = "\x00\x10 \ud800 \u2028 \x7f é 😀"
"""What the databases cannot hold as it is, and what writers of JSON disagree about."""


async def write_everything(store: SqlResponseStore) -> None:
    """A run of each kind: every status there is, stored and not."""
    await store.open_response(new_response("resp_a"))
    odd = call(4, "call_odd", arguments={"zone": ODD, "big": 2**70, "tiny": 1e-7, "list": [1, 1.5, None, True]})
    await store.journal_calls(
        "resp_a", [message(0), call(1, "call_1"), ephemeral_call(2, "call_2"), invented_call(3, "call_3"), odd], NOON
    )
    await store.record_outcome("resp_a", "call_2", answered("first"), NOON + MINUTE)
    late = settled(call(6, "call_6"), answered("whole"))
    await store.save_response(
        "resp_a", Completed(), STATS, [cut_call(5, "call_5"), late], [("call_odd", answered(ODD))], NOON + MINUTE
    )
    await store.open_response(replace(new_response("resp_b", stored=False), owner="bob"))
    await store.journal_calls("resp_b", [call(0, "call_b1"), invented_call(1, "call_b2")], NOON)
    await store.end_abandoned(LEASE + MINUTE, [])


ADA_LINKS, BOB_LINKS = 11, 4
"""`call_1` of ada's is never settled."""


@pytest.fixture
async def written(database: Database) -> Database:
    await write_everything(SqlResponseStore(database))
    await database.write(lambda connection: chain.append_checkpoint(connection, NOON))
    return database


@pytest.fixture(scope="module")
def sqlite_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "whole.db"

    async def write() -> None:
        await migrate.upgrade(sqlite_address(path))
        opened = await open_database(sqlite_address(path))
        await write_everything(SqlResponseStore(opened))
        await opened.write(lambda connection: chain.append_checkpoint(connection, NOON))
        await opened.aclose()

    anyio.run(write)
    return path


@pytest.fixture
async def sqlite_written(sqlite_journal: Path, tmp_path: Path) -> AsyncGenerator[Database]:
    """Of SQLite, which keeps a value of any type in any column; Postgres refuses it."""
    copy = tmp_path / "anything.db"
    shutil.copy(sqlite_journal, copy)
    opened = await open_database(sqlite_address(copy))
    yield opened
    await opened.aclose()


async def heads_of(database: Database) -> tuple[AuditHead, ...]:
    query = select(audit_heads).where(audit_heads.c.owner != links.SERVICE).order_by(audit_heads.c.owner)
    rows = await database.read(lambda connection: connection.execute(query).all())
    return tuple(AuditHead(row.owner, row.sequence, row.hash.hex()) for row in rows)


async def tamper(database: Database, *statements: str) -> None:
    """What somebody does who owns the database: the triggers are the first thing to go."""

    def work(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            triggers = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
            for trigger in triggers.all():
                connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(text(statement))

    await database.write(work)


# ---- what is proved ---------------------------------------------------------------------------


async def test_an_untouched_journal_is_proved_to_its_last_link(written: Database) -> None:
    heads = await heads_of(written)
    assert [(head.owner, head.sequence) for head in heads] == [("ada", ADA_LINKS), ("bob", BOB_LINKS)]
    assert await verify(written) == AuditVerification(ADA_LINKS + BOB_LINKS, 1, 0, heads, responses=4)


async def test_an_empty_journal_is_proved(database: Database) -> None:
    assert await verify(database) == AuditVerification(0, 0, 0, ())


async def test_pages_and_large_content_make_no_difference(written: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = await verify(written)
    monkeypatch.setattr(audit_verify, "PAGE", 3)
    monkeypatch.setattr(audit_outside, "INDEXED_PAGE", 3)
    monkeypatch.setattr(audit_verify, "_LINKS", audit_verify._LINKS.limit(3))  # pyright: ignore[reportPrivateUsage] - a page of the size that the loop expects
    assert await verify(written) == expected


async def test_content_that_is_read_by_itself_is_proved_too(database: Database) -> None:
    store = SqlResponseStore(database)
    await store.open_response(new_response("resp_a"))
    large = call(0, "call_1", arguments={"text": "x" * 50_000})
    await store.journal_calls("resp_a", [large], NOON)
    await store.record_outcome("resp_a", "call_1", answered("y" * 50_000), NOON)
    assert (await verify(database)).problem is None
    await tamper(database, "UPDATE blobs SET content = content || ' ' WHERE content LIKE '%yyy%'")
    assert (await verify(database)).problem == AuditProblem("ada", 2, "call_1", audit_proof.OUTPUT)


async def test_a_part_of_a_chain_is_proved_by_itself(written: Database) -> None:
    whole = await verify(written)
    part = await verify(written, AuditRange("ada", 3, 5))
    assert (part.links, part.events, part.problem) == (3, 0, None)
    assert [head.sequence for head in part.heads] == [5]
    assert (await verify(written, AuditRange("bob"))).heads == (whole.heads[1],)
    assert await verify(written, AuditRange("nobody")) == AuditVerification(0, 0, 0, ())


async def test_content_is_not_taken_for_deleted_when_no_event_of_a_deletion_names_it(written: Database) -> None:
    gone = dict.fromkeys(("arguments_text", "arguments", "reason", "arguments_salt"))
    gone |= dict.fromkeys(("output", "structured", "shown", "output_salt"))

    def erase(connection: Connection) -> int | None:
        connection.execute(update(tool_calls).where(tool_calls.c.owner == "ada").values(gone))
        connection.execute(update(tool_calls).where(tool_calls.c.tool.is_(None)).values(model_name=""))
        return connection.execute(select(func.count()).select_from(call_arguments)).scalar()

    assert await written.write(erase) == 0, "what the arguments are found by goes with them"
    report = await verify(written)
    assert (report.problem, report.erased) == (
        AuditProblem("ada", 0, "call_1", audit_outside.NOT_DELETED),
        ADA_LINKS,
    )
    named = [f"call_{name}" for name in ("1", "2", "3", "5", "6", "odd")]
    await written.write(
        lambda connection: chain.append_erasures(connection, NOON, "ada", None, chain.Erasures(named[:-1]))
    )
    unnamed = AuditProblem("ada", 0, named[-1], audit_outside.NOT_DELETED)
    assert (await verify(written)).problem == unnamed
    await written.write(
        lambda connection: chain.append_erasures(connection, NOON, "ada", None, chain.Erasures(named[-1:]))
    )
    report = await verify(written)
    assert (report.problem, report.erased) == (None, ADA_LINKS)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE tool_calls SET tool = 'rm' WHERE call_id = 'call_2'", ("ada", 2, "call_2", audit_proof.CHANGED)),
        ("UPDATE tool_calls SET owner = 'eve' WHERE call_id = 'call_b1'", ("bob", 1, "call_b1", audit_proof.CHANGED)),
        (
            "UPDATE tool_calls SET server_address = 'https://other.example/mcp' WHERE call_id = 'call_2'",
            ("ada", 2, "call_2", audit_proof.CHANGED),
        ),
        (
            "UPDATE tool_calls SET server_name = NULL WHERE call_id = 'call_2'",
            ("ada", 2, "call_2", audit_proof.CHANGED),
        ),
        (
            "UPDATE tool_calls SET server_version = '9' WHERE call_id = 'call_1'",
            ("ada", 1, "call_1", audit_proof.CHANGED),
        ),
        ("UPDATE tool_calls SET turn = 7 WHERE call_id = 'call_b1'", ("bob", 1, "call_b1", audit_proof.CHANGED)),
        (
            "UPDATE tool_calls SET arguments_text = '{}' WHERE call_id = 'call_2'",
            ("ada", 2, "call_2", audit_proof.ARGUMENTS),
        ),
        (
            "UPDATE tool_calls SET arguments = '{\"to\": \"mars\"}' WHERE call_id = 'call_3'",
            ("ada", 3, "call_3", audit_proof.ARGUMENTS),
        ),
        (
            "UPDATE tool_calls SET output = '[]' WHERE call_id = 'call_2'",
            ("ada", 6, "call_2", audit_proof.OUTPUT),
        ),
        (
            "UPDATE tool_calls SET status = 'succeeded', is_error = false WHERE call_id = 'call_3'",
            ("ada", 4, "call_3", audit_proof.CHANGED),
        ),
        (
            "UPDATE tool_calls SET settled_at = NULL, status = 'journaled' WHERE call_id = 'call_2'",
            ("ada", 6, "call_2", audit_proof.NOT_SETTLED),
        ),
        (
            "UPDATE tool_calls SET output_salt = NULL WHERE call_id = 'call_2'",
            ("ada", 6, "call_2", audit_proof.UNSALTED),
        ),
        (
            "UPDATE tool_calls SET output = 'made up' WHERE call_id = 'call_b1'",
            ("bob", 4, "call_b1", audit_proof.ADDED),
        ),
        ("DELETE FROM audit_chain WHERE owner = 'ada' AND sequence = 4", ("ada", 5, "call_odd", "missing")),
        ("DELETE FROM audit_chain WHERE owner = 'ada' AND sequence = 11", ("ada", 10, "call_6", "cut")),
        ("UPDATE audit_chain SET previous = hash WHERE owner = 'ada' AND sequence = 4", ("ada", 4, "call_3", "follow")),
        ("DELETE FROM audit_events", ("@service", 0, None, "cut")),
        ("UPDATE audit_events SET details = '{}'", ("@service", 1, None, audit_verify.EVENT_CHANGED)),
        ("DELETE FROM call_arguments WHERE call_id = 'call_3'", ("ada", 0, "call_3", audit_outside.ARGUMENTS_INDEX)),
        (
            "UPDATE call_arguments SET value = 'mars' WHERE call_id = 'call_3'",
            ("ada", 0, "call_3", audit_outside.ARGUMENTS_INDEX),
        ),
        (
            "INSERT INTO call_arguments SELECT path, value, created_at, 'a_call' FROM call_arguments"
            " WHERE call_id = 'call_3'",
            ("@service", 0, "a_call", audit_outside.ARGUMENTS_OF_NONE),
        ),
        (
            "INSERT INTO call_arguments SELECT path, value, created_at, 'zzz' FROM call_arguments"
            " WHERE call_id = 'call_3'",
            ("@service", 0, "zzz", audit_outside.ARGUMENTS_OF_NONE),
        ),
        ("UPDATE tool_definitions SET definition = '{}'", ("@service", 0, None, "the definition")),
    ],
)
async def test_whatever_is_changed_is_named(
    written: Database, statement: str, problem: tuple[str, int, str | None, str]
) -> None:
    await tamper(written, statement)
    found = (await verify(written)).problem
    assert found is not None
    assert (found.owner, found.sequence, found.call_id) == problem[:3]
    assert problem[3] in found.what


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "UPDATE output_items SET position = 90 WHERE call_id = 'call_2'",
            ("call_2", audit_shown.HIDDEN.format("resp_a")),
        ),
        (
            "UPDATE output_items SET call_id = 'call_2' WHERE call_id = 'call_odd'",
            ("call_odd", audit_shown.HIDDEN.format("resp_a")),
        ),
        (
            "DELETE FROM output_items WHERE call_id = 'call_2' AND response_id = 'resp_a'",
            ("call_2", audit_shown.HIDDEN.format("resp_a")),
        ),
        (
            "INSERT INTO output_items (response_id, position, turn, type, call_id)"
            " VALUES ('resp_b', 2, 1, 'tool_call', 'call_2')",
            ("call_2", audit_shown.NOT_ITS_OWN.format("resp_b")),
        ),
        (
            "UPDATE responses SET forked_from = NULL WHERE id = 'resp_fork'",
            ("call_1", audit_shown.NOT_ITS_OWN.format("resp_fork")),
        ),
    ],
)
async def test_a_response_that_shows_other_calls_than_it_made_is_named(
    written: Database, statement: str, problem: tuple[str, str]
) -> None:
    """No trigger is in the way of that."""
    store = SqlResponseStore(written)
    branch = replace(new_response("resp_fork"), forked_from=ForkPoint("resp_a", 3, 0))
    await store.open_response(branch)
    await store.save_response("resp_fork", Completed(), STATS, [message(3)], [], NOON)
    assert (await verify(written)).problem is None
    await written.write(lambda connection: connection.execute(text(statement)).close())
    found = (await verify(written)).problem
    assert found is not None and (found.call_id, found.what) == problem


EVENT = ("@service", 1, None, audit_verify.EVENT_CHANGED)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE tool_calls SET arguments = '{\"to' WHERE call_id = 'call_3'", ("ada", 3, "call_3")),
        ("UPDATE tool_calls SET arguments = char(255) WHERE call_id = 'call_3'", ("ada", 3, "call_3")),
        ("UPDATE tool_calls SET arguments = :deep WHERE call_id = 'call_3'", ("ada", 3, "call_3")),
        ("UPDATE tool_calls SET arguments_text = CAST(x'ff' AS TEXT) WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET arguments_salt = 'abc' WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET output_salt = 7 WHERE call_id = 'call_2'", ("ada", 6, "call_2")),
        ("UPDATE tool_calls SET output = x'ff' WHERE call_id = 'call_2'", ("ada", 6, "call_2")),
        ("UPDATE tool_calls SET output = CAST(:long || x'ff' AS TEXT) WHERE call_id = 'call_2'", ("ada", 6, "call_2")),
        ("UPDATE tool_calls SET model_name = x'00' WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET turn = 'one' WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET duration_ms = x'01' WHERE call_id = 'call_2'", ("ada", 6, "call_2")),
        ("UPDATE tool_calls SET created_at = 5 WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET created_at = 'long ago' WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET created_at = created_at || '!' WHERE call_id = 'call_2'", ("ada", 2, "call_2")),
        ("UPDATE tool_calls SET settled_at = x'05' WHERE call_id = 'call_2'", ("ada", 6, "call_2")),
        ("UPDATE audit_chain SET hash = 'zz' WHERE call_id = 'call_2' AND kind = 'settled'", ("ada", 6, "call_2")),
        ("UPDATE audit_chain SET previous = 3 WHERE owner = 'ada' AND sequence = 2", ("ada", 2, "call_2")),
        ("UPDATE audit_chain SET content_digest = 'x' WHERE owner = 'ada' AND sequence = 2", ("ada", 2, "call_2")),
        ("UPDATE audit_chain SET kind = x'00' WHERE owner = 'ada' AND sequence = 2", ("ada", 2, "call_2")),
        ("UPDATE audit_chain SET call_id = CAST(x'ff' AS TEXT) WHERE owner = 'ada' AND sequence = 2", ("ada", 2, None)),
        ("UPDATE audit_chain SET sequence = 'last' WHERE owner = 'ada' AND sequence = 11", ("ada", "last", "call_odd")),
        ("UPDATE audit_heads SET hash = 'zz' WHERE owner = 'bob'", ("bob", 0, None)),
        ("UPDATE audit_heads SET sequence = 'four' WHERE owner = 'bob'", ("bob", 0, None)),
        ("UPDATE audit_heads SET sequence = 'one' WHERE owner = '@service'", ("@service", 0, None)),
        ("UPDATE audit_events SET at = 'long ago'", EVENT[:3]),
        ("UPDATE audit_events SET details = x'00'", EVENT[:3]),
        ("UPDATE audit_events SET hash = 'zz'", EVENT[:3]),
        ("UPDATE audit_events SET kind = 4", EVENT[:3]),
        ("UPDATE tool_definitions SET definition = '{'", ("@service", 0, None)),
        ("UPDATE tool_definitions SET definition = CAST(x'ff' AS TEXT)", ("@service", 0, None)),
        ("UPDATE call_arguments SET value = x'00' WHERE call_id = 'call_3'", ("ada", 0, "call_3")),
        ("UPDATE call_arguments SET created_at = 'never' WHERE call_id = 'call_3'", ("ada", 0, "call_3")),
    ],
)
async def test_what_cannot_even_be_read_is_named_like_any_other_change(
    sqlite_written: Database, statement: str, problem: tuple[str, int, str | None]
) -> None:
    deep, long = "[" * 100_000, "x" * (audit_verify.LARGE + 1)
    quoted = statement.replace(":deep", f"'{deep}'").replace(":long", f"'{long}'")
    await tamper(sqlite_written, quoted)
    found = (await verify(sqlite_written)).problem
    assert found is not None
    assert (found.owner, found.sequence, found.call_id) == problem


async def test_a_checkpoint_of_what_cannot_be_read_is_named(written: Database) -> None:
    await tamper(written, "UPDATE audit_events SET details = '{'")
    found = (await verify(written)).problem
    assert found is not None and (found.owner, found.sequence, found.call_id, found.what) == EVENT


async def test_a_call_that_was_slipped_into_the_journal_is_named(written: Database) -> None:
    columns = ", ".join(column.name for column in tool_calls.columns if column.name not in ("call_id", "position"))
    await tamper(
        written,
        f"INSERT INTO tool_calls (call_id, position, {columns})"
        f" SELECT 'call_forged', 99, {columns} FROM tool_calls WHERE call_id = 'call_2'",
    )
    assert (await verify(written)).problem == AuditProblem("ada", 0, "call_forged", audit_outside.NOT_CHAINED)


async def test_a_row_that_was_removed_is_named(written: Database) -> None:
    await tamper(
        written,
        "DELETE FROM output_items WHERE call_id = 'call_b1'",
        "DELETE FROM tool_calls WHERE call_id = 'call_b1'",
    )
    assert (await verify(written)).problem == AuditProblem("bob", 1, "call_b1", audit_proof.REMOVED)


async def test_a_cut_tail_is_noticed_by_who_kept_the_head(written: Database) -> None:
    heads = await heads_of(written)
    assert (await verify(written, since=heads)).problem is None
    await tamper(
        written,
        "DELETE FROM audit_chain WHERE owner = 'ada' AND sequence > 6",
        "DELETE FROM output_items WHERE call_id IN ('call_5', 'call_6')",
        "DELETE FROM tool_calls WHERE call_id IN ('call_5', 'call_6')",
        "UPDATE tool_calls SET settled_at = NULL, status = 'journaled' WHERE call_id = 'call_odd'",
        "UPDATE audit_heads SET sequence = 6 WHERE owner = 'ada'",
    )
    part = AuditRange("ada")
    shown = AuditProblem("ada", 2, None, response_proof.OUTPUT, "resp_a")
    assert (await verify(written, part)).problem == shown, "of itself, the chain of calls is whole"
    cut = audit_verify.CUT.format(ADA_LINKS)
    assert (await verify(written, part, since=heads[:1])).problem == AuditProblem("ada", 0, None, cut)
    assert (await verify(written)).problem == AuditProblem("ada", ADA_LINKS, None, cut), "the checkpoint knows as well"


async def test_a_chain_that_was_written_anew_is_noticed_by_who_kept_the_head(database: Database) -> None:
    other = AuditHead("ada", 3, "00" * 32)
    await write_everything(SqlResponseStore(database))
    found = (await verify(database, AuditRange("ada"), since=[other])).problem
    assert found == AuditProblem("ada", 3, "call_3", audit_verify.OTHER_HEAD)


async def test_a_chain_that_vanished_whole_is_noticed(written: Database) -> None:
    heads = await heads_of(written)
    await tamper(
        written,
        "DELETE FROM audit_chain WHERE owner = 'bob'",
        "DELETE FROM audit_heads WHERE owner = 'bob'",
        "DELETE FROM output_items WHERE response_id = 'resp_b'",
        "DELETE FROM tool_calls WHERE owner = 'bob'",
    )
    gone = AuditProblem("bob", BOB_LINKS, None, audit_verify.CUT.format(BOB_LINKS))
    assert (await verify(written)).problem == gone
    assert (await verify(written, since=heads)).problem == replace(gone, sequence=0)


# ---- what cannot be changed -------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tool_calls SET tool = 'rm' WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET server_address = 'x' WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET server_version = NULL WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET arguments_text = 'x' WHERE call_id = 'call_1'",
        "UPDATE tool_calls SET output = 'x' WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET status = 'failed' WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET settled_at = NULL WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET arguments_salt = output_salt WHERE call_id = 'call_2'",
        "UPDATE tool_calls SET model_name = '' WHERE call_id = 'call_2'",
        "DELETE FROM tool_calls WHERE call_id = 'call_2'",
        "UPDATE audit_chain SET hash = previous",
        "DELETE FROM audit_chain",
        "UPDATE audit_events SET actor = 'eve'",
        "DELETE FROM audit_events",
        "DELETE FROM call_arguments WHERE call_id = 'call_3'",
        "UPDATE call_arguments SET value = 'x' WHERE call_id = 'call_3'",
    ],
)
async def test_the_database_itself_refuses_to_change_what_is_journaled(written: Database, statement: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await written.write(lambda connection: connection.execute(text(statement)).close())
    assert caught.value.info.kind is ErrorKind.STORE_ERROR
    assert "contradicts" in caught.value.info.message
    assert (await verify(written)).problem is None


# ---- writers ----------------------------------------------------------------------------------


async def test_many_writers_in_several_processes_keep_one_unbroken_chain(database_url: str) -> None:
    with anyio.fail_after(100):
        async with (
            writer_process(database_url, "responses", "one", "6") as (_, first),
            writer_process(database_url, "responses", "two", "6") as (_, second),
        ):
            assert [await anext(first), await anext(second)] == ["done", "done"]
    opened = await open_database(database_url)
    report = await verify(opened)
    await opened.aclose()
    assert (report.problem, report.links) == (None, 2 * 8 * 6 * 2)


async def test_a_unit_of_work_that_fails_leaves_no_link(written: Database) -> None:
    before = await heads_of(written)
    store = SqlResponseStore(written)
    await store.open_response(new_response("resp_c"))
    with pytest.raises(OrchestratorError):
        await store.journal_calls("resp_c", [call(0, "call_c"), call(1, "call_1")], NOON)
    assert await heads_of(written) == before
    assert (await verify(written)).problem is None


# ---- the form of a link -----------------------------------------------------------------------

FLAT = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"))


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1), FLAT))
def test_the_fast_writer_writes_what_rfc_8785_asks_for(entry: dict[str, object]) -> None:
    assert msgspec.json.Encoder(order="sorted").encode(entry) == rfc8785.dumps(entry)  # pyright: ignore[reportArgumentType] - its own recursive type


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(ANY_JSON)
def test_arguments_are_written_as_rfc_8785_asks_for_wherever_it_has_a_word_for_them(value: JsonValue) -> None:
    try:
        expected = None if value is None else rfc8785.dumps(value).decode()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        expected = storable(canonical_json(value))
    assert links.argument_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None, "\x7f\u2028é"]}, '{"a":[true,null,"\x7f\u2028é"],"b":1}'),
        ({"b": 1.0, "a": 1e21}, '{"a":1e+21,"b":1}'),
        ({"\uffff": 1, "😀": 2}, '{"😀":2,"\uffff":1}'),
        (2**53 - 1, "9007199254740991"),
        ([2**53], "[9007199254740992]"),
        ("\ud800", "\x10d800".join(['"', '"'])),
        ([[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]], "[" * 18 + "0" + "]" * 18),
    ],
    ids=repr,
)
def test_the_text_of_arguments_is_the_same_whichever_writer_writes_it(value: JsonValue, expected: str) -> None:
    assert links.argument_text(value) == expected


def test_the_hash_of_a_link_is_as_documented() -> None:
    """A promise: what was chained once is verified for ever."""
    row = {
        "call_id": "call_1",
        "response_id": "resp_1",
        "position": 2,
        "turn": 1,
        "token_id": None,
        "model_key": "demo/model",
        "model_name": "now",
        "tool": "now",
        "provider_type": "plugin",
        "provider_name": "mcp/clock",
        "definition_digest": "sha256:00",
        "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "arguments_text": '{"zone": "UTC"}',
        "reason": None,
    }
    digest = links.salted_digest(b"0123456789abcdef", links.journaled_content(row, '{"zone":"UTC"}'))
    facts = links.journaled_facts(row, digest)
    assert (
        links.link_hash("ada", 1, links.NO_LINK, "journaled", facts).hex()
        == "df1ba64d7daa3e6463e57b9b0df71fc6e5d240261b4a42195ccfcf8bf53b556b"
    )
    unknown = dict.fromkeys(links.SERVER)
    assert links.journaled_facts(row | unknown, digest) == facts
    known = {"server_address": "https://clock.example/mcp", "server_name": "clock", "server_version": "1.2"}
    assert links.journaled_facts(row | known, digest) == facts | known


def test_arguments_that_no_standard_has_a_word_for_have_a_text_all_the_same() -> None:
    assert links.argument_text({"b": 1.0, "a": [True, None]}) == '{"a":[true,null],"b":1}'
    assert links.argument_text({"b": 2**70, "a": "é"}) == f'{{"a":"é","b":{2**70}}}'
    assert links.argument_text({"a": "\ud800"}) == '{"a":"\x10d800"}'
    assert links.argument_text(None) is None


# ---- decisions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE tool_call_approvals SET decision = 'approve'", (4, "call_1", audit_proof.CHANGED)),
        ("UPDATE tool_call_approvals SET owner = 'eve'", (3, "call_0", audit_proof.CHANGED)),
        ("UPDATE tool_call_approvals SET reason = 'never'", (3, "call_0", audit_proof.DECISION)),
        (
            "UPDATE tool_call_approvals SET arguments = '{}' WHERE call_id = 'call_0'",
            (3, "call_0", audit_proof.DECISION),
        ),
        ("DELETE FROM tool_call_approvals WHERE call_id = 'call_1'", (4, "call_1", audit_proof.NOT_DECIDED)),
    ],
)
async def test_who_decided_what_is_chained_like_the_call_itself(
    database: Database, statement: str, problem: tuple[int, str, str]
) -> None:
    await write_decisions(SqlResponseStore(database))
    report = await verify(database)
    assert (report.links, report.problem) == (6, None)
    with pytest.raises(OrchestratorError):
        await database.write(lambda connection: connection.execute(text(statement)).close())
    await tamper(database, statement)
    assert (await verify(database)).problem == AuditProblem("ada", *problem)
