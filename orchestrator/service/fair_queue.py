"""Who may generate now: the slots of one instance, given out in turn to its owners."""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

SHARE_OF_THE_NEWEST = 0.3
"""How much the last turn counts in how long turns take: they change with the model and with what is asked."""


@dataclass(slots=True, eq=False)
class _Waiter:
    owner: str
    moved: Callable[[int], None]
    turn: anyio.Event = field(default_factory=anyio.Event)
    told: int = 0
    admitted_at: float = 0.0


class FairQueue:
    """A number of slots, and a queue before them that goes round the owners.

    An owner with a hundred requests and one with a single request each get every second turn; the
    requests of one owner keep their order. Everything is decided synchronously, so that a waiter
    that leaves at the moment of its turn loses nothing: it has the slot already, and gives it back.
    """

    def __init__(self, slots: int, clock: Callable[[], float] = anyio.current_time) -> None:
        self._slots = slots
        self._clock = clock
        self._running: list[_Waiter] = []
        self._lines: dict[str, deque[_Waiter]] = {}
        self._turn_seconds: float | None = None

    @property
    def slots(self) -> int:
        """How many there are."""
        return self._slots

    @property
    def taken(self) -> int:
        """Slots in use."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(len(line) for line in self._lines.values())

    def seconds_to_a_turn(self) -> float | None:
        """How long it takes until a slot is free, as turns took lately; None where none was there yet."""
        now = self._clock()
        lasting = max((now - waiter.admitted_at for waiter in self._running), default=0.0)
        if self._turn_seconds is None and not lasting:
            return None
        return max(self._turn_seconds or 0.0, lasting) / self._slots

    def resize(self, slots: int) -> None:
        """The instance has another number of slots now."""
        self._slots = slots
        self._admit()

    @asynccontextmanager
    async def slot(self, owner: str, moved: Callable[[int], None]) -> AsyncGenerator[None]:
        """Wait for a slot and have it until the context is left.

        `moved` is told the position in the queue, from 1, whenever it changes, and 0 when the wait is
        over; nothing where there was no wait.
        """
        waiter = _Waiter(owner, moved)
        self._lines.setdefault(owner, deque()).append(waiter)
        self._admit()
        try:
            await waiter.turn.wait()
            yield
        finally:
            if waiter.turn.is_set():
                self._release(waiter)
            else:
                self._leave(waiter)
            self._admit()

    def _release(self, waiter: _Waiter) -> None:
        self._running.remove(waiter)
        took, before = self._clock() - waiter.admitted_at, self._turn_seconds
        self._turn_seconds = took if before is None else before + SHARE_OF_THE_NEWEST * (took - before)

    def _leave(self, waiter: _Waiter) -> None:
        line = self._lines[waiter.owner]
        line.remove(waiter)
        if not line:
            del self._lines[waiter.owner]

    def _admit(self) -> None:
        while self.taken < self._slots and self._lines:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            waiter = line.popleft()
            if line:
                self._lines[owner] = line  # at the end: the others come first
            self._running.append(waiter)
            waiter.admitted_at = self._clock()
            waiter.turn.set()
            if waiter.told:
                waiter.moved(0)
        for position, waiter in enumerate(self._order(), 1):
            if waiter.told != position:
                waiter.told = position
                waiter.moved(position)

    def _order(self) -> list[_Waiter]:
        """The waiters in the order in which they will be admitted."""
        lines = [deque(line) for line in self._lines.values()]
        order: list[_Waiter] = []
        while lines:
            line = lines.pop(0)
            order.append(line.popleft())
            if line:
                lines.append(line)
        return order
