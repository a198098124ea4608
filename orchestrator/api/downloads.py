"""`POST /api/v1/models/download` and what goes with it. Source: section 5 of the contract.

Listing, pausing, resuming and cancelling are extensions.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_body
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import HttpRequest, wire_error
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_downloads import DownloadBody, DownloadList, DownloadReply, DownloadStatusReply, DownloadWord
from orchestrator.core.downloads import JobState
from orchestrator.service.callers import Caller
from orchestrator.service.download_claims import DownloadClaimService
from orchestrator.service.downloads import DownloadStatus

DOWNLOAD_PATH: Final = "/api/v1/models/download"
DOWNLOAD_STATUS_PATH: Final = DOWNLOAD_PATH + "/status/{job_id:str}"
DOWNLOAD_ACTIONS: Final = ("pause", "resume", "cancel")
_DENIED: Final = "The API token has no permission to download models."
_WORDS: Final[Mapping[JobState, DownloadWord]] = {
    "queued": "downloading",
    "downloading": "downloading",
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "failed",
}


def download_routes(
    downloads: DownloadClaimService, authenticator: Authenticator, *, max_body_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes."""

    @post(DOWNLOAD_PATH)
    async def download(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        body = decode_body(await read_json_body(request, max_body_bytes), DownloadBody)
        quantization = None if body.quantization is UNSET else body.quantization
        begun = await while_connected(request.receive, lambda: downloads.start(body.model, quantization, caller))
        return json_reply(DownloadReply(status="already_downloaded") if begun is None else download_reply(begun))

    @get(DOWNLOAD_PATH)
    async def listing(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        return json_reply(DownloadList(jobs=[download_status_reply(job) for job in await downloads.jobs(caller)]))

    @get(DOWNLOAD_STATUS_PATH)
    async def status(request: HttpRequest, job_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        return json_reply(download_status_reply(await downloads.status(job_id, caller)))

    actions = (downloads.pause, downloads.resume, downloads.cancel)
    return [
        download,
        listing,
        status,
        *(_action_route(name, act, authenticator) for name, act in zip(DOWNLOAD_ACTIONS, actions, strict=True)),
    ]


def _action_route(
    name: str, act: Callable[[str, Caller], Awaitable[DownloadStatus]], authenticator: Authenticator
) -> HTTPRouteHandler:
    @post(f"{DOWNLOAD_PATH}/{{job_id:str}}/{name}")
    async def change(request: HttpRequest, job_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        return json_reply(download_status_reply(await act(job_id, caller)))

    return change


def download_reply(status: DownloadStatus) -> DownloadReply:
    """The job as who starts it is told."""
    job = status.job
    total = job.progress.total_size_bytes
    return DownloadReply(
        job_id=job.id,
        status=_WORDS[job.state],
        total_size_bytes=UNSET if total is None else total,
        started_at=job.started_at,
        completed_at=job.completed_at or UNSET,
        state=job.state,
        error=UNSET if job.error is None else wire_error(job.error),
    )


def download_status_reply(status: DownloadStatus) -> DownloadStatusReply:
    """The job as who asks for its status is told."""
    job, speed = status.job, status.bytes_per_second
    total = job.progress.total_size_bytes
    moving = _WORDS[job.state] == "downloading"
    return DownloadStatusReply(
        job_id=job.id,
        status=_WORDS[job.state],
        total_size_bytes=UNSET if total is None else total,
        started_at=job.started_at,
        completed_at=job.completed_at or UNSET,
        state=job.state,
        error=UNSET if job.error is None else wire_error(job.error),
        downloaded_bytes=job.progress.downloaded_bytes,
        bytes_per_second=round(speed or 0.0, 1) if moving else UNSET,
        estimated_completion=status.estimated_completion or UNSET,
        model=job.model,
        quantization=job.quantization or UNSET,
        owner=status.owner or UNSET,
    )
