"""What an error is on the wire. The one place that knows HTTP statuses, wire types and wire codes.

Source: section 4 of the contract.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import litestar
import structlog
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import Scope
from msgspec import UNSET, Struct, UnsetType

from orchestrator.api.json_text import json_bytes
from orchestrator.api.request_ids import ANTHROPIC_PATH, is_anthropic, request_id_of
from orchestrator.api.wire import ErrorBody, ErrorEnvelope, ErrorType
from orchestrator.api.wire_anthropic_errors import (
    AnthropicError,
    AnthropicErrorDetails,
    AnthropicErrorEnvelope,
    AnthropicErrorType,
)
from orchestrator.api.wire_openai_errors import OpenAIError, OpenAIErrorEnvelope, OpenAIErrorType
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError

log = structlog.stdlib.get_logger(__name__)

HttpRequest: TypeAlias = litestar.Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class WireError:
    """A row of the contract's table."""

    status: int
    type: ErrorType
    code: str | None = None


_BAD: Final = "invalid_request"

ERROR_TABLE: Final[Mapping[ErrorKind, WireError]] = {
    ErrorKind.INVALID_JSON: WireError(400, _BAD, "invalid_json"),
    ErrorKind.MISSING_REQUIRED_PARAMETER: WireError(400, _BAD, "missing_required_parameter"),
    ErrorKind.INVALID_TYPE: WireError(400, _BAD, "invalid_type"),
    ErrorKind.INVALID_VALUE: WireError(400, _BAD, "invalid_value"),
    ErrorKind.INVALID_UNION: WireError(400, _BAD, "invalid_union"),
    ErrorKind.UNRECOGNIZED_KEYS: WireError(400, _BAD, "unrecognized_keys"),
    ErrorKind.UNSUPPORTED_PARAMETER: WireError(400, _BAD, "unsupported_parameter"),
    ErrorKind.EXCEED_CONTEXT_SIZE: WireError(400, _BAD, "exceed_context_size"),
    ErrorKind.INVALID_API_KEY: WireError(401, _BAD, "invalid_api_key"),
    ErrorKind.PERMISSION_DENIED: WireError(403, _BAD, "permission_denied"),
    ErrorKind.FORBIDDEN_ORIGIN: WireError(403, _BAD, "forbidden_origin"),
    ErrorKind.UNKNOWN_MODEL: WireError(404, _BAD, "model_not_found"),
    ErrorKind.RESPONSE_NOT_FOUND: WireError(404, _BAD, "response_not_found"),
    ErrorKind.PREVIOUS_RESPONSE_NOT_FOUND: WireError(400, _BAD, "previous_response_not_found"),
    ErrorKind.ITEM_NOT_FOUND: WireError(404, _BAD, "item_not_found"),
    ErrorKind.THREAD_NOT_FOUND: WireError(404, _BAD, "thread_not_found"),
    ErrorKind.CALL_NOT_FOUND: WireError(404, _BAD, "call_not_found"),
    ErrorKind.MODEL_NOT_FOUND: WireError(404, "model_not_found"),
    ErrorKind.UNKNOWN_INSTANCE: WireError(404, _BAD, "model_not_found"),
    ErrorKind.ELICITATION_NOT_FOUND: WireError(404, _BAD, "elicitation_not_found"),
    ErrorKind.JOB_NOT_FOUND: WireError(404, "job_not_found"),
    ErrorKind.TOKEN_NOT_FOUND: WireError(404, _BAD, "token_not_found"),
    ErrorKind.PLUGIN_NOT_FOUND: WireError(404, _BAD, "plugin_not_found"),
    ErrorKind.TOOL_NOT_FOUND: WireError(404, _BAD, "tool_not_found"),
    ErrorKind.RESOURCE_NOT_FOUND: WireError(404, _BAD, "resource_not_found"),
    ErrorKind.PROMPT_NOT_FOUND: WireError(404, _BAD, "prompt_not_found"),
    ErrorKind.UNKNOWN_ENDPOINT: WireError(404, _BAD, "unknown_endpoint"),
    ErrorKind.METHOD_NOT_ALLOWED: WireError(405, _BAD, "method_not_allowed"),
    ErrorKind.RESPONSE_NOT_FINISHED: WireError(409, _BAD, "response_not_finished"),
    ErrorKind.APPROVAL_CONFLICT: WireError(409, _BAD, "approval_conflict"),
    ErrorKind.THREAD_CONFLICT: WireError(409, _BAD, "thread_conflict"),
    ErrorKind.TOKEN_CONFLICT: WireError(409, _BAD, "token_conflict"),
    ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED: WireError(409, _BAD, "integration_credentials_required"),
    ErrorKind.RESPONSE_HAS_CHILDREN: WireError(409, _BAD, "response_has_children"),
    ErrorKind.INVALID_HTTP: WireError(400, _BAD, "invalid_http"),
    ErrorKind.REQUEST_TIMEOUT: WireError(408, _BAD, "request_timeout"),
    ErrorKind.REQUEST_TOO_LARGE: WireError(413, _BAD, "request_too_large"),
    ErrorKind.URL_TOO_LONG: WireError(414, _BAD, "url_too_long"),
    ErrorKind.HEADERS_TOO_LARGE: WireError(431, _BAD, "headers_too_large"),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: WireError(415, _BAD, "unsupported_media_type"),
    ErrorKind.PLUGIN_CONNECTION_ERROR: WireError(424, "plugin_connection_error", "plugin_connection_error"),
    ErrorKind.MCP_CONNECTION_ERROR: WireError(424, "mcp_connection_error", "mcp_connection_error"),
    ErrorKind.RATE_LIMITED: WireError(429, _BAD, "rate_limited"),
    ErrorKind.INTERNAL_ERROR: WireError(500, "internal_error"),
    ErrorKind.STORE_ERROR: WireError(500, "internal_error", "store_error"),
    ErrorKind.NOT_IMPLEMENTED: WireError(501, "not_implemented"),
    ErrorKind.ENGINE_ERROR: WireError(502, "internal_error", "engine_error"),
    ErrorKind.ENGINE_UNAVAILABLE: WireError(503, "internal_error", "engine_unavailable"),
    ErrorKind.INSUFFICIENT_RESOURCES: WireError(400, _BAD, "insufficient_resources"),
    ErrorKind.INSUFFICIENT_STORAGE: WireError(507, "internal_error", "insufficient_storage"),
}

OK: Final = 200
ACCEPTED: Final = 202
NO_CONTENT: Final = 204
NOT_READY: Final = 503
CLIENT_GONE: Final = 499
"""For the log alone: nobody is there to receive it."""

_UNEXPECTED: Final = 500
_HTTP_EXCEPTIONS: Final[Mapping[int, ErrorKind]] = {
    404: ErrorKind.UNKNOWN_ENDPOINT,
    405: ErrorKind.METHOD_NOT_ALLOWED,
    413: ErrorKind.REQUEST_TOO_LARGE,
    415: ErrorKind.UNSUPPORTED_MEDIA_TYPE,
}


def wire_error(info: ErrorInfo) -> ErrorBody:
    """The error object that clients see, in replies and in streams."""
    row = ERROR_TABLE[info.kind]
    return ErrorBody(row.type, info.message, row.code or UNSET, info.param or UNSET)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as an HTTP answer, before it is known who sends it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def phrase(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def as_asgi(self) -> ASGIResponse:
        """To be returned by a route, or called as an ASGI app."""
        return ASGIResponse(body=self.body, status_code=self.status, headers=dict(self.headers))

    def as_response(self) -> litestar.Response[bytes]:
        """To be returned by an exception handler."""
        return litestar.Response(
            self.body, status_code=self.status, headers=dict(self.headers), media_type=litestar.MediaType.JSON
        )


Envelope: TypeAlias = Callable[[ErrorInfo, str], Struct]
"""The body of an error, in the words of a dialect, which may name the request by its id."""


def native_envelope(info: ErrorInfo, request_id: str = "") -> Struct:
    """The body of an error as LM Studio's clients know it."""
    return ErrorEnvelope(wire_error(info))


def openai_error(info: ErrorInfo) -> OpenAIError:
    """The error object of OpenAI's dialects."""
    row = ERROR_TABLE[info.kind]
    kind: OpenAIErrorType = "invalid_request_error"
    if row.status >= _UNEXPECTED:
        kind = "server_error"
    elif info.kind is ErrorKind.RATE_LIMITED:
        kind = "rate_limit_error"
    code = _OPENAI_CODES.get(info.kind) or row.code or (None if row.type == _BAD else row.type)
    return OpenAIError(info.message, kind, info.param, code)


_OPENAI_CODES: Final = {
    ErrorKind.EXCEED_CONTEXT_SIZE: "context_length_exceeded",
    ErrorKind.THREAD_NOT_FOUND: "conversation_not_found",
    ErrorKind.THREAD_CONFLICT: "conversation_locked",
}
"""Words that clients of that dialect look for, where ours is another one."""


def openai_envelope(info: ErrorInfo, request_id: str = "") -> Struct:
    """The body of an error as OpenAI's clients know it."""
    return OpenAIErrorEnvelope(openai_error(info))


_ANTHROPIC_TYPES: Final[Mapping[int, AnthropicErrorType]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def anthropic_error(info: ErrorInfo) -> AnthropicError:
    """The error object of Anthropic's dialect, which has no place for a field's path but the message."""
    status = ERROR_TABLE[info.kind].status
    usual: AnthropicErrorType = "api_error" if status >= _UNEXPECTED else "invalid_request_error"
    return AnthropicError(_ANTHROPIC_TYPES.get(status, usual), _anthropic_message(info), _anthropic_details(info))


def _anthropic_message(info: ErrorInfo) -> str:
    if info.kind is ErrorKind.EXCEED_CONTEXT_SIZE:  # clients look for these words, and shorten what they send
        over = info.overrun
        return (
            f"prompt is too long: {info.message if over is None else f'{over.tokens} tokens > {over.maximum} maximum'}"
        )
    told = info.param is None or f'"{info.param}"' in info.message
    return info.message if told else f"{info.param}: {info.message}"


def _anthropic_details(info: ErrorInfo) -> AnthropicErrorDetails | UnsetType:
    match info.kind, info.param:
        case ErrorKind.RESPONSE_NOT_FOUND, "thread.previous_message_id":
            return AnthropicErrorDetails("thread_not_found")
        case ErrorKind.RESPONSE_NOT_FINISHED, "thread.previous_message_id":
            return AnthropicErrorDetails("thread_continue_in_flight")
        case ErrorKind.INVALID_VALUE, "thread":
            return AnthropicErrorDetails("thread_unsupported_request")
        case _:
            return UNSET


def anthropic_envelope(info: ErrorInfo, request_id: str = "") -> Struct:
    """The body of an error as Anthropic's clients know it."""
    return AnthropicErrorEnvelope(anthropic_error(info), request_id)


ENVELOPES: Final[Sequence[tuple[str, Envelope]]] = (
    (ANTHROPIC_PATH, anthropic_envelope),
    ("/v1/", openai_envelope),
)
"""Which dialect is spoken below which path; the first that fits counts, and the native one elsewhere."""


def envelope_of(path: str) -> Envelope:
    """How errors are told to clients of `path`, be it known or not."""
    return next((envelope for prefix, envelope in ENVELOPES if path.startswith(prefix)), native_envelope)


def envelope_in(scope: Scope) -> Envelope:
    """How errors are told to the client of this request."""
    return anthropic_envelope if is_anthropic(scope) else envelope_of(scope["path"])


def error_answer(
    info: ErrorInfo,
    request_id: str,
    *,
    retry_after_seconds: float | None = None,
    headers: Mapping[str, str] | None = None,
    envelope: Envelope = native_envelope,
) -> ErrorAnswer:
    """The answer that tells a client of `info`; unexpected ones name the request, so that its log can be found."""
    row = ERROR_TABLE[info.kind]
    more = dict(headers or {})
    if row.status == _UNEXPECTED:
        info = ErrorInfo(info.kind, f"{info.message} (request {request_id})", info.param)
    if info.kind is ErrorKind.INVALID_API_KEY:
        more["WWW-Authenticate"] = "Bearer"
    if info.kind is ErrorKind.RATE_LIMITED:
        more["Retry-After"] = str(max(1, math.ceil(retry_after_seconds or info.retry_after_seconds or 1)))
    elif info.retry_after_seconds is not None:
        more["Retry-After"] = str(max(1, math.ceil(info.retry_after_seconds)))
    return ErrorAnswer(row.status, json_bytes(envelope(info, request_id)), more)


def answer_orchestrator_error(request: HttpRequest, error: OrchestratorError) -> litestar.Response[bytes]:
    """Our own errors: the table says all there is to say."""
    if ERROR_TABLE[error.info.kind].status == _UNEXPECTED:
        log.error("a request failed", kind=error.info.kind, reason=error.info.message)
    return answer_of(request, error.info, retry_after_seconds=error.retry_after_seconds).as_response()


_RETELLING: Final = "error_retelling"
Retelling: TypeAlias = Callable[[ErrorInfo, ErrorAnswer], ErrorAnswer]
"""What becomes of an answer that is made for a request."""


def remember_retelling(scope: Scope, retelling: Retelling) -> None:
    """Let errors of this request be told otherwise."""
    scope["state"][_RETELLING] = retelling


def answer_of(
    request: HttpRequest,
    info: ErrorInfo,
    *,
    retry_after_seconds: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> ErrorAnswer:
    """The answer that tells the client of this request of `info`, in its dialect."""
    answer = error_answer(
        info,
        request_id_of(request.scope),
        retry_after_seconds=retry_after_seconds,
        headers=headers,
        envelope=envelope_in(request.scope),
    )
    retelling: Retelling | None = request.scope["state"].get(_RETELLING)
    return answer if retelling is None else retelling(info, answer)


def answer_http_exception(request: HttpRequest, error: HTTPException) -> litestar.Response[bytes]:
    """What the framework refuses: unknown routes, wrong methods, bad framing."""
    if error.status_code >= _UNEXPECTED:
        return answer_unexpected(request, error)
    kind = _HTTP_EXCEPTIONS.get(error.status_code, ErrorKind.INVALID_VALUE)
    allow = (error.headers or {}).get("allow")
    where = f"({request.method[:16]} {request.scope['path'][:200]})"
    match kind:
        case ErrorKind.UNKNOWN_ENDPOINT:
            message = f"Unexpected endpoint or method. {where} The API is described at /schema."
        case ErrorKind.METHOD_NOT_ALLOWED:
            message = f"This endpoint does not have this method, only {allow}. {where}"
        case _:
            message = error.detail
    headers = {"Allow": allow} if allow else {}
    return answer_of(request, ErrorInfo(kind, message), headers=headers).as_response()


def answer_unexpected(request: HttpRequest, error: Exception) -> litestar.Response[bytes]:
    """A defect: the log gets the traceback, the client the id to find it by."""
    log.error("a request failed unexpectedly", exc_info=error)
    return unexpected_answer(request_id_of(request.scope), request.scope).as_response()


def unexpected_answer(request_id: str, scope: Scope) -> ErrorAnswer:
    """The answer to a request that met a defect."""
    info = ErrorInfo(ErrorKind.INTERNAL_ERROR, "Something unexpected happened; the log has the details.")
    return error_answer(info, request_id, envelope=envelope_in(scope))
