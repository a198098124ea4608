"""Long chains are told alike from their pieces and from their rows, and no piece outlives what it was made of."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import pytest
from sqlalchemy import Connection, select, update
from structlog.testing import capture_logs

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, InputItem, Origin, PluginProvider, TextInput
from orchestrator.core.placed import PlacedItem
from orchestrator.core.prompt import PastResponse, PastSegment, latest_heads
from orchestrator.core.response import Completed
from orchestrator.core.tools import text_content
from orchestrator.ports import LONG_TEXT, ForkPoint
from orchestrator.ports.audit import AuditProblem
from orchestrator.store import audit_shown, chains
from orchestrator.store.audit_verify import verify
from orchestrator.store.chain_memory import ChainLink, ChainMemory
from orchestrator.store.chain_segments import VERSION, NewSegment, keep_segments, new_segments
from orchestrator.store.database import Database, open_database
from orchestrator.store.derived_tables import chain_segments
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from tests.store.places import read_chain
from tests.store.samples import NOON, STATS, answered, call, new_response, settled, text

pytest_plugins = ("tests.store.databases",)

LENGTH: Final = 4


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


def started_anew(database: Database, length: int = LENGTH) -> SqlResponseStore:
    """A store that remembers nothing; one with a length that no chain reaches reads rows."""
    return SqlResponseStore(database, ChainMemory(), segment_length=length)


async def add(
    store: SqlResponseStore,
    id: str,
    parent: str | None,
    *said: InputItem,
    items: tuple[PlacedItem, ...] | None = None,
    fork: ForkPoint | None = None,
) -> None:
    new = replace(new_response(id, parent), input=said or (TextInput(f"Hello from {id}."),), forked_from=fork)
    await store.open_response(new)
    items = (text(0), settled(call(1, f"call_{id}"), answered(id)), text(2, turn=2)) if items is None else items
    await store.save_response(id, Completed(), STATS, items, [], NOON)


async def grow(store: SqlResponseStore, until: int, parent: str | None = None, branch: str = "a") -> str:
    """A chain as a process makes it that continues what it has just written; the last id."""
    for number in range(until):
        id = f"resp_{branch}{number}"
        await add(store, id, parent)
        await store.load_chain(id, "ada")
        parent = id
    assert parent is not None
    return parent


async def kept(database: Database) -> list[str]:
    """The responses that segments end with."""
    query = select(chain_segments.c.response_id).order_by(chain_segments.c.response_id)
    return await database.read(lambda connection: [*connection.execute(query).scalars()])


async def kinds(store: SqlResponseStore, id: str) -> list[type]:
    return [type(past) for past in (await store.load_chain(id, "ada")).responses]


@pytest.mark.anyio
async def test_a_chain_is_told_alike_from_its_segments_and_from_its_rows(database: Database) -> None:
    store = started_anew(database)
    last = await grow(store, 11)

    assert await kept(database) == ["resp_a3", "resp_a7"]
    in_pieces = [PastSegment, PastSegment, PastResponse, PastResponse, PastResponse]
    assert await kinds(store, last) == in_pieces, "what was put away is remembered so"
    assert await kinds(started_anew(database), last) == in_pieces
    assert await kinds(started_anew(database, 1_000), last) == [PastResponse] * 11
    for id in (last, "resp_a8", "resp_a7", "resp_a6", "resp_a3", "resp_a0"):
        told = await read_chain(started_anew(database, 1_000), id, "ada")
        assert await read_chain(started_anew(database), id, "ada") == told
        assert await read_chain(store, id, "ada") == told


@pytest.mark.anyio
async def test_whoever_reads_a_chain_that_nobody_put_away_puts_it_away(database: Database) -> None:
    await grow(started_anew(database, 1_000), 9)
    told = await read_chain(started_anew(database, 1_000), "resp_a8", "ada")
    assert await kept(database) == []
    assert await read_chain(started_anew(database), "resp_a8", "ada") == told
    assert await kept(database) == ["resp_a3", "resp_a7"]
    assert await kinds(started_anew(database), "resp_a8") == [PastSegment, PastSegment, PastResponse]


@pytest.mark.anyio
async def test_a_chain_whose_last_segment_is_missing_is_read_from_the_one_before(database: Database) -> None:
    await grow(started_anew(database), 7)
    await add(started_anew(database), "resp_end", "resp_a6")
    assert await kept(database) == ["resp_a3"]
    assert await kinds(started_anew(database), "resp_end") == [PastSegment, *[PastResponse] * 4]
    assert await kept(database) == ["resp_a3", "resp_end"]
    assert await kinds(started_anew(database), "resp_end") == [PastSegment, PastSegment]


@pytest.mark.anyio
async def test_a_branch_that_begins_inside_a_segment_has_the_beginning_that_it_shares(database: Database) -> None:
    store = started_anew(database)
    await grow(store, 9)
    await grow(store, 7, "resp_a5", "b")
    for id in ("resp_a8", "resp_b6", "resp_b1"):
        told = await read_chain(started_anew(database, 1_000), id, "ada")
        assert await read_chain(started_anew(database), id, "ada") == told
        assert await read_chain(store, id, "ada") == told
    assert await kept(database) == ["resp_a3", "resp_a7", "resp_b1", "resp_b5"]


@pytest.mark.anyio
async def test_what_is_told_in_more_ways_or_is_long_stays_in_its_rows(database: Database) -> None:
    store = started_anew(database)
    picture = '[{"type":"image","data":"AAAA","mimeType":"image/png"}]'
    prompt = Origin(PluginProvider("mcp/clock"), "prompt", "morning")
    odd: dict[str, tuple[InputItem, ...]] = {
        "seen": (TextInput("Look."), ImageInput("data:image/png;base64,AAAA")),
        "long": (TextInput("x" * (LONG_TEXT + 1)),),
        "half": (TextInput("half a character: \ud83d"),),
        "taken": (TextInput("Good morning.", prompt),),
    }
    parent = await grow(store, 2)
    for id, said in odd.items():
        await add(store, id, parent, *said)
        parent = id
    shot = settled(call(0, "call_shot"), Outcome("succeeded", picture, "[image, image/png]", is_error=False))
    cut = Outcome("succeeded", text_content("y" * (LONG_TEXT + 1)), "[image, image/png, 3 bytes]", is_error=False)
    await add(store, "shot", parent, items=(shot,))
    await add(store, "unread", "shot", items=(settled(call(0, "call_unread"), cut),))
    said_so = (TextInput("\x00 fits"), TextInput("Do so.", replace(prompt, kind="resource", name="file:///a")))
    await add(store, "plain", "unread", *said_so)
    await add(store, "empty", "plain", items=())
    last = await grow(store, 2, "empty", "z")

    told = await read_chain(started_anew(database, 1_000), last, "ada")
    assert await read_chain(store, last, "ada") == told
    assert await kept(database) == ["long", "resp_z1", "unread"]
    assert await read_chain(started_anew(database), last, "ada") == told
    rows = [PastResponse] * 6
    assert await kinds(started_anew(database), last) == [PastSegment, *rows, PastSegment]


@pytest.mark.anyio
async def test_what_heads_a_chat_and_who_speaks_is_read_from_rows(database: Database) -> None:
    store = started_anew(database)
    head = TextInput("Be brief.", speaker="system", begins=True, heads=True)
    await add(store, "headed", await grow(store, 2), head, TextInput("Hi"))
    await add(store, "named", "headed", TextInput("Hi", begins=True, name="bob"))
    last = await grow(store, 4, "named", "z")
    told = await read_chain(started_anew(database, 1_000), last, "ada")
    assert await read_chain(started_anew(database), last, "ada") == told
    chain = (await started_anew(database).load_chain(last, "ada")).responses
    assert [type(past) for past in chain] == [PastSegment, PastResponse, PastResponse, PastSegment]
    assert latest_heads(chain) == (head,)


@pytest.mark.anyio
async def test_a_segment_goes_with_the_responses_that_it_was_made_of(database: Database) -> None:
    store = started_anew(database)
    await grow(store, 9)
    graph = SqlResponseGraph(database)
    gone = await graph.delete_response("resp_a6", "ada", NOON, subtree=True, keep_skeleton=True)
    assert gone is not None and sorted(gone.deleted) == ["resp_a6", "resp_a7", "resp_a8"]
    assert await kept(database) == ["resp_a3"]
    assert await graph.delete_response("resp_a0", "ada", NOON, subtree=True, keep_skeleton=False) is not None
    assert await kept(database) == []


@pytest.mark.anyio
async def test_what_is_deleted_while_it_is_put_away_does_not_come_back(database: Database) -> None:
    await grow(started_anew(database, 1_000), 5)

    def work(connection: Connection) -> list[NewSegment]:
        return [*chains.load_chain(connection, ChainMemory(), "resp_a4", "ada", LENGTH).unkept]

    segments = await database.read(work)
    assert [new.segment.id for new in segments] == ["resp_a3"]
    await SqlResponseGraph(database).delete_response("resp_a0", "ada", NOON, subtree=True, keep_skeleton=True)
    await database.write(lambda connection: keep_segments(connection, segments))
    assert await kept(database) == []


@pytest.mark.anyio
async def test_a_chain_that_cannot_be_put_away_is_read_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grow(started_anew(database, 1_000), 5)

    async def full(_: object) -> None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, "the disk is full")

    monkeypatch.setattr(database, "write", full)
    with capture_logs() as logs:
        assert len((await started_anew(database).load_chain("resp_a4", "ada")).responses) == 5
    [entry] = logs
    assert (entry["event"], entry["reason"]) == (
        "a chain is not put away, and so read more slowly",
        "the disk is full",
    )
    assert await kept(database) == []


@pytest.mark.anyio
async def test_a_segment_that_tells_something_else_than_its_rows_is_named(database: Database) -> None:
    store = started_anew(database)
    parent: str | None = None
    for number in range(2 * LENGTH + 1):
        await add(store, f"resp_{number}", parent)
        parent = f"resp_{number}"
    await started_anew(database).load_chain(f"resp_{2 * LENGTH}", "ada")
    assert (await verify(database)).problem is None
    last = f"resp_{2 * LENGTH - 1}"

    def forge(connection: Connection) -> None:
        mine = chain_segments.c.response_id == last
        [content] = connection.execute(select(chain_segments.c.content).where(mine)).scalars()
        forged = content.replace(f"Hello from {last}.".encode(), f"Adieu from {last}.".encode())
        assert forged != content
        connection.execute(update(chain_segments).where(mine).values(content=forged))

    await database.write(forge)
    assert (await verify(database)).problem == AuditProblem("ada", 0, None, audit_shown.SEGMENT.format(last))


@pytest.mark.anyio
async def test_a_segment_of_another_version_is_not_read(database: Database) -> None:
    await grow(started_anew(database), 5)
    told = await read_chain(started_anew(database), "resp_a4", "ada")
    other = update(chain_segments).values(content=b"\x92" + bytes([VERSION + 1]) + b"\xc0")
    await database.write(lambda connection: connection.execute(other).close())
    assert await kinds(started_anew(database), "resp_a4") == [PastResponse] * 5
    assert await read_chain(started_anew(database), "resp_a4", "ada") == told


def test_what_a_segment_has_changes_only_with_its_version() -> None:
    resource = Origin(PluginProvider("mcp/clock"), "resource", "file:///a")
    said = (TextInput("Read this."), TextInput("Something.", resource))
    items = (text(0), text(1), settled(call(2, "call_1"), answered("one")), text(3, turn=2))
    past = PastResponse(said, tuple(output_entry(item) for item in items))
    [new] = new_segments(None, [ChainLink("resp_a", None, past)], 1)
    digests = {1: "f1c3d90ba39d1d6b4be9f1f2faadaa9b4fa7445040b110eef7dfcb4aa5051ddc"}
    assert hashlib.sha256(new.content).hexdigest() == digests[VERSION], "prompts are told in another way: raise VERSION"
