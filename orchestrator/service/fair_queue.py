"""Who may generate now: the slots of one instance, given out in turn to its owners."""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


@dataclass(slots=True, eq=False)
class _Waiter:
    owner: str
    moved: Callable[[int], None]
    turn: anyio.Event = field(default_factory=anyio.Event)
    told: int = 0


class FairQueue:
    """A number of slots, and a queue before them that goes round the owners.

    An owner with a hundred requests and one with a single request each get every second turn; the
    requests of one owner keep their order. Everything is decided synchronously, so that a waiter
    that leaves at the moment of its turn loses nothing: it has the slot already, and gives it back.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._taken = 0
        self._lines: dict[str, deque[_Waiter]] = {}

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(len(line) for line in self._lines.values())

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
                self._taken -= 1
            else:
                self._leave(waiter)
            self._admit()

    def _leave(self, waiter: _Waiter) -> None:
        line = self._lines[waiter.owner]
        line.remove(waiter)
        if not line:
            del self._lines[waiter.owner]

    def _admit(self) -> None:
        while self._taken < self._slots and self._lines:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            waiter = line.popleft()
            if line:
                self._lines[owner] = line  # at the end: the others come first
            self._taken += 1
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
