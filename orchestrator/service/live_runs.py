"""A run in flight as its readers see it."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio
import structlog

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import Cancel, Disconnect
from orchestrator.core.request import RunRequest
from orchestrator.core.response import (
    SERVICE_STOPS,
    UNCOUNTED,
    Cancelled,
    ChatResult,
    Failed,
    Incomplete,
    ResponseStatus,
    ending_status,
)
from orchestrator.core.states import Ended
from orchestrator.core.stream import ChatEnd, ErrorEvent, StreamEvent, StreamFold
from orchestrator.core.tools import OfferedTool
from orchestrator.service.driver import RunContext, RunDriver
from orchestrator.service.quotas import Ticket
from orchestrator.service.server_callbacks import ServerCallbacks

log = structlog.stdlib.get_logger(__name__)


class Spending(Protocol):
    """Counts what runs hold and generate, for the API tokens that they were asked for with."""

    async def renew(self, tickets: Sequence[Ticket]) -> None: ...

    async def settle(self, ticket: Ticket, output_tokens: int) -> None: ...


class LiveRun:
    """A run as its readers see it: a growing list of events, numbered from 1.

    A reader never owns the run: a slow one holds nobody up, and what a reader's departure means is
    said by `disconnect`, by whoever decides it.
    """

    def __init__(self, request: RunRequest, context: RunContext, spending: Spending | None = None) -> None:
        self.request = request
        self._spending = spending
        self._driver = RunDriver(request, context, self._publish, self._give_back)
        self._settled = False
        self._events: list[StreamEvent] = []
        self._ended: Ended | None = None
        self._changed = anyio.Event()
        self.gone = anyio.Event()
        self.forgotten = False

    @property
    def is_told(self) -> bool:
        """Whether its readers have everything that they will get."""
        return bool(self._events) and isinstance(self._events[-1], ChatEnd)

    @property
    def status(self) -> ResponseStatus:
        """What became of it; `in_progress` until then."""
        return "in_progress" if self._ended is None else ending_status(self._ended.ending)

    @property
    def ended_at(self) -> datetime | None:
        """When it was saved, as the store has it; None until then."""
        return self._driver.ended_at

    @property
    def over(self) -> bool:
        """Whether its readers have been told the end, or that there is none; it may still be closing what it opened."""
        return self._ended is not None or self.is_told

    @property
    def response_id(self) -> str | None:
        """The id that clients may know: None where the response is not stored."""
        return self.request.response_id if self.request.store else None

    @property
    def token_id(self) -> str | None:
        """The API token that it was asked for with."""
        return self._driver.context.token_id

    @property
    def ticket(self) -> Ticket:
        """What it was admitted with."""
        return self._driver.context.ticket

    @property
    def previous_response_id(self) -> str | None:
        """What it continues, as it is stored."""
        return self._driver.context.previous_response_id

    @property
    def lasting(self) -> bool:
        """Whether it goes on without its client."""
        return self._driver.context.lasting

    @property
    def output_tokens(self) -> int:
        """How many tokens were generated; 0 until it is over."""
        last = self._events[-1] if self._events else None
        return last.result.stats.total_output_tokens if isinstance(last, ChatEnd) else 0

    async def started(self) -> None:
        """Wait for `chat.start`.

        Raises:
            OrchestratorError: the request failed before it, with the error that its client is due.
        """
        while not self._events:
            if self._ended is not None:
                raise _unannounced_error(self._ended)
            await self._next_change()

    async def events(self, after: int = 0) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """The events whose number is greater than `after`, as they come; ends after `chat.end`."""
        position = after
        while True:
            while position < len(self._events):
                event = self._events[position]
                position += 1
                yield position, event
                if isinstance(event, ChatEnd):
                    return
            if self._ended is not None:
                return
            await self._next_change()

    async def result(self) -> ChatResult:
        """The JSON reply: the fold of the stream, once it is over.

        Raises:
            OrchestratorError: the request failed before `chat.start`.
        """
        await self.started()
        fold = StreamFold()
        async for _, event in self.events():
            fold.apply(event)
        if fold.result is None:
            raise OrchestratorError(ErrorKind.INTERNAL_ERROR, "The run ended without a result.")
        return fold.result

    async def ended(self) -> None:
        """Wait until it is over, and saved."""
        while self._ended is None:
            await self._next_change()

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self._driver.context.owner

    @property
    def offered(self) -> Sequence[OfferedTool]:
        """The tools that its model is offered, once it has started."""
        return tuple(self._driver.run.offered.values())

    @property
    def callbacks(self) -> ServerCallbacks:
        """What its servers ask of the user."""
        return self._driver.callbacks

    def disconnect(self) -> None:
        """The client is gone, and the run is to end with it."""
        self._driver.tell(Disconnect())

    def cancel(self, reason: str) -> None:
        """Somebody wants the run to end."""
        self._driver.tell(Cancel(reason))

    async def drive(self) -> None:
        """Run to the end, whatever happens: a reader is never left waiting."""
        try:
            self._ended = await self._driver.drive()
        except Exception:
            log.exception("a run broke down", response_id=self.request.response_id)
            await self._break_down()
        finally:
            if self._ended is None:
                self._ended = Ended(Cancelled(SERVICE_STOPS), announced=bool(self._events))
            self._notify()

    async def _break_down(self) -> None:
        """Last resort after a defect: the store and the readers are told that the run failed."""
        error = ErrorInfo(ErrorKind.INTERNAL_ERROR, "The run broke down; the log has the details.")
        ending = Failed(error)
        if self._events:
            fold = StreamFold()
            for event in self._events:
                fold.apply(event)
            context = self._driver.context
            with anyio.move_on_after(5):
                try:
                    await context.store.save_response(
                        self.request.response_id, ending, UNCOUNTED, (), (), datetime.now(UTC)
                    )
                except OrchestratorError as failure:
                    log.error("a broken run could not be saved", reason=failure.info.message)
            if fold.result is None:
                result = ChatResult(self.request.model_instance_id, fold.output(), UNCOUNTED, ending)
                self._events += [ErrorEvent(error), ChatEnd(result)]
        self._ended = Ended(ending, announced=bool(self._events))

    def _publish(self, event: StreamEvent) -> None:
        self._events.append(event)
        self._notify()

    async def _give_back(self, output_tokens: int) -> None:
        """What holds a place is settled before its client hears of the end, and may come back at once."""
        if self.ticket.claim_id is not None:
            await self.settle(output_tokens)

    async def settle(self, output_tokens: int) -> None:
        """Count what was generated, once, and give back what was held for it."""
        if not self._settled and self._spending is not None:
            self._settled = True
            await self._spending.settle(self.ticket, output_tokens)

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _next_change(self) -> None:
        await self._changed.wait()


def _unannounced_error(ended: Ended) -> OrchestratorError:
    match ended.ending:
        case Failed(error):
            return OrchestratorError(error.kind, error.message, param=error.param)
        case Cancelled(reason):
            return OrchestratorError(ErrorKind.INTERNAL_ERROR, f"The run was cancelled: {reason}.")
        case Incomplete(reason):
            return OrchestratorError(ErrorKind.INTERNAL_ERROR, f"The run ended before it began: {reason}.")
        case _:
            return OrchestratorError(ErrorKind.INTERNAL_ERROR, "The run ended before it began.")
