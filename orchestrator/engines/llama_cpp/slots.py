"""Who may generate now: the slots of one model, given out in the order in which they were asked for."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio


class SlotQueue:
    """A fixed number of slots and a queue before them. Closing the gate lets nobody in and empties the slots in time.

    Decisions are made synchronously, so that a waiter that is cancelled at the moment of its turn loses nothing:
    it has the slot already, and gives it back.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._slots = slots
        self._waiting: deque[anyio.Event] = deque()
        self._gates_closed = 0
        self._emptied = anyio.Event()

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._slots - self._free

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def resize(self, slots: int) -> None:
        """From now on there are `slots` of them; those in use stay in use."""
        self._free += slots - self._slots
        self._slots = slots
        self._admit()

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None, None]:
        """Wait for a slot and have it until the context is left."""
        turn = anyio.Event()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn.wait()
            yield
        finally:
            if turn.is_set():
                self._free += 1
            else:
                self._waiting.remove(turn)
            self._admit()

    @asynccontextmanager
    async def emptied(self) -> AsyncGenerator[None, None]:
        """Close the gate, wait until nobody generates, and keep the gate closed until the context is left."""
        self._gates_closed += 1
        try:
            while self.taken:
                self._emptied = anyio.Event()
                await self._emptied.wait()
            yield
        finally:
            self._gates_closed -= 1
            self._admit()

    def _admit(self) -> None:
        while self._free > 0 and self._waiting and not self._gates_closed:
            self._free -= 1
            self._waiting.popleft().set()
        if not self.taken:
            self._emptied.set()
