"""How long a request to a server may take: signs of life extend it up to a cap, waiting for our side stops it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import anyio


@dataclass(frozen=True, slots=True)
class CallLimits:
    """`seconds` without a sign of life end a request, `cap_seconds` end it in any case."""

    seconds: float
    cap_seconds: float


class CallClock:
    """Runs while a request is under way, and keeps the deadline of the scope that waits for it."""

    def __init__(self, limits: CallLimits) -> None:
        self.limits = limits
        self._started = self._heard = anyio.current_time()
        self._pauses = 0
        self._paused_at = 0.0
        self.scope = anyio.CancelScope()
        self._set()

    def heard(self) -> None:
        """The server said that it is still at it."""
        if not self._pauses:
            self._heard = anyio.current_time()
            self._set()

    @contextmanager
    def paused(self) -> Generator[None]:
        """The server waits for us: that is not its time."""
        if not self._pauses:
            self._paused_at = anyio.current_time()
        self._pauses += 1
        self._set()
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                waited = anyio.current_time() - self._paused_at
                self._started += waited
                self._heard += waited
            self._set()

    def overdue(self) -> str:
        """Why it was ended, as the rest of a sentence about the server."""
        limits = self.limits
        if self._heard > self._started and limits.cap_seconds < self._heard + limits.seconds - self._started:
            return f"it reported progress, but had no result within {limits.cap_seconds:g} s, so the call was cancelled"
        return f"there was no answer within {limits.seconds:g} s, so the call was cancelled"

    def _set(self) -> None:
        due = min(self._heard + self.limits.seconds, self._started + self.limits.cap_seconds)
        self.scope.deadline = inf if self._pauses else due
