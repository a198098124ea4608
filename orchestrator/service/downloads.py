"""Downloads of models as jobs: one for many askers, a few at a time, taken up again by the next process.

Who moves the bytes is a `Downloader`. What is written down is written before anybody is told: a job that is paused
or cancelled is so in the store first, and only then is its transfer stopped. Progress goes to the store for all
transfers together, every few seconds, and renews their leases; a process that finds there that a job is no longer
its own stops moving its bytes. Source: section 5 of the contract.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import anyio.abc
import structlog

from orchestrator.core.download_claims import outvoted
from orchestrator.core.downloads import (
    ACTIVE,
    DownloadJob,
    DownloadPlan,
    DownloadProgress,
    JobState,
    changed,
    is_change,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.ports import Downloader, JobStore
from orchestrator.service.ids import new_job_id
from orchestrator.service.leases import LEASE_SECONDS, is_dead
from orchestrator.service.transfer_speed import TransferSpeed

PARALLEL: Final = 2
"""How many transfers run at once; more of them would only share the same line."""

KEEP_SECONDS: Final = 3.0
SWEEP_SECONDS: Final = 3600.0
STOP_SECONDS: Final = 5.0
ATTEMPTS: Final = 5

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DownloadStatus:
    """A job, and how fast it is: None where this process does not move its bytes, or nobody can say.

    `owner` is None for the transfer itself, which belongs to all who asked for it."""

    job: DownloadJob
    bytes_per_second: float | None = None
    estimated_completion: datetime | None = None
    owner: str | None = None


@dataclass(slots=True)
class _Transfer:
    """A job that this process cares for. `job` is as it stands in the store, as far as this process knows."""

    job: DownloadJob
    progress: DownloadProgress
    after: tuple["_Transfer", ...]
    speed: TransferSpeed = field(default_factory=TransferSpeed)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    unwanted: bool = False

    def report(self, progress: DownloadProgress) -> None:
        self.progress = progress
        self.speed.observe(anyio.current_time(), progress.downloaded_bytes)


class DownloadService:
    """The downloads of this process, and the care for those of processes that died.

    `task_group` belongs to the lifespan; `downloaders` are asked in their order. What ended more than `history_days`
    ago is forgotten, never where that is None. `is_installed` says whether a name is that of a model that is there,
    `on_installed` is told when there is another one.
    Of the `optional` downloaders, by name, nobody expects that they answer.
    """

    def __init__(
        self,
        downloaders: Sequence[Downloader],
        store: JobStore,
        holder: str,
        task_group: anyio.abc.TaskGroup,
        *,
        parallel: int = PARALLEL,
        history_days: int | None = None,
        is_installed: Callable[[str], Awaitable[bool]] | None = None,
        on_installed: Callable[[], None] | None = None,
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self._downloaders = tuple(downloaders)
        self._store = store
        self._holder = holder
        self._task_group = task_group
        self._slots = anyio.Semaphore(parallel)
        self._history = None if history_days is None else timedelta(days=history_days)
        self._is_installed = is_installed
        self._on_installed = on_installed
        self._optional = optional
        self._swept_at = -math.inf
        self._transfers: dict[str, _Transfer] = {}
        self._closing = False

    # ---- what clients ask for -----------------------------------------------------------------

    async def start(self, model: str, quantization: str | None = None) -> DownloadStatus | None:
        """Begin to download `model`, or join who does already; None where there is nothing to download.

        Raises:
            OrchestratorError: `invalid_value` on `model` or `quantization`, or what kept the downloader from planning.
        """
        if self._closing:
            raise OrchestratorError(ErrorKind.RATE_LIMITED, "The service is stopping.", retry_after_seconds=1)
        if quantization is None and self._is_installed is not None and await self._is_installed(model):
            return None
        plan = await self._plan(model, quantization)
        if plan.present:
            return None
        now = datetime.now(UTC)
        job = DownloadJob(
            id=new_job_id(),
            model=model,
            quantization=quantization,
            plan=plan,
            state="queued",
            started_at=now,
            progress=DownloadProgress(0, plan.total_size_bytes),
            holder=self._holder,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
        )
        stored = await self._store.create_job(job)
        if stored.id == job.id:
            self._begin(stored)
        return self._status(stored)

    def told(self, job: DownloadJob) -> DownloadStatus:
        """The stored job, with what this process knows of its transfer."""
        return self._status(job)

    async def status(self, job_id: str) -> DownloadStatus:
        """How a job is.

        Raises:
            OrchestratorError: `job_not_found`.
        """
        return self._status(await self._job(job_id))

    async def pause(self, job_id: str) -> DownloadStatus:
        """Stop it and keep what there is. Returns when no more bytes move.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that has ended.
        """
        job = await self._change(job_id, "paused")
        transfer = self._transfers.get(job_id)
        if transfer is not None and job.state == "paused":
            await self._stop(transfer)
        return self._status(job)

    async def resume(self, job_id: str) -> DownloadStatus:
        """Go on with one that was paused, or that failed.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that is completed or cancelled.
        """
        job = await self._change(job_id, "queued")
        if job.holder == self._holder:
            self._begin(job)
        return self._status(job)

    async def cancel(self, job_id: str) -> DownloadStatus:
        """End it and throw away what there is. Returns when that is done.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that is completed.
        """
        job = await self._change(job_id, "cancelled")
        if job.state != "cancelled":
            return self._status(job)
        transfer = self._transfers.get(job_id)
        if transfer is None and not self._others(job):
            # What a paused or failed one left goes the same way, so that who asks anew waits for it.
            transfer = self._begin(job)
        if transfer is not None:
            transfer.unwanted = True
            await self._stop(transfer)
        return self._status(job)

    # ---- the lifespan -------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up what a dead process left, and what this one lost sight of."""
        now = datetime.now(UTC)
        for job in await self._store.active_jobs():
            lapsed = job.lease_until is None or job.lease_until < now
            gone = lapsed or job.holder is None or job.holder == self._holder or is_dead(job.holder)
            if job.id in self._transfers or self._closing or not gone:
                continue
            until = now + timedelta(seconds=LEASE_SECONDS)
            mine = replace(job, state="queued", holder=self._holder, lease_until=until)
            if await self._store.change_job(job, mine):
                log.info("a download is taken up again", job_id=job.id, model=job.model)
                self._begin(mine)

    async def look_after(self) -> None:
        """Write down how far the transfers are, stop those that are no longer this process's, take up others.

        Once an hour, forget what ended long ago."""
        watched = dict(self._transfers)
        until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
        told = {job_id: transfer.progress for job_id, transfer in watched.items() if not transfer.scope.cancel_called}
        kept = await self._store.record_progress(self._holder, told, until)
        for job_id in told.keys() - kept:
            stored = await self._store.get_job(job_id)
            if stored is not None and stored.state == "cancelled":
                watched[job_id].unwanted = True
            if stored is None or stored.holder != self._holder:
                watched[job_id].scope.cancel()
        await self.recover()
        now = anyio.current_time()
        if self._history is not None and now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            await self._store.forget_jobs(datetime.now(UTC) - self._history)

    async def keep(self) -> None:
        """Look after the downloads until cancelled."""
        while True:
            await anyio.sleep(KEEP_SECONDS)
            try:
                await self.look_after()
            except OrchestratorError as error:
                log.error("downloads could not be looked after", reason=error.info.message)

    async def close(self, grace_seconds: float) -> None:
        """Stop every transfer and leave its job to the next process."""
        self._closing = True
        running = list(self._transfers.values())
        for transfer in running:
            transfer.scope.cancel()
        with anyio.move_on_after(grace_seconds):
            for transfer in running:
                await transfer.ended.wait()
            for transfer in running:
                job = transfer.job
                if job.state in ACTIVE:
                    left = replace(job, state="queued", progress=transfer.progress, lease_until=datetime.now(UTC))
                    await self._store.change_job(job, left)

    # ---- a transfer ---------------------------------------------------------------------------

    def _begin(self, job: DownloadJob) -> _Transfer:
        there = self._transfers.get(job.id)
        if there is not None and not there.scope.cancel_called:
            return there
        # What this one fetches may still be in the hands of one that ends: they do not share files.
        transfer = _Transfer(job, job.progress, after=self._others(job, itself=True))
        self._transfers[job.id] = transfer
        self._task_group.start_soon(self._run, transfer)
        return transfer

    async def _run(self, transfer: _Transfer) -> None:
        try:
            with transfer.scope:
                for other in transfer.after:
                    await other.ended.wait()
                async with self._slots:
                    await self._fetch(transfer)
            if transfer.unwanted:
                with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
                    await self._downloader_named(transfer.job.plan.source).discard(transfer.job.plan)
        except OrchestratorError as error:
            log.error("a download got stuck", job_id=transfer.job.id, reason=error.info.message)
        except Exception:
            log.exception("a download broke down", job_id=transfer.job.id)
        finally:
            if self._transfers.get(transfer.job.id) is transfer:
                del self._transfers[transfer.job.id]
            transfer.ended.set()

    async def _fetch(self, transfer: _Transfer) -> None:
        until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
        running = changed(transfer.job, "downloading", holder=self._holder, lease_until=until)
        if not await self._store.change_job(transfer.job, running):
            return
        transfer.job = running
        failure: ErrorInfo | None = None
        try:
            await self._downloader_named(running.plan.source).fetch(running.plan, transfer.report)
        except OrchestratorError as error:
            failure = error.info
        except Exception:
            log.exception("a download broke down", job_id=running.id, model=running.model)
            failure = ErrorInfo(ErrorKind.INTERNAL_ERROR, "The download broke down; the log has the details.")
        if failure is not None:
            log.warning("a download failed", job_id=running.id, model=running.model, reason=failure.message)
            ended = changed(running, "failed", progress=transfer.progress, error=failure)
        else:
            if self._on_installed is not None:
                self._on_installed()
            size = transfer.progress.total_size_bytes or transfer.progress.downloaded_bytes
            ended = changed(running, "completed", progress=DownloadProgress(size, size), at=datetime.now(UTC))
        with anyio.CancelScope(shield=True):
            if await self._store.change_job(running, ended):
                transfer.job = ended

    async def _stop(self, transfer: _Transfer) -> None:
        transfer.scope.cancel()
        with anyio.move_on_after(STOP_SECONDS):
            await transfer.ended.wait()

    # ---- rules --------------------------------------------------------------------------------

    async def _job(self, job_id: str) -> DownloadJob:
        job = await self._store.get_job(job_id)
        if job is None:
            raise OrchestratorError(ErrorKind.JOB_NOT_FOUND, f"There is no download '{job_id}'.", param="job_id")
        return job

    async def _change(self, job_id: str, state: JobState) -> DownloadJob:
        """The job in `state`, written down, unless it is so already."""
        for _ in range(ATTEMPTS):
            job = await self._job(job_id)
            if not is_change(job, state):
                return job
            transfer = self._transfers.get(job_id)
            until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
            progress = job.progress if transfer is None else transfer.progress
            after = changed(job, state, progress=progress, holder=self._holder, lease_until=until)
            if await self._store.change_job(job, after):
                return after
            if outvoted(await self._store.wishes(job_id), state):
                return job
        message = "The download cannot be changed now: another one of the same model is under way."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="job_id")

    def _others(self, job: DownloadJob, *, itself: bool = False) -> tuple[_Transfer, ...]:
        """The transfers of the same thing; `itself` counts an earlier one of the same job too."""
        return tuple(
            transfer
            for transfer in self._transfers.values()
            if transfer.job.plan.identity == job.plan.identity and (itself or transfer.job.id != job.id)
        )

    def _status(self, job: DownloadJob) -> DownloadStatus:
        transfer = self._transfers.get(job.id)
        if transfer is None or job.state not in ACTIVE:
            return DownloadStatus(job)
        now, progress = anyio.current_time(), transfer.progress
        left = transfer.speed.seconds_left(now, progress.total_size_bytes)
        done_at = None if left is None or left > _FAR_AWAY else datetime.now(UTC) + timedelta(seconds=left)
        return DownloadStatus(replace(job, progress=progress), transfer.speed.bytes_per_second(now), done_at)

    async def _plan(self, model: str, quantization: str | None) -> DownloadPlan:
        downloader = self._downloader_of(model, quantization)
        try:
            return await downloader.plan(model, quantization)
        except OrchestratorError as error:
            if error.info.kind is not ErrorKind.ENGINE_UNAVAILABLE or downloader.name not in self._optional:
                raise
            message = f'"{model}" is no model that is here, and could only be {downloader.forms}. {error.info.message} {self._forms()}'
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model") from None

    def _forms(self) -> str:
        return f"Give {' or '.join(downloader.forms for downloader in self._downloaders)}."

    def _downloader_of(self, model: str, quantization: str | None) -> Downloader:
        for downloader in self._downloaders:
            if downloader.takes(model, quantization):
                return downloader
        if quantization is not None and any(downloader.takes(model, None) for downloader in self._downloaders):
            message = "Only a Hugging Face link can be asked for in a quantization; other names have it in them."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="quantization")
        message = f'Nothing can be downloaded by "{model}". {self._forms()}'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")

    def _downloader_named(self, name: str) -> Downloader:
        for downloader in self._downloaders:
            if downloader.name == name:
                return downloader
        message = f"This service does not download from {name} any more."
        raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)


_FAR_AWAY: Final = 10 * 365 * 86_400.0
"""Seconds after which an estimate says nothing."""
