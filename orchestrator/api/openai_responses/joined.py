"""Responses that begin with calls of another one: those that waited until the request decided about them.

OpenAI makes a new response of a decision. In the graph the calls stay with the response that made them, which ends with their
outcomes, and the new one goes on from it; a client is told of both as of one.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

import anyio
import structlog

from orchestrator.api.openai_responses.heads import is_of_this_dialect
from orchestrator.api.sse import StreamedRun
from orchestrator.core.approvals import PendingApproval
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.response import ChatResult, Completed, Failed, Stats
from orchestrator.core.stream import ChatEnd, ChatStart, ErrorEvent, StreamEvent
from orchestrator.ports import JournaledCall
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.retelling import StoredTelling, told_item

log = structlog.stdlib.get_logger(__name__)


def asked_calls(telling: StoredTelling) -> list[JournaledCall]:
    """The calls that the response ended with asking about, as its client knows it.

    There are none where it went on by itself: by a decision that was made elsewhere than in this dialect.
    """
    response = telling.response
    if response.status not in ("awaiting_approval", "in_progress", "completed", "cancelled"):
        return []
    if not is_of_this_dialect(response):
        return []
    last = max((*(call.turn for call in telling.calls), *(entry.turn for entry in response.output)), default=0)
    pending = {call.call_id for call in response.pending}
    over = response.status in ("completed", "cancelled")
    return [
        call
        for call in telling.calls
        if call.turn == last and (call.call_id in pending or _was_asked_about(call, over=over))
    ]


def _was_asked_about(call: JournaledCall, *, over: bool) -> bool:
    """Whether somebody decided about it, or it was not run because nobody did before it was all `over`."""
    if call.decision is None:
        return over and call.status == "refused"
    return call.decision.owner is not None


def as_asked(telling: StoredTelling) -> StoredTelling:
    """The response up to what it asked about its calls: what came of that is told by the response that decided."""
    calls = asked_calls(telling)
    if not calls:
        return telling
    ids = {call.call_id for call in calls}
    waiting = tuple(
        PendingApproval(call.call_id, call.tool or "", call.arguments or {}, call.provider)
        for call in calls
        if call.provider is not None
    )
    asked_at = max(call.created_at for call in calls)
    response = replace(
        telling.response,
        status="cancelled" if telling.response.status == "cancelled" else "awaiting_approval",
        pending=waiting,
        expires_at=telling.response.expires_at or asked_at,
        ended_at=asked_at,
        output=tuple(entry for entry in telling.response.output if getattr(entry.item, "call_id", "") not in ids),
    )
    return replace(telling, response=response, decided=telling.decided - ids)


@dataclass(frozen=True, slots=True)
class CallsBefore:
    """The calls that a response begins with, and the response that made them."""

    telling: StoredTelling
    call_ids: frozenset[str]

    def events(self) -> list[StreamEvent]:
        """What is told of them."""
        items = [entry.item for entry in self.telling.response.output]
        return [event for item in items if getattr(item, "call_id", "") in self.call_ids for event in told_item(item)]


def with_calls_before(before: CallsBefore | None, events: Sequence[StreamEvent]) -> list[StreamEvent]:
    """`events` of a response, with what is told of the calls that it begins with."""
    return [*events] if before is None else [*events[:1], *before.events(), *events[1:]]


class ToldAgain:
    """Events that are known, to be read as a run's are."""

    def __init__(self, told: Sequence[StreamEvent]) -> None:
        self._told = told

    async def events(self) -> AsyncGenerator[tuple[int, StreamEvent]]:
        """All of them."""
        for number, event in enumerate(self._told, 1):
            yield number, event

    def disconnect(self) -> None:
        """Nothing runs that could end."""


class FollowedStream:
    """A run, to be read with the calls that its response begins with."""

    def __init__(self, before: CallsBefore, run: StreamedRun) -> None:
        self._before = before
        self._run = run

    async def events(self) -> AsyncGenerator[tuple[int, StreamEvent]]:
        """Everything, from its beginning."""
        async with aclosing(self._run.events()) as events:
            async for number, event in events:
                yield number, event
                if isinstance(event, ChatStart):
                    for told in self._before.events():
                        yield number, told

    def disconnect(self) -> None:
        """Its client is gone."""
        self._run.disconnect()


class JoinedRun:
    """A run that settles calls, or what is known of them already, and the run that goes on from there: read as one.

    `response_id` is that of the second, which `begin` starts when the first is over; it is None where it is not stored.
    What is `lasting` goes on without its client, where somebody calls `keep`.
    """

    def __init__(
        self,
        first: LiveRun | Sequence[StreamEvent],
        begin: Callable[[], Awaitable[LiveRun]],
        response_id: str | None,
        model_instance_id: str,
        *,
        lasting: bool = False,
    ) -> None:
        self._first = first
        self._lasting = lasting
        self._beginning = anyio.Lock()
        self._begin = begin
        self._second: LiveRun | ChatResult | None = None
        self.response_id = response_id
        self._start = ChatStart(model_instance_id, response_id)

    @property
    def ended_at(self) -> datetime | None:
        """When the response was saved, once it is."""
        return self._second.ended_at if isinstance(self._second, LiveRun) else None

    async def started(self) -> None:
        """Wait for the beginning.

        Raises:
            OrchestratorError: the first run failed before it.
        """
        if isinstance(self._first, LiveRun):
            await self._first.started()
        else:
            await self.second()

    async def second(self) -> LiveRun | ChatResult:
        """The run that goes on, or how the first one ended where nothing does.

        Raises:
            OrchestratorError: it could not be started.
        """
        async with self._beginning:  # of several who ask for it one begins it
            if self._second is None and isinstance(self._first, LiveRun):
                result = await self._first.result()
                if not isinstance(result.ending, Completed):
                    self._second = replace(result, response_id=None)
            if self._second is None:
                self._second = await self._begin()
            if isinstance(self._second, LiveRun):
                await self._second.started()
        return self._second

    async def keep(self) -> None:
        """Have the second begin when the first is over, whether or not anybody reads it."""
        try:
            await self.second()
        except OrchestratorError as error:
            log.warning("nothing went on from calls that were decided about", reason=error.info.message)

    async def result(self) -> ChatResult:
        """How it ends.

        Raises:
            OrchestratorError: one of them could not be started.
        """
        second = await self.second()
        return second if isinstance(second, ChatResult) else await second.result()

    async def events(self) -> AsyncGenerator[tuple[int, StreamEvent]]:
        """Everything that both say, with one beginning and one end."""
        yield 1, self._start
        async for event in self._of_first():
            yield 1, event
        try:
            second = await self.second()
        except OrchestratorError as error:
            yield 1, ErrorEvent(error.info)
            yield 1, ChatEnd(ChatResult(self._start.model_instance_id, (), Stats(0, 0), Failed(error.info), None))
            return
        if isinstance(second, ChatResult):
            yield 1, ChatEnd(second)
            return
        async with aclosing(second.events()) as events:
            async for number, event in events:
                if not isinstance(event, ChatStart):
                    yield number, event

    async def _of_first(self) -> AsyncGenerator[StreamEvent]:
        if not isinstance(self._first, LiveRun):
            for event in self._first:
                yield event
            return
        async with aclosing(self._first.events()) as events:
            async for _, event in events:
                if not isinstance(event, ChatStart | ChatEnd):
                    yield event

    def disconnect(self) -> None:
        """The client is gone: what is under way ends, unless it is lasting."""
        for run in () if self._lasting else (self._first, self._second):
            if isinstance(run, LiveRun):
                run.disconnect()
