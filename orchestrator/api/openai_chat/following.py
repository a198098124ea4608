"""Several runs of one request, followed together."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeAlias

import anyio
import anyio.abc
from litestar.types import Receive

from orchestrator.api.departures import while_connected
from orchestrator.core.stream import StreamEvent
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService
from orchestrator.service.runs import LiveRun

Told: TypeAlias = tuple[int, StreamEvent]


class Runs:
    """The runs of one request, each a choice of its answer: they end together."""

    def __init__(self, runs: Sequence[LiveRun]) -> None:
        self.all = tuple(runs)

    def disconnect(self) -> None:
        """Their client is gone."""
        for run in self.all:
            run.disconnect()

    async def events(self) -> AsyncGenerator[Told, None]:
        """What they say, each event with the number of its run from 0, as it comes."""
        if len(self.all) == 1:
            async with aclosing(self.all[0].events()) as events:
                async for _, event in events:
                    yield 0, event
            return
        send, receive = anyio.create_memory_object_stream[Told](64)
        async with anyio.create_task_group() as readers:
            for index, run in enumerate(self.all):
                readers.start_soon(_read, index, run, send.clone())
            send.close()
            async with receive:
                async for told in receive:
                    yield told


async def _read(index: int, run: LiveRun, send: anyio.abc.ObjectSendStream[Told]) -> None:
    async with send, aclosing(run.events()) as events:
        async for _, event in events:
            await send.send((index, event))


async def begun(chats: ChatService, wanted: Sequence[ChatRequest], caller: Caller, receive: Receive) -> Runs:
    """Start them all, and wait until each is off the ground; where one is not, none goes on.

    Raises:
        OrchestratorError: as `ChatService.start`, or why one failed before it began.
        ClientGoneError: the client went first.
    """
    runs: list[LiveRun] = []
    try:
        for chat in wanted:
            run = await chats.start(chat, caller)
            runs.append(run)
        for run in runs:
            await while_connected(receive, run.started)
    except BaseException:
        Runs(runs).disconnect()
        raise
    return Runs(runs)
