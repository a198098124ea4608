"""API tokens as they are on the wire. An extension."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_requests import Count, Name


class TokenLimitsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a token may use up; absent is no limit."""

    requests_per_minute: Annotated[Count, Meta(description="Requests in any 60 seconds.")] | UnsetType = UNSET
    concurrent_runs: Annotated[Count, Meta(description="Chats that run at once.")] | UnsetType = UNSET
    output_tokens_per_day: Annotated[Count, Meta(description="Generated tokens a day of UTC.")] | UnsetType = UNSET


class TokenBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/tokens`."""

    name: Annotated[Name, Meta(description="What it is for; no two valid tokens have the same.")]
    permissions: Annotated[
        list[str],
        Meta(
            description="`chat`, `models.read`, `models.manage`, `plugins`, `plugins:mcp/LABEL`, `plugins:mcp/LABEL/TOOL`, "
            "`ephemeral_mcp`, `audit.read`, `audit.read_all`, `admin`. `*` stands for anything in a label and in a tool.",
            min_length=1,
            max_length=100,
        ),
    ]
    owner: (
        Annotated[Name, Meta(description="Whose responses it sees: the owner of another token. Absent: a new one.")]
        | UnsetType
    ) = UNSET
    expires_at: Annotated[datetime, Meta(tz=True, description="When it ends. Absent: never.")] | UnsetType = UNSET
    limits: TokenLimitsBody | UnsetType = UNSET


class RotateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/tokens/{token_id}/rotate`."""

    grace_seconds: Annotated[int, Meta(ge=0, le=30 * 86_400, description="How long the old token goes on.")] = 0


class TokenReply(Struct, frozen=True, omit_defaults=True):
    """A token without its secret."""

    id: Annotated[str, Meta(description="The 8 characters after `sk-lm-`.")]
    name: str
    owner: str
    permissions: list[str]
    created_at: datetime
    limits: TokenLimitsBody
    valid: Annotated[bool, Meta(description="Whether it lets anybody in now.")]
    expires_at: datetime | UnsetType = UNSET
    revoked_at: datetime | UnsetType = UNSET
    token: (
        Annotated[str, Meta(description="The token itself: in the reply that makes it, and never again.")] | UnsetType
    ) = UNSET


class TokenList(Struct, frozen=True):
    """The reply of `GET /api/v1/tokens`."""

    tokens: list[TokenReply]
