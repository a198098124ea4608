"""The streams of this dialect: a chunk in each `data:`, and `[DONE]` where all went well."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from orchestrator.api.errors import openai_envelope
from orchestrator.api.json_text import json_bytes
from orchestrator.api.openai_chat import wire_replies as w
from orchestrator.api.openai_chat.encode import ChoiceFold, Head, TextFold, first
from orchestrator.api.openai_chat.following import Runs
from orchestrator.api.openai_chat.words import in_words_of
from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.response import ChatResult
from orchestrator.core.stream import ChatEnd, ErrorEvent, StreamEvent

DONE: Final = b"data: [DONE]\n\n"

Choice = TypeVar("Choice", covariant=True)
C = TypeVar("C")


class Fold(Protocol[Choice]):
    """One answer as it comes."""

    def hear(self, event: StreamEvent) -> Sequence[Choice]:
        """What goes out for one event of the run."""
        ...

    def last(self, result: ChatResult) -> Choice:
        """How it ended."""
        ...


async def chat_frames(head: Head, runs: Runs) -> AsyncGenerator[bytes, None]:
    """The stream of a chat, with as many answers as there are runs."""
    for index in range(runs.count):
        yield _data(head.chunk([first(index)]))
    folds = [ChoiceFold(index) for index in range(runs.count)]
    async with aclosing(_frames(head, runs, folds, head.chunk)) as frames:
        async for frame in frames:
            yield frame


async def text_frames(head: Head, runs: Runs) -> AsyncGenerator[bytes, None]:
    """The stream of texts."""
    folds = [TextFold(index) for index in range(runs.count)]
    async with aclosing(_frames(head, runs, folds, head.text)) as frames:
        async for frame in frames:
            yield frame


async def _frames(
    head: Head, runs: Runs, folds: Sequence[Fold[C]], chunk: Callable[[list[C], w.Usage | None], Struct]
) -> AsyncGenerator[bytes, None]:
    """A failure is the last thing said: what comes after it would look like an answer that is whole."""
    results: dict[int, ChatResult] = {}
    failure: ErrorInfo | None = None
    try:
        async with aclosing(runs.events()) as events:
            async for index, event in events:
                if failure is not None:
                    continue  # the others end, too
                for choice in folds[index].hear(event):
                    yield _data(chunk([choice], None))
                if isinstance(event, ErrorEvent):
                    failure = event.error
                    runs.disconnect()
                elif isinstance(event, ChatEnd):
                    results[index] = event.result
                    yield _data(chunk([folds[index].last(event.result)], None))
    except OrchestratorError as error:
        failure = error.info
    if failure is not None:
        yield _data(openai_envelope(in_words_of(head.fields, failure)))
        return
    if head.with_usage:
        yield _data(chunk([], head.usage_of([results[index].stats for index in sorted(results)])))
    yield DONE


def _data(value: Struct) -> bytes:
    return b"data: %s\n\n" % json_bytes(value)
