"""What every store promises of runs that wait for people: the twin, SQLite and Postgres alike."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import anyio
import pytest

from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.calls import output_entry, pending_approval
from orchestrator.core.commands import Outcome, PlacedCall
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Cancelled, Completed, Counters
from orchestrator.core.tools import definition_digest, text_content
from orchestrator.core.transcript import EMPTY, extended_transcript
from orchestrator.ports import CallDecision, NewResponse, ResponseStore, StoredRun, Suspension
from tests.store.readings import as_journaled, as_opened, failure_of, past, store_error, with_outcome
from tests.store.samples import (
    CLOCK,
    LEASE,
    MINUTE,
    NAMES,
    NOON,
    OFFERED,
    STATS,
    answered,
    call,
    invented_call,
    new_response,
    settled,
    text,
    waiting_call,
)
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

COUNTERS = (Counters(10, 5, 0, 8, 0.5, 0.25), Counters(20, None, 1))
SUSPENSION = Suspension(NOON + 10 * MINUTE, COUNTERS, 1.5, 12.25, warnings=("many tools",))
LATER = NOON + 2 * MINUTE
FIRST, SECOND = waiting_call(1, "call_1"), waiting_call(3, "call_3")
DONE = settled(call(2, "call_2"), answered("noon"))
ITEMS = (text(0), FIRST, DONE, SECOND)


@pytest.fixture
def store(stores: Stores) -> ResponseStore:
    return stores.responses


def by_ada(call_id: str, decision: Decision, at: datetime = NOON) -> CallDecision:
    return CallDecision(call_id, decision, "ada", "abcd1234", at)


async def put_away(store: ResponseStore, id: str = "resp_a", until: Suspension = SUSPENSION) -> NewResponse:
    """A response that waits for two calls, one settled between them; ids of calls are those of the samples."""
    new = new_response(id)
    await store.open_response(new)
    await store.journal_calls(id, ITEMS, NOON)
    await store.suspend_response(id, until, STATS, NOON)
    return new


async def resume(store: ResponseStore, *decisions: CallDecision, id: str = "resp_a") -> None:
    await store.resume_response(id, decisions, OFFERED, NAMES, "host:2", LATER, LATER + MINUTE)


def conflict() -> "pytest.RaisesExc[OrchestratorError]":
    return pytest.RaisesExc(OrchestratorError, check=lambda error: error.info.kind is ErrorKind.APPROVAL_CONFLICT)


async def test_a_response_that_is_put_away_shows_what_it_waits_for(store: ResponseStore) -> None:
    new = await put_away(store)
    expected = replace(
        as_opened(new, "resp_a", 0),
        status="awaiting_approval",
        stats=STATS,
        output=(output_entry(text(0)), output_entry(DONE)),
        pending=(pending_approval(FIRST), pending_approval(SECOND)),
        expires_at=SUSPENSION.expires_at,
        warnings=SUSPENSION.warnings,
    )
    assert await store.get_response("resp_a", "ada") == expected
    assert [row.status for row in await store.list_calls("resp_a", "ada")] == [
        "awaiting_approval",
        "succeeded",
        "awaiting_approval",
    ]


async def test_everything_that_a_run_needs_to_go_on_comes_back(store: ResponseStore) -> None:
    new = await put_away(store)
    names = dict(new.tool_names)
    assert await store.read_run("resp_a", "ada") == StoredRun(ITEMS, OFFERED, names, (), SUSPENSION)
    assert await store.read_run("resp_a", "bob") is None
    assert await store.read_run("resp_b", "ada") is None


async def test_the_run_of_a_response_that_has_ended_can_be_read_too(store: ResponseStore) -> None:
    new, invented = new_response("resp_a"), invented_call(1, "call_1")
    await store.open_response(new)
    await store.save_response("resp_a", Completed(), STATS, [text(0), invented], [], NOON)
    assert await store.read_run("resp_a", "ada") == StoredRun((text(0), invented), OFFERED, dict(new.tool_names))
    await store.open_response(new_response("resp_b", stored=False))
    assert await store.read_run("resp_b", "ada") is None


async def test_a_response_that_waits_is_nobodys_and_is_never_taken_for_abandoned(store: ResponseStore) -> None:
    await put_away(store)
    assert await store.holders_in_progress() == []
    await store.renew_leases(["resp_a"], NOON)
    assert await store.end_abandoned(LEASE + 100 * MINUTE, ["host:1"]) == []


async def test_a_response_that_waits_cannot_be_continued_or_written_to(store: ResponseStore) -> None:
    await put_away(store)
    message = "The response 'resp_a' waits for approvals."
    expected = ErrorInfo(ErrorKind.RESPONSE_NOT_FINISHED, message, "previous_response_id")
    assert await failure_of(store, "resp_a") == expected
    with pytest.raises(OrchestratorError) as caught:
        await store.open_response(new_response("resp_b", "resp_a"))
    assert caught.value.info == expected
    for refused in (
        store.journal_calls("resp_a", [text(4)], NOON),
        store.save_response("resp_a", Completed(), STATS, [], [], NOON),
        store.record_outcome("resp_a", "call_1", answered("x"), NOON),
        store.suspend_response("resp_a", SUSPENSION, STATS, NOON),
    ):
        with store_error():
            await refused


async def test_decisions_are_kept_beside_the_journal_and_the_last_one_says_so(store: ResponseStore) -> None:
    await put_away(store)
    first, second = by_ada("call_1", Approve({"zone": "CET"})), by_ada("call_3", Deny("no"), LATER)
    assert not await store.record_decisions("resp_a", [])
    assert not await store.record_decisions("resp_a", [first])
    stored, run = await store.get_response("resp_a", "ada"), await store.read_run("resp_a", "ada")
    assert stored is not None and run is not None
    assert (stored.pending, stored.status) == ((pending_approval(SECOND),), "awaiting_approval")
    assert (run.decisions, run.items[1]) == ((first,), replace(FIRST, edited={"zone": "CET"}))
    assert await store.record_decisions("resp_a", [second])
    assert await store.record_decisions("resp_a", []), "asked again, there is still nothing left"
    journal = await store.list_calls("resp_a", "ada")
    assert [row.decision for row in journal] == [first, None, second]
    assert [row.arguments for row in journal] == [{"zone": "UTC"}] * 3, "the model's own arguments stay"


@pytest.mark.parametrize("wrong", ["call_1", "call_2", "call_9"])
async def test_what_cannot_be_decided_leaves_no_decision_behind(store: ResponseStore, wrong: str) -> None:
    await put_away(store)
    await store.record_decisions("resp_a", [by_ada("call_1", Deny())])
    with conflict():
        await store.record_decisions("resp_a", [by_ada("call_3", Approve()), by_ada(wrong, Approve())])
    run = await store.read_run("resp_a", "ada")
    assert run is not None
    assert [made.call_id for made in run.decisions] == ["call_1"]


async def test_a_run_is_taken_up_with_the_last_decisions_or_not_at_all(store: ResponseStore) -> None:
    new = await put_away(store)
    first, second = by_ada("call_1", Approve()), by_ada("call_3", Deny())
    with conflict():
        await resume(store, first)
    run = await store.read_run("resp_a", "ada")
    assert run is not None
    assert run.decisions == ()
    await store.record_decisions("resp_a", [first])
    await resume(store, second)
    stored = await store.get_response("resp_a", "ada")
    shown = (output_entry(text(0)), output_entry(DONE))
    opened = replace(as_opened(new, "resp_a", 0), stats=STATS, output=shown, warnings=SUSPENSION.warnings)
    assert stored == opened
    assert await store.holders_in_progress() == ["host:2"]
    for again in (resume(store), store.record_decisions("resp_a", [])):
        with conflict():
            await again


async def test_a_run_that_was_taken_up_ends_with_the_outcomes_of_its_calls(store: ResponseStore) -> None:
    new = await put_away(store)
    await resume(store, by_ada("call_1", Approve({"zone": "CET"})), by_ada("call_3", Deny()))
    await store.record_outcome("resp_a", "call_1", answered("one"), LATER)
    refused = Outcome("refused", text_content("no"), "no", is_error=True)
    await store.save_response("resp_a", Completed(), STATS, [text(4, 2)], [("call_3", refused)], LATER)
    done = settled(replace(FIRST, edited={"zone": "CET"}), answered("one"))
    items = (text(0), done, DONE, settled(SECOND, refused), text(4, 2))
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, *items),)
    journal = await store.list_calls("resp_a", "ada")
    expected = with_outcome(as_journaled(FIRST, "resp_a"), answered("one"), LATER)
    assert journal[0] == replace(expected, decision=by_ada("call_1", Approve({"zone": "CET"})))
    run = await store.read_run("resp_a", "ada")
    assert run is not None
    plain = [replace(item, awaits_approval=False) if isinstance(item, PlacedCall) else item for item in items]
    assert (run.items, run.decisions, run.suspension) == (tuple(plain), (), None)


async def test_a_run_may_be_put_away_again_and_may_offer_something_else_then(store: ResponseStore) -> None:
    await put_away(store)
    changed = replace(CLOCK, description="The time, more or less.")
    other = replace(OFFERED[0], definition=changed, digest=definition_digest(changed))
    decisions = [by_ada("call_1", Deny()), by_ada("call_3", Deny())]
    await store.resume_response("resp_a", decisions, [other], NAMES, "host:2", LATER, LATER + MINUTE)
    third = replace(waiting_call(4, "call_4", 2), digest=other.digest)
    refused = Outcome("refused", "[]", "no", is_error=True)
    for call_id in ("call_1", "call_3"):
        await store.record_outcome("resp_a", call_id, refused, LATER)
    await store.journal_calls("resp_a", [third], LATER)
    again = replace(SUSPENSION, expires_at=LATER + MINUTE)
    await store.suspend_response("resp_a", again, STATS, LATER)
    run = await store.read_run("resp_a", "ada")
    assert run is not None
    assert (run.offered, run.items[4], run.decisions, run.suspension) == ((other,), third, (), again)


async def test_of_several_who_decide_at_once_exactly_one_is_heard(store: ResponseStore) -> None:
    await put_away(store)
    heard: list[int] = []

    async def decide(number: int) -> None:
        decisions = [by_ada("call_1", Deny(str(number))), by_ada("call_3", Approve())]
        try:
            await resume(store, *decisions)
        except OrchestratorError as error:
            assert error.info.kind is ErrorKind.APPROVAL_CONFLICT
        else:
            heard.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(decide, number)
    assert len(heard) == 1
    journal = await store.list_calls("resp_a", "ada")
    assert journal[0].decision == by_ada("call_1", Deny(str(heard[0])))


async def test_what_nobody_decided_about_in_time_is_denied_by_nobody(store: ResponseStore) -> None:
    new = await put_away(store)
    await put_away_later(store)
    await store.record_decisions("resp_a", [by_ada("call_1", Approve())])
    assert await store.end_expired(SUSPENSION.expires_at - MINUTE, "too late") == []
    assert await store.end_expired(SUSPENSION.expires_at, "too late") == ["resp_a"]
    assert await store.end_expired(SUSPENSION.expires_at, "too late") == []
    refused = Outcome("refused", text_content("too late"), "too late", is_error=True)
    items = text(0), settled(FIRST, refused), DONE, settled(SECOND, refused)
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, *items),)
    stored = await store.get_response("resp_a", "ada")
    assert stored is not None
    assert (stored.status, stored.incomplete_reason, stored.stats) == ("incomplete", "deadline", STATS)
    assert (stored.pending, stored.expires_at, stored.ended_at) == ((), None, SUSPENSION.expires_at)
    by_nobody = CallDecision("call_3", Deny("too late"), None, None, SUSPENSION.expires_at)
    journal = await store.list_calls("resp_a", "ada")
    assert [row.decision for row in journal] == [by_ada("call_1", Approve()), None, by_nobody]


async def put_away_later(store: ResponseStore) -> None:
    """Another response that waits, longer."""
    await store.open_response(new_response("resp_b"))
    await store.journal_calls("resp_b", [waiting_call(0, "call_b")], NOON)
    later = replace(SUSPENSION, expires_at=SUSPENSION.expires_at + MINUTE)
    await store.suspend_response("resp_b", later, STATS, NOON)


async def test_a_response_that_waits_can_be_ended_by_its_owner(store: ResponseStore) -> None:
    await put_away(store)
    assert not await store.end_suspended("resp_a", "bob", Cancelled("asked"), "cancelled", LATER)
    assert not await store.end_suspended("resp_x", "ada", Cancelled("asked"), "cancelled", LATER)
    assert await store.end_suspended("resp_a", "ada", Cancelled("asked"), "cancelled", LATER)
    assert not await store.end_suspended("resp_a", "ada", Cancelled("asked"), "cancelled", LATER)
    stored = await store.get_response("resp_a", "ada")
    assert stored is not None
    assert (stored.status, len(stored.output), stored.pending) == ("cancelled", 4, ())
    assert [row.status for row in await store.list_calls("resp_a", "ada")] == ["refused", "succeeded", "refused"]


async def test_a_process_that_dies_leaves_approved_calls_abandoned_and_the_others_refused(
    store: ResponseStore,
) -> None:
    await put_away(store)
    await resume(store, by_ada("call_1", Approve()), by_ada("call_3", Deny()))
    await store.journal_calls("resp_a", [waiting_call(4, "call_4"), call(5, "call_5")], LATER)
    assert await store.end_abandoned(LATER, ["host:2"]) == ["resp_a"]
    outcomes: Sequence[tuple[str, str]] = [(row.call_id, row.status) for row in await store.list_calls("resp_a", "ada")]
    assert outcomes == [
        ("call_1", "abandoned"),
        ("call_2", "succeeded"),
        ("call_3", "refused"),
        ("call_4", "refused"),
        ("call_5", "abandoned"),
    ]


WITHHELD: JsonObject = {"calls": {"call_1": {"arguments": {"pin": "canary-77"}}}, "texts": {"0": "canary-78"}}


async def withheld_of(store: ResponseStore) -> JsonObject | None:
    run = await store.read_run("resp_a", "ada")
    assert run is not None and run.suspension is not None
    return run.suspension.withheld


async def test_what_redaction_took_out_is_there_again_until_the_run_goes_on(store: ResponseStore) -> None:
    await put_away(store, until=replace(SUSPENSION, withheld=WITHHELD))
    assert await withheld_of(store) == WITHHELD
    edits: JsonObject = {"edits": {"call_1": {"pin": "canary-79"}}}
    assert not await store.record_decisions("resp_a", [by_ada("call_1", Approve())], edits)
    assert await withheld_of(store) == {**WITHHELD, **edits}
    await resume(store, by_ada("call_3", Approve()))
    run = await store.read_run("resp_a", "ada")
    assert run is not None and run.suspension is None
    await store.suspend_response("resp_a", SUSPENSION, STATS, LATER)
    assert await withheld_of(store) is None
    await store.record_decisions("resp_a", [], edits)
    assert await withheld_of(store) == edits


async def test_a_conversation_is_found_while_it_waits_and_not_while_it_goes_on(store: ResponseStore) -> None:
    new = await put_away(store)
    waiting = extended_transcript(EMPTY, new.input, [text(0).item])
    assert await store.find_transcript([waiting], "ada") == ("resp_a", waiting)
    await resume(store, by_ada("call_1", Deny()), by_ada("call_3", Deny()))
    assert await store.find_transcript([waiting], "ada") is None
