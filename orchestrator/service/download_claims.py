"""Downloads as their owners know them: everybody has jobs of their own, and who asks for the same thing shares the bytes.

Another owner's job is answered as one that there never was, by the same query; admins see all. Nobody's pausing or
cancelling takes anything from others: the transfer does what whoever wants most of it wants.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from orchestrator.core.download_claims import STATE_OF, DownloadClaim, Wish, as_asked, demanded, wished
from orchestrator.core.downloads import ACTIVE, DownloadJob, is_change
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import JobStore
from orchestrator.service.callers import Caller
from orchestrator.service.downloads import DownloadService, DownloadStatus
from orchestrator.service.ids import new_job_id

ATTEMPTS: Final = 5


class DownloadClaimService:
    """What owners ask of downloads. `downloads` has the transfers, `store` who asked for which."""

    def __init__(self, downloads: DownloadService, store: JobStore) -> None:
        self._downloads = downloads
        self._store = store

    async def start(self, model: str, quantization: str | None, caller: Caller) -> DownloadStatus | None:
        """Begin to download `model` for the caller; None where there is nothing to download.

        The caller's own job of the same thing is returned as it is, another owner's is neither told of nor repeated.

        Raises:
            OrchestratorError: as `DownloadService.start`.
        """
        for _ in range(ATTEMPTS):
            begun = await self._downloads.start(model, quantization)
            if begun is None:
                return None
            new = DownloadClaim(new_job_id(), caller.owner, begun.job.id, model, quantization, datetime.now(UTC))
            claim = await self._store.claim_job(new)
            if claim is None:  # it was cancelled in between
                continue
            if claim == new and begun.job.state == "paused":
                begun = await self._downloads.resume(begun.job.id)
            return _told(claim, begun)
        raise _busy()

    async def jobs(self, caller: Caller) -> list[DownloadStatus]:
        """The caller's downloads that are not forgotten yet, an admin's everybody's, the newest first."""
        found = await self._store.list_claims(_whose(caller))
        return [_told(claim, self._downloads.told(job)) for claim, job in found]

    async def status(self, job_id: str, caller: Caller) -> DownloadStatus:
        """How a job is.

        Raises:
            OrchestratorError: `job_not_found`, in the same words for one of another owner's.
        """
        claim, job = await self._claimed(job_id, caller)
        return _told(claim, self._downloads.told(job))

    async def pause(self, job_id: str, caller: Caller) -> DownloadStatus:
        """Stop it and keep what there is, unless others want it.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that has ended.
        """
        return await self._want(job_id, "paused", caller)

    async def resume(self, job_id: str, caller: Caller) -> DownloadStatus:
        """Go on with one that was paused, or that failed.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that is completed or cancelled.
        """
        return await self._want(job_id, "wanted", caller)

    async def cancel(self, job_id: str, caller: Caller) -> DownloadStatus:
        """End it, and throw away what there is unless others want it.

        Raises:
            OrchestratorError: `job_not_found`, or `invalid_value` for one that is completed.
        """
        return await self._want(job_id, "cancelled", caller)

    async def _want(self, job_id: str, wish: Wish, caller: Caller) -> DownloadStatus:
        for _ in range(ATTEMPTS):
            claim, job = await self._claimed(job_id, caller)
            shown = as_asked(claim, job)
            if not is_change(shown, STATE_OF[wish]):
                return _told(claim, self._downloads.told(job))
            progress = self._downloads.told(job).job.progress
            if claim.wish != "wanted":
                progress = shown.progress
            after = wished(claim, wish, progress)
            if wish == "wanted":
                after = replace(after, job_id=await self._transfer(job))
            if await self._store.change_claim(claim, after):
                return _told(after, await self._heed(after))
        raise _busy()

    async def _transfer(self, job: DownloadJob) -> str:
        """The transfer to go on with: that of who asked for the same thing after `job` had ended."""
        if job.state not in ("failed", "cancelled"):
            return job.id
        current = await self._store.find_unfinished(job.plan.identity)
        return job.id if current is None else current.id

    async def _heed(self, claim: DownloadClaim) -> DownloadStatus:
        """The transfer, once it does what its claims want of it."""
        status = await self._downloads.status(claim.job_id)
        if claim.wish == "wanted":
            if status.job.state in ("paused", "failed"):
                return await self._downloads.resume(claim.job_id)
            return status
        match demanded(await self._store.wishes(claim.job_id), status.job):
            case "paused":
                return await self._downloads.pause(claim.job_id)
            case "cancelled":
                return await self._downloads.cancel(claim.job_id)
            case _:
                return status

    async def _claimed(self, job_id: str, caller: Caller) -> tuple[DownloadClaim, DownloadJob]:
        found = await self._store.get_claim(job_id, _whose(caller))
        if found is None:
            raise OrchestratorError(ErrorKind.JOB_NOT_FOUND, f"There is no download '{job_id}'.", param="job_id")
        return found


def _whose(caller: Caller) -> str | None:
    return None if caller.is_admin else caller.owner


def _told(claim: DownloadClaim, status: DownloadStatus) -> DownloadStatus:
    """The transfer's status as the owner of the claim is told of it."""
    job = as_asked(claim, status.job)
    if job.state not in ACTIVE:
        return DownloadStatus(job, owner=claim.owner)
    return replace(status, job=job, owner=claim.owner)


def _busy() -> OrchestratorError:
    message = "The download is being changed by other requests. Try again."
    return OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=1)
