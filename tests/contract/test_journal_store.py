"""What every `ResponseStore` promises of tool calls and of runs that die: the twin, SQLite and Postgres alike."""

from dataclasses import replace

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedItem
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.prompt import ToolMessage
from orchestrator.core.response import UNCOUNTED, Completed, Failed
from orchestrator.core.tools import text_content
from orchestrator.ports import ResponseStore
from tests.store.readings import (
    as_journaled,
    as_opened,
    failure_of,
    finish,
    no_such_parent,
    past,
    store_error,
    with_outcome,
)
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
    text,
)
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

DIED = "The process that ran this call died during it: whether it took effect is not known."


@pytest.fixture
def store(stores: Stores) -> ResponseStore:
    return stores.responses


# ---- the journal --------------------------------------------------------------------------------


async def test_a_journaled_call_is_in_the_journal_at_once_and_in_the_output_once_settled(store: ResponseStore) -> None:
    new, first, second = new_response("resp_a"), call(1, "call_1"), ephemeral_call(2, "call_2")
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), first, second], NOON)
    journal = [as_journaled(first, "resp_a"), as_journaled(second, "resp_a")]
    assert await store.list_calls("resp_a", "ada") == journal
    opened = as_opened(new, "resp_a", 0)
    assert await store.get_response("resp_a", "ada") == replace(opened, output=(output_entry(text(0)),))

    outcome = answered("found")
    await store.record_outcome("resp_a", "call_2", outcome, NOON + MINUTE)
    assert await store.list_calls("resp_a", "ada") == [journal[0], with_outcome(journal[1], outcome, NOON + MINUTE)]
    output = (output_entry(text(0)), output_entry(settled(second, outcome)))
    assert await store.get_response("resp_a", "ada") == replace(opened, output=output)


async def test_an_invalid_call_is_settled_as_soon_as_it_is_journaled(store: ResponseStore) -> None:
    invented, cut = invented_call(0, "call_1"), cut_call(1, "call_2")
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [invented, cut], NOON)
    assert invented.outcome is not None and cut.outcome is not None
    assert await store.list_calls("resp_a", "ada") == [
        with_outcome(as_journaled(invented, "resp_a"), invented.outcome, NOON),
        with_outcome(as_journaled(cut, "resp_a"), cut.outcome, NOON),
    ]


async def test_a_settled_call_never_changes_again(store: ResponseStore) -> None:
    new, placed, outcome = new_response("resp_a"), call(0, "call_1"), answered("first")
    await store.open_response(new)
    await store.journal_calls("resp_a", [placed], NOON)
    await store.record_outcome("resp_a", "call_1", outcome, NOON)
    expected = [with_outcome(as_journaled(placed, "resp_a"), outcome, NOON)]

    await store.record_outcome("resp_a", "call_1", outcome, NOON + MINUTE)
    assert await store.list_calls("resp_a", "ada") == expected, "the same again changes nothing"
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("second"), NOON + MINUTE)
    again = settled(placed, answered("third"))
    await store.save_response("resp_a", Completed(), STATS, [again], [("call_1", answered("fourth"))], NOON)
    assert await store.list_calls("resp_a", "ada") == expected
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, settled(placed, outcome)),)


async def test_an_outcome_needs_a_call_of_that_response(store: ResponseStore) -> None:
    await store.open_response(new_response("resp_a"))
    await store.open_response(new_response("resp_b"))
    await store.journal_calls("resp_a", [call(0, "call_1")], NOON)
    for response_id, call_id in (("resp_a", "call_2"), ("resp_b", "call_1"), ("resp_c", "call_1")):
        with store_error():
            await store.record_outcome(response_id, call_id, answered("ok"), NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(call(0, "call_1"), "resp_a")]


async def test_what_the_journal_cannot_take_leaves_nothing_behind(store: ResponseStore) -> None:
    new, journaled = new_response("resp_a"), call(0, "call_1")
    await store.open_response(new)
    await store.journal_calls("resp_a", [journaled], NOON)
    refused: list[list[PlacedItem]] = [
        [call(1, "call_2"), call(0, "call_3")],
        [call(1, "call_2"), call(2, "call_1")],
        [call(1, "call_2"), call(2, "call_2")],
        [call(1, "call_2"), text(1)],
        [call(1, "call_2"), replace(call(2, "call_3"), digest="sha256:never offered")],
    ]
    for items in refused:
        with store_error():
            await store.journal_calls("resp_a", items, NOON)
    with store_error():
        await store.journal_calls("resp_unknown", [call(1, "call_2")], NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(journaled, "resp_a")]
    assert await store.get_response("resp_a", "ada") == as_opened(new, "resp_a", 0)


async def test_a_response_that_has_ended_takes_no_more_calls(store: ResponseStore) -> None:
    new = new_response("resp_a")
    await finish(store, new, text(0))
    with store_error():
        await store.journal_calls("resp_a", [call(1, "call_1")], NOON)
    assert await store.list_calls("resp_a", "ada") == []


async def test_a_call_that_its_response_ended_without_is_never_settled(store: ResponseStore) -> None:
    new, forgotten = new_response("resp_a"), call(0, "call_1")
    await store.open_response(new)
    await store.journal_calls("resp_a", [forgotten, text(1)], NOON)
    await store.save_response("resp_a", Completed(), STATS, [], [], NOON)
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, text(1)),)
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("late"), NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(forgotten, "resp_a")]


# ---- store: false -------------------------------------------------------------------------------


async def test_of_a_response_that_is_not_stored_only_the_skeleton_of_its_calls_is_kept(store: ResponseStore) -> None:
    new = new_response("resp_a", stored=False)
    first, second, invented, cut = (
        call(1, "call_1"),
        ephemeral_call(2, "call_2"),
        invented_call(3, "call_3"),
        cut_call(4, "call_4"),
    )
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), first, second, invented], NOON)
    bare = [
        replace(as_journaled(first, "resp_a"), arguments=None),
        replace(as_journaled(second, "resp_a"), arguments=None),
        replace(
            as_journaled(invented, "resp_a"),
            model_name="",
            arguments=None,
            status="invalid",
            is_error=True,
            duration_ms=0,
            settled_at=NOON,
        ),
    ]
    assert await store.list_calls("resp_a", "ada") == bare

    await store.record_outcome("resp_a", "call_1", answered("secret"), NOON + MINUTE)
    await store.record_outcome("resp_a", "call_1", answered("another secret"), NOON + 2 * MINUTE)
    ending = Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "It said: secret", "input"))
    await store.save_response("resp_a", ending, STATS, [cut], [("call_2", answered("secret"))], NOON + MINUTE)
    done = {"status": "succeeded", "duration_ms": 12, "settled_at": NOON + MINUTE}
    cut_off = {"status": "invalid", "is_error": True, "duration_ms": 0}
    assert await store.list_calls("resp_a", "ada") == [
        replace(bare[0], **done),
        replace(bare[1], **done),
        bare[2],
        replace(
            as_journaled(cut, "resp_a"),
            arguments=None,
            created_at=NOON + MINUTE,
            settled_at=NOON + MINUTE,
            **cut_off,
        ),
    ]
    assert await store.get_response("resp_a", "ada") is None
    await store.save_response("resp_a", ending, STATS, [], [], NOON)
    with store_error():
        await store.save_response("resp_a", Completed(), STATS, [], [], NOON)


async def test_a_response_that_is_not_stored_may_continue_one_that_is(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"), text(0))
    await finish(store, new_response("resp_b", "resp_a", stored=False), text(0))
    assert await failure_of(store, "resp_b") == no_such_parent("resp_b")
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new_response("resp_a"), text(0)),)


# ---- leases -------------------------------------------------------------------------------------


async def test_a_response_whose_lease_has_expired_ends_with_what_was_durable(store: ResponseStore) -> None:
    new, done, lost = new_response("resp_a"), call(1, "call_1"), call(2, "call_2")
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), done, lost], NOON)
    await store.record_outcome("resp_a", "call_1", answered("12:00"), NOON)

    assert await store.end_abandoned(LEASE, []) == [], "a lease still counts at its last moment"
    later = LEASE + MINUTE
    assert await store.end_abandoned(later, []) == ["resp_a"]
    assert await store.end_abandoned(later, []) == []

    abandoned = Outcome("abandoned", text_content(DIED), DIED, is_error=True)
    items = (text(0), settled(done, answered("12:00")), settled(lost, abandoned))
    assert await store.list_calls("resp_a", "ada") == [
        with_outcome(as_journaled(done, "resp_a"), answered("12:00"), NOON),
        with_outcome(as_journaled(lost, "resp_a"), abandoned, later),
    ]
    assert await store.get_response("resp_a", "ada") == replace(
        as_opened(new, "resp_a", 0),
        status="incomplete",
        incomplete_reason="process_died",
        stats=UNCOUNTED,
        output=tuple(output_entry(item) for item in items),
        ended_at=later,
    )
    chain = await store.load_chain("resp_a", "ada")
    assert chain.responses == (past(new, *items),)
    assert chain.responses[0].messages(vision=False)[-1] == ToolMessage("call_2", "now", DIED)


async def test_the_responses_of_a_dead_holder_end_before_their_lease(store: ResponseStore) -> None:
    for name, holder in (("a", "host:1"), ("b", "host:2"), ("c", "host:3")):
        await store.open_response(replace(new_response(f"resp_{name}"), holder=holder))
    await finish(store, replace(new_response("resp_d"), holder="host:2"))
    await store.open_response(replace(new_response("resp_e", stored=False), holder="host:2"))
    await store.journal_calls("resp_e", [call(0, "call_1")], NOON)
    assert await store.holders_in_progress() == ["host:1", "host:2", "host:3"]
    assert await store.end_abandoned(NOON, ["host:2", "host:4"]) == ["resp_b", "resp_e"]
    assert await store.holders_in_progress() == ["host:1", "host:3"]
    assert await store.list_calls("resp_e", "ada") == [
        replace(
            as_journaled(call(0, "call_1"), "resp_e"),
            arguments=None,
            status="abandoned",
            is_error=True,
            duration_ms=0,
            settled_at=NOON,
        )
    ]


async def test_a_renewed_lease_keeps_that_response_and_no_other(store: ResponseStore) -> None:
    for name in ("a", "b"):
        await store.open_response(new_response(f"resp_{name}"))
    await finish(store, new_response("resp_c"))
    ended = await store.get_response("resp_c", "ada")
    await store.renew_leases(["resp_a", "resp_c", "resp_unknown"], LEASE + 2 * MINUTE)
    await store.renew_leases([], LEASE + 9 * MINUTE)
    assert await store.end_abandoned(LEASE + MINUTE, []) == ["resp_b"]
    assert await store.holders_in_progress() == ["host:1"]
    assert await store.end_abandoned(LEASE + 3 * MINUTE, []) == ["resp_a"]
    assert await store.holders_in_progress() == []
    assert await store.get_response("resp_c", "ada") == ended


async def test_a_process_that_was_taken_for_dead_can_write_no_more(store: ResponseStore) -> None:
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [call(0, "call_1")], NOON)
    await store.end_abandoned(LEASE + MINUTE, [])
    ended = await store.get_response("resp_a", "ada")
    journal = await store.list_calls("resp_a", "ada")
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("late"), NOON)
    with store_error():
        await store.journal_calls("resp_a", [call(1, "call_2")], NOON)
    with store_error():
        await store.save_response("resp_a", Completed(), STATS, [text(1)], [("call_1", answered("late"))], NOON)
    assert await store.get_response("resp_a", "ada") == ended
    assert await store.list_calls("resp_a", "ada") == journal
