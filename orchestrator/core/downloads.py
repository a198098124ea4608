"""Downloads of models: what is fetched, what a job is, and which states may follow which.

Rules, which `changed` keeps:

1. A job begins `queued`; `downloading` only while a process holds it, and only then does it move bytes.
2. `paused` and `failed` keep what they have and may be queued again; `completed` and `cancelled` are final.
3. Being asked twice for the same thing changes nothing the second time; what a state does not admit is refused.
4. Only a `failed` job has an error, only a `completed` one a time of completion, only an active one a holder.

Source: section 5 of the contract. On the wire `queued` is told as `downloading` and `cancelled` as `failed`, for
LM Studio has no words for them; our extension `state` has these ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError

JobState: TypeAlias = Literal["queued", "downloading", "paused", "completed", "failed", "cancelled"]

MAY_FOLLOW: Final[Mapping[JobState, frozenset[JobState]]] = {
    "queued": frozenset({"downloading", "paused", "failed", "cancelled"}),
    "downloading": frozenset({"queued", "paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "failed": frozenset({"queued", "cancelled"}),
    "completed": frozenset(),
    "cancelled": frozenset(),
}
"""What may follow each state. `downloading` to `queued` is a service that stopped, or died, in the middle."""

ACTIVE: Final[frozenset[JobState]] = frozenset({"queued", "downloading"})
"""States in which some process has to do something."""

UNFINISHED: Final[frozenset[JobState]] = frozenset({"queued", "downloading", "paused"})
"""States in which who asks for the same thing joins this job."""

_DONE: Final[Mapping[JobState, str]] = {
    "queued": "resumed",
    "downloading": "resumed",
    "paused": "paused",
    "completed": "completed",
    "failed": "ended",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to fetch: its path where it comes from, the name it gets here, and the SHA-256 it must have."""

    path: str
    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What would be fetched. `reference` is the downloader's own name of it, `revision` pins its version.

    `files` are empty, and `total_size_bytes` None, where the source does not tell beforehand. `present`: there is
    nothing to fetch.
    """

    source: str
    reference: str
    revision: str | None = None
    files: tuple[PlannedFile, ...] = ()
    present: bool = False

    @property
    def identity(self) -> str:
        """The same for everybody who asks for the same thing, under whichever name and version."""
        return ":".join((self.source, self.reference, *(file.path for file in self.files[:1])))

    @property
    def total_size_bytes(self) -> int | None:
        return sum(file.size_bytes for file in self.files) if self.files else None


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a download is, in bytes; the total is None while nobody knows it."""

    downloaded_bytes: int = 0
    total_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """A download as it is stored. `model` and `quantization` are what was asked for.

    `holder` names the process that cares for an active job, `lease_until` how long its word counts.
    """

    id: str
    model: str
    quantization: str | None
    plan: DownloadPlan
    state: JobState
    started_at: datetime
    progress: DownloadProgress = field(default_factory=DownloadProgress)
    completed_at: datetime | None = None
    error: ErrorInfo | None = None
    holder: str | None = None
    lease_until: datetime | None = None


def is_change(job: DownloadJob, state: JobState) -> bool:
    """Whether becoming `state` changes anything: a job that is there already, or on its way, stays as it is.

    Raises:
        OrchestratorError: `invalid_value` on `job_id` for what the job's state does not admit.
    """
    if job.state == state or (state == "queued" and job.state in ACTIVE):
        return False
    if state not in MAY_FOLLOW[job.state]:
        message = f"The download '{job.id}' is {job.state}: it cannot be {_DONE[state]} any more."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="job_id")
    return True


def changed(
    job: DownloadJob,
    state: JobState,
    *,
    progress: DownloadProgress | None = None,
    at: datetime | None = None,
    error: ErrorInfo | None = None,
    holder: str | None = None,
    lease_until: datetime | None = None,
) -> DownloadJob:
    """`job` in another state. `at` is when it completed, `error` why it failed, `holder` who cares for an active one.

    Raises:
        ValueError: the transition is not in `MAY_FOLLOW`: a defect of the caller's.
    """
    if state not in MAY_FOLLOW[job.state]:
        raise ValueError(f"a download that is {job.state} does not become {state}")
    active = state in ACTIVE
    return replace(
        job,
        state=state,
        progress=progress or job.progress,
        completed_at=at if state == "completed" else None,
        error=error if state == "failed" else None,
        holder=holder if active else None,
        lease_until=lease_until if active else None,
    )
