"""The twins of what downloads need: jobs in memory, and a downloader that does as a test tells it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio

from orchestrator.core.download_claims import DownloadClaim, Wish, outvoted
from orchestrator.core.downloads import (
    ACTIVE,
    UNFINISHED,
    DownloadJob,
    DownloadPlan,
    DownloadProgress,
    PlannedFile,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError


class MemoryJobStore:
    """`JobStore` without a database."""

    def __init__(self) -> None:
        self._jobs: dict[str, DownloadJob] = {}
        self._claims: dict[str, DownloadClaim] = {}

    async def create_job(self, job: DownloadJob) -> DownloadJob:
        for other in self._jobs.values():
            if other.plan.identity == job.plan.identity and other.state in UNFINISHED:
                return other
        if job.id in self._jobs:
            raise _contradiction()
        self._jobs[job.id] = job
        return job

    async def get_job(self, job_id: str) -> DownloadJob | None:
        return self._jobs.get(job_id)

    async def active_jobs(self) -> Sequence[DownloadJob]:
        active = [job for job in self._jobs.values() if job.state in ACTIVE]
        return sorted(active, key=lambda job: (job.started_at, job.id))

    async def list_jobs(self) -> Sequence[DownloadJob]:
        return sorted(self._jobs.values(), key=lambda job: (job.started_at, job.id), reverse=True)

    async def forget_jobs(self, ended_before: datetime) -> int:
        before = len(self._jobs)
        self._jobs = {
            job.id: job
            for job in self._jobs.values()
            if job.state in UNFINISHED or (job.completed_at or job.started_at) >= ended_before
        }
        self._claims = {claim.id: claim for claim in self._claims.values() if claim.job_id in self._jobs}
        return before - len(self._jobs)

    async def change_job(self, before: DownloadJob, after: DownloadJob) -> bool:
        stored = self._jobs.get(before.id)
        if stored is None or (stored.state, stored.holder) != (before.state, before.holder):
            return False
        if after.state in UNFINISHED and any(
            other.id != stored.id and other.plan.identity == stored.plan.identity and other.state in UNFINISHED
            for other in self._jobs.values()
        ):
            return False
        if outvoted(await self.wishes(stored.id), after.state):
            return False
        self._jobs[stored.id] = replace(
            stored,
            state=after.state,
            progress=after.progress,
            completed_at=after.completed_at,
            error=after.error,
            holder=after.holder,
            lease_until=after.lease_until,
        )
        return True

    async def record_progress(
        self, holder: str, progress: Mapping[str, DownloadProgress], lease_until: datetime
    ) -> frozenset[str]:
        held = [
            job for job in self._jobs.values() if job.id in progress and job.holder == holder and job.state in ACTIVE
        ]
        for job in held:
            self._jobs[job.id] = replace(job, progress=progress[job.id], lease_until=lease_until)
        return frozenset(job.id for job in held)

    async def find_unfinished(self, identity: str) -> DownloadJob | None:
        same = (job for job in self._jobs.values() if job.plan.identity == identity and job.state in UNFINISHED)
        return next(same, None)

    async def claim_job(self, claim: DownloadClaim) -> DownloadClaim | None:
        job = self._jobs.get(claim.job_id)
        if job is None or job.state == "cancelled":
            return None
        for other in self._claims.values():
            if (other.owner, other.job_id) == (claim.owner, claim.job_id) and other.wish != "cancelled":
                return other
        self._claims[claim.id] = claim
        return claim

    async def get_claim(self, claim_id: str, owner: str | None) -> tuple[DownloadClaim, DownloadJob] | None:
        claim = self._claims.get(claim_id)
        if claim is None or owner not in (None, claim.owner):
            return None
        return claim, self._jobs[claim.job_id]

    async def list_claims(self, owner: str | None) -> Sequence[tuple[DownloadClaim, DownloadJob]]:
        found = [claim for claim in self._claims.values() if owner in (None, claim.owner)]
        newest_first = sorted(found, key=lambda claim: (claim.asked_at, claim.id), reverse=True)
        return [(claim, self._jobs[claim.job_id]) for claim in newest_first]

    async def change_claim(self, before: DownloadClaim, after: DownloadClaim) -> bool:
        stored = self._claims.get(before.id)
        unchanged = stored is not None and (stored.wish, stored.job_id) == (before.wish, before.job_id)
        if stored is None or not unchanged or after.job_id not in self._jobs:
            return False
        self._claims[stored.id] = replace(
            stored, wish=after.wish, job_id=after.job_id, downloaded_bytes=after.downloaded_bytes
        )
        return True

    async def wishes(self, job_id: str) -> frozenset[Wish]:
        return frozenset(claim.wish for claim in self._claims.values() if claim.job_id == job_id)


@dataclass
class ScriptedDownloader:
    """A `Downloader` of models called `scripted/…`, each of `size_bytes`, which moves when it is told to.

    `moved` has the bytes of each model that are here already. `allow(n)` lets the fetch that runs, or the next
    one, go on to byte `n`; `fail` makes the next step of any fetch raise. `fetches` counts the fetches begun.
    """

    size_bytes: int = 100
    moved: dict[str, int] = field(default_factory=dict[str, int])
    discarded: list[str] = field(default_factory=list[str])
    fetches: list[str] = field(default_factory=list[str])
    fail: OrchestratorError | Exception | None = None
    name: str = "scripted"
    forms: str = "`scripted/<name>`"
    _allowed: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def allow(self, until_byte: int) -> None:
        """Let every fetch go on until there are `until_byte` bytes."""
        self._allowed = until_byte
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def takes(self, model: str, quantization: str | None) -> bool:
        return model.startswith("scripted/")

    async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
        name = model.removeprefix("scripted/")
        there = self.moved.get(name, 0) >= self.size_bytes
        return DownloadPlan(self.name, name, "main", (PlannedFile("f", "f", self.size_bytes, "0"),), present=there)

    async def fetch(self, plan: DownloadPlan, report: Callable[[DownloadProgress], None]) -> None:
        self.fetches.append(plan.reference)
        while True:
            if self.fail is not None:
                raise self.fail
            there = max(self.moved.get(plan.reference, 0), min(self._allowed, self.size_bytes))
            self.moved[plan.reference] = there
            report(DownloadProgress(there, self.size_bytes))
            if there >= self.size_bytes:
                return
            await self._changed.wait()

    async def discard(self, plan: DownloadPlan) -> None:
        self.discarded.append(plan.reference)
        self.moved.pop(plan.reference, None)


def _contradiction() -> OrchestratorError:
    message = "The store failed: what was to be written contradicts what is there."
    return OrchestratorError(ErrorKind.STORE_ERROR, message)
