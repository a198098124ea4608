"""One model of the embedded engine: its loads, its worker, and the requests that wait for it."""

import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx
import msgspec
import structlog
from anyio.abc import TaskGroup

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadConfig, ModelInstance
from orchestrator.engines.llama_cpp.catalogue import InstalledModel
from orchestrator.engines.llama_cpp.launch import Launch
from orchestrator.engines.llama_cpp.process import WorkerProcess
from orchestrator.engines.llama_cpp.schemas import grammar_schema
from orchestrator.engines.llama_cpp.slots import SlotQueue
from orchestrator.engines.openai_http import Completion
from orchestrator.engines.openai_request import completion_body
from orchestrator.ports import GenerationChunk, LoadStep

WHO: Final = "llama.cpp"
END_SECONDS: Final = 10.0
"""How long the end of a worker may take: a little more than its SIGTERM and SIGKILL."""
NOTICE_SECONDS: Final = 2.0
"""How long after a broken connection to wait for the news that the process behind it has ended."""
TOKENIZE_SECONDS: Final = 5.0
SMALL_MODEL_BYTES: Final = 100 * 1024 * 1024
"""Below this one thread is faster than two: synchronising them cost 10 ms a token on two busy cores, computing 0.5."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What is the same for every worker; `context_length` is for a first load that asks for none."""

    context_length: int
    slots: int
    batch: int
    cache_mib: int


class _Tokens(msgspec.Struct):
    """The reply of `/tokenize`."""

    tokens: list[int]


@dataclass(slots=True, eq=False)
class _Load:
    """A load under way, shared by all who wait for it. `outcome` is its seconds, or why it failed."""

    context_length: int
    outcome: float | OrchestratorError | None = None
    progress: float | None = None
    waiters: int = 0
    abandoned: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def report(self, progress: float) -> None:
        """llama.cpp said how far it is."""
        self.progress = progress
        self._announce()

    def settle(self, outcome: float | OrchestratorError) -> None:
        """It is over; only the first word counts."""
        if self.outcome is None:
            self.outcome = outcome
        self._announce()

    def leave(self) -> None:
        """One waiter less; a load that nobody waits for is ended."""
        self.waiters -= 1
        if not self.waiters and self.outcome is None:
            self.abandoned = True
            self.scope.cancel()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class ModelHost:
    """Keeps at most one worker for a model, and gives its slots to requests in their order."""

    def __init__(
        self, installed: InstalledModel, settings: HostSettings, task_group: TaskGroup, client: httpx.AsyncClient
    ) -> None:
        self._installed = installed
        self._settings = settings
        self._task_group = task_group
        self._client = client
        self._queue = SlotQueue(settings.slots)
        self._worker: WorkerProcess | None = None
        self._api_key = ""
        self._context_length: int | None = None
        self._load: _Load | None = None
        self._closed = False

    @property
    def instances(self) -> tuple[ModelInstance, ...]:
        """The loaded instance, if there is one."""
        worker = self._ready_worker()
        if worker is None:
            return ()
        config = LoadConfig(worker.context_length, self._settings.batch, self._settings.slots)
        return (ModelInstance(self._installed.model.key, config),)

    @property
    def worker_pid(self) -> int | None:
        """The process that holds the model."""
        worker = self._ready_worker()
        return None if worker is None else worker.pid

    @property
    def queue(self) -> SlotQueue:
        """Who generates and who waits."""
        return self._queue

    async def load(self, context_length: int | None) -> AsyncGenerator[LoadStep, None]:
        """See `Engine.load`. A larger context than there is means a reload, once nobody generates."""
        self._check_context(context_length)
        least = context_length or 0
        announced = False
        while True:
            worker = self._ready_worker()
            if self._load is None and worker is not None and worker.context_length >= least:
                yield ModelReady(0.0 if announced else None)
                return
            load = self._load or self._begin_load(context_length)
            # One that is smaller, or is being given up, is waited for: then it is this request's turn.
            ours = load.context_length >= least and not load.abandoned
            told: float | None = None
            load.waiters += 1
            try:
                if not announced:
                    announced = True
                    yield LoadStarted()
                while load.outcome is None:
                    if ours and load.progress is not None and load.progress != told:
                        told = load.progress
                        yield LoadProgressed(told)
                    else:
                        await load.changed.wait()
            finally:
                load.leave()
            if ours and isinstance(load.outcome, OrchestratorError):
                raise _copy(load.outcome)
            if ours and not isinstance(load.outcome, OrchestratorError):
                yield ModelReady(load.outcome)
                return

    async def generate(self, request: Generate, thinking: bool | None) -> AsyncGenerator[GenerationChunk, None]:
        """See `Engine.generate`. Loads the model again where its worker has died meanwhile.

        A worker that dies before it said anything is replaced once: nothing is lost by asking again.
        """
        body = completion_body(self._installed.model.key, request, grammar_schema) | {"return_progress": True}
        if thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": thinking}
        again = True
        while True:
            if self._ready_worker() is None:
                async with aclosing(self.load(None)) as steps:
                    async for _ in steps:
                        pass
            async with self._queue.slot():
                worker = self._ready_worker()
                if worker is None:  # it died while we waited for the slot
                    continue
                try:
                    async with aclosing(self._turn(worker, body)) as chunks:
                        async for chunk in chunks:
                            again = False
                            yield chunk
                    return
                except httpx.ReadTimeout:
                    worker.stop()
                    raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} fell silent and was ended.") from None
                except httpx.TransportError as error:
                    ended = await _has_ended(worker)
                    if ended and again:
                        again = False
                        continue
                    why = worker.why_ended() if ended else type(error).__name__
                    raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} broke off its answer: {why}.") from None

    async def _turn(self, worker: WorkerProcess, body: JsonObject) -> AsyncGenerator[GenerationChunk, None]:
        url = f"{worker.address}/v1/chat/completions"
        completion = Completion(self._client, url, WHO, headers=self._authorization())
        async with aclosing(completion.chunks(body)) as chunks:
            async for chunk in chunks:
                yield chunk
        yield completion.finished(await self._count(worker, completion.decoder.reasoning_text))

    async def unload(self) -> None:
        """End the worker once nobody generates; the next request loads the model again."""
        async with self._queue.emptied():
            if self._worker is not None and self._load is None:
                await _end(self._worker)

    async def aclose(self) -> None:
        """End the worker and every load; nothing is loaded after this."""
        self._closed = True
        if self._load is not None:
            self._load.scope.cancel()
        if self._worker is not None:
            await _end(self._worker)

    def _ready_worker(self) -> WorkerProcess | None:
        return self._worker if self._worker is not None and self._worker.alive else None

    def _check_context(self, context_length: int | None) -> None:
        maximum = self._installed.model.max_context_length
        if context_length is not None and maximum is not None and context_length > maximum:
            key = self._installed.model.key
            message = f"{key} has a context of at most {maximum} tokens, {context_length} were asked for."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")

    def _begin_load(self, context_length: int | None) -> _Load:
        if self._closed:
            raise _shut_down()
        wanted = context_length or self._context_length or self._settings.context_length
        load = self._load = _Load(min(wanted, self._installed.model.max_context_length or wanted))
        self._task_group.start_soon(self._run_load, load)
        return load

    async def _run_load(self, load: _Load) -> None:
        try:
            with load.scope:
                if self._ready_worker() is None:
                    await self._replace_worker(load)
                else:
                    async with self._queue.emptied():
                        await self._replace_worker(load)
        except Exception:  # the owner of this task must not go down with one load
            _log.exception("load_failed", model=self._installed.model.key)
            load.settle(OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} could not be started."))
        finally:
            self._load = None
            load.settle(_shut_down())  # where it was abandoned nobody hears it

    async def _replace_worker(self, load: _Load) -> None:
        if self._worker is not None:
            await _end(self._worker)
        model, settings = self._installed.model, self._settings
        self._api_key = secrets.token_urlsafe(32)
        launch = Launch(
            model_path=str(self._installed.path),
            context_length=load.context_length,
            slots=settings.slots,
            batch=settings.batch,
            threads=1 if (model.size_bytes or 0) < SMALL_MODEL_BYTES else 0,
            cache_mib=settings.cache_mib,
            api_key=self._api_key,
            parent=os.getpid(),
        )
        worker = self._worker = WorkerProcess(model.key, launch, load.report)
        begun = time.perf_counter()
        self._task_group.start_soon(worker.run)
        try:
            await worker.settled.wait()
        except BaseException:
            await _end(worker)
            raise
        if not worker.alive:
            message = f"{model.key} could not be loaded: {worker.why_ended()}."
            load.settle(OrchestratorError(ErrorKind.ENGINE_ERROR, message))
            return
        self._context_length = worker.context_length
        seconds = time.perf_counter() - begun
        _log.info("model_loaded", model=model.key, context_length=worker.context_length, seconds=round(seconds, 3))
        load.settle(seconds)

    def _authorization(self) -> dict[str, str]:
        # No keep-alive: after a stream the server breaks the next request on the same connection now and then.
        return {"Authorization": f"Bearer {self._api_key}", "Connection": "close"}

    async def _count(self, worker: WorkerProcess, text: str) -> int | None:
        """The tokens of `text`, by the model's own tokenizer; llama.cpp does not count reasoning by itself."""
        if not text:
            return 0
        try:
            response = await self._client.post(
                f"{worker.address}/tokenize",
                json={"content": text},
                headers=self._authorization(),
                timeout=TOKENIZE_SECONDS,
            )
            return len(msgspec.json.decode(response.content, type=_Tokens).tokens)
        except (httpx.TransportError, msgspec.MsgspecError):
            return None


async def _end(worker: WorkerProcess) -> None:
    worker.stop()
    with anyio.move_on_after(END_SECONDS, shield=True):
        await worker.ended.wait()


async def _has_ended(worker: WorkerProcess) -> bool:
    with anyio.move_on_after(NOTICE_SECONDS):
        await worker.ended.wait()
    return worker.ended.is_set()


def _shut_down() -> OrchestratorError:
    return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "The embedded engine is shut down.")


def _copy(error: OrchestratorError) -> OrchestratorError:
    """An error of its own for each waiter: a raised exception carries the traceback of who raised it."""
    return OrchestratorError(error.info.kind, error.info.message, param=error.info.param)
