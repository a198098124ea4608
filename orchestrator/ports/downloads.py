"""What the services need to fetch models."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.core.download_claims import DownloadClaim, Wish
from orchestrator.core.downloads import DownloadJob, DownloadPlan, DownloadProgress


class Downloader(Protocol):
    """Fetches models from one kind of place. `forms` says, for people, which references it takes."""

    @property
    def name(self) -> str: ...

    @property
    def forms(self) -> str: ...

    def takes(self, model: str, quantization: str | None) -> bool:
        """Whether this is where `model` would come from; without any I/O."""
        ...

    async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
        """What would be fetched.

        Raises:
            OrchestratorError: `invalid_value` on `model` or `quantization`, `unknown_model`,
                `permission_denied`, `insufficient_storage`, `engine_unavailable` or `engine_error`.
        """
        ...

    async def fetch(self, plan: DownloadPlan, report: Callable[[DownloadProgress], None]) -> None:
        """Fetch it, going on where an earlier attempt ended; returns when the model can be used.

        `report` is called with what there is so far, as it grows. Cancelling stops it within a second and
        keeps what there is.

        Raises:
            OrchestratorError: it cannot be fetched; what there is is kept, unless it is wrong.
        """
        ...

    async def discard(self, plan: DownloadPlan) -> None:
        """Throw away what an unfinished attempt left, which nobody wants any more."""
        ...


class JobStore(Protocol):
    """Downloads. Every method is one durable unit of work; all are safe when several processes use them at once."""

    async def create_job(self, job: DownloadJob) -> DownloadJob:
        """Insert the job and return it, or return the unfinished one of the same identity that is there already."""
        ...

    async def get_job(self, job_id: str) -> DownloadJob | None: ...

    async def active_jobs(self) -> Sequence[DownloadJob]:
        """Every job that is queued or downloading, the oldest first."""
        ...

    async def list_jobs(self) -> Sequence[DownloadJob]:
        """Every job there is, the newest first."""
        ...

    async def forget_jobs(self, ended_before: datetime) -> int:
        """Delete what has completed, failed or been cancelled and began or completed before then, with the claims on it;
        returns how many."""
        ...

    async def change_job(self, before: DownloadJob, after: DownloadJob) -> bool:
        """Write `after`'s state; False, and nothing, where the job is no longer in the state and hands of `before`.

        Also where it would begin again beside another unfinished job of the same identity, and where a claim on it
        wants more than a state of `paused` or `cancelled`.
        """
        ...

    async def find_unfinished(self, identity: str) -> DownloadJob | None:
        """The job of that identity that is queued, downloading or paused."""
        ...

    async def claim_job(self, claim: DownloadClaim) -> DownloadClaim | None:
        """Insert the claim, or return the one that its owner has on the job and has not cancelled.

        None, and nothing, where the job is cancelled or gone.
        """
        ...

    async def get_claim(self, claim_id: str, owner: str | None) -> tuple[DownloadClaim, DownloadJob] | None:
        """The claim with its job, where it is `owner`'s; anybody's where that is None."""
        ...

    async def list_claims(self, owner: str | None) -> Sequence[tuple[DownloadClaim, DownloadJob]]:
        """The claims of `owner`, everybody's where that is None, each with its job, the newest first."""
        ...

    async def change_claim(self, before: DownloadClaim, after: DownloadClaim) -> bool:
        """Write `after`'s wish and job; False, and nothing, where the claim is no longer as `before` was."""
        ...

    async def wishes(self, job_id: str) -> frozenset[Wish]:
        """What the claims on the job want."""
        ...

    async def record_progress(
        self, holder: str, progress: Mapping[str, DownloadProgress], lease_until: datetime
    ) -> frozenset[str]:
        """Write how far these jobs are and renew their leases; returns the ids that `holder` still has to care for."""
        ...
