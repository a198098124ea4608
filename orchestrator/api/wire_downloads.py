"""Downloads as they are on the wire.

Sources: section 5 of the contract; LM Studio's documentation of `POST /api/v1/models/download` and of its status.
"""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ErrorBody
from orchestrator.api.wire_requests import Name

DownloadWord: TypeAlias = Literal["downloading", "paused", "completed", "failed", "already_downloaded"]
DownloadState: TypeAlias = Literal["queued", "downloading", "paused", "completed", "failed", "cancelled"]


class DownloadBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/models/download`."""

    model: Annotated[
        Name,
        Meta(
            description="A Hugging Face link (`https://huggingface.co/<publisher>/<name>`, or the link of one file of it), "
            "or a name of Ollama's catalogue (`qwen3:8b`, `hf.co/<publisher>/<name>`)."
        ),
    ]
    quantization: (
        Annotated[
            Name, Meta(description="Such as `Q4_K_M`. Only with a Hugging Face link. Absent: `Q4_K_M` or similar.")
        ]
        | UnsetType
    ) = UNSET


class DownloadReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to `POST /api/v1/models/download`."""

    job_id: Annotated[str, Meta(description="Absent when `status` is `already_downloaded`.")] | UnsetType = UNSET
    status: Annotated[
        DownloadWord, Meta(description="Of a job that waits for its turn `downloading`, of a cancelled one `failed`.")
    ]
    total_size_bytes: Annotated[int, Meta(description="Absent while nobody knows.")] | UnsetType = UNSET
    started_at: datetime | UnsetType = UNSET
    completed_at: Annotated[datetime, Meta(description="Only when `status` is `completed`.")] | UnsetType = UNSET
    state: Annotated[DownloadState, Meta(description="Extension. `status`, more finely told.")] | UnsetType = UNSET
    error: Annotated[ErrorBody, Meta(description="Extension. Why it failed.")] | UnsetType = UNSET


class DownloadStatusReply(DownloadReply, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to `GET /api/v1/models/download/status/{job_id}`, and to what is done with a job."""

    downloaded_bytes: int | UnsetType = UNSET
    bytes_per_second: (
        Annotated[float, Meta(description="Over the last seconds. Only while it is downloading.")] | UnsetType
    ) = UNSET
    estimated_completion: (
        Annotated[datetime, Meta(description="Only while it is downloading, and where that can be said.")] | UnsetType
    ) = UNSET
    model: Annotated[str, Meta(description="Extension. What was asked for.")] | UnsetType = UNSET
    quantization: Annotated[str, Meta(description="Extension.")] | UnsetType = UNSET
    owner: Annotated[str, Meta(description="Extension. Who asked for it.")] | UnsetType = UNSET


class DownloadList(Struct, frozen=True, kw_only=True):
    """The answer to `GET /api/v1/models/download`, an extension."""

    jobs: Annotated[list[DownloadStatusReply], Meta(description="The newest first.")]
