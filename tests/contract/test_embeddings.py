"""What every `Engine` promises that embeds: the twin, the embedded one, Ollama, and an OpenAI-compatible server.

The model is the demo model, with the word in its file that makes it embed. Ollama is the real one where there is one,
and always the recording of a real one.
"""

import math
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio
import pytest
from _pytest.mark import ParameterSet

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import LoadSettings, Model
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.llama_cpp.launch import Launch
from orchestrator.engines.llama_cpp.process import WorkerProcess
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine
from orchestrator.ports import Embeddings, Engine
from orchestrator.testing import ScriptedEngine
from tests.engines.llama_cpp.conftest import DEMO_FILE
from tests.engines.llama_cpp.gguf_files import with_number
from tests.engines.ollama.recordings import RECORD, staged
from tests.engines.ollama.runtime import EMBEDDER, missing, real_ollama

pytestmark = pytest.mark.anyio
MEAN: Final = 1
INSTANCE: Final = "an-instance"


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine with a model that embeds."""

    engine: Engine
    model: Model


Opener = Callable[[str, Path], AbstractAsyncContextManager[Peer]]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """The demo model as one that embeds, `a/embeds`."""
    file = tmp_path / "models" / "a" / "embeds" / "x.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(with_number(DEMO_FILE.read_bytes(), "llama.pooling_type", MEAN))
    return tmp_path / "models"


@asynccontextmanager
async def _scripted(test: str, models_dir: Path) -> AsyncGenerator[Peer]:
    engine = ScriptedEngine([[]])
    yield Peer(engine, replace(engine.model, type="embedding"))


@asynccontextmanager
async def _embedded(test: str, models_dir: Path) -> AsyncGenerator[Peer]:
    async with anyio.create_task_group() as tasks:
        engine = LlamaCppEngine(models_dir, tasks)
        yield Peer(engine, next(model for model in await engine.models() if model.key == "a/embeds"))
        await engine.aclose()


@asynccontextmanager
async def _openai_compatible(test: str, models_dir: Path) -> AsyncGenerator[Peer]:
    launch = Launch(
        model_path=str(models_dir / "a" / "embeds" / "x.gguf"),
        context_length=2048,
        slots=4,
        batch=2048,
        threads=1,
        api_key="a-secret",
        parent=os.getpid(),
        embedding=True,
    )
    worker = WorkerProcess("peer", launch, lambda progress: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await worker.settled.wait()
        engine = OpenAICompatibleEngine(f"{worker.address}/v1", "a-secret")
        (model,) = await engine.models()
        yield Peer(engine, model)
        await engine.aclose()
        worker.stop()


@asynccontextmanager
async def _of_ollama(test: str, host: str | None) -> AsyncGenerator[Peer]:
    async with staged(f"contract/{test.removeprefix('test_')}", host, os.environ.get(RECORD)) as address:
        engine = OllamaEngine(address)
        (model,) = await engine.models()
        yield Peer(engine, model)
        await engine.aclose()


@asynccontextmanager
async def _recorded(test: str, models_dir: Path) -> AsyncGenerator[Peer]:
    if os.environ.get(RECORD) is not None:
        pytest.skip(f"{RECORD} is set: what is played here is written by the same run")
    async with _of_ollama(test, None) as peer:
        yield peer


@asynccontextmanager
async def _real(test: str, models_dir: Path) -> AsyncGenerator[Peer]:
    why_not = missing()
    if why_not is not None:
        pytest.skip(why_not)
    with real_ollama(EMBEDDER) as runtime:
        if runtime.pid is None:
            pytest.skip("this Ollama may have other models as well")
        async with _of_ollama(test, runtime.host) as peer:
            yield peer


OPENERS: Final[dict[str, Opener]] = {
    "embedded": _embedded,
    "ollama": _real,
    "ollama_recorded": _recorded,
    "openai_compatible": _openai_compatible,
    "scripted": _scripted,
}


def _peers(*left_out: str) -> list[ParameterSet]:
    marks = {"ollama": pytest.mark.ollama}
    return [pytest.param(name, marks=marks.get(name, ())) for name in OPENERS if name not in left_out]


@pytest.fixture(params=_peers())
async def peer(request: pytest.FixtureRequest, models_dir: Path) -> AsyncGenerator[Peer]:
    async with OPENERS[request.param](request.function.__name__, models_dir) as it:
        async for _ in it.engine.load(it.model, INSTANCE, LoadSettings()):
            pass
        yield it


async def embed(peer: Peer, *texts: str) -> Embeddings:
    return await peer.engine.embed(peer.model, INSTANCE, texts)


def alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """In their direction, nearly: llama.cpp computes texts that are batched in other steps than a text alone."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other)) > 0.99


async def test_texts_become_vectors_of_one_length_in_their_order_and_are_counted(peer: Peer) -> None:
    assert peer.engine.traits.embeds
    both = await embed(peer, "Hello", "What time is it in Tokyo?")
    first, second = await embed(peer, "Hello"), await embed(peer, "What time is it in Tokyo?")
    assert alike(both.vectors[0], first.vectors[0])
    assert alike(both.vectors[1], second.vectors[0])
    assert not alike(both.vectors[0], both.vectors[1])
    assert both.input_tokens is not None and first.input_tokens is not None and second.input_tokens is not None
    assert both.input_tokens == first.input_tokens + second.input_tokens > 2


async def test_no_text_is_no_vector(peer: Peer) -> None:
    assert (await embed(peer)).vectors == ()


@pytest.mark.parametrize("peer", _peers("scripted"), indirect=True)
async def test_a_text_that_is_too_long_is_refused_on_input_and_not_cut(peer: Peer) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await embed(peer, "Hello " * 3000)
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.EXCEED_CONTEXT_SIZE, "input")
