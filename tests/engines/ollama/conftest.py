"""Ollama, twice: as it was recorded, and as it is where there is one."""

import os
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

import pytest

from orchestrator.core.models import Model
from orchestrator.engines.ollama.engine import OllamaEngine
from tests.engines.ollama.recordings import RECORD, staged
from tests.engines.ollama.runtime import Runtime, missing, real_ollama


@pytest.fixture(scope="session")
def runtime() -> Generator[Runtime]:
    """A real Ollama, the same for all tests."""
    why_not = missing()
    if why_not is not None:
        pytest.skip(why_not)
    with real_ollama() as started:
        yield started


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine before an Ollama. What a test does to the real one has been done already where it is a recording."""

    engine: OllamaEngine
    runtime: Runtime | None

    async def model(self, key: str) -> Model:
        """The model, as the engine lists it."""
        return next(model for model in await self.engine.models() if model.key == key)

    def unload(self, key: str) -> None:
        """See that the model is not in memory."""
        if self.runtime is not None:
            self.runtime.unload(key)

    def load(self, key: str, num_ctx: int | None) -> None:
        """Load the model behind the engine's back."""
        if self.runtime is not None:
            self.runtime.load(key, num_ctx)

    def kill_runners(self) -> None:
        """Kill the processes in which models run."""
        if self.runtime is None:
            return
        if self.runtime.pid is None:
            pytest.skip("this Ollama was not started by the tests")
        self.runtime.kill_runners()


@pytest.fixture(params=["recorded", pytest.param("real", marks=pytest.mark.ollama)])
async def stage(request: pytest.FixtureRequest) -> AsyncGenerator[Stage]:
    name = f"wire/{request.function.__name__.removeprefix('test_')}"
    version = os.environ.get(RECORD)
    if request.param == "recorded" and version is not None:
        pytest.skip(f"{RECORD} is set: what is played here is written by the same run")
    runtime: Runtime | None = request.getfixturevalue("runtime") if request.param == "real" else None
    async with staged(name, None if runtime is None else runtime.host, version) as host:
        engine = OllamaEngine(host)
        yield Stage(engine, runtime)
        await engine.aclose()
