"""Changes that processes can be about to make, made from small numbers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from orchestrator.core.approvals import Decision
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem
from orchestrator.core.response import Cancelled, Ending, ResponseStatus
from orchestrator.ports import (
    CallDecision,
    ForkPoint,
    Suspension,
    ThreadMove,
)
from orchestrator.testing_nodes import Node
from orchestrator.testing_store import MemoryStore
from tests.store.draws import (
    COUNTERS,
    DECIDED,
    ENDINGS,
    HOLDERS,
    MINUTES,
    OUTCOMES,
    OWNERS,
    PICKS,
    PLACES,
    SHAPES,
    Draw,
    Shape,
)
from tests.store.places import Ask
from tests.store.samples import (
    MINUTE,
    NAMES,
    NOON,
    OFFERED,
    STATS,
    new_response,
    settled,
    text,
)


class Changes:
    """Makes changes that mostly fit what there is in the twin."""

    def __init__(self, twin: MemoryStore) -> None:
        self.twin = twin
        self.minutes = 0
        self.opened = 0
        self.positions: dict[str, int] = defaultdict(int)
        self.calls: dict[str, list[str]] = defaultdict(list)

    @property
    def nodes(self) -> dict[str, Node]:
        return self.twin.nodes

    def now(self) -> datetime:
        return NOON + self.minutes * MINUTE

    def ids(self, *statuses: ResponseStatus) -> list[str]:
        return [id for id, node in self.nodes.items() if node.status in statuses]

    @property
    def running(self) -> list[str]:
        return self.ids("in_progress")

    @property
    def waiting(self) -> list[str]:
        return self.ids("awaiting_approval")

    @property
    def ended(self) -> list[str]:
        return self.ids("completed", "incomplete", "failed", "cancelled")

    def pick(self, which: int, ids: Sequence[str]) -> str:
        """Mostly one of `ids`."""
        pool = ids if which > 1 and ids else [*self.nodes, "resp_unknown"]
        return pool[which % len(pool)]

    def opening(self, parent: int | None, owner: str, holder: str, unstored: int, lease: int) -> Ask:
        """A new response; for a `parent` of 0 one with an id that is taken."""
        previous = None if parent is None else self.pick(parent, self.ended)
        return self._opening(previous, owner, holder, unstored, lease, taken=parent == 0)

    def branching(self, which: int, place: int, owner: str, holder: str, lease: int) -> Ask:
        """A response that begins with items of another one, or runs one again for a `place` below 0."""
        id = self.pick(which, self.ended)
        node = self.nodes.get(id)
        previous = None if node is None else node.new.previous_response_id
        if place < 0:
            return self._opening(previous, owner, holder, 9, lease, replay_of=id)
        items = [] if node is None else node.ordered()
        unsettled = [item.position for item in items if isinstance(item, PlacedCall) and item.outcome is None]
        settled = min([len(items), *unsettled])
        position = min(place, settled)
        point = ForkPoint(id, position, max(0, min(which % 3, settled - position - 1)))
        return self._opening(previous, owner, holder, 9, lease, forked_from=point)

    def appending(self, which: int, owner: str, holder: str, lease: int) -> Ask:
        """A response that begins a thread, is appended to one, or for a `which` of 2 comes too late for that."""
        known = list(self.twin.threads)
        if which < 2 or not known:
            return self._opening(None, owner, holder, 9, lease, thread=ThreadMove(f"thread_{self.opened:03}", None))
        thread_id = known[which % len(known)]
        newest = self.twin.threads[thread_id].newest
        move = ThreadMove(thread_id, "resp_0" if which == 2 else newest)
        return self._opening(newest, owner, holder, 9, lease, thread=move)

    def deleting_thread(self, which: int, owner: str, subtree: bool, keep: bool) -> Ask:
        known, now = [*self.twin.threads, "thread_unknown"], self.now()
        id = known[which % len(known)]
        return lambda place: place.threads.delete_thread(id, owner, now, subtree=subtree, keep_skeleton=keep)

    def threading(self, which: int, owner: str) -> Ask:
        known, now = [*self.nodes, "resp_unknown"], self.now()
        self.opened += 1
        id, newest = f"thread_of_{self.opened}", known[which % len(known)]
        return lambda place: place.threads.create_thread(id, newest, owner, now)

    def _opening(
        self, previous: str | None, owner: str, holder: str, unstored: int, lease: int, taken: bool = False, **of: Any
    ) -> Ask:
        self.opened += 1
        id = f"resp_{self.opened}"
        if taken and self.nodes:
            id = list(self.nodes)[self.opened % len(self.nodes)]
        elif "forked_from" in of:
            point = of["forked_from"]
            self.positions[id] = point.position + (point.rest and 1 + point.rest)
        new = new_response(id, previous, stored=unstored > 3, at=self.now())
        said = new.input if self.opened % 3 == 0 else new.input[:1]  # one with a picture stays in its rows
        new = replace(new, owner=owner, holder=holder, lease_until=self.now() + lease * MINUTE, input=said, **of)
        return lambda place: place.store.open_response(new)

    def journaling(self, which: int, shapes: list[Shape]) -> Ask:
        id, now = self.pick(which, self.running), self.now()
        placed = self.items(id, shapes)
        return lambda place: place.store.journal_calls(id, placed, now)

    def settling(self, which: int, call: int, outcome: Outcome) -> Ask:
        id, now = self.pick(which, self.running), self.now()
        call_id = self.call_of(id, call)
        return lambda place: place.store.record_outcome(id, call_id, outcome, now)

    def saving(self, which: int, ending: Ending, shapes: list[Shape], outcomes: list[tuple[int, Outcome]]) -> Ask:
        id, now = self.pick(which, self.running), self.now()
        placed = self.items(id, shapes)
        late = [(self.call_of(id, call), outcome) for call, outcome in outcomes]
        return lambda place: place.store.save_response(id, ending, STATS, placed, late, now)

    def abandoning(self, dead: list[str]) -> Ask:
        now = self.now()
        return lambda place: place.store.end_abandoned(now, dead)

    def suspending(self, which: int, minutes: int) -> Ask:
        now = self.now()
        # A run is put away when each of its calls has an outcome or waits for one.
        busy = {id for id, node in self.nodes.items() if any(is_running(call) for call in node.placed_calls())}
        id = self.pick(which, [id for id in self.running if id not in busy])
        id = "resp_unknown" if id in busy else id
        suspension = Suspension(now + minutes * MINUTE, COUNTERS, 1.5, 12.25)
        return lambda place: place.store.suspend_response(id, suspension, STATS, now)

    def deciding(self, which: int, decided: list[tuple[int, Decision]]) -> Ask:
        id = self.pick(which, self.waiting)
        decisions = self.decisions(id, decided)
        return lambda place: place.store.record_decisions(id, decisions)

    def resuming(self, which: int, decided: list[tuple[int, Decision]], holder: str, lease: int) -> Ask:
        id, now = self.pick(which, self.waiting), self.now()
        decisions, until = self.decisions(id, decided), now + lease * MINUTE
        return lambda place: place.store.resume_response(id, decisions, OFFERED, NAMES, holder, now, until)

    def ending_suspended(self, which: int, owner: str) -> Ask:
        id, now = self.pick(which, self.waiting), self.now()
        return lambda place: place.store.end_suspended(id, owner, Cancelled("asked"), "cancelled", now)

    def expiring(self) -> Ask:
        now = self.now()
        return lambda place: place.store.end_expired(now, "nobody decided in time")

    def deleting(self, which: int, owner: str, subtree: bool, keep: bool) -> Ask:
        id, now = self.pick(which, self.ended), self.now()
        return lambda place: place.graph.delete_response(id, owner, now, subtree=subtree, keep_skeleton=keep)

    def cancelling(self, which: int, owner: str, why: str) -> Ask:
        id = self.pick(which, self.running)
        return lambda place: place.graph.request_cancel(id, owner, why)

    def any_change(self, kind: str, draw: Draw) -> Ask:
        which = draw(PICKS)
        match kind:
            case "open":
                return self.opening(which, draw(OWNERS), draw(HOLDERS), 9, draw(MINUTES))
            case "append":
                return self.appending(which, "ada", draw(HOLDERS), draw(MINUTES))
            case "make thread":
                return self.threading(which, draw(OWNERS))
            case "delete thread":
                return self.deleting_thread(which, "ada", draw(st.booleans()), draw(st.booleans()))
            case "branch":
                return self.branching(which, draw(PLACES), "ada", draw(HOLDERS), draw(MINUTES))
            case "journal":
                return self.journaling(which, draw(SHAPES))
            case "settle":
                return self.settling(which, draw(PICKS), draw(OUTCOMES))
            case "save":
                return self.saving(which, draw(ENDINGS), draw(SHAPES), [])
            case "abandon":
                return self.abandoning(["host:1"])
            case "suspend":
                return self.suspending(which, draw(MINUTES))
            case "decide":
                return self.deciding(which, draw(DECIDED))
            case "resume":
                return self.resuming(which, draw(DECIDED), draw(HOLDERS), draw(MINUTES))
            case "expire":
                return self.expiring()
            case "end suspended":
                return self.ending_suspended(which, "ada")
            case "delete":
                return self.deleting(which, "ada", draw(st.booleans()), draw(st.booleans()))
            case _:
                return self.cancelling(which, "ada", "asked")

    def items(self, id: str, shapes: list[Shape]) -> list[PlacedItem]:
        """Items as a run hands them over, each in the next place with a call id of its own but for its slips."""
        made: list[PlacedItem] = []
        for make, outcome, slip in shapes:
            position = self.positions[id] - 1 if slip == "position" and self.positions[id] else self.positions[id]
            self.positions[id] = position + 1
            if make is None:
                made.append(text(position))
                continue
            known = self.calls[id]
            call_id = known[-1] if slip == "call" and known else f"call_{sum(map(len, self.calls.values()))}"
            known.append(call_id)
            placed = make(position, call_id)
            made.append(placed if placed.outcome is not None or outcome is None else settled(placed, outcome))
        return made

    def call_of(self, id: str, which: int) -> str:
        return self.calls[id][which % len(self.calls[id])] if self.calls[id] else "call_unknown"

    def decisions(self, id: str, decided: list[tuple[int, Decision]]) -> list[CallDecision]:
        """Mostly about calls that wait."""
        node = self.nodes.get(id)
        waiting = [] if node is None else [call.call_id for call in node.waiting()]
        return [
            CallDecision(
                waiting[which % len(waiting)] if which > 1 and waiting else self.call_of(id, which),
                decision,
                "ada",
                "abcd1234",
                self.now(),
            )
            for which, decision in decided
        ]


def is_running(call: PlacedCall) -> bool:
    return call.outcome is None and not call.awaits_approval
