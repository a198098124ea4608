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
from orchestrator.core.models import LoadSettings, Model, ModelInstance
from orchestrator.core.request import ResponseFormat
from orchestrator.engines.held_schemas import check_response_format
from orchestrator.engines.llama_cpp.catalogue import BUNDLED, ENGINE_NAME, Catalogue, InstalledModel
from orchestrator.engines.llama_cpp.devices import has_gpu
from orchestrator.engines.llama_cpp.host import ModelHost
from orchestrator.engines.llama_cpp.load_plan import HostSettings, check_settings, plan_load
from orchestrator.engines.llama_cpp.long_runs import is_long, refuse_long_runs
from orchestrator.engines.llama_cpp.memory import check_memory, has_room
from orchestrator.engines.openai_request import has_images
from orchestrator.ports import Embeddings, EngineTraits, GenerationChunk, LoadStep

DEFAULT_CONTEXT_LENGTH: Final = 8192
"""Of a load that asks for none, where the model has as much. Every slot has the whole of it: an 8B model with
grouped attention takes 128 KiB a token, so 4 slots x 8,192 tokens are 4 GiB."""
SLOTS: Final = 4
BATCH: Final = 256
PROMPT_CACHE_MIB: Final = 512
CONNECT_SECONDS: Final = 5.0
FIRST_TOKEN_SECONDS: Final = 300.0
"""Between two batches of a prompt, or until the first token."""
SILENCE_SECONDS: Final = 120.0
"""Between two tokens. A worker that lets it pass is stuck, and ended: no request of it would come to an end."""


class LlamaCppEngine:
    """Runs the models below `models_dir`, then `more_dirs`, and the bundled one; every task of it lives in `task_group`."""

    def __init__(
        self,
        models_dir: Path | None,
        task_group: TaskGroup,
        *,
        default_context_length: int = DEFAULT_CONTEXT_LENGTH,
        slots: int = SLOTS,
        silence_seconds: float = SILENCE_SECONDS,
        first_token_seconds: float = FIRST_TOKEN_SECONDS,
        bundled: Path = BUNDLED,
        more_dirs: Sequence[Path] = (),
    ) -> None:
        self._catalogue = Catalogue(models_dir, bundled, more_dirs)
        self._task_group = task_group
        self._settings = HostSettings(default_context_length, slots, BATCH, PROMPT_CACHE_MIB, silence_seconds)
        self._installed: dict[str, InstalledModel] = {}
        self._hosts: dict[str, ModelHost] = {}
        self._closed = False
        # Plain HTTP to our own children: no proxies of the environment, no certificates to read.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(max(first_token_seconds, silence_seconds), connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
            verify=False,
        )

    @property
    def name(self) -> str:
        """What `engine::key` calls it."""
        return ENGINE_NAME

    @property
    def traits(self) -> EngineTraits:
        """See `Engine.traits`."""
        return EngineTraits(loads=True, many_instances=True, embeds=True, parallel=self._settings.slots, raw=True)

    async def models(self) -> Sequence[Model]:
        """See `Engine.models`."""
        self._installed = await anyio.to_thread.run_sync(self._catalogue.scan)
        loaded: dict[str, list[ModelInstance]] = {}
        for host in self._hosts.values():
            if host.instance is not None:
                loaded.setdefault(host.model_key, []).append(host.instance)
        return [
            replace(installed.model, loaded_instances=tuple(loaded.get(key, ())))
            for key, installed in self._installed.items()
        ]

    def check_response_format(self, response_format: ResponseFormat) -> None:
        """See `Engine.check_response_format`."""
        check_response_format(response_format)

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        """See `Engine.check_fit`. What the instance needs is estimated from the model's file and its shape.

        Settings that no load could meet are refused here already, before anything makes room for it. With a GPU
        llama.cpp itself spreads the model over both memories, and nothing is foretold. A file that our own reader
        cannot read is tried, where that costs no other model its place: llama.cpp may know better.
        """
        installed, gpu = await self._installed_model(model), await has_gpu()
        check_settings(installed, settings, gpu=gpu)
        roomy = False
        if not gpu:
            plan = plan_load(installed, settings, self._settings, None, gpu=gpu)
            given_back = sum(host.needed_bytes for key in freed if (host := self._hosts.get(key)) is not None)
            await anyio.to_thread.run_sync(check_memory, installed, plan, given_back)
            roomy = await anyio.to_thread.run_sync(has_room, installed, plan)
        if freed and not roomy and model.problem is not None:
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"{model.key} could not be loaded: {model.problem}.")
        return roomy

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        """See `Engine.load`."""
        host = await self.host(model, instance_id)
        async with aclosing(host.load(settings)) as steps:
            async for step in steps:
                yield step

    async def unload(self, instance_id: str) -> None:
        """See `Engine.unload`."""
        host = self._hosts.get(instance_id)
        if host is None:
            return
        await host.retire()
        if host.closed and self._hosts.get(instance_id) is host and not self._closed:
            del self._hosts[instance_id]

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        """See `Engine.generate`."""
        refuse_long_runs(request)
        if model.type == "embedding":
            message = f"{model.key} is an embedding model: it cannot chat."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        if has_images(request) and not model.vision:
            raise OrchestratorError(ErrorKind.INVALID_VALUE, f"{model.key} cannot see images.", param="input")
        host = await self.host(model, instance_id)
        async with aclosing(host.generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        """See `Engine.embed`."""
        if model.type != "embedding":
            message = f"{model.key} is not an embedding model."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        host = await self.host(model, instance_id)
        return await host.embed(texts)

    async def count_tokens(self, instance_id: str, text: str) -> int | None:
        """See `TokenCounter.count_tokens`."""
        host = self._hosts.get(instance_id)
        return None if host is None else await host.count_tokens(text)

    async def count_prompt(self, model: Model, request: Generate) -> int | None:
        """See `PromptCounter.count_prompt`. What would take the worker long, or end it, it is not asked."""
        if is_long(request):
            return None
        for host in [host for host in self._hosts.values() if host.model_key == model.key]:
            counted = await host.count_prompt(request)
            if counted is not None:
                return counted
        return None

    async def aclose(self) -> None:
        """End every worker and wait until it is gone; bounded in time."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as ends:
                for host in self._hosts.values():
                    ends.start_soon(host.aclose)
            await self._client.aclose()

    async def host(self, model: Model, instance_id: str) -> ModelHost:
        """The host of an instance of `model`; one that is being unloaded is waited for, so that two are never there.

        Raises:
            OrchestratorError: the model's file is gone.
        """
        installed = await self._installed_model(model)
        while (host := self._hosts.get(instance_id)) is not None and host.retired is not None:
            await host.retired.wait()
        if host is None or (host.closed and not self._closed):
            host = ModelHost(instance_id, installed, self._settings, self._task_group, self._client)
            self._hosts[instance_id] = host
        return host

    async def _installed_model(self, model: Model) -> InstalledModel:
        if model.key not in self._installed:
            self._installed = await anyio.to_thread.run_sync(self._catalogue.scan)
        if model.key not in self._installed:
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"The file of {model.key} is gone.")
        return self._installed[model.key]
