"""Calls about which somebody decided."""

from dataclasses import replace

from orchestrator.core.approvals import Approve, Deny
from orchestrator.core.response import Completed
from orchestrator.ports.approvals import CallDecision, Suspension
from orchestrator.store.responses import SqlResponseStore
from tests.store.samples import LEASE, MINUTE, NOON, STATS, call, new_response


async def write_decisions(store: SqlResponseStore) -> None:
    """Two calls that waited: one approved with other arguments, one denied; then both ended."""
    await store.open_response(new_response("resp_a"))
    waiting = [replace(call(place, f"call_{place}"), awaits_approval=True) for place in (0, 1)]
    await store.journal_calls("resp_a", waiting, NOON)
    await store.suspend_response("resp_a", Suspension(LEASE, (), None, 0.0), STATS, NOON)
    decisions = [
        CallDecision("call_0", Approve({"zone": "Asia/Tokyo"}), "carol", "tok12345", NOON),
        CallDecision("call_1", Deny("not now"), "carol", None, NOON),
    ]
    assert await store.record_decisions("resp_a", decisions)
    assert await store.end_suspended("resp_a", "ada", Completed(), "enough", NOON + MINUTE)
