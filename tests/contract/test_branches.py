"""What every store promises of branches that begin inside a response, and of replays: the twin, SQLite and Postgres alike."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import anyio
import pytest

from orchestrator.core.approvals import Approve
from orchestrator.core.commands import Outcome
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, FunctionOutput, ImageInput, PluginProvider, TextInput
from orchestrator.core.response import Completed
from orchestrator.core.search import parse_query
from orchestrator.core.tools import text_content
from orchestrator.ports import (
    CallDecision,
    ForkPoint,
    NewResponse,
    ResponseFilter,
    ResponseGraph,
    ResponseStore,
    Suspension,
)
from orchestrator.store.audit_verify import verify
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database, open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from orchestrator.testing_graph import MemoryGraph
from orchestrator.testing_store import MemoryStore
from tests.store.readings import past
from tests.store.samples import (
    MINUTE,
    NAMES,
    NOON,
    OFFERED,
    STATS,
    answered,
    call,
    new_response,
    settled,
    text,
    waiting_call,
)

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ONE, TWO = settled(call(1, "call_1"), answered("one")), settled(call(2, "call_2"), answered("two"))
OWN = settled(call(2, "call_9"), answered("other"))
LATER = NOON + MINUTE
LONG = Outcome("succeeded", text_content("long " * 4_000), "long", False, 12, None)


@dataclass(frozen=True, slots=True)
class Place:
    """A store with its graph, and its database where it has one."""

    store: ResponseStore
    graph: ResponseGraph
    database: Database | None = None


@pytest.fixture
async def place(store_url: str | None) -> AsyncGenerator[Place]:
    if store_url is None:
        twin = MemoryStore()
        yield Place(twin, MemoryGraph(twin))
        return
    database = await open_database(store_url)
    memory = ChainMemory()
    yield Place(SqlResponseStore(database, memory), SqlResponseGraph(database, memory), database)
    await database.aclose()


async def ended(store: ResponseStore, **changed: object) -> NewResponse:
    """A response with text, two settled calls, and text again."""
    new = replace(new_response("resp_a"), **changed)
    await store.open_response(new)
    await store.save_response("resp_a", Completed(), STATS, (text(0), ONE, TWO, text(3, 2)), [], NOON)
    return new


async def branch(store: ResponseStore, id: str = "resp_b", *, of: str = "resp_a", at: int = 2) -> NewResponse:
    """A branch that keeps what stands before `at`, and makes a call of its own."""
    new = replace(new_response(id, at=LATER), forked_from=ForkPoint(of, at))
    await store.open_response(new)
    own = replace(OWN, position=at, call_id=f"call_of_{id}")
    await store.save_response(id, Completed(), STATS, [own], [], LATER)
    return new


async def delete(place: Place, id: str, *, keep_skeleton: bool = True) -> tuple[str, ...]:
    """Delete it; who else still has what it had."""
    gone = await place.graph.delete_response(id, "ada", LATER, subtree=False, keep_skeleton=keep_skeleton)
    assert gone is not None
    assert gone.deleted == (id,)
    return gone.kept_by


async def test_a_branch_begins_with_items_of_another_response_and_copies_no_call(place: Place) -> None:
    store = place.store
    await ended(store)
    new = await branch(store)
    kept = text(0), ONE, replace(OWN, call_id="call_of_resp_b")
    run = await store.read_run("resp_b", "ada")
    assert run is not None
    assert run.items == kept
    assert (await store.load_chain("resp_b", "ada")).responses == (past(new, *kept),)
    stored = await store.get_response("resp_b", "ada")
    assert stored is not None
    assert (stored.forked_from, stored.replay_of) == (ForkPoint("resp_a", 2), None)
    assert [row.call_id for row in await store.list_calls("resp_b", "ada")] == ["call_of_resp_b"]
    assert [row.call_id for row in await store.list_calls("resp_a", "ada")] == ["call_1", "call_2"]


async def test_a_branch_has_the_rest_of_the_turn_whose_call_it_makes_anew(place: Place) -> None:
    store = place.store
    await ended(store)
    new = replace(new_response("resp_b", at=LATER), forked_from=ForkPoint("resp_a", 1, 1))
    await store.open_response(new)
    own = replace(OWN, position=1, call_id="call_of_resp_b")
    await store.journal_calls("resp_b", [own], LATER)
    await store.save_response("resp_b", Completed(), STATS, [text(3, 2)], [], LATER)
    run = await store.read_run("resp_b", "ada")
    assert run is not None
    assert run.items == (text(0), own, TWO, text(3, 2))
    stored = await store.get_response("resp_b", "ada")
    assert stored is not None
    assert stored.forked_from == ForkPoint("resp_a", 1, 1)
    tree = await place.graph.read_tree("resp_a", "ada", None, 10)
    assert tree is not None
    assert tree[1].forked_from == ForkPoint("resp_a", 1, 1)
    assert await delete(place, "resp_a") == ("resp_b",)
    assert (await store.list_calls("resp_a", "ada"))[1].output == text_content("two")


async def test_a_replay_says_of_what(place: Place) -> None:
    await ended(place.store)
    await place.store.open_response(replace(new_response("resp_b"), replay_of="resp_a"))
    stored = await place.store.get_response("resp_b", "ada")
    assert stored is not None
    assert (stored.forked_from, stored.replay_of, stored.root_id) == (None, "resp_a", "resp_a")


async def test_branches_and_replays_of_a_root_stand_in_its_tree(place: Place) -> None:
    await ended(place.store)
    await branch(place.store)
    replay = replace(new_response("resp_c", at=LATER + MINUTE), replay_of="resp_a")
    await place.store.open_response(replay)
    for id in ("resp_a", "resp_b", "resp_c"):
        tree = await place.graph.read_tree(id, "ada", None, 10)
        assert tree is not None
        assert [(each.id, each.depth, each.forked_from, each.replay_of) for each in tree] == [
            ("resp_a", 0, None, None),
            ("resp_b", 0, ForkPoint("resp_a", 2), None),
            ("resp_c", 0, None, "resp_a"),
        ]


async def test_a_branch_is_found_by_what_it_has_of_another_response(place: Place) -> None:
    await ended(place.store)
    await branch(place.store)
    wanted = (
        ResponseFilter("ada", text=parse_query("one", param="text")),
        ResponseFilter("ada", tool="now"),
        ResponseFilter("ada", plugin_id="mcp/clock"),
    )
    for each in wanted:
        page = await place.graph.list_responses(each, None, 10, oldest_first=True)
        assert [found.id for found in page.items] == ["resp_a", "resp_b"], each


async def test_every_spelling_of_a_servers_label_finds_its_responses_once(place: Place) -> None:
    providers = [PluginProvider(f"mcp/{label}") for label in ("my_notes", "My-Notes", "my notes", "mynotes")]
    for number, provider in enumerate([*providers, EphemeralProvider("MCP/My_Notes")]):
        id = f"resp_{number}"
        await place.store.open_response(new_response(id, at=NOON + number * MINUTE))
        mine = replace(settled(call(0, f"call_{number}"), answered("x")), provider=provider)
        await place.store.journal_calls(id, [mine], NOON)
    both = [replace(settled(call(n, f"both_{n}"), answered("x")), provider=providers[n]) for n in (0, 1)]
    await place.store.open_response(new_response("resp_both", at=NOON + 9 * MINUTE))
    await place.store.journal_calls("resp_both", both, NOON)

    async def found(wanted: ResponseFilter) -> list[str]:
        """By pages of one."""
        ids: list[str] = []
        after: int | None = None
        while True:
            page = await place.graph.list_responses(wanted, after, 1, oldest_first=False)
            ids += [each.id for each in page.items]
            if (after := page.next) is None:
                return ids

    for asked in ("mcp/my-notes", "MCP/MY_NOTES", "mcp/my_notes"):
        spelled = ResponseFilter("ada", plugin_id=asked)
        assert await found(spelled) == ["resp_both", "resp_1", "resp_0"], asked
        assert await found(replace(spelled, owner=None, tool="now")) == ["resp_both", "resp_1", "resp_0"], asked
        assert await found(replace(spelled, owner="bob")) == []
        assert await found(replace(spelled, status="in_progress")) == ["resp_both", "resp_1", "resp_0"], asked
    assert await found(ResponseFilter("ada", plugin_id="MCP/MyNotes")) == ["resp_3"]
    assert await found(ResponseFilter("ada", server_label="mcp/my-notes")) == ["resp_4"]
    assert await found(ResponseFilter("ada", plugin_id="mcp/none")) == []


@pytest.mark.parametrize("changed", [{"owner": "bob"}, {"stored": False}], ids=str)
async def test_nobody_leaves_a_response_that_is_not_their_own_or_not_stored(
    place: Place, changed: dict[str, object]
) -> None:
    await ended(place.store, **changed)
    gone = ErrorInfo(ErrorKind.RESPONSE_NOT_FOUND, "The response 'resp_a' is not stored any more.", "response_id")
    for origin in ({"forked_from": ForkPoint("resp_a", 2)}, {"replay_of": "resp_a"}):
        with pytest.raises(OrchestratorError) as caught:
            await place.store.open_response(replace(new_response("resp_b"), **origin))
        assert caught.value.info == gone


async def test_the_ids_of_a_chain_begin_with_its_root(place: Place) -> None:
    store = place.store
    await ended(store)
    for id, previous in (("resp_b", "resp_a"), ("resp_c", "resp_b")):
        await store.open_response(new_response(id, previous))
        await store.save_response(id, Completed(), STATS, [], [], NOON)
    for owner in ("ada", None):
        assert await place.graph.read_path("resp_c", owner) == ["resp_a", "resp_b", "resp_c"]
    assert await place.graph.read_path("resp_c", "bob") is None
    assert await place.graph.read_path("resp_x", "ada") is None


# ---- deleting what branches have --------------------------------------------------------------


@pytest.mark.parametrize("keep_skeleton", [True, False], ids=["skeleton", "bare"])
async def test_a_branch_keeps_what_it_has_of_a_response_that_is_deleted(place: Place, keep_skeleton: bool) -> None:
    store = place.store
    await ended(store)
    new = await branch(store)
    before = await place.graph.read_detail("resp_b", "ada")
    await delete(place, "resp_a", keep_skeleton=keep_skeleton)
    assert await store.get_response("resp_a", "ada") is None
    assert await place.graph.read_detail("resp_b", "ada") == before
    kept = text(0), ONE, replace(OWN, call_id="call_of_resp_b")
    assert (await store.load_chain("resp_b", "ada")).responses == (past(new, *kept),)
    calls = await store.list_calls("resp_a", "ada")
    assert [(row.call_id, row.arguments, row.output) for row in calls] == [
        ("call_1", {"zone": "UTC"}, text_content("one")),
        ("call_2", None, None),
    ]


@pytest.mark.parametrize("order", [["resp_a", "resp_b", "resp_c"], ["resp_c", "resp_a", "resp_b"]], ids=str)
async def test_the_last_one_that_has_a_call_takes_its_content_along(place: Place, order: list[str]) -> None:
    store = place.store
    await ended(store)
    await branch(store)
    await branch(store, "resp_c", of="resp_b")
    outputs: list[str | None] = []
    for id in order:
        await delete(place, id)
        outputs.append((await store.list_calls("resp_a", "ada"))[0].output)
    assert outputs == [text_content("one"), text_content("one"), None]
    rows = [row for id in order for row in await store.list_calls(id, "ada")]
    assert [(row.arguments, row.output) for row in rows] == [(None, None)] * 4
    if place.database is not None:
        assert (await verify(place.database)).problem is None


@pytest.mark.parametrize("keep_skeleton", [True, False], ids=["skeleton", "bare"])
async def test_whoever_deletes_is_told_who_still_has_some_of_the_content(place: Place, keep_skeleton: bool) -> None:
    store = place.store
    await ended(store)
    await branch(store)
    await branch(store, "resp_c", of="resp_b", at=1)
    replay = replace(new_response("resp_d", at=LATER), replay_of="resp_c")
    await store.open_response(replay)
    await store.save_response("resp_d", Completed(), STATS, [text(0)], [], LATER)
    anew = replace(new_response("resp_e", at=LATER), input=(TextInput("other"),), forked_from=ForkPoint("resp_a", 0))
    await store.open_response(anew)
    await store.save_response("resp_e", Completed(), STATS, [], [], LATER)
    await store.open_response(replace(new_response("resp_f", at=LATER)))
    await store.save_response("resp_f", Completed(), STATS, [text(0)], [], LATER)
    assert await delete(place, "resp_e", keep_skeleton=keep_skeleton) == (), "it has nothing of the others"
    assert await delete(place, "resp_f", keep_skeleton=keep_skeleton) == (), "it was made by itself"
    assert await delete(place, "resp_b", keep_skeleton=keep_skeleton) == ("resp_a", "resp_c", "resp_d")
    assert await delete(place, "resp_c", keep_skeleton=keep_skeleton) == ("resp_a", "resp_d")
    assert await delete(place, "resp_a", keep_skeleton=keep_skeleton) == ("resp_d",)
    assert await delete(place, "resp_d", keep_skeleton=keep_skeleton) == ()


async def test_a_branch_keeps_long_outputs_and_they_go_with_it(place: Place) -> None:
    store = place.store
    await store.open_response(new_response("resp_a"))
    long = settled(call(1, "call_1"), LONG)
    await store.save_response("resp_a", Completed(), STATS, (text(0), long), [], NOON)
    await branch(store)
    await delete(place, "resp_a")
    detail = await place.graph.read_detail("resp_b", "ada")
    assert detail is not None
    assert [getattr(entry.item, "output", None) for entry in detail.response.output][1] == LONG.output
    await delete(place, "resp_b")
    assert [row.output for row in await store.list_calls("resp_a", "ada")] == [None]
    if place.database is not None:
        left = await place.database.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT count(*) FROM blobs WHERE content LIKE '%long long%'"
            ).scalar_one()
        )
        assert left == 0


async def test_a_branch_keeps_what_people_decided_about_its_calls(place: Place) -> None:
    store = place.store
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [waiting_call(0, "call_1")], NOON)
    await store.suspend_response("resp_a", Suspension(LATER), STATS, NOON)
    edited = CallDecision("call_1", Approve({"zone": "CET"}), "ada", None, NOON)
    await store.resume_response("resp_a", [edited], OFFERED, NAMES, "host:1", NOON, LATER)
    await store.save_response("resp_a", Completed(), STATS, [], [("call_1", answered("one"))], NOON)
    await branch(store, at=1)
    await delete(place, "resp_a")
    run = await store.read_run("resp_b", "ada")
    assert run is not None
    assert getattr(run.items[0], "edited", None) == {"zone": "CET"}
    await delete(place, "resp_b")
    [row] = await store.list_calls("resp_a", "ada")
    assert row.decision == CallDecision("call_1", Approve(), "ada", None, NOON)


async def test_retention_takes_a_response_and_leaves_a_newer_branch_what_it_has(place: Place) -> None:
    store, graph = place.store, place.graph
    await ended(store)
    await branch(store)
    pruned = await graph.prune_older(LATER, None, 10, LATER, keep_skeleton=False)
    assert pruned.erased == 1
    assert [row.output for row in await store.list_calls("resp_a", "ada")] == [text_content("one"), None]
    assert await store.get_response("resp_b", "ada") is not None
    pruned = await graph.prune_older(LATER + MINUTE, None, 10, LATER, keep_skeleton=False)
    assert pruned.erased == 1
    assert [row.output for row in await store.list_calls("resp_a", "ada")] == [None, None]


async def test_of_two_that_go_at_once_the_second_takes_the_calls_of_both(place: Place) -> None:
    store = place.store
    await ended(store)
    ids = [f"resp_{letter}" for letter in "bcdef"]
    for id in ids:
        await branch(store, id)
    async with anyio.create_task_group() as tasks:
        for id in ("resp_a", *ids):
            tasks.start_soon(delete, place, id)
    assert [row.output for row in await store.list_calls("resp_a", "ada")] == [None, None]


async def test_what_only_goes_on_is_listed_with_what_was_asked_before_it(place: Place) -> None:
    asked = replace(new_response("resp_a"), input=(TextInput("Hello."),))
    decided = replace(new_response("resp_b", "resp_a", at=NOON + MINUTE), input=())
    results = replace(new_response("resp_c", "resp_b"), input=(FunctionOutput("call_x", "12"),))
    shown = replace(new_response("resp_d", "resp_c"), input=(ImageInput("data:image/png;base64,AAAA"),))
    for new in (asked, decided, results, shown, replace(new_response("resp_e"), input=())):
        await place.store.open_response(new)
        await place.store.save_response(new.id, Completed(), STATS, [], [], NOON)
    page = await place.graph.list_responses(ResponseFilter("ada"), None, 9)
    previews = {each.id: each.input_preview for each in page.items}
    assert previews == {"resp_a": "Hello.", "resp_b": "Hello.", "resp_c": "Hello.", "resp_d": "", "resp_e": ""}
