"""The migrations: from nothing, back to nothing, and the same tables as the code has."""

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import reduce
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, delete, inspect, select

from orchestrator.core.calls import output_entry
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import Message, Origin, OutputEntry, PluginProvider, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import UserMessage, opening_messages
from orchestrator.core.response import Completed
from orchestrator.ports import ForkPoint
from orchestrator.ports.audit import ArgumentPattern, AuditVerification, CallFilter
from orchestrator.store import audit_query, migrate
from orchestrator.store.audit_arguments import CUT
from orchestrator.store.audit_verify import verify
from orchestrator.store.database import open_database
from orchestrator.store.jobs import SqlJobStore
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import call_arguments, metadata
from tests.store.decided import write_decisions
from tests.store.samples import CLOCK_SERVER, NOON, STATS, call, new_response, text
from tests.store.stores import open_stores, sqlite_address

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, of either kind."""
    if request.param == "sqlite":
        return sqlite_address(tmp_path / "100% new.db")
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


async def in_database(url: str, work: Callable[[Connection], object]) -> object:
    database = await open_database(url)
    try:
        return await database.write(work)
    finally:
        await database.aclose()


def table_names(connection: Connection) -> set[str]:
    """Those of the code: SQLite's full-text index keeps itself in more."""
    return {name for name in inspect(connection).get_table_names() if not name.startswith("response_words")}


def set_revision(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")


async def test_the_migrations_build_the_tables_that_the_code_declares(empty_url: str) -> None:
    assert await migrate.current_revision(empty_url) is None
    assert not await migrate.is_current(empty_url)
    await migrate.upgrade(empty_url)
    assert await migrate.is_current(empty_url)
    await migrate.check(empty_url)


async def test_a_difference_between_tables_and_migrations_is_noticed(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    await in_database(empty_url, lambda connection: connection.exec_driver_sql("DROP TABLE tokens").close())
    with pytest.raises(OrchestratorError, match="tokens"):
        await migrate.check(empty_url)


async def test_a_drafted_migration_names_plain_types_and_brings_the_tables_back(empty_url: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(migrate.migration_folder(), tmp_path / "migrations"))
    await migrate.upgrade(empty_url)
    await in_database(empty_url, lambda connection: connection.exec_driver_sql("DROP TABLE tokens").close())
    await migrate.draft(empty_url, "9999", "Tokens again", folder)
    script = await anyio.Path(folder / "versions" / "9999_tokens_again.py").read_text()
    assert script.startswith('"""Tokens again.')
    assert "sa.Column('created_at', sa.DateTime(timezone=True), nullable=False)" in script
    assert "orchestrator" not in script


async def let_go_of_responses(url: str) -> None:
    """Go back behind the chains of responses, so that what older revisions keep can be seen."""
    await migrate.downgrade(url, "0024", lose_evidence=True)


async def test_a_downgrade_to_nothing_leaves_nothing_and_can_be_taken_back(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        await stores.responses.open_response(new_response("resp_a"))
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "base")
    assert await in_database(empty_url, table_names) == {"alembic_version"}
    assert await migrate.current_revision(empty_url) is None
    await migrate.upgrade(empty_url)
    assert await in_database(empty_url, table_names) == {"alembic_version", *metadata.tables}
    await migrate.check(empty_url)


async def test_an_upgrade_of_what_is_current_keeps_everything(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        await stores.responses.open_response(new_response("resp_a"))
        opened = await stores.responses.get_response("resp_a", "ada")
    await migrate.upgrade(empty_url)
    await migrate.prepare(empty_url)
    async with open_stores(empty_url) as stores:
        assert await stores.responses.get_response("resp_a", "ada") == opened


async def test_a_start_migrates_sqlite_into_a_file_that_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    url = sqlite_address(path)
    assert await migrate.current_revision(url) is None
    assert not path.exists(), "to ask is not to make one"
    await migrate.prepare(url)
    assert await migrate.is_current(url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_start_looks_for_lost_rows_only_when_it_migrates_and_names_those_that_it_lost(tmp_path: Path) -> None:
    url = sqlite_address(tmp_path / "new.db")
    await migrate.upgrade(url)
    orphan = "INSERT OR IGNORE INTO offered_tools VALUES ('{}', 0, 'n', 't', 'p', 'p', 'gone')"

    def without_keys(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
            connection.execute(statement)
            connection.commit()

    without_keys(orphan.format("one"))
    await migrate.prepare(url)
    await migrate.downgrade(url, "0010")
    await migrate.prepare(url)
    assert await migrate.is_current(url), "what somebody else lost is no reason not to migrate"
    await migrate.downgrade(url, "0010")
    without_keys(
        "CREATE TRIGGER loses AFTER UPDATE ON alembic_version BEGIN " + orphan.format("two") + "; END",
    )
    with pytest.raises(OrchestratorError) as caught:
        await migrate.prepare(url)
    assert "rows of 'offered_tools' (1) that refer to rows of 'tool_definitions'" in caught.value.info.message
    assert await migrate.current_revision(url) == "0010"


async def test_a_start_refuses_a_postgres_that_nobody_has_migrated(empty_postgres_url: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await migrate.prepare(empty_postgres_url)
    needed = migrate.head_revision()
    message = f"The database has no tables yet; this version needs revision {needed}. Run: orchestrator db upgrade"
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, message)
    await migrate.upgrade(empty_postgres_url)
    await migrate.prepare(empty_postgres_url)


async def test_a_start_refuses_a_database_of_a_newer_version(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    await in_database(empty_url, set_revision)
    with pytest.raises(OrchestratorError, match=r"'9999'.*; a newer version may have written it\.$"):
        await migrate.prepare(empty_url)
    with pytest.raises(OrchestratorError, match=r"'9999'.*; a newer version may have written it\.$"):
        await migrate.upgrade(empty_url)
    assert await migrate.current_revision(empty_url) == "9999"


async def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.db"
    with pytest.raises(OrchestratorError) as caught:
        await migrate.prepare(sqlite_address(path))
    message = f"The database file '{path}' cannot be made: No such file or directory."
    assert caught.value.info == ErrorInfo(ErrorKind.STORE_ERROR, message)


def write_calls_of_an_earlier_version(connection: Connection) -> None:
    """Calls as they were written before there was a chain: settled, open, invalid, and not stored."""
    rows = (
        ("resp_a", "call_1", "ada", "now", '{"zone": "UTC"}', "succeeded", "[]"),
        ("resp_a", "call_2", "ada", "now", '{"zone": "\\u0000 é", "list": [1, 2.5, null, true]}', "journaled", None),
        ("resp_a", "call_3", "ada", None, '{"zone": "x"}', "invalid", "[]"),
        ("resp_b", "call_4", "bob", "now", None, "abandoned", None),
    )
    moment = "TIMESTAMP WITH TIME ZONE '2026-03-01 12:00:00.123456+00'"
    if connection.dialect.name == "sqlite":
        moment = "'2026-03-01 12:00:00.123456'"
    for id, owner, stored in (("resp_a", "ada", "true"), ("resp_b", "bob", "false")):
        connection.exec_driver_sql(
            "INSERT INTO responses (id, root_id, depth, owner, model_key, model_instance_id, stored, status, created_at)"
            f" VALUES ('{id}', '{id}', 0, '{owner}', 'demo/model', 'demo/model', {stored}, 'completed', {moment})"
        )
    for position, (response_id, call_id, owner, tool, arguments, status, output) in enumerate(rows):
        values = {
            "call_id": call_id,
            "response_id": response_id,
            "owner": owner,
            "model_name": tool or "fl\x100000y",
            "tool": tool,
            "arguments": arguments,
            "arguments_text": arguments,
            "output": output,
            "shown": output,
            "status": status,
        }
        if tool is not None:
            values |= {"provider_type": "plugin", "provider_name": "mcp/clock"}
        quoted = ", ".join("NULL" if value is None else f"'{value}'" for value in values.values())
        settled_at = "NULL" if status == "journaled" else moment
        connection.exec_driver_sql(
            f"INSERT INTO tool_calls ({', '.join(values)}, position, turn, is_error, created_at, settled_at)"
            f" VALUES ({quoted.replace('%', '%%')}, {position}, 1, {status == 'invalid'}, {moment}, {settled_at})"
        )
        if response_id == "resp_a":
            connection.exec_driver_sql(
                "INSERT INTO output_items (response_id, position, turn, type, call_id)"
                f" VALUES ('{response_id}', {position}, 1, 'tool_call', '{call_id}')"
            )


@pytest.mark.parametrize("revision", ["0001", "0004"])
async def test_calls_of_an_earlier_version_are_chained_as_they_stand(empty_url: str, revision: str) -> None:
    await migrate.upgrade(empty_url, revision)
    await in_database(empty_url, write_calls_of_an_earlier_version)
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)
    database = await open_database(empty_url)
    report = await verify(database)
    calls = await SqlResponseStore(database).list_calls("resp_a", "ada")
    await database.aclose()
    assert (report.links, report.problem) == (7, None)
    assert [(call.call_id, call.model_name) for call in calls] == [
        ("call_1", "now"),
        ("call_2", "now"),
        ("call_3", "fl\x00y"),
    ]
    await let_go_of_responses(empty_url)
    with pytest.raises(OrchestratorError, match="would lose the audit chain"):
        await migrate.downgrade(empty_url, revision)
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)
    await migrate.downgrade(empty_url, revision, lose_evidence=True)
    count = await in_database(
        empty_url, lambda connection: connection.exec_driver_sql("SELECT count(*) FROM tool_calls").scalar()
    )
    assert count == 4
    await migrate.upgrade(empty_url)


@pytest.mark.parametrize("again", [False, True])
async def test_what_an_earlier_version_deleted_is_named_once(empty_url: str, again: bool) -> None:
    await migrate.upgrade(empty_url, "0004")
    await in_database(empty_url, write_calls_of_an_earlier_version)
    await migrate.upgrade(empty_url, "0013")
    columns = ("arguments_text", "arguments", "arguments_salt", "output", "structured", "shown", "output_salt")
    gone = ", ".join(f"{column} = NULL" for column in columns)
    await in_database(
        empty_url,
        lambda connection: connection.exec_driver_sql(f"UPDATE tool_calls SET {gone} WHERE call_id = 'call_1'").close(),
    )
    await migrate.upgrade(empty_url)
    if again:
        await let_go_of_responses(empty_url)
        await migrate.downgrade(empty_url, "0013")
        await migrate.upgrade(empty_url)
    database = await open_database(empty_url)
    report = await verify(database)
    await database.aclose()
    assert (report.problem, report.erased, report.events) == (None, 2, 1)


def decide_without_a_chain(connection: Connection) -> None:
    """A decision as it was written before decisions were chained."""
    moment = "'2026-03-01 12:00:00.123456'"
    if connection.dialect.name != "sqlite":
        moment = "TIMESTAMP WITH TIME ZONE '2026-03-01 12:00:00.123456+00'"
    connection.exec_driver_sql(
        "INSERT INTO tool_call_approvals (call_id, decision, reason, owner, decided_at)"
        f" VALUES ('call_2', 'deny', 'not now', 'carol', {moment})"
    )


async def test_decisions_of_an_earlier_version_are_chained_as_they_stand(empty_url: str) -> None:
    await migrate.upgrade(empty_url, "0004")
    await in_database(empty_url, write_calls_of_an_earlier_version)
    await migrate.upgrade(empty_url, "0007")
    await in_database(empty_url, decide_without_a_chain)
    await migrate.upgrade(empty_url)
    database = await open_database(empty_url)
    report = await verify(database)
    await database.aclose()
    assert (report.links, report.problem) == (8, None)


async def test_downloads_of_an_earlier_version_belong_to_the_service_without_authentication(empty_url: str) -> None:
    await migrate.upgrade(empty_url, "0015")
    jobs = (("job_a", "completed", 7), ("job_b", "paused", 3), ("job_c", "cancelled", 2), ("job_d", "downloading", 1))

    def write_jobs(connection: Connection) -> None:
        for id, state, there in jobs:
            connection.exec_driver_sql(
                "INSERT INTO jobs (id, identity, model, source, reference, files, state, downloaded_bytes, started_at)"
                f" VALUES ('{id}', '{id}', 'm', 's', 'r', '[]', '{state}', {there}, '2026-03-01 12:00:00+00:00')"
            )

    await in_database(empty_url, write_jobs)
    await migrate.upgrade(empty_url)
    database = await open_database(empty_url)
    claims = await SqlJobStore(database).list_claims("local")
    await database.aclose()
    assert sorted((claim.id, claim.job_id, claim.wish, claim.downloaded_bytes) for claim, _ in claims) == [
        ("job_a", "job_a", "wanted", None),
        ("job_b", "job_b", "paused", 3),
        ("job_c", "job_c", "cancelled", 2),
        ("job_d", "job_d", "wanted", None),
    ]
    await migrate.downgrade(empty_url, "0015")
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)


async def test_a_long_chain_of_an_earlier_version_is_put_away_when_it_is_gone_on_with(empty_url: str) -> None:
    def write(connection: Connection) -> None:
        moment = "'2026-03-01 12:00:00.123456'" + ("" if connection.dialect.name == "sqlite" else "::timestamptz")
        for depth in range(40):
            parent = "NULL" if depth == 0 else f"'resp_{depth - 1}'"
            connection.exec_driver_sql(
                "INSERT INTO responses (id, number, previous_response_id, root_id, depth, owner, model_key,"
                " model_instance_id, stored, status, created_at) VALUES"
                f" ('resp_{depth}', {depth}, {parent}, 'resp_0', {depth}, 'ada', 'm', 'm', true, 'completed', {moment})"
            )
            connection.exec_driver_sql(
                "INSERT INTO input_items (response_id, position, type, content)"
                f" VALUES ('resp_{depth}', 0, 'text', 'Turn {depth}')"
            )

    def segments(connection: Connection) -> int:
        return connection.exec_driver_sql("SELECT count(*) FROM chain_segments").scalar_one()

    await migrate.upgrade(empty_url, "0017")
    await in_database(empty_url, write)
    for _ in range(2):
        await migrate.upgrade(empty_url)
        for parts in (40, 9):
            async with open_stores(empty_url) as stores:
                chain = await stores.responses.load_chain("resp_39", "ada")
            told = tuple(UserMessage((TextInput(f"Turn {depth}"),)) for depth in range(40))
            assert (len(chain.responses), opening_messages(None, chain.responses, ())) == (parts, told)
        assert await in_database(empty_url, segments) == 1
        await let_go_of_responses(empty_url)
        await migrate.downgrade(empty_url, "0017")


LONG_LIST: JsonObject = {"numbers": [*range(70)], "path": "/late"}
DEEP: JsonObject = reduce(lambda inner, _: {"in": inner}, range(40), JsonObject({"path": "/deep"}))


async def test_calls_of_which_the_index_has_not_all_arguments_are_marked(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        await stores.responses.open_response(new_response("resp_a"))
        asked: tuple[JsonObject, ...] = ({"zone": "UTC"}, LONG_LIST, DEEP, {"numbers": [*range(64)]})
        calls = [call(place, f"call_{place}", arguments=arguments) for place, arguments in enumerate(asked)]
        await stores.responses.journal_calls("resp_a", calls, NOON)

    def marked(connection: Connection) -> list[str]:
        query = select(call_arguments.c.call_id).where(call_arguments.c.path == CUT[0])
        return list(connection.execute(query.order_by(call_arguments.c.call_id)).scalars())

    assert await in_database(empty_url, marked) == ["call_1", "call_2"]
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "0019")
    assert await in_database(empty_url, marked) == []
    with pytest.raises(OrchestratorError):  # the rule that nothing is deleted is there again
        await in_database(empty_url, lambda connection: connection.execute(delete(call_arguments)).close())
    await migrate.upgrade(empty_url)
    assert await in_database(empty_url, marked) == ["call_1", "call_2"]
    monkeypatch.setattr(audit_query, "MOST_LOOKED_AT", 1)
    async with open_stores(empty_url) as stores:
        page = await stores.audit.list_calls(CallFilter(arguments=(ArgumentPattern("path", "/late"),)), None, 10)
    assert [found.call_id for found in page.calls] == ["call_1"]
    database = await open_database(empty_url)
    report = await verify(database)
    await database.aclose()
    assert report.problem is None


async def test_responses_from_before_there_were_branches_and_origins_have_none_of_them(empty_url: str) -> None:
    def write(connection: Connection) -> None:
        moment = "'2026-03-01 12:00:00.123456'" + ("" if connection.dialect.name == "sqlite" else "::timestamptz")
        connection.exec_driver_sql(
            "INSERT INTO responses (id, number, root_id, depth, owner, model_key, model_instance_id, stored, status,"
            f" parameters, metadata, created_at) VALUES ('resp_old', 1, 'resp_old', 0, 'ada', 'm', 'm', true,"
            f" 'completed', '{{}}', '{{}}', {moment})"
        )
        connection.exec_driver_sql(
            "INSERT INTO input_items (response_id, position, type, content) VALUES ('resp_old', 0, 'text', 'Hi')"
        )

    await migrate.upgrade(empty_url, "0009")
    await in_database(empty_url, write)
    await migrate.upgrade(empty_url)
    taken = TextInput("a page", Origin(PluginProvider("mcp/notes"), "resource", "note:1"))
    async with open_stores(empty_url) as stores:
        old = await stores.responses.get_response("resp_old", "ada")
        await stores.responses.open_response(replace(new_response("resp_fork"), forked_from=ForkPoint("resp_old", 0)))
        await stores.responses.open_response(replace(new_response("resp_replay"), replay_of="resp_old"))
        await stores.responses.open_response(replace(new_response("resp_new"), input=(taken,)))
        new = await stores.responses.get_response("resp_new", "ada")
    assert old is not None and new is not None
    assert (old.forked_from, old.replay_of, old.input) == (None, None, (TextInput("Hi"),))
    assert new.input == (taken,)
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "0009")
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        assert await stores.responses.get_response("resp_old", "ada") == old
        for id in ("resp_fork", "resp_replay"):
            branch = await stores.responses.get_response(id, "ada")
            assert branch is not None and (branch.forked_from, branch.replay_of) == (None, None)
        plain = await stores.responses.get_response("resp_new", "ada")
        assert plain is not None and plain.input == (TextInput("a page"),)


async def test_calls_from_before_their_servers_were_known_are_proved_and_those_since_keep_theirs(
    empty_url: str,
) -> None:
    async def report() -> AuditVerification:
        database = await open_database(empty_url)
        found = await verify(database)
        await database.aclose()
        return found

    await migrate.upgrade(empty_url, "0004")
    await in_database(empty_url, write_calls_of_an_earlier_version)
    await migrate.upgrade(empty_url, "0014")
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        old = await stores.audit.get_call("call_1", None)
    assert old is not None and old.listed.server is None
    assert (await report()).problem is None
    with pytest.raises(OrchestratorError):
        change = "UPDATE tool_calls SET server_address = 'https://other.example' WHERE call_id = 'call_1'"
        await in_database(empty_url, lambda connection: connection.exec_driver_sql(change).close())
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "0014")
    await migrate.upgrade(empty_url)
    assert (await report()).problem is None
    async with open_stores(empty_url) as stores:
        await stores.responses.open_response(new_response("resp_new"))
        placed = replace(call(0, "call_new"), server=CLOCK_SERVER)
        await stores.responses.journal_calls("resp_new", [placed], NOON)
        known = await stores.audit.get_call("call_new", None)
    assert known is not None and known.listed.server == CLOCK_SERVER
    assert (await report()).problem is None
    await let_go_of_responses(empty_url)
    with pytest.raises(OrchestratorError, match="would lose which servers answered"):
        await migrate.downgrade(empty_url, "0014")
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)
    assert (await report()).problem is None, "the database is as it was"
    await migrate.downgrade(empty_url, "0014", lose_evidence=True)
    await migrate.upgrade(empty_url)
    problem = (await report()).problem
    assert problem is not None and problem.call_id == "call_new", "the server went, and with it the proof of its link"


async def test_a_journal_goes_back_with_its_proof_or_not_at_all(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    database = await open_database(empty_url)
    await write_decisions(SqlResponseStore(database))
    before = await verify(database)
    await database.aclose()
    assert (before.links, before.responses, before.problem) == (6, 2, None)
    refused: list[str] = []
    with pytest.raises(OrchestratorError, match="would lose the chains that prove what responses say"):
        await migrate.downgrade(empty_url, "0024")
    for revision in ("0019", "0014", "0013", "0010", "0008", "0007", "0004", "base"):
        await let_go_of_responses(empty_url)
        try:
            await migrate.downgrade(empty_url, revision)
        except OrchestratorError as error:
            assert "The database is as it was." in error.info.message
            refused.append(revision)
        await migrate.upgrade(empty_url)
        database = await open_database(empty_url)
        assert await verify(database) == before, revision
        await database.aclose()
    assert refused == ["0007", "0004", "base"]


async def test_tokens_that_share_a_name_all_stay_and_one_holds_it(empty_url: str) -> None:
    def write(connection: Connection) -> None:
        zone = "" if connection.dialect.name == "sqlite" else "+00"
        ends = ("'2001-01-01 00:00:00.000000" + zone + "'", "NULL")
        rows = (
            ("older", "ci", 1, "NULL", "NULL"),
            ("newer", "ci", 2, "NULL", "NULL"),
            ("expired", "ci", 3, "NULL", ends[0]),
            ("revoked", "ci", 4, ends[0], "NULL"),
            ("alone", "shop", 5, "NULL", "NULL"),
        )
        for id, name, minute, revoked_at, expires_at in rows:
            connection.exec_driver_sql(
                "INSERT INTO tokens (id, name, owner, permissions, secret_digest, created_at, revoked_at, expires_at)"
                f" VALUES ('{id}', '{name}', '{id}', '[]', '', '2020-01-01 00:0{minute}:00.000000{zone}',"
                f" {revoked_at}, {expires_at})"
            )

    def holders(connection: Connection) -> list[tuple[str, str]]:
        found = connection.exec_driver_sql("SELECT id, live_name FROM tokens WHERE live_name IS NOT NULL ORDER BY id")
        return [(id, name) for id, name in found]

    await migrate.upgrade(empty_url, "0021")
    await in_database(empty_url, write)
    for _ in range(2):
        await migrate.upgrade(empty_url)
        assert await in_database(empty_url, holders) == [("alone", "shop"), ("newer", "ci")]
        await migrate.check(empty_url)
        async with open_stores(empty_url) as stores:
            valid = [token.id for token in await stores.tokens.list_tokens() if token.is_valid(NOON)]
        assert valid == ["older", "newer", "alone"]
        await migrate.downgrade(empty_url, "0021")
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        assert [token.id for token in await stores.tokens.revoke_named("ci", NOON)] == ["older", "newer"]


async def test_messages_from_before_logprobs_have_none_and_a_downgrade_keeps_their_text(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    async with open_stores(empty_url) as stores:
        await stores.responses.open_response(new_response("resp_a"))
        await stores.responses.save_response("resp_a", Completed(), STATS, [text(1)], [], NOON)
        stored = await stores.responses.get_response("resp_a", "ada")
        assert stored is not None and stored.output == (output_entry(text(1)),)
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "0023")
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)
    async with open_stores(empty_url) as stores:
        stored = await stores.responses.get_response("resp_a", "ada")
        assert stored is not None and stored.output == (OutputEntry(1, Message("Item 1.")),)
