"""What this process knows of a model that Ollama has in memory: its pinned settings, and who uses it now."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from orchestrator.core.errors import ErrorInfo
from orchestrator.core.models import LoadSettings
from orchestrator.engines.ollama.catalog import whole_name


@dataclass(frozen=True, slots=True)
class Pin:
    """What a runner was loaded with, as far as it was asked for, and the context that `/api/ps` made of it."""

    asked: LoadSettings
    seen: int | None


class Instance:
    """One model, by however many names. Ollama has one runner for each, and loads it again for a request that asks for another `num_ctx`.

    So every request asks for what the runner was loaded with, word for word: Ollama compares the wish, not what came
    of it, and does so for `num_batch` as well. A reload waits until no request of ours is running, and while it waits no new one begins.
    """

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        """What it is called; Ollama lists its runner by the name that it was loaded by."""
        self.holders: dict[str, float | None] = {}
        """The names that were loaded here and not unloaded, and the seconds that each stays; None leaves it to the engine."""
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
        self.loading = anyio.Lock()
        """Held by the one who loads; the others wait for it."""
        self.attempts = 0
        """How many loads are over."""

    @property
    def keep_alive(self) -> float | None:
        """How many seconds the runner stays after a request: as long as the longest of its names; None leaves it to the engine."""
        seconds = [one for one in self.holders.values() if one is not None]
        return max(seconds) if seconds and len(seconds) == len(self.holders) else None

    def listed_as(self, loaded: Mapping[str, int | None]) -> str | None:
        """The name that its runner has among those in memory, None where there is none."""
        return next((name for name in loaded if name in self.names), None)

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


class Instances:
    """The instance of each name, one and the same for the names of one digest (`ollama cp`)."""

    def __init__(self) -> None:
        self._by_name: dict[str, Instance] = {}

    def of(self, name: str) -> Instance:
        """The instance of this name."""
        name = whole_name(name)
        return self._by_name.setdefault(name, Instance(name))

    def ours(self) -> dict[str, Instance]:
        """Those that we loaded and still want, each by one of its names."""
        kept = {id(one): (name, one) for name, one in self._by_name.items() if one.ours}
        return dict(kept.values())

    def share(self, digests: Iterable[tuple[str, str]]) -> None:
        """These are the names and what each stands for; one that stands for something else than before begins anew."""
        by_digest: defaultdict[str, list[str]] = defaultdict(list)
        for name, digest in digests:
            by_digest[digest or name].append(name)
        given: set[Instance] = set()
        for names in by_digest.values():
            known = [one for name in names if (one := self._by_name.get(name)) is not None and one not in given]
            instance = next((one for one in known if one.ours), known[0] if known else Instance())
            given.add(instance)
            for name in names:
                before = self._by_name.get(name)
                if before is not None and before is not instance:
                    before.names.discard(name)
                    before.holders.pop(name, None)
                instance.names.add(name)
                self._by_name[name] = instance

    def listed(self, loaded: Mapping[str, int | None]) -> dict[str, int | None]:
        """The names that are in memory, with their contexts: those that were loaded here, whichever name Ollama lists."""
        names: dict[str, int | None] = {}
        for name, instance in self._by_name.items():
            runner = instance.listed_as(loaded)
            gone = instance.ours and instance.holders and name not in instance.holders
            if runner is not None and (name in instance.holders or (name == runner and not gone)):
                names[name] = loaded[runner]
        return names
