"""The chains of responses: what was asked, whom each continues and what it ended with is proved, and any change named."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import rfc8785
from sqlalchemy import Connection, select, text, update

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import FunctionOutput, ImageInput, TextInput
from orchestrator.core.response import Cancelled, Completed, Failed, Incomplete
from orchestrator.ports import LONG_TEXT, ForkPoint
from orchestrator.ports.approvals import Suspension
from orchestrator.ports.audit import AuditProblem
from orchestrator.store import audit_chain as chain
from orchestrator.store import response_links, response_proof
from orchestrator.store.audit_links import NO_LINK, link_hash, salted_digest
from orchestrator.store.audit_verify import AuditRange, verify
from orchestrator.store.database import Database, open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.proof_tables import response_chain
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import input_items, responses
from tests.store.decided import write_decisions
from tests.store.samples import LEASE, MINUTE, NOON, STATS, answered, call, new_response, settled, waiting_call
from tests.store.samples import text as message
from tests.store.test_audit_chain import tamper

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ODD = "\x00\x10 \ud800 \u2028 é 😀"


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


async def write_everything(store: SqlResponseStore) -> None:
    """A chain, a branch, every ending and what is not stored."""
    said = (TextInput("x" * (LONG_TEXT + 1)), ImageInput("data:image/png;base64,AAAA"), TextInput(ODD))
    await store.open_response(replace(new_response("resp_root"), input=said, system_prompt=ODD))
    items = [message(0), settled(call(1, "call_1"), answered(ODD)), message(3, 2)]
    await store.save_response("resp_root", Completed(), STATS, items, [], NOON + MINUTE)
    await store.open_response(new_response("resp_next", "resp_root"))
    await store.save_response("resp_next", Cancelled("The user left."), STATS, [message(0)], [], NOON)
    await store.open_response(replace(new_response("resp_branch"), forked_from=ForkPoint("resp_root", 3)))
    await store.save_response("resp_branch", Incomplete("deadline"), STATS, [message(3, 2)], [], NOON)
    await store.open_response(replace(new_response("resp_failed"), owner="bob"))
    broken = Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke.", "model"))
    await store.save_response("resp_failed", broken, STATS, [], [], NOON)
    await store.open_response(replace(new_response("resp_hidden", stored=False), owner="bob"))
    await store.save_response("resp_hidden", Completed(), STATS, [call(1, "call_b")], [], NOON)
    await store.open_response(replace(new_response("resp_died"), owner="bob"))
    await store.end_abandoned(LEASE + MINUTE, [])
    later, answer = NOON + timedelta(hours=1), FunctionOutput("call_x", "[]", name="f")
    await store.open_response(replace(new_response("resp_open", "resp_branch", at=later), input=(answer,)))


LINKS = 13
"""Seven responses, of which one is not over."""


@pytest.fixture
async def written(database: Database) -> Database:
    await write_everything(SqlResponseStore(database))
    await database.write(lambda connection: chain.append_checkpoint(connection, NOON))
    return database


def about(owner: str, sequence: int, response_id: str | None, what: str) -> AuditProblem:
    return AuditProblem(owner, sequence, None, what, response_id)


# ---- what is proved ---------------------------------------------------------------------------


async def test_every_response_and_its_end_are_links_of_their_owners_chain(written: Database) -> None:
    report = await verify(written)
    assert (report.problem, report.responses, report.responses_erased) == (None, LINKS, 0)
    query = select(response_chain.c.owner, response_chain.c.kind, response_chain.c.response_id)
    query = query.order_by(response_chain.c.owner, response_chain.c.sequence)
    rows = await written.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    assert rows == [
        ("ada", "opened", "resp_root"),
        ("ada", "ended", "resp_root"),
        ("ada", "opened", "resp_next"),
        ("ada", "ended", "resp_next"),
        ("ada", "opened", "resp_branch"),
        ("ada", "ended", "resp_branch"),
        ("ada", "opened", "resp_open"),
        ("bob", "opened", "resp_failed"),
        ("bob", "ended", "resp_failed"),
        ("bob", "opened", "resp_hidden"),
        ("bob", "ended", "resp_hidden"),
        ("bob", "opened", "resp_died"),
        ("bob", "ended", "resp_died"),
    ]


async def test_a_link_can_be_made_again_from_the_row_with_nothing_but_the_reference_of_canonical_json(
    written: Database,
) -> None:
    """So that an auditor can write the check in a language of their own: what is hashed is plain JSON."""

    def read(connection: Connection) -> tuple[Any, Any, Any]:
        first = (response_chain.c.owner == "ada") & (response_chain.c.sequence == 1)
        link = connection.execute(select(response_chain).where(first)).mappings().one()
        row = connection.execute(select(responses).where(responses.c.id == "resp_root")).mappings().one()
        said = connection.execute(
            select(input_items).where(input_items.c.response_id == "resp_root").order_by(input_items.c.position)
        )
        return link, row, said.mappings().all()

    link, row, said = await written.read(read)
    content = response_links.opened_content(row, said)
    assert rfc8785.dumps(content) == msgspec.json.Encoder(order="sorted").encode(content)
    assert content["input"] is not None
    told = msgspec.json.decode(content["input"])
    assert [[position, kind] for position, kind, *_ in told] == [[0, "text"], [1, "image"], [2, "text"]]
    digest = salted_digest(row["input_salt"], content)
    facts = response_links.opened_facts(row, digest)
    assert (link["content_digest"], link["previous"]) == (digest, NO_LINK)
    assert link["hash"] == link_hash("ada", 1, NO_LINK, "opened", facts)


async def test_runs_that_waited_for_people_are_proved_to_their_end(database: Database) -> None:
    await write_decisions(SqlResponseStore(database))
    report = await verify(database)
    assert (report.problem, report.responses) == (None, 2)
    await tamper(database, "UPDATE responses SET status = 'failed'")
    assert (await verify(database)).problem == about("ada", 2, "resp_a", response_proof.CHANGED)


async def test_a_run_whose_time_to_be_approved_is_over_is_proved_too(database: Database) -> None:
    store = SqlResponseStore(database)
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [waiting_call(0, "call_1")], NOON)
    await store.suspend_response("resp_a", Suspension(LEASE, (), None, 0.0), STATS, NOON)
    assert await store.end_expired(LEASE + MINUTE, "too late") == ["resp_a"]
    report = await verify(database)
    assert (report.problem, report.responses) == (None, 2)


async def test_the_size_of_a_page_makes_no_difference(written: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = await verify(written)
    monkeypatch.setattr(response_proof, "PAGE", 2)
    monkeypatch.setattr(response_proof, "_LINKS", response_proof._LINKS.limit(2))  # pyright: ignore[reportPrivateUsage] - a page of the size that the loop expects
    assert await verify(written) == expected


async def test_the_responses_of_one_owner_are_proved_by_themselves(written: Database) -> None:
    assert (await verify(written, AuditRange("bob"))).responses == 6
    await tamper(written, "UPDATE responses SET model_key = 'other' WHERE id = 'resp_root'")
    assert (await verify(written, AuditRange("bob"))).problem is None
    assert (await verify(written, AuditRange("ada"))).problem == about("ada", 1, "resp_root", response_proof.CHANGED)


# ---- what somebody changed --------------------------------------------------------------------

_TEXT = "UPDATE {} SET content = 'no' WHERE response_id = '{}' AND position = {}"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (_TEXT.format("input_items", "resp_root", 2), about("ada", 1, "resp_root", "INPUT")),
        ("UPDATE blobs SET content = 'no' WHERE content LIKE 'xxx%'", about("ada", 1, "resp_root", "INPUT")),
        ("UPDATE blobs SET content = 'no' WHERE content LIKE 'data:%'", about("ada", 1, "resp_root", "INPUT")),
        ("DELETE FROM input_items WHERE response_id = 'resp_next'", about("ada", 3, "resp_next", "INPUT")),
        ("UPDATE responses SET system_prompt = 'Lie.' WHERE id = 'resp_root'", about("ada", 1, "resp_root", "INPUT")),
        ("UPDATE responses SET parameters = '{}' WHERE id = 'resp_next'", about("ada", 3, "resp_next", "INPUT")),
        (_TEXT.format("output_items", "resp_root", 0), about("ada", 2, "resp_root", "OUTPUT")),
        ("UPDATE output_items SET type = 'reasoning' WHERE position = 3", about("ada", 2, "resp_root", "OUTPUT")),
        (
            "DELETE FROM output_items WHERE response_id = 'resp_branch' AND call_id IS NOT NULL",
            about("ada", 6, "resp_branch", "OUTPUT"),
        ),
        ("UPDATE responses SET ending_reason = 'x' WHERE id = 'resp_next'", about("ada", 4, "resp_next", "OUTPUT")),
        ("UPDATE responses SET error_message = 'x' WHERE id = 'resp_failed'", about("bob", 2, "resp_failed", "OUTPUT")),
        ("UPDATE responses SET error_kind = 'x' WHERE id = 'resp_failed'", about("bob", 2, "resp_failed", "CHANGED")),
        (
            "UPDATE responses SET previous_response_id = NULL WHERE id = 'resp_next'",
            about("ada", 3, "resp_next", "CHANGED"),
        ),
        (
            "UPDATE responses SET previous_response_id = 'resp_next' WHERE id = 'resp_open'",
            about("ada", 7, "resp_open", "CHANGED"),
        ),
        (
            "UPDATE responses SET forked_position = 0 WHERE id = 'resp_branch'",
            about("ada", 5, "resp_branch", "CHANGED"),
        ),
        (
            "UPDATE responses SET replay_of = 'resp_root' WHERE id = 'resp_next'",
            about("ada", 3, "resp_next", "CHANGED"),
        ),
        ("UPDATE responses SET token_id = 'eve' WHERE id = 'resp_next'", about("ada", 3, "resp_next", "CHANGED")),
        ("UPDATE responses SET owner = 'eve' WHERE id = 'resp_died'", about("bob", 5, "resp_died", "CHANGED")),
        (
            "UPDATE responses SET status = 'in_progress' WHERE id = 'resp_next'",
            about("ada", 4, "resp_next", "NOT_OVER"),
        ),
        ("UPDATE responses SET system_prompt = 'x' WHERE id = 'resp_hidden'", about("bob", 3, "resp_hidden", "ADDED")),
        ("UPDATE responses SET input_salt = NULL WHERE id = 'resp_next'", about("ada", 3, "resp_next", "UNSALTED")),
        ("UPDATE response_chain SET kind = 'begun' WHERE sequence = 3", about("ada", 3, "resp_next", "UNKNOWN")),
        ("UPDATE response_chain SET hash = previous WHERE sequence = 5", about("ada", 5, "resp_branch", "CHANGED")),
        ("DELETE FROM response_chain WHERE owner = 'ada' AND sequence = 2", about("ada", 3, "resp_next", "MISSING")),
    ],
)
async def test_what_somebody_changed_of_a_response_is_named(
    written: Database, statement: str, problem: AuditProblem
) -> None:
    await tamper(written, statement)
    found = (await verify(written)).problem
    what = getattr(response_proof, problem.what, problem.what)
    filled = what.format("begun") if problem.what == "UNKNOWN" else what.format(1, 3)
    assert found == replace(problem, what=filled)


async def test_a_response_without_its_links_is_named(written: Database) -> None:
    await tamper(written, "DELETE FROM response_chain WHERE response_id = 'resp_open'")
    await tamper(written, "UPDATE response_heads SET sequence = 6 WHERE owner = 'ada'")
    seen = about("ada", 7, None, response_proof.CUT.format(7))
    assert (await verify(written)).problem == seen, "the checkpoint speaks of it"
    assert (await verify(written, AuditRange("ada"))).problem is None
    await tamper(written, "DELETE FROM audit_events", "DELETE FROM audit_heads WHERE owner = '@service'")
    assert (await verify(written)).problem == about("ada", 0, "resp_open", response_proof.NOT_CHAINED)


async def test_a_chain_that_was_cut_is_named(written: Database) -> None:
    await tamper(written, "DELETE FROM response_chain WHERE response_id = 'resp_open'")
    cut = about("ada", 6, None, response_proof.CUT.format(7))
    assert (await verify(written, AuditRange("ada"))).problem == cut


async def test_a_chain_that_was_written_anew_is_not_the_one_that_a_checkpoint_speaks_of(written: Database) -> None:
    """All of it forged, with right hashes, from a link on: only the checkpoint knows better."""

    def forge(connection: Connection) -> None:
        connection.execute(update(responses).where(responses.c.id == "resp_open").values(token_id="eve"))
        row = dict(connection.execute(select(responses).where(responses.c.id == "resp_open")).mappings().one())
        link = connection.execute(select(response_chain).where(response_chain.c.response_id == "resp_open")).one()
        facts = response_links.opened_facts(row, link.content_digest)
        forged = link_hash("ada", link.sequence, link.previous, "opened", facts)
        connection.execute(
            text("UPDATE response_chain SET hash = :forged WHERE response_id = 'resp_open'"), {"forged": forged}
        )

    await tamper(written, "SELECT 1")
    await untriggered(written, forge)
    report = await verify(written)
    assert report.problem == about("ada", 7, "resp_open", response_proof.OTHER_HEAD.format(1))


async def untriggered(database: Database, work: Any) -> None:
    """Do what the triggers would refuse; on SQLite `tamper` has dropped them."""

    def unchecked(connection: Connection) -> None:
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        work(connection)

    await database.write(unchecked)


@pytest.mark.parametrize("statement", ["UPDATE response_chain SET hash = previous", "DELETE FROM response_chain"])
async def test_the_database_itself_refuses_to_change_the_chain(written: Database, statement: str) -> None:
    with pytest.raises(OrchestratorError):
        await written.write(lambda connection: connection.execute(text(statement)).close())
    assert (await verify(written)).problem is None


# ---- what was deleted -------------------------------------------------------------------------


@pytest.mark.parametrize("keep_skeleton", [True, False])
async def test_what_was_deleted_is_proved_as_deleted_and_its_children_keep_their_parent(
    written: Database, keep_skeleton: bool
) -> None:
    graph = SqlResponseGraph(written)
    later = NOON + timedelta(days=1)
    await graph.delete_response("resp_next", "ada", later, subtree=False, keep_skeleton=keep_skeleton)
    await graph.delete_response("resp_failed", "bob", later, subtree=False, keep_skeleton=keep_skeleton)
    report = await verify(written)
    assert report.problem is None
    assert (report.responses, report.responses_erased) == (LINKS, 4)
    await graph.prune_older(later, None, 100, later, keep_skeleton=keep_skeleton)
    assert (await verify(written)).problem is None


async def test_a_child_of_a_row_that_is_removed_is_proved_by_the_parent_that_it_had(database: Database) -> None:
    store, graph = SqlResponseStore(database), SqlResponseGraph(database)
    for id, previous in (("resp_a", None), ("resp_b", "resp_a")):
        await store.open_response(new_response(id, previous))
        items = [settled(call(1, "call_1"), answered("1"))] if previous else []
        await store.save_response(id, Completed(), STATS, items, [], NOON)
    await graph.delete_response("resp_a", "ada", NOON, subtree=True, keep_skeleton=False)
    rows = await database.read(
        lambda connection: connection.execute(
            select(responses.c.id, responses.c.previous_response_id, responses.c.removed_parent_id)
        ).all()
    )
    assert [tuple(row) for row in rows] == [("resp_b", None, "resp_a")]
    assert (await verify(database)).problem is None
    await tamper(database, "UPDATE responses SET removed_parent_id = 'resp_c'")
    assert (await verify(database)).problem == about("ada", 3, "resp_b", response_proof.CHANGED)


@pytest.mark.parametrize(
    "statements",
    [
        (
            "DELETE FROM output_items WHERE response_id = 'resp_next'",
            "DELETE FROM input_items WHERE response_id = 'resp_next'",
            "UPDATE responses SET input_salt = NULL, output_salt = NULL, system_prompt = NULL, parameters = NULL,"
            " ending_reason = NULL WHERE id = 'resp_next'",
        ),
        (
            "DELETE FROM output_items WHERE response_id = 'resp_next'",
            "DELETE FROM input_items WHERE response_id = 'resp_next'",
            "DELETE FROM responses WHERE id = 'resp_next'",
        ),
    ],
)
async def test_what_was_emptied_or_removed_by_hand_is_not_taken_for_deleted(
    written: Database, statements: tuple[str, ...]
) -> None:
    graph = SqlResponseGraph(written)
    await graph.delete_response("resp_failed", "bob", NOON, subtree=False, keep_skeleton=True)
    await tamper(written, *statements)
    assert (await verify(written)).problem == about("ada", 0, "resp_next", response_proof.NOT_DELETED)


async def test_an_item_that_cannot_be_read_is_named(written: Database) -> None:
    if await written.read(lambda connection: connection.dialect.name != "sqlite"):
        pytest.skip("Postgres refuses such a value itself")
    await tamper(written, "UPDATE input_items SET details = '{' WHERE response_id = 'resp_next'")
    assert (await verify(written)).problem == about("ada", 3, "resp_next", response_proof.NOT_READ)
    await tamper(written, "UPDATE responses SET created_at = 'noon' WHERE id = 'resp_root'")
    assert (await verify(written)).problem == about("ada", 1, "resp_root", response_proof.NOT_READ)
    await tamper(written, "UPDATE response_heads SET sequence = 'seven' WHERE owner = 'ada'")
    found = (await verify(written)).problem
    assert found is not None and found.owner == "ada"
