"""The one error root, and the vocabulary of everything that can go wrong.

An `ErrorKind` says what happened; which HTTP status, wire type and wire code it has is known in
one place, `orchestrator/api/errors.py`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

ONLY_PUBLIC_ADDRESSES: Final = "only public addresses are allowed"
"""In every message that refuses an address for what it is: a dialect with words of its own for that knows it by these."""

INSTALLED: Final = "Installed plugins: "
"""In what is said of a plugin that there is not: the ids of those that there are follow, to the end of the message."""

BAD_TOKEN: Final = "The API token is not valid."
"""What is said of every token that opens nothing, whatever the reason."""


class ErrorKind(StrEnum):
    """What went wrong, in the words of the contract's error table."""

    INVALID_JSON = "invalid_json"
    MISSING_REQUIRED_PARAMETER = "missing_required_parameter"
    INVALID_TYPE = "invalid_type"
    INVALID_VALUE = "invalid_value"
    INVALID_UNION = "invalid_union"
    UNRECOGNIZED_KEYS = "unrecognized_keys"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    UNKNOWN_MODEL = "unknown_model"
    EXCEED_CONTEXT_SIZE = "exceed_context_size"
    INVALID_API_KEY = "invalid_api_key"
    PERMISSION_DENIED = "permission_denied"
    PLUGIN_CONNECTION_ERROR = "plugin_connection_error"
    MCP_CONNECTION_ERROR = "mcp_connection_error"
    REQUEST_TOO_LARGE = "request_too_large"
    URL_TOO_LONG = "url_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    INVALID_HTTP = "invalid_http"
    RATE_LIMITED = "rate_limited"
    INSUFFICIENT_RESOURCES = "insufficient_resources"
    MODEL_NOT_FOUND = "model_not_found"
    UNKNOWN_INSTANCE = "unknown_instance"
    UNKNOWN_ENDPOINT = "unknown_endpoint"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    RESPONSE_NOT_FOUND = "response_not_found"
    PREVIOUS_RESPONSE_NOT_FOUND = "previous_response_not_found"
    ITEM_NOT_FOUND = "item_not_found"
    CALL_NOT_FOUND = "call_not_found"
    RESPONSE_NOT_FINISHED = "response_not_finished"
    APPROVAL_CONFLICT = "approval_conflict"
    INTEGRATION_CREDENTIALS_REQUIRED = "integration_credentials_required"
    RESPONSE_HAS_CHILDREN = "response_has_children"
    THREAD_NOT_FOUND = "thread_not_found"
    THREAD_CONFLICT = "thread_conflict"
    ELICITATION_NOT_FOUND = "elicitation_not_found"
    JOB_NOT_FOUND = "job_not_found"
    TOKEN_NOT_FOUND = "token_not_found"
    TOKEN_CONFLICT = "token_conflict"
    PLUGIN_NOT_FOUND = "plugin_not_found"
    TOOL_NOT_FOUND = "tool_not_found"
    RESOURCE_NOT_FOUND = "resource_not_found"
    PROMPT_NOT_FOUND = "prompt_not_found"
    INSUFFICIENT_STORAGE = "insufficient_storage"
    NOT_IMPLEMENTED = "not_implemented"
    ENGINE_ERROR = "engine_error"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    STORE_ERROR = "store_error"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Overrun:
    """How long a prompt is, and how long one may be: in tokens."""

    tokens: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as data: what a client is told and what a stored response keeps.

    `message` is written for the person who reads it and never holds a secret; `param` is the path
    of the offending field, such as `integrations.0.server_url`. `retry_after_seconds` is when to ask again, where that is
    known, `overrun` by how much a prompt is too long; both are for who asked, and are not kept.
    """

    kind: ErrorKind
    message: str
    param: str | None = None
    retry_after_seconds: float | None = field(default=None, compare=False)
    overrun: Overrun | None = field(default=None, compare=False)


class OrchestratorError(Exception):
    """The root of every error that this project raises on purpose; carries an `ErrorInfo`."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        overrun: Overrun | None = None,
    ) -> None:
        super().__init__(message)
        self.info = ErrorInfo(kind, message, param, retry_after_seconds, overrun)
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, info: ErrorInfo) -> "OrchestratorError":
        """The error that says `info`."""
        return cls(
            info.kind,
            info.message,
            param=info.param,
            retry_after_seconds=info.retry_after_seconds,
            overrun=info.overrun,
        )


def sentence(text: str) -> str:
    """`text` with a full stop, unless it ends as a sentence does: others' words often do."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


class IllegalInputError(Exception):
    """A run was fed an input that its state does not admit: a defect of the driver, never of a client."""
