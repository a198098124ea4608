"""The store and the graph against their twins: everything that can be asked of them, in random sequences.

Two processes write into one database here. Each change goes to one of them, or two changes to both at
once; then every reader has to see what the twin says.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from datetime import datetime
from typing import cast

from anyio.from_thread import BlockingPortal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from orchestrator.core.approvals import Decision
from orchestrator.core.commands import Outcome
from orchestrator.core.errors import ErrorKind
from orchestrator.core.response import Ending
from orchestrator.ports import (
    Page,
    Pruning,
    ResponseFilter,
    ResponseSummary,
    Thread,
)
from orchestrator.store.audit_verify import verify
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database, open_database
from orchestrator.testing_graph import MemoryGraph
from orchestrator.testing_store import MemoryStore
from tests.store.changes import Changes
from tests.store.draws import (
    DECIDED,
    ENDINGS,
    FILTERS,
    HOLDERS,
    KINDS_OF_CHANGE,
    MINUTES,
    OUTCOMES,
    OWNERS,
    PICKS,
    PLACES,
    SHAPES,
    Shape,
)
from tests.store.places import Ask, BrokenCommits, Place, answer, both, dump, place, read_whole
from tests.store.samples import (
    MINUTE,
    call,
)


class StoreMachine(RuleBasedStateMachine):
    """Every question is put to the twin and to the store; the answers and the errors must be the same."""

    portal: BlockingPortal
    fresh: Callable[[ExitStack], str]
    """Gives the address of an empty, migrated database."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        address = type(self).fresh(self.closing)
        self.databases = [self.open_database(address), self.open_database(address)]
        store = MemoryStore()
        graph = MemoryGraph(store)
        self.twin = Place(store, graph, graph)
        self.make = Changes(store)
        one, other = self.databases
        # The second one forgets everything and the third one most of it. Two of them put chains away in small pieces.
        ways = ((one, 10_000_000, 2), (other, 0, 2), (one, 20_000, 1_000))
        self.places = [place(database, ChainMemory(room), length) for database, room, length in ways]
        self.changes = 0

    def open_database(self, address: str) -> Database:
        database = self.portal.call(open_database, address)
        self.closing.callback(self.portal.call, database.aclose)
        return database

    def teardown(self) -> None:
        try:
            report = self.portal.call(verify, self.databases[0])
            assert report.problem is None, report.problem
        finally:
            self.closing.close()

    # ---- asking -------------------------------------------------------------------------------

    def answer(self, place: Place, ask: Ask) -> object:
        return self.portal.call(answer, place, ask)

    def change(self, ask: Ask) -> object:
        self.changes += 1
        expected = self.answer(self.twin, ask)
        told = self.answer(self.places[self.changes % 2], ask)
        assert told == expected, f"told {told!r}, expected {expected!r}"
        return expected

    def see(self, ask: Ask) -> object:
        expected = self.answer(self.twin, ask)
        for reader in self.places:
            told = self.answer(reader, ask)
            assert told == expected, f"told {told!r}, expected {expected!r}"
        return expected

    # ---- runs ---------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for parent in (None, None, 5):
            self.change(self.make.opening(parent, "ada", "host:1", 9, 9))
            self.change(self.make.journaling(9, [(call, None, None), (None, None, None)]))

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.make.minutes += minutes

    @rule(parent=st.none() | PICKS, owner=OWNERS, holder=HOLDERS, unstored=PICKS, lease=MINUTES)
    def open(self, parent: int | None, owner: str, holder: str, unstored: int, lease: int) -> None:
        self.change(self.make.opening(parent, owner, holder, unstored, lease))

    @rule(which=PICKS, place=PLACES, owner=OWNERS, holder=HOLDERS, lease=MINUTES)
    def branch(self, which: int, place: int, owner: str, holder: str, lease: int) -> None:
        self.change(self.make.branching(which, place, owner, holder, lease))

    @rule(which=PICKS, owner=OWNERS, holder=HOLDERS, lease=MINUTES)
    def append(self, which: int, owner: str, holder: str, lease: int) -> None:
        self.change(self.make.appending(which, owner, holder, lease))

    @rule(which=PICKS, shapes=SHAPES)
    def journal(self, which: int, shapes: list[Shape]) -> None:
        self.change(self.make.journaling(which, shapes))

    @rule(which=PICKS, call=PICKS, outcome=OUTCOMES)
    def settle(self, which: int, call: int, outcome: Outcome) -> None:
        self.change(self.make.settling(which, call, outcome))

    @rule(
        which=PICKS,
        ending=ENDINGS,
        shapes=SHAPES,
        outcomes=st.lists(st.tuples(PICKS, OUTCOMES), max_size=3),
        fate=st.sampled_from(["well", "well", "twice", "lost"]),
    )
    def save(
        self, which: int, ending: Ending, shapes: list[Shape], outcomes: list[tuple[int, Outcome]], fate: str
    ) -> None:
        """`twice`: the answer was lost, so it is asked again. `lost`: the commit fails, and nothing may be left of it."""
        saving = self.make.saving(which, ending, shapes, outcomes)
        if fate == "lost":
            with BrokenCommits():
                assert self.answer(self.places[self.changes % 2], saving) is ErrorKind.STORE_ERROR
            for id in self.make.nodes:
                self.see(lambda place, id=id: read_whole(place, id, "ada"))
        self.change(saving)
        if fate == "twice":
            self.change(saving)

    @rule(which=st.lists(PICKS, max_size=3), lease=MINUTES)
    def renew(self, which: list[int], lease: int) -> None:
        ids, until = [self.make.pick(each, self.make.running) for each in which], self.make.now() + lease * MINUTE
        self.change(lambda place: place.store.renew_leases(ids, until))

    @rule(dead=st.lists(HOLDERS, max_size=1))
    def end_abandoned(self, dead: list[str]) -> None:
        self.change(self.make.abandoning(dead))

    # ---- runs that wait for people ------------------------------------------------------------

    @rule(which=PICKS, minutes=MINUTES)
    def suspend(self, which: int, minutes: int) -> None:
        self.change(self.make.suspending(which, minutes))

    @rule(which=PICKS, decided=DECIDED)
    def decide(self, which: int, decided: list[tuple[int, Decision]]) -> None:
        self.change(self.make.deciding(which, decided))

    @rule(which=PICKS, decided=DECIDED, holder=HOLDERS, lease=MINUTES)
    def resume(self, which: int, decided: list[tuple[int, Decision]], holder: str, lease: int) -> None:
        self.change(self.make.resuming(which, decided, holder, lease))

    @rule(which=PICKS, owner=OWNERS)
    def end_suspended(self, which: int, owner: str) -> None:
        self.change(self.make.ending_suspended(which, owner))

    @rule()
    def end_expired(self) -> None:
        self.change(self.make.expiring())

    # ---- what goes ----------------------------------------------------------------------------

    @rule(which=PICKS, owner=OWNERS, subtree=st.booleans(), keep=st.booleans())
    def delete(self, which: int, owner: str, subtree: bool, keep: bool) -> None:
        self.change(self.make.deleting(which, owner, subtree, keep))

    @rule(which=PICKS, owner=OWNERS)
    def make_thread(self, which: int, owner: str) -> None:
        self.change(self.make.threading(which, owner))

    @rule(which=PICKS, owner=OWNERS, subtree=st.booleans(), keep=st.booleans())
    def delete_thread(self, which: int, owner: str, subtree: bool, keep: bool) -> None:
        self.change(self.make.deleting_thread(which, owner, subtree, keep))

    @rule(minutes=st.integers(0, 200), limit=st.integers(1, 4), keep=st.booleans())
    def prune_older(self, minutes: int, limit: int, keep: bool) -> None:
        before, now = self.make.now() - minutes * MINUTE, self.make.now()
        after: int | None = None
        for _ in range(3):
            pruning = self.change(
                lambda place, after=after: place.graph.prune_older(before, after, limit, now, keep_skeleton=keep)
            )
            assert isinstance(pruning, Pruning)
            after = pruning.after
            if after is None:
                break

    @rule(per_owner=st.integers(1, 8), limit=st.integers(1, 4), keep=st.booleans())
    def prune_beyond(self, per_owner: int, limit: int, keep: bool) -> None:
        now = self.make.now()
        self.change(lambda place: place.graph.prune_beyond(per_owner, limit, now, keep_skeleton=keep))

    @rule(which=PICKS, owner=OWNERS, why=st.sampled_from(["asked", "too long"]))
    def request_cancel(self, which: int, owner: str, why: str) -> None:
        self.change(self.make.cancelling(which, owner, why))

    # ---- two at once --------------------------------------------------------------------------

    @rule(data=st.data())
    def two_at_once(self, data: st.DataObject) -> None:
        """Both processes change something at the same time: it is as if one had done so before the other."""
        kinds = data.draw(st.tuples(KINDS_OF_CHANGE, KINDS_OF_CHANGE))
        if set(kinds) == {"journal", "suspend"}:  # one run does both, one after the other
            kinds = ("abandon", "suspend")
        asks = [self.make.any_change(kind, data.draw) for kind in kinds]
        one, other, *_ = self.places
        told = self.portal.call(both, [(one, asks[0]), (other, asks[1])])
        self.sweep_again(one, kinds, asks, told)
        possible = [self.one_after_the_other(kinds, asks, first) for first in (0, 1)]
        ids = {id for _, twin in possible for id in store_of(twin).nodes} | set(self.make.nodes)
        found = told, self.portal.call(dump, other, sorted(ids))
        expected = [(answers, self.portal.call(dump, twin, sorted(ids))) for answers, twin in possible]
        assert found in expected, f"{found!r} is as neither order of the two makes it: {expected!r}"
        self.twin = possible[expected.index(found)][1]
        self.make.twin = store_of(self.twin)

    def one_after_the_other(self, kinds: Sequence[str], asks: Sequence[Ask], first: int) -> tuple[list[object], Place]:
        """What a twin says of the two in this order, and the twin."""
        twin = deepcopy(self.twin)
        answers = [self.answer(twin, asks[first]), self.answer(twin, asks[1 - first])]
        told = answers if first == 0 else answers[::-1]
        self.sweep_again(twin, kinds, asks, told)
        return told, twin

    def sweep_again(self, place: Place, kinds: Sequence[str], asks: Sequence[Ask], answers: list[object]) -> None:
        """A sweep passes over what somebody else is at, and comes again: what counts is all that it found."""
        for kind in {"abandon", "expire"} & set(kinds):
            mine = [index for index in (0, 1) if kinds[index] == kind]
            found = [*(answers[index] for index in mine), self.answer(place, asks[mine[0]])]
            for index in mine:
                answers[index] = sorted(id for ids in found for id in cast("Iterable[str]", ids))

    # ---- reading ------------------------------------------------------------------------------

    @rule(which=PICKS, owner=st.none() | OWNERS, depth=st.integers(0, 3), limit=st.integers(1, 3))
    def read(self, which: int, owner: str | None, depth: int, limit: int) -> None:
        id = self.make.pick(which, list(self.make.nodes))
        self.see(lambda place: read_whole(place, id, owner))
        self.see(lambda place: place.graph.read_chain(id, owner, depth, limit))
        page = cast(
            "tuple[ResponseSummary, ...] | None", self.see(lambda place: place.graph.read_tree(id, owner, None, limit))
        )
        if page:
            after = (page[-1].depth, page[-1].number)
            self.see(lambda place: place.graph.read_tree(id, owner, after, limit))

    @rule(wanted=FILTERS, limit=st.integers(1, 4), oldest_first=st.booleans())
    def look_through(self, wanted: ResponseFilter, limit: int, oldest_first: bool) -> None:
        after: int | None = None
        for _ in range(3):
            page = self.see(
                lambda place, after=after: place.graph.list_responses(wanted, after, limit, oldest_first=oldest_first)
            )
            assert isinstance(page, Page)
            after = page.next
            if after is None:
                break

    @rule(owner=OWNERS, which=PICKS, limit=st.integers(1, 3))
    def look_at_threads(self, owner: str, which: int, limit: int) -> None:
        known = [*self.make.twin.threads, "thread_unknown"]
        self.see(lambda place: place.threads.find_thread(known[which % len(known)], owner))
        after: tuple[datetime, str] | None = None
        responses = [*self.make.twin.nodes, "resp_unknown"]
        through = responses[which % len(responses)] if which % 2 else None
        for _ in range(3):
            page = cast(
                "list[Thread]",
                self.see(lambda place, after=after: place.threads.list_threads(owner, after, limit, through)),
            )
            if not page:
                break
            after = page[-1].updated_at, page[-1].id

    @rule(holder=HOLDERS)
    def look_at_holders(self, holder: str) -> None:
        self.see(lambda place: place.store.holders_in_progress())
        self.see(lambda place: place.graph.cancels_requested(holder))

    # ---- values -------------------------------------------------------------------------------


def store_of(twin: Place) -> MemoryStore:
    """The twin's responses and threads."""
    assert isinstance(twin.store, MemoryStore)
    return twin.store
