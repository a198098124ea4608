"""How soon a slot is free after its turn was given up: until the first token of the next turn, which waited for it.

    python benchmarks/slot_release.py embedded
    python benchmarks/slot_release.py ollama KEY          # at OLLAMA_HOST, with OLLAMA_NUM_PARALLEL as it is there
    python benchmarks/slot_release.py URL KEY             # an OpenAI-compatible server, the URL including /v1

`alone` is the time to the first token of the same turn where nobody writes. The difference is what giving up costs.
Every slot but one is kept busy meanwhile.
"""

import os
import statistics
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

import anyio

from orchestrator.core.commands import Generate
from orchestrator.core.inputs import ReasoningArrived, TextArrived
from orchestrator.core.items import TextInput
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.prompt import UserMessage
from orchestrator.core.request import Sampling
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine
from orchestrator.ports import Engine, GenerationChunk

ROUNDS = 20
INSTANCE = "benchmark"


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine whose model is ready, and how many turns it writes at once."""

    engine: Engine
    model: Model
    slots: int

    def turn(self, sampling: Sampling, limit: int | None) -> AsyncGenerator[GenerationChunk]:
        """A turn; one without `limit` is long."""
        asked = Generate(1, (UserMessage((TextInput("Hello!"),)),), (), sampling, None, limit)
        return self.engine.generate(self.model, INSTANCE, asked)

    def ramble(self) -> AsyncGenerator[GenerationChunk]:
        """Nearly random tokens, until the context is full."""
        return self.turn(Sampling(temperature=10, top_k=0, top_p=1, min_p=0), None)


@asynccontextmanager
async def opened(arguments: list[str]) -> AsyncGenerator[Peer]:
    """The engine that the arguments name, its model loaded."""
    async with anyio.create_task_group() as tasks:
        match arguments:
            case ["embedded"]:
                engine, key = LlamaCppEngine(None, tasks), "demo/tiny-tools"
            case ["ollama", key]:
                engine = OllamaEngine(os.environ.get("OLLAMA_HOST", "127.0.0.1:11434"))
            case [url, key]:
                engine = OpenAICompatibleEngine(url, os.environ.get("OPENAI_API_KEY"), parallel=1)
            case _:
                raise SystemExit(__doc__)
        model = next(model for model in await engine.models() if model.key == key)
        async for _ in engine.load(model, INSTANCE, LoadSettings()):
            pass
        yield Peer(engine, model, engine.traits.parallel or 1)
        await engine.aclose()


async def first_token(chunks: AsyncGenerator[GenerationChunk]) -> float:
    """When its first token came."""
    async for chunk in chunks:
        if isinstance(chunk, TextArrived | ReasoningArrived):
            return perf_counter()
    raise RuntimeError("the turn wrote nothing")


async def alone(peer: Peer) -> float:
    """Seconds to the first token where nobody else writes."""
    began = perf_counter()
    async with aclosing(peer.turn(Sampling(temperature=0), 4)) as chunks:
        seconds = await first_token(chunks) - began
        async for _ in chunks:
            pass
    return seconds


async def after_giving_up(peer: Peer) -> float:
    """Seconds from giving up one of as many turns as there are slots to the first token of the turn that waits."""
    while (seconds := await _try(peer)) is None:
        pass
    return seconds


async def _try(peer: Peer) -> float | None:
    """None where the turn that was to be given up came to its own end first."""
    came: list[float] = []
    gave_up = 0.0

    async def keep_busy() -> None:
        while True:
            async with aclosing(peer.ramble()) as chunks:
                async for _ in chunks:
                    pass

    async def wait() -> None:
        async with aclosing(peer.turn(Sampling(temperature=0), 4)) as chunks:
            came.append(await first_token(chunks))
            async for _ in chunks:
                pass
        busy.cancel_scope.cancel()

    async with anyio.create_task_group() as busy:
        for _ in range(peer.slots - 1):
            busy.start_soon(keep_busy)
        async with aclosing(peer.ramble()) as given_up:
            await first_token(given_up)
            await anyio.sleep(0.05)
            busy.start_soon(wait)
            await anyio.sleep(0.05)
            gave_up = perf_counter()
        await anyio.sleep_forever()
    return came[0] - gave_up if 0 < gave_up < came[0] else None


async def measure(arguments: list[str]) -> None:
    """Print both, over some rounds."""
    async with opened(arguments) as peer:
        await alone(peer)
        base = [await alone(peer) for _ in range(ROUNDS)]
        freed = [await after_giving_up(peer) for _ in range(ROUNDS)]
    for name, seconds in (("alone", base), ("after giving up", freed)):
        sorted_ms = sorted(1000 * one for one in seconds)
        sys.stdout.write(f"{name:>16}: median {statistics.median(sorted_ms):6.1f} ms, worst {sorted_ms[-1]:6.1f} ms\n")
    difference = 1000 * (statistics.median(freed) - statistics.median(base))
    sys.stdout.write(f"{'the slot':>16}: free {difference:.1f} ms after it was given up\n")


if __name__ == "__main__":
    anyio.run(measure, sys.argv[1:])
