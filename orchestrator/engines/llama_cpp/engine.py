"""The embedded engine: llama.cpp in supervised worker processes, behind the port `Engine`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import httpx
from anyio.abc import TaskGroup

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.engines.llama_cpp.catalogue import BUNDLED, ENGINE_NAME, Catalogue, InstalledModel
from orchestrator.engines.llama_cpp.host import HostSettings, ModelHost
from orchestrator.engines.llama_cpp.long_runs import refuse_long_runs
from orchestrator.engines.openai_request import has_images
from orchestrator.ports import GenerationChunk, LoadStep

DEFAULT_CONTEXT_LENGTH: Final = 8192
"""Of a load that asks for none, where the model has as much. Every slot has the whole of it: an 8B model with
grouped attention takes 128 KiB a token, so 4 slots x 8,192 tokens are 4 GiB."""
SLOTS: Final = 4
BATCH: Final = 256
PROMPT_CACHE_MIB: Final = 512
CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 300.0
"""Between two signs of life of a request that runs: a batch of the prompt, or a token. A worker that lets it pass is
stuck, and ended: no request of it would come to an end."""


class LlamaCppEngine:
    """Runs the models below `models_dir` and the bundled one; every task of it lives in `task_group`."""

    def __init__(
        self,
        models_dir: Path | None,
        task_group: TaskGroup,
        *,
        default_context_length: int = DEFAULT_CONTEXT_LENGTH,
        slots: int = SLOTS,
        silence_seconds: float = SILENCE_SECONDS,
        bundled: Path = BUNDLED,
    ) -> None:
        self._catalogue = Catalogue(models_dir, bundled)
        self._task_group = task_group
        self._settings = HostSettings(default_context_length, slots, BATCH, PROMPT_CACHE_MIB)
        self._installed: dict[str, InstalledModel] = {}
        self._hosts: dict[str, ModelHost] = {}
        # Plain HTTP to our own children: no proxies of the environment, no certificates to read.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
            verify=False,
        )

    @property
    def name(self) -> str:
        """What `engine::key` calls it."""
        return ENGINE_NAME

    async def models(self) -> Sequence[Model]:
        """See `Engine.models`."""
        self._installed = await anyio.to_thread.run_sync(self._catalogue.scan)
        return [
            replace(installed.model, loaded_instances=self._hosts[key].instances if key in self._hosts else ())
            for key, installed in self._installed.items()
        ]

    async def load(self, model: Model, context_length: int | None) -> AsyncGenerator[LoadStep, None]:
        """See `Engine.load`."""
        host = await self.host(model)
        async with aclosing(host.load(context_length)) as steps:
            async for step in steps:
                yield step

    async def generate(self, model: Model, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        """See `Engine.generate`."""
        refuse_long_runs(request)
        if has_images(request):
            raise OrchestratorError(ErrorKind.INVALID_VALUE, f"{model.key} cannot see images.", param="input")
        host = await self.host(model)
        support = model.reasoning
        thinking = None if support is None else (request.reasoning or support.default) != "off"
        async with aclosing(host.generate(request, thinking)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def unload(self, model: Model) -> None:
        """Take `model` out of memory once its requests have ended."""
        if model.key in self._hosts:
            await self._hosts[model.key].unload()

    async def aclose(self) -> None:
        """End every worker and wait until it is gone; bounded in time."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as ends:
                for host in self._hosts.values():
                    ends.start_soon(host.aclose)
            await self._client.aclose()

    async def host(self, model: Model) -> ModelHost:
        """The host of `model`.

        Raises:
            OrchestratorError: it cannot chat, or its file is gone.
        """
        if model.type == "embedding":
            message = f"{model.key} is an embedding model: it cannot chat."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        if model.key not in self._installed:
            self._installed = await anyio.to_thread.run_sync(self._catalogue.scan)
        if model.key not in self._installed:
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"The file of {model.key} is gone.")
        if model.key not in self._hosts:
            installed = self._installed[model.key]
            self._hosts[model.key] = ModelHost(installed, self._settings, self._task_group, self._client)
        return self._hosts[model.key]
