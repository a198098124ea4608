"""The outermost layer: every request, known route or not, gets its id, its log line, its security headers.

Nothing that is refused here reaches a route.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from orchestrator.api.errors import NO_CONTENT, envelope_in, error_answer, unexpected_answer
from orchestrator.api.limits import RequestLimits, remember_limits, too_much, within_time
from orchestrator.api.origins import Admitted, OriginPolicy, Refused, admit
from orchestrator.api.paths import keep_slashes, other_than_written
from orchestrator.api.request_ids import (
    ANTHROPIC_REQUEST_ID_HEADER,
    REQUEST_ID_HEADER,
    accept_request_id,
    is_anthropic,
    remember_request_id,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PREFLIGHT_HEADERS: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Anthropic-Beta, Anthropic-Dangerous-Direct-Browser-Access, Anthropic-Version, Authorization, Content-Type, "
    "Idempotency-Key, Last-Event-ID, X-Api-Key, X-Request-Id, X-Stream-Extensions",
    "Access-Control-Max-Age": "600",
}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MOST_HEADERS: Final = 100
_OTHER_PATH: Final = (
    "Unexpected endpoint. A path has no empty parts and no encoded slash but within a name: write it plainly."
)
_EXPOSED: Final = "Request-Id, Retry-After, X-Request-Id, X-Response-Id, X-Token-Count"

Answered: TypeAlias = Callable[[str, str, int | None], None]

log = structlog.stdlib.get_logger(__name__)


class Edge:
    """An ASGI app around the framework's own. `answered` is told method, route and status of each request."""

    def __init__(self, app: ASGIApp, policy: OriginPolicy, limits: RequestLimits, answered: Answered) -> None:
        self._app = app
        self._answered = answered
        self._policy = policy
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP is left to the framework, which has no route for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accept_request_id(_values(scope, b"x-request-id"))
        remember_request_id(scope, request_id)
        remember_limits(scope, self._limits)
        keep_slashes(scope)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._serve(scope, receive, send, request_id)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.monotonic()
        status: int | None = None
        decision, anthropic = self._decide(scope), is_anthropic(scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableScopeHeaders(message), decision, request_id, anthropic=anthropic)
            await send(message)

        try:
            in_time = within_time(receive, self._limits.body_seconds)
            await self._route(scope, decision, request_id)(scope, in_time, send_with_headers)
        except Exception:
            # Where the reply has begun, all that can be done is to break it off and to tell the log.
            log.exception("a reply broke down")
            if status is None:
                await unexpected_answer(request_id, scope).as_asgi()(scope, receive, send_with_headers)
        finally:
            route = scope["path_template"] if "path_template" in scope else "unknown"
            self._answered(scope["method"], route, status)
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                duration_ms=round((time.monotonic() - started) * 1000, 1),
            )

    def _decide(self, scope: HTTPScope) -> Admitted | Refused:
        sites = _values(scope, b"sec-fetch-site")
        return admit(
            self._policy,
            scheme=scope["scheme"],
            hosts=_values(scope, b"host"),
            origins=_values(scope, b"origin"),
            fetch_site=sites[0] if sites else None,
        )

    def _route(self, scope: HTTPScope, decision: Admitted | Refused, request_id: str) -> ASGIApp:
        envelope = envelope_in(scope)
        refusal = too_much(scope, self._limits)
        if refusal is not None:
            return error_answer(refusal, request_id, envelope=envelope).as_asgi()
        match decision:
            case Admitted() if other_than_written(scope):
                info = ErrorInfo(ErrorKind.UNKNOWN_ENDPOINT, _OTHER_PATH)
                return error_answer(info, request_id, envelope=envelope).as_asgi()
            case Refused(why):
                info = ErrorInfo(ErrorKind.FORBIDDEN_ORIGIN, why)
                return error_answer(info, request_id, envelope=envelope).as_asgi()
            case Admitted(None):
                return self._app
            case Admitted():
                return self._answer_preflights

    async def _answer_preflights(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page of an allowed origin asks, by its browser, what it may send; all else goes on."""
        if (
            scope["type"] != "http"
            or scope["method"] != "OPTIONS"
            or not _values(scope, b"access-control-request-method")
        ):
            await self._app(scope, receive, send)
            return
        headers = dict(_PREFLIGHT_HEADERS)
        # Clients tell of themselves in headers that grow with each of their versions, and none of these gives a page more
        # than its origin gives it: the names that are asked about are the ones that are allowed.
        asked = [name.strip() for line in _values(scope, b"access-control-request-headers") for name in line.split(",")]
        names = list(dict.fromkeys(name for name in asked if _HEADER_NAME.fullmatch(name)))[:_MOST_HEADERS]
        if names:
            headers["Access-Control-Allow-Headers"] = ", ".join(names)
        if _values(scope, b"access-control-request-private-network"):
            headers["Access-Control-Allow-Private-Network"] = "true"
        await ASGIResponse(status_code=NO_CONTENT, headers=headers)(scope, receive, send)

    def _add_headers(
        self, headers: MutableScopeHeaders, decision: Admitted | Refused, request_id: str, *, anthropic: bool
    ) -> None:
        for name, value in SECURITY_HEADERS.items():
            if name not in headers:
                headers[name] = value
        headers[REQUEST_ID_HEADER] = request_id
        if anthropic:
            headers[ANTHROPIC_REQUEST_ID_HEADER] = request_id
        if self._policy.cors_origins:
            headers.add("Vary", "Origin")
        if isinstance(decision, Admitted) and decision.cors_origin is not None:
            headers["Access-Control-Allow-Origin"] = decision.cors_origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header.lower() == name]
