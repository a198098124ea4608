"""The store against its twin, over random sequences of everything that can be asked of it."""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.response import Cancelled, Completed, Ending, Failed, Incomplete
from orchestrator.ports import ResponseStore
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import open_database
from orchestrator.store.responses import SqlResponseStore
from orchestrator.testing_store import MemoryStore
from tests.store.samples import (
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
from tests.store.stores import sqlite_address

pytest_plugins = ("tests.store.databases",)

Ask: TypeAlias = Callable[[ResponseStore], Coroutine[Any, Any, object]]
Shape: TypeAlias = tuple[Callable[[int, str], PlacedCall] | None, Outcome | None, str | None]

PICKS = st.integers(0, 19)
"""Which of the responses in question; the first two mean one that is not in question, or unknown."""

OWNERS = st.sampled_from(["ada", "ada", "ada", "bob"])
HOLDERS = st.sampled_from(["host:1", "host:2"])
MINUTES = st.integers(0, 30)
OUTCOMES = st.sampled_from([answered("one"), answered("two"), Outcome("failed", "[]", "no", True, 5)])
ENDINGS: st.SearchStrategy[Ending] = st.sampled_from(
    [
        Completed(),
        Incomplete("max_turns"),
        Cancelled("asked"),
        Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "broke")),
        Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "broke again")),
    ]
)
KINDS = st.sampled_from([call, call, ephemeral_call, invented_call, cut_call, None])
SLIPS = st.sampled_from([None, None, None, None, None, "position", "call"])
SHAPES = st.lists(st.tuples(KINDS, st.none() | OUTCOMES, SLIPS), max_size=4)
"""Items to come: of which kind, with which outcome, and whether position or call id are taken already."""


class StoreAgainstTwin(RuleBasedStateMachine):
    """Every question is put to the twin and to the store; the answers and the errors must be the same."""

    template: Path
    portal: BlockingPortal

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        memory_disk = Path("/dev/shm")
        folder = self.closing.enter_context(
            tempfile.TemporaryDirectory(dir=memory_disk if memory_disk.is_dir() else None)
        )
        path = Path(shutil.copy(self.template, folder))
        database = self.portal.call(open_database, sqlite_address(path))
        self.closing.callback(self.portal.call, database.aclose)
        self.twin = MemoryStore()
        # The second one forgets everything and the third one most of it.
        self.stores = [SqlResponseStore(database, ChainMemory(room)) for room in (10_000_000, 0, 20_000)]
        self.minutes = 0
        self.running: list[str] = []
        self.ended: list[str] = []
        self.positions: dict[str, int] = defaultdict(int)
        self.calls: dict[str, list[str]] = defaultdict(list)

    def teardown(self) -> None:
        self.closing.close()

    def now(self) -> datetime:
        return NOON + self.minutes * MINUTE

    def answer(self, store: ResponseStore, ask: Ask) -> object:
        try:
            return self.portal.call(ask, store)
        except OrchestratorError as error:
            # What contradicts is told in the database's terms; that it is refused counts.
            return error.info if error.info.kind is not ErrorKind.STORE_ERROR else ErrorKind.STORE_ERROR

    def change(self, ask: Ask) -> object:
        expected = self.answer(self.twin, ask)
        assert self.answer(self.stores[0], ask) == expected
        return expected

    def see(self, ask: Ask) -> None:
        expected = self.answer(self.twin, ask)
        assert [self.answer(store, ask) for store in self.stores] == [expected] * 3

    def pick(self, which: int, ids: list[str]) -> str:
        """Mostly one of `ids`."""
        pool = ids if which > 1 and ids else [*self.running, *self.ended, "resp_unknown"]
        return pool[which % len(pool)]

    @initialize()
    def begin(self) -> None:
        for parent in (None, None, 5):
            self.open(9, parent, "ada", "host:1", 9, 9)
            self.journal(9, [(call, None, None), (None, None, None)])

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.minutes += minutes

    @rule(again=PICKS, parent=st.none() | PICKS, owner=OWNERS, holder=HOLDERS, unstored=PICKS, lease=MINUTES)
    def open(self, again: int, parent: int | None, owner: str, holder: str, unstored: int, lease: int) -> None:
        id = self.pick(0, []) if again == 0 else f"resp_{len(self.running) + len(self.ended)}"
        previous = None if parent is None else self.pick(parent, self.ended)
        new = new_response(id, previous, stored=unstored > 3, at=self.now())
        new = replace(new, owner=owner, holder=holder, lease_until=self.now() + lease * MINUTE)
        if self.change(lambda store: store.open_response(new)) is None:
            self.running.append(id)

    @precondition(lambda self: self.running)
    @rule(which=PICKS, shapes=SHAPES)
    def journal(self, which: int, shapes: list[Shape]) -> None:
        id = self.pick(which, self.running)
        placed = self.items(id, shapes)
        self.change(lambda store: store.journal_calls(id, placed, self.now()))

    @rule(which=PICKS, call=PICKS, outcome=OUTCOMES)
    def settle(self, which: int, call: int, outcome: Outcome) -> None:
        id = self.pick(which, [*self.calls])
        call_id = self.call_of(id, call)
        self.change(lambda store: store.record_outcome(id, call_id, outcome, self.now()))

    @precondition(lambda self: self.running)
    @rule(which=PICKS, ending=ENDINGS, shapes=SHAPES, outcomes=st.lists(st.tuples(PICKS, OUTCOMES), max_size=3))
    def save(self, which: int, ending: Ending, shapes: list[Shape], outcomes: list[tuple[int, Outcome]]) -> None:
        id = self.pick(which, self.running)
        placed = self.items(id, shapes)
        late = [(self.call_of(id, call), outcome) for call, outcome in outcomes]
        saved = self.change(lambda store: store.save_response(id, ending, STATS, placed, late, self.now()))
        if saved is None and id in self.running:
            self.running.remove(id)
            self.ended.append(id)

    @rule(which=st.lists(PICKS, max_size=3), lease=MINUTES)
    def renew(self, which: list[int], lease: int) -> None:
        ids, until = [self.pick(each, self.running) for each in which], self.now() + lease * MINUTE
        self.change(lambda store: store.renew_leases(ids, until))

    @rule(dead=st.lists(HOLDERS, max_size=1), owner=OWNERS)
    def end_abandoned(self, dead: list[str], owner: str) -> None:
        ids = self.change(lambda store: store.end_abandoned(self.now(), dead))
        assert isinstance(ids, list)
        for id in cast(list[str], ids):
            self.running.remove(id)
            self.ended.append(id)
            self.see_all(id, owner)

    @rule(which=PICKS, owner=OWNERS)
    def read(self, which: int, owner: str) -> None:
        self.see_all(self.pick(which, self.ended), owner)

    @rule(which=PICKS, owner=OWNERS)
    def watch(self, which: int, owner: str) -> None:
        self.see_all(self.pick(which, self.running), owner)

    def see_all(self, id: str, owner: str) -> None:
        self.see(lambda store: store.load_chain(id, owner))
        self.see(lambda store: store.get_response(id, owner))
        self.see(lambda store: store.list_calls(id, owner))
        self.see(lambda store: store.holders_in_progress())

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
            self.calls[id].append(call_id)
            placed = make(position, call_id)
            made.append(placed if placed.outcome is not None or outcome is None else settled(placed, outcome))
        return made

    def call_of(self, id: str, which: int) -> str:
        return self.calls[id][which % len(self.calls[id])] if self.calls[id] else "call_unknown"


@pytest.mark.timeout(400)  # it takes seconds; to make a failure small can take minutes
def test_the_store_and_its_twin_cannot_be_told_apart(sqlite_template: Path) -> None:
    with start_blocking_portal() as portal:

        class Machine(StoreAgainstTwin):
            pass

        Machine.template, Machine.portal = sqlite_template, portal
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
