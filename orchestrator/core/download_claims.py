"""Who asked for which download.

Whoever asks for the same thing shares one transfer (`DownloadJob`), and nobody can see from what they are told that
others asked for it too: what they have is a claim of their own on it, with an id, a time and a will of its own. A
transfer is paused when no claim wants it to go on, and cancelled when all claims are.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from orchestrator.core.downloads import ACTIVE, DownloadJob, DownloadProgress, JobState

Wish: TypeAlias = Literal["wanted", "paused", "cancelled"]

STRONGEST_FIRST: Final[tuple[Wish, ...]] = ("wanted", "paused", "cancelled")
STATE_OF: Final[dict[Wish, JobState]] = {"wanted": "queued", "paused": "paused", "cancelled": "cancelled"}
"""What a claim asks its transfer to become."""


@dataclass(frozen=True, slots=True)
class DownloadClaim:
    """What `owner` asked for; `job_id` is the transfer. `downloaded_bytes` is how far that was when the owner
    paused or cancelled it: what others go on fetching is none of theirs."""

    id: str
    owner: str
    job_id: str
    model: str
    quantization: str | None
    asked_at: datetime
    wish: Wish = "wanted"
    downloaded_bytes: int | None = None


def as_asked(claim: DownloadClaim, job: DownloadJob) -> DownloadJob:
    """The job as the owner of the claim is told of it."""
    own = replace(job, id=claim.id, model=claim.model, quantization=claim.quantization, started_at=claim.asked_at)
    if claim.wish == "wanted":
        return own
    progress = DownloadProgress(claim.downloaded_bytes or 0, job.progress.total_size_bytes)
    return replace(
        own,
        state=STATE_OF[claim.wish],
        progress=progress,
        completed_at=None,
        error=None,
        holder=None,
        lease_until=None,
    )


def wished(claim: DownloadClaim, wish: Wish, progress: DownloadProgress) -> DownloadClaim:
    """The claim of an owner who wants something else from now on."""
    return replace(claim, wish=wish, downloaded_bytes=None if wish == "wanted" else progress.downloaded_bytes)


def outvoted(wishes: Collection[Wish], state: JobState) -> bool:
    """Whether somebody wants more of a transfer than that it becomes `state`."""
    match state:
        case "paused":
            return "wanted" in wishes
        case "cancelled":
            return "wanted" in wishes or "paused" in wishes
        case _:
            return False


def demanded(wishes: Collection[Wish], job: DownloadJob) -> JobState | None:
    """What the transfer has to become for whoever wants most of it; None where it is that already, or has ended.

    One that waits or failed goes on only when it is asked to, not because somebody else stopped wanting it.
    """
    strongest = next((wish for wish in STRONGEST_FIRST if wish in wishes), None)
    if strongest == "paused" and job.state in ACTIVE:
        return "paused"
    if strongest == "cancelled" and job.state not in ("completed", "cancelled"):
        return "cancelled"
    return None
