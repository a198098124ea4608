"""Several runs of one request, followed together."""

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

import anyio
import anyio.abc
from litestar.types import Receive

from orchestrator.api.departures import while_connected
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.stream import StreamEvent
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService
from orchestrator.service.live_runs import LiveRun

AT_ONCE: Final = 8
"""Runs of one request that go on at the same time: the others wait for these, and take nobody's place."""

Told: TypeAlias = tuple[int, StreamEvent]


class Runs:
    """The runs of one request, each a choice of its answer: they end together. `waiting` begin as others end."""

    def __init__(
        self, chats: ChatService, caller: Caller, begun: Sequence[LiveRun], waiting: Sequence[ChatRequest] = ()
    ) -> None:
        self._chats = chats
        self._caller = caller
        self._waiting = deque(enumerate(waiting, len(begun)))
        self._left = False
        self.begun = [*begun]
        self.count = len(begun) + len(waiting)

    @property
    def first(self) -> LiveRun:
        """The one that the answer is named after."""
        return self.begun[0]

    def disconnect(self) -> None:
        """Their client is gone."""
        self._left = True
        self._waiting.clear()
        for run in self.begun:
            run.disconnect()

    async def events(self) -> AsyncGenerator[Told, None]:
        """What they say, each event with the number of its run from 0, as it comes.

        Raises:
            OrchestratorError: one that waited could not begin.
        """
        if self.count == 1:
            async with aclosing(self.first.events()) as events:
                async for _, event in events:
                    yield 0, event
            return
        failure: OrchestratorError | None = None
        send, receive = anyio.create_memory_object_stream[Told | OrchestratorError](64)
        async with anyio.create_task_group() as readers:
            for index, run in enumerate(self.begun):
                readers.start_soon(self._read, index, run, send.clone())
            send.close()
            async with receive:
                async for told in receive:
                    if isinstance(told, OrchestratorError):
                        failure = told
                        readers.cancel_scope.cancel()
                        break
                    yield told
        if failure is not None:
            raise failure

    async def _read(self, index: int, run: LiveRun, send: anyio.abc.ObjectSendStream[Told | OrchestratorError]) -> None:
        """Tell of one run after the other, until none waits any more."""
        async with send:
            while True:
                async with aclosing(run.events()) as events:
                    async for _, event in events:
                        await send.send((index, event))
                if not self._waiting:
                    return
                index, chat = self._waiting.popleft()
                try:
                    run = await self._begin(chat)
                except OrchestratorError as error:
                    await send.send(error)
                    return

    async def _begin(self, chat: ChatRequest) -> LiveRun:
        run = await self._chats.start(chat, self._caller)
        self.begun.append(run)
        if self._left:
            run.disconnect()
        await run.started()
        return run


async def begun(chats: ChatService, wanted: Sequence[ChatRequest], caller: Caller, receive: Receive) -> Runs:
    """Start as many as there is room for, and wait until each is off the ground; where one is not, none goes on.

    Raises:
        OrchestratorError: as `ChatService.start`, or why one failed before it began.
        ClientGoneError: the client went first.
    """
    runs: list[LiveRun] = []
    try:
        for chat in wanted[:AT_ONCE]:
            try:
                runs.append(await chats.start(chat, caller))
            except OrchestratorError as error:
                if not runs or error.info.kind is not ErrorKind.RATE_LIMITED:
                    raise
                break
        for run in runs:
            await while_connected(receive, run.started)
    except BaseException:
        Runs(chats, caller, runs).disconnect()
        raise
    return Runs(chats, caller, runs, wanted[len(runs) :])
