"""One instance of the embedded engine: its loads, its worker, and the requests that wait for it."""

import os
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import anyio
import httpx
import structlog
from anyio.abc import TaskGroup

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.models import LoadSettings, ModelInstance
from orchestrator.engines.held_turns import call_key, with_calls
from orchestrator.engines.llama_cpp.catalogue import InstalledModel
from orchestrator.engines.llama_cpp.constrained import turn_body
from orchestrator.engines.llama_cpp.devices import has_gpu
from orchestrator.engines.llama_cpp.launch import Launch
from orchestrator.engines.llama_cpp.load_plan import HostSettings, LoadPlan, check_settings, plan_load
from orchestrator.engines.llama_cpp.memory import needed_bytes
from orchestrator.engines.llama_cpp.process import WorkerProcess
from orchestrator.engines.llama_cpp.shared_load import SharedLoad
from orchestrator.engines.llama_cpp.slots import SlotQueue
from orchestrator.engines.llama_cpp.worker_client import WHO, WorkerClient
from orchestrator.ports import Embeddings, GenerationChunk, LoadStep

END_SECONDS: Final = 10.0
"""How long the end of a worker may take: a little more than its SIGTERM and SIGKILL."""
NOTICE_SECONDS: Final = 2.0
"""How long after a broken connection to wait for the news that the process behind it has ended."""
REVIVAL_SECONDS: Final = 0.5
"""How long after its worker's death an instance is loaded again by itself, times the deaths in a row."""
MOST_DEATHS: Final = 3
"""Deaths in a row after which it waits to be asked for: a load that kills the machine is not to be repeated for ever."""
STEADY_SECONDS: Final = 60.0
"""A worker that lived for so long begins a new row."""
SMALL_MODEL_BYTES: Final = 100 * 1024 * 1024
"""Below this one thread is faster than two: synchronising them cost 10 ms a token on two busy cores, computing 0.5."""

_log = structlog.stdlib.get_logger(__name__)


class ModelHost:
    """Keeps at most one worker for an instance, and gives its slots to requests in their order.

    A host that has retired, or whose engine has closed, loads nothing more.
    """

    def __init__(
        self,
        instance_id: str,
        installed: InstalledModel,
        settings: HostSettings,
        task_group: TaskGroup,
        client: httpx.AsyncClient,
    ) -> None:
        self._instance_id = instance_id
        self._installed = installed
        self._settings = settings
        self._task_group = task_group
        self._client = client
        self._queue = SlotQueue(settings.slots)
        self._worker: WorkerProcess | None = None
        self._api_key = ""
        self._plan: LoadPlan | None = None
        self._load: SharedLoad | None = None
        self._closed: OrchestratorError | None = None
        self._shut = anyio.Event()
        self._deaths = 0
        self.retired: anyio.Event | None = None
        """There while the host retires; set when it has, or was not allowed to."""

    @property
    def model_key(self) -> str:
        """The model that this is an instance of."""
        return self._installed.model.key

    @property
    def instance(self) -> ModelInstance | None:
        """The instance, while it is loaded."""
        worker = self._ready_worker()
        if worker is None or self._plan is None:
            return None
        return ModelInstance(self._instance_id, self._plan.config(worker.context_length))

    @property
    def needed_bytes(self) -> int:
        """What the end of the worker would give back, by the estimate that loads are checked with."""
        if self._ready_worker() is None or self._plan is None:
            return 0
        return needed_bytes(self._installed, self._plan)

    @property
    def worker_pid(self) -> int | None:
        """The process that holds the model."""
        worker = self._ready_worker()
        return None if worker is None else worker.pid

    @property
    def queue(self) -> SlotQueue:
        """Who generates and who waits."""
        return self._queue

    async def load(self, settings: LoadSettings) -> AsyncGenerator[LoadStep, None]:
        """See `Engine.load`. Other settings than there are mean a reload, once nobody generates."""
        gpu = await has_gpu()
        check_settings(self._installed, settings, gpu=gpu)
        announced = False
        while True:
            loaded = self._plan is not None and self._plan.meets(settings)
            if self._load is None and self._ready_worker() is not None and loaded:
                yield ModelReady(0.0 if announced else None)
                return
            load = self._load or self._begin_load(settings, gpu=gpu)
            # One for other settings, or that is being given up, is waited for: then it is this request's turn.
            ours = load.plan.meets(settings) and not load.abandoned
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

    async def generate(self, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        """See `Engine.generate`. Loads the model again where its worker has died meanwhile.

        A worker that dies before it said anything is replaced once: nothing is lost by asking again.
        """
        body, key = turn_body(self.model_key, request, self._installed.model.reasoning), call_key(request)
        again = True
        while True:
            async with self._worker_slot() as worker:
                try:
                    async with aclosing(with_calls(self._ask(worker).turn(body), key)) as chunks:
                        async for chunk in chunks:
                            again = False
                            yield chunk
                    return
                except httpx.ReadTimeout:
                    worker.stop()
                    raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} fell silent and was ended.") from None
                except httpx.TransportError as error:
                    failure = await _broke_off(worker, error)
                    if not (again and worker.ended.is_set()):
                        raise failure from None
                    again = False

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Engine.embed`. Asked once more of a new worker where the first one dies."""
        again = True
        while True:
            async with self._worker_slot() as worker:
                try:
                    return await self._ask(worker).embed(self.model_key, texts)
                except httpx.TransportError as error:
                    failure = await _broke_off(worker, error)
                    if not (again and worker.ended.is_set()):
                        raise failure from None
                    again = False

    async def count_tokens(self, text: str) -> int | None:
        """How many tokens `text` is; None while the model is not loaded."""
        worker = self._ready_worker()
        return None if worker is None else await self._ask(worker).count(text)

    async def count_prompt(self, request: Generate) -> int | None:
        """How many tokens the prompt of `request` is; None while the model is not loaded."""
        worker = self._ready_worker()
        if worker is None:
            return None
        return await self._ask(worker).count_prompt(turn_body(self.model_key, request, self._installed.model.reasoning))

    async def retire(self) -> None:
        """End the worker, once nobody generates on it; nothing is loaded after this. Cancelling calls it off."""
        if self.retired is not None:
            await self.retired.wait()
            return
        self.retired = anyio.Event()
        gone = OrchestratorError(ErrorKind.ENGINE_ERROR, f"'{self._instance_id}' was unloaded.")
        try:
            if self._load is not None:
                self._load.settle(gone)
                self._load.scope.cancel()
            async with self._queue.emptied():
                self._close(gone)
                await self._end_all()
        finally:
            self.retired.set()
            self.retired = None

    async def aclose(self) -> None:
        """End the worker and every load at once; nothing is loaded after this."""
        self._close(_shut_down())
        await self._end_all()

    @property
    def closed(self) -> bool:
        """Whether nothing can be loaded any more."""
        return self._closed is not None

    def _close(self, why: OrchestratorError) -> None:
        self._closed = why
        self._shut.set()

    async def _revive(self, worker: WorkerProcess) -> None:
        """Load again when `worker` has died: an instance stays until it is unloaded, also while nobody uses it."""
        began = anyio.current_time()
        await worker.ended.wait()
        self._deaths = 1 if anyio.current_time() - began >= STEADY_SECONDS else self._deaths + 1
        with anyio.move_on_after(REVIVAL_SECONDS * self._deaths):
            await self._shut.wait()
        gpu = await has_gpu()
        if self._closed is not None or self._load is not None or self._worker is not worker:
            return
        if self._deaths > MOST_DEATHS:
            _log.error("worker_keeps_dying", instance=self._instance_id, deaths=self._deaths)
            return
        _log.info("worker_is_replaced", instance=self._instance_id)
        self._begin_load(LoadSettings(), gpu=gpu)

    async def _end_all(self) -> None:
        if self._load is not None:
            self._load.scope.cancel()
        if self._worker is not None:
            await _end(self._worker)

    @asynccontextmanager
    async def _worker_slot(self) -> AsyncGenerator[WorkerProcess, None]:
        """A slot, and the worker that it belongs to; the model is loaded (again) where there is none."""
        while True:
            if self._ready_worker() is None:
                async with aclosing(self.load(LoadSettings())) as steps:
                    async for _ in steps:
                        pass
            async with self._queue.slot():
                worker = self._ready_worker()
                if worker is not None:
                    yield worker
                    return
            # it died while we waited for the slot

    def _ask(self, worker: WorkerProcess) -> WorkerClient:
        assert worker.address is not None
        return WorkerClient(self._client, worker.address, self._api_key, self._settings.silence_seconds)

    def _ready_worker(self) -> WorkerProcess | None:
        return self._worker if self._worker is not None and self._worker.alive else None

    def _begin_load(self, settings: LoadSettings, *, gpu: bool) -> SharedLoad:
        if self._closed is not None:
            raise _copy(self._closed)
        plan = plan_load(self._installed, settings, self._settings, self._plan, gpu=gpu)
        load = self._load = SharedLoad(plan)
        self._task_group.start_soon(self._run_load, load, gpu)
        return load

    async def _run_load(self, load: SharedLoad, gpu: bool) -> None:
        try:
            with load.scope:
                if self._ready_worker() is None:
                    await self._replace_worker(load, gpu)
                else:
                    async with self._queue.emptied():
                        await self._replace_worker(load, gpu)
        except Exception:  # the owner of this task must not go down with one load
            _log.exception("load_failed", model=self.model_key)
            load.settle(OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} could not be started."))
        finally:
            self._load = None
            load.settle(_shut_down())  # where it was abandoned nobody hears it

    async def _replace_worker(self, load: SharedLoad, gpu: bool) -> None:
        if self._worker is not None:
            await _end(self._worker)
        plan = load.plan
        worker = self._worker = WorkerProcess(self._instance_id, self._launch(plan, gpu), load.report)
        begun = time.perf_counter()
        self._task_group.start_soon(worker.run)
        try:
            await worker.settled.wait()
        except BaseException:
            await _end(worker)
            raise
        if not worker.alive:
            message = f"{self.model_key} could not be loaded: {worker.why_ended()}."
            load.settle(OrchestratorError(ErrorKind.ENGINE_ERROR, message))
            return
        self._plan = plan
        self._queue.resize(plan.slots)
        seconds = time.perf_counter() - begun
        _log.info(
            "model_loaded", instance=self._instance_id, context_length=worker.context_length, seconds=round(seconds, 3)
        )
        load.settle(seconds)
        self._task_group.start_soon(self._revive, worker)

    def _launch(self, plan: LoadPlan, gpu: bool) -> Launch:
        self._api_key = secrets.token_urlsafe(32)
        installed = self._installed
        return Launch(
            model_path=str(installed.path),
            context_length=plan.context_length,
            slots=plan.slots,
            batch=plan.batch,
            threads=1 if (installed.model.size_bytes or 0) < SMALL_MODEL_BYTES else 0,
            cache_mib=self._settings.cache_mib,
            api_key=self._api_key,
            parent=os.getpid(),
            gpu=gpu,
            flash_attention=plan.flash_attention,
            offload_kv_cache=plan.offload_kv_cache if gpu else None,
            embedding=installed.model.type == "embedding",
            mmproj_path=None if installed.mmproj is None else str(installed.mmproj),
        )


async def _end(worker: WorkerProcess) -> None:
    worker.stop()
    with anyio.move_on_after(END_SECONDS, shield=True):
        await worker.ended.wait()


async def _broke_off(worker: WorkerProcess, error: httpx.TransportError) -> OrchestratorError:
    """What a broken connection means; `worker.ended` tells afterwards whether the process is gone."""
    with anyio.move_on_after(NOTICE_SECONDS):
        await worker.ended.wait()
    why = worker.why_ended() if worker.ended.is_set() else type(error).__name__
    return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{WHO} broke off its answer: {why}.")


def _shut_down() -> OrchestratorError:
    return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "The embedded engine is shut down.")


def _copy(error: OrchestratorError) -> OrchestratorError:
    """An error of its own for each waiter: a raised exception carries the traceback of who raised it."""
    return OrchestratorError(error.info.kind, error.info.message, param=error.info.param)
