"""`GET /health`: whether requests can be taken. Open to all, and tells nothing else."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from orchestrator.api.errors import NOT_READY
from orchestrator.api.replies import json_reply
from orchestrator.api.wire import Health

HEALTH_PATH: Final = "/health"

WhyNotReady: TypeAlias = Callable[[], Awaitable[str | None]]
Warnings: TypeAlias = Callable[[], tuple[str, ...]]


def health_route(why_not_ready: WhyNotReady, warnings: Warnings) -> HTTPRouteHandler:
    """The route; `why_not_ready` says None when requests can be taken, `warnings` what everybody may know."""

    @get(HEALTH_PATH)
    async def health() -> ASGIResponse:
        reason = await why_not_ready()
        if reason is not None:
            return json_reply(Health("unavailable", reason), status=NOT_READY)
        return json_reply(Health("ok", warnings=warnings() or UNSET))

    return health
