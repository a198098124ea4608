"""A run as server-sent events, for as long as its client listens.

Source: section 3 of the contract; the format is that of the HTML standard, section 9.2.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Protocol, TypeAlias

import anyio
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

from orchestrator.api.departures import wait_for_departure
from orchestrator.api.encode_threads import SentEvent
from orchestrator.api.errors import OK
from orchestrator.api.json_text import json_bytes
from orchestrator.core.stream import (
    ChatEnd,
    ElicitationRequested,
    ElicitationResolved,
    QueuePosition,
    SamplingCompleted,
    StreamEvent,
    ToolCallApprovalRequired,
    ToolCallProgress,
    Warned,
)

KEEP_ALIVE_SECONDS: Final = 15.0
KEEP_ALIVE: Final = b": keep-alive\n\n"
EXTENSIONS_HEADER: Final = "X-Stream-Extensions"
"""A request that has it as `true` gets the events that LM Studio's clients do not know."""
EXTENSIONS: Final = (
    Warned,
    QueuePosition,
    ToolCallApprovalRequired,
    ToolCallProgress,
    ElicitationRequested,
    ElicitationResolved,
    SamplingCompleted,
)


EventsOf: TypeAlias = Callable[[StreamEvent], tuple[SentEvent, ...]]
"""What goes out for an event of ours, in the dialect of the request."""


class StreamedRun(Protocol):
    """A run as its stream needs it."""

    def events(self) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """Everything that it says, from its beginning."""
        ...

    def disconnect(self) -> None:
        """Its client is gone."""
        ...


def frame(number: int, event: SentEvent) -> bytes:
    """One event as it goes out."""
    name = event.__struct_config__.tag
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, str(name).encode(), json_bytes(event))


async def frames(
    run: StreamedRun, events_of: EventsOf, *, extensions: bool, after: int = 0
) -> AsyncGenerator[bytes, None]:
    """The stream of `run`, numbered from 1, from behind the event of a number on.

    Without `extensions` the place in the queue is a comment. The same events have the same numbers in every telling
    with the same `extensions`.
    """
    number = 0
    async with aclosing(run.events()) as events:
        async for _, event in events:
            if isinstance(event, EXTENSIONS) and not extensions:
                if isinstance(event, QueuePosition):
                    yield b": queued %d\n\n" % event.position
                continue
            for wire_event in events_of(event):
                number += 1
                if number > after:
                    yield frame(number, wire_event)


async def last_frame(run: StreamedRun, events_of: EventsOf, *, after: int) -> AsyncGenerator[bytes, None]:
    """How `run` ended, for a client that had events of it which are not remembered one by one any more."""
    async with aclosing(run.events()) as events:
        async for _, event in events:
            if isinstance(event, ChatEnd):
                for wire_event in events_of(event):
                    yield frame(after + 1, wire_event)


class RunStream(ASGIResponse):
    """Streams a run, as `frames` has it. When the client goes before the end, the run is told so, once.

    Of a `lasting` run, which goes on without its client, nobody is told. `sign_of_life` is sent while nothing else is.
    """

    _should_set_content_length = False

    def __init__(
        self,
        run: StreamedRun,
        headers: dict[str, str],
        keep_alive_seconds: float,
        frames: AsyncGenerator[bytes],
        *,
        lasting: bool = False,
        sign_of_life: bytes = KEEP_ALIVE,
    ) -> None:
        super().__init__(
            status_code=OK,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers},
        )
        self._run = run
        self._keep_alive_seconds = keep_alive_seconds
        self._frames = frames
        self._lasting = lasting
        self._sign_of_life = sign_of_life
        self._sending = anyio.Lock()
        self._sent_at = 0.0

    async def start_response(self, send: Send) -> None:
        """Send the headers; a client that is gone already ends the run too."""
        try:
            await super().start_response(send)
        except BaseException:
            self._left()
            raise

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send events as they come, and comments while none do, until `chat.end` or the client's departure."""
        finished = False
        self._sent_at = anyio.current_time()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stop_on_departure, receive, tasks.cancel_scope)
                tasks.start_soon(self._keep_alive, send)
                async with aclosing(self._frames) as stream:
                    async for data in stream:
                        await self._send(send, data)
                await self._send(send, b"", more=False)
                finished = True
                tasks.cancel_scope.cancel()
        finally:
            if not finished:
                self._left()

    def _left(self) -> None:
        if not self._lasting:
            self._run.disconnect()

    async def _stop_on_departure(self, receive: Receive, scope: anyio.CancelScope) -> None:
        await wait_for_departure(receive)
        scope.cancel()

    async def _keep_alive(self, send: Send) -> None:
        while True:
            idle = anyio.current_time() - self._sent_at
            if idle >= self._keep_alive_seconds:
                await self._send(send, self._sign_of_life)
            else:
                await anyio.sleep(self._keep_alive_seconds - idle)

    async def _send(self, send: Send, data: bytes, *, more: bool = True) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": data, "more_body": more})
            self._sent_at = anyio.current_time()
