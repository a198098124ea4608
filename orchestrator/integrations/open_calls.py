"""The requests under way on a connection, and whose a server's own request is."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

import anyio

from orchestrator.core.server_requests import (
    Elicitation,
    ElicitationAnswer,
    Progress,
    SamplingReply,
    SamplingRequest,
    clipped,
)
from orchestrator.integrations.call_clock import CallClock

PROGRESS_SECONDS: Final = 0.25
"""How often progress of one call is passed on at most; what comes in between is replaced by what comes after it."""


class NotOursError(Exception):
    """A server asked for something, and it cannot be told for which request; the message says why."""


@dataclass(frozen=True, slots=True)
class CallSide:
    """What a server may reach through a request of ours. `run` tells requests of different runs apart.

    `elicit` and `sample` raise `OrchestratorError` where the answer is no; the message says why.
    """

    run: str = ""
    progressed: Callable[[Progress], None] | None = None
    elicit: Callable[[Elicitation], Awaitable[ElicitationAnswer]] | None = None
    sample: Callable[[SamplingRequest], Awaitable[SamplingReply]] | None = None


NOBODY: Final = CallSide()


@dataclass(slots=True, eq=False)
class OpenCall:
    """A request under way."""

    clock: CallClock
    side: CallSide
    redact: Callable[[str], str]
    _told_at: float = float("-inf")
    _held: Progress | None = None

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """The server says how far it is."""
        self.clock.heard()
        now = anyio.current_time()
        self._held = Progress(progress, total, None if message is None else clipped(self.redact(message)))
        if now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            self.tell_held()

    def tell_held(self) -> None:
        """Pass on what was held back."""
        held, self._held = self._held, None
        if held is not None and self.side.progressed is not None:
            self.side.progressed(held)


_current: ContextVar[OpenCall | None] = ContextVar("current_call", default=None)
"""Carried by the SDK's HTTP transport from a request to what arrives on the stream of its answer."""


@dataclass(slots=True)
class OpenCalls:
    """The requests under way on one connection."""

    _open: dict[OpenCall, None] = field(default_factory=dict[OpenCall, None])

    @contextmanager
    def under_way(self, call: OpenCall) -> Generator[None]:
        """`call` is under way, in this task and in all that it leads to."""
        self._open[call] = None
        token = _current.set(call)
        try:
            yield
        finally:
            _current.reset(token)
            del self._open[call]

    def of_server_request(self) -> OpenCall:
        """The call that the server's request, which is being handled now, belongs to.

        Raises:
            NotOursError: there is none, or it could be one of several runs'.
        """
        current = _current.get()
        if current is not None and current in self._open:
            return current
        if len({call.side.run for call in self._open}) > 1:
            raise NotOursError(
                "calls of several requests are under way, and the server does not say which of them asks"
            )
        if not self._open:
            raise NotOursError("no call is under way for which it could ask")
        return next(reversed(self._open))
