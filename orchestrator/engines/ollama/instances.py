"""What this process knows of a model that Ollama has in memory: its pinned settings, and who uses it now."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from orchestrator.core.errors import ErrorInfo
from orchestrator.core.models import LoadSettings


@dataclass(frozen=True, slots=True)
class Pin:
    """What a runner was loaded with, as far as it was asked for, and the context that `/api/ps` made of it."""

    asked: LoadSettings
    seen: int | None


class Instance:
    """One model. Ollama has one runner for each, and loads it again for a request that asks for another `num_ctx`.

    So every request asks for what the runner was loaded with, word for word: Ollama compares the wish, not what came
    of it, and does so for `num_batch` as well. A reload waits until no request of ours is running, and while it waits no new one begins.
    """

    def __init__(self) -> None:
        self._pin: Pin | None = None
        self._running = 0
        self._idle = anyio.Event()
        self._closed: anyio.Event | None = None
        self._broken_off = False
        self._failure: tuple[LoadSettings, ErrorInfo] | None = None
        self.embeds = False
        """Whether it is an embedding model, which refuses to chat."""
        self.ours = False
        """Whether we loaded the runner, and still want it: then it is ours to keep, and to end."""
        self.keep_alive: float | None = None
        """How many seconds the runner stays after a request; None leaves it to the engine."""
        self.loading = anyio.Lock()
        """Held by the one who loads; the others wait for it."""
        self.attempts = 0
        """How many loads are over."""

    @property
    def eval_batch_size(self) -> int | None:
        """The batch size that we loaded the runner with, None where it is Ollama's own."""
        return None if self._pin is None else self._pin.asked.eval_batch_size

    def options(self, listed: int | None) -> LoadSettings:
        """What a request asks for; `listed` is the context that the model's listing showed, if any."""
        return self._pin.asked if self._pin is not None else LoadSettings(context_length=listed)

    def context(self, listed: int | None) -> int | None:
        """How many tokens fit, as far as that is known."""
        return self._pin.seen if self._pin is not None else listed

    def found(self, context_length: int | None) -> None:
        """The runner is there with this context. Where that is news, somebody else loaded it: it is kept as it is."""
        if self._pin is None or self._pin.seen != context_length:
            self._pin = Pin(LoadSettings(context_length=context_length), context_length)
            self.ours = False

    def loaded(self, asked: LoadSettings, seen: int | None) -> None:
        """We loaded the runner."""
        self._pin = Pin(asked, seen)
        self.ours = True
        self._failure = None
        self.attempts += 1

    def unloaded(self) -> None:
        """We ended the runner."""
        self._pin = None

    def failed(self, asked: LoadSettings, why: ErrorInfo) -> None:
        """We could not load the runner."""
        self._failure = (asked, why)
        self.attempts += 1

    def failure_since(self, attempts: int, asked: LoadSettings) -> ErrorInfo | None:
        """Why the load that was waited for failed, where it asked for the same; `attempts` was their number before."""
        if self._failure is None or self.attempts == attempts or self._failure[0] != asked:
            return None
        return self._failure[1]

    async def enter(self) -> None:
        """Begin a request; pair it with `leave`. Waits while a reload is due."""
        while self._closed is not None:
            await self._closed.wait()
        self._running += 1

    def leave(self, *, broken_off: bool) -> None:
        """End a request, which was broken off or came to its own end."""
        self._broken_off = broken_off
        self._running -= 1
        if not self._running:
            self._idle.set()

    def may_be_stuck(self) -> bool:
        """Whether the last request was broken off, and nothing of ours explains why this one would have to wait."""
        return self._broken_off and self._running == 1

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Nobody of us uses the runner within. Only for the one who holds `loading`."""
        with self._closing():
            while self._running:
                self._idle = anyio.Event()
                await self._idle.wait()
            yield

    @contextmanager
    def _closing(self) -> Generator[None]:
        self._closed = opened = anyio.Event()
        try:
            yield
        finally:
            self._closed = None
            opened.set()
