"""A fresh embedded engine for each test that breaks one, and a way to see a process end."""

import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.models import LoadSettings, Model
from orchestrator.engines.llama_cpp.catalogue import BUNDLED
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.llama_cpp.host import ModelHost
from orchestrator.ports import GenerationChunk, LoadStep

BOUND_SECONDS: Final = 30
INSTANCE: Final = "an-instance"
DEMO_FILE: Final = BUNDLED / "demo" / "tiny-tools" / "tiny-tools-q8_0.gguf"


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine and one of its models."""

    engine: LlamaCppEngine
    model: Model
    host: ModelHost

    def loading(self, context_length: int | None = None) -> AsyncGenerator[LoadStep, None]:
        return self.engine.load(self.model, INSTANCE, LoadSettings(context_length))

    async def load(self, context_length: int | None = None) -> list[LoadStep]:
        return [step async for step in self.loading(context_length)]

    def generate(self, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        return self.engine.generate(self.model, INSTANCE, request)

    @property
    def pid(self) -> int:
        pid = self.host.worker_pid
        assert pid is not None
        return pid

    async def context_length(self) -> int | None:
        (model,) = (model for model in await self.engine.models() if model.key == self.model.key)
        return model.loaded_instances[0].config.context_length if model.loaded_instances else None


OpenBench: TypeAlias = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench() -> OpenBench:
    """Opens an engine; on leaving, its workers are gone, and everything was done within the bound."""

    @asynccontextmanager
    async def opened(
        models_dir: Path | None = None,
        key: str = "demo/tiny-tools",
        slots: int = 4,
        silence_seconds: float = BOUND_SECONDS,
    ) -> AsyncGenerator[Bench, None]:
        with anyio.fail_after(BOUND_SECONDS):
            async with anyio.create_task_group() as tasks:
                engine = LlamaCppEngine(models_dir, tasks, slots=slots, silence_seconds=silence_seconds)
                try:
                    models = {model.key: model for model in await engine.models()}
                    yield Bench(engine, models[key], await engine.host(models[key], INSTANCE))
                finally:
                    await engine.aclose()

    return opened


@pytest.fixture
def demo_folder(tmp_path: Path) -> Path:
    """A models folder with a copy of the demo model, `someone/copied`."""
    folder = tmp_path / "models" / "someone" / "copied"
    folder.mkdir(parents=True)
    shutil.copy(DEMO_FILE, folder / "copied-q8_0.gguf")
    return tmp_path / "models"


async def gone(pid: int) -> None:
    """Return once the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)
