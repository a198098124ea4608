"""How much of a request is taken, and how long its client may take to send it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from litestar.types import HTTPReceiveMessage, HTTPScope, Receive, Scope, WebSocketReceiveMessage

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_KEY: Final = "limits"
Received: TypeAlias = HTTPReceiveMessage | WebSocketReceiveMessage
_LISTS: Final = ("integrations", "mcp_servers")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Sizes are bytes, times seconds. `head_seconds` and `stall_seconds` are the server's to keep.

    `json_values` counts what stands in the arrays and objects of a body; `stall_seconds` is how long a
    client may take nothing of what it is sent.
    """

    body_bytes: int = MAX_BODY_BYTES
    url_bytes: int = 16 * 1024
    headers: int = 128
    header_bytes: int = 64 * 1024
    head_seconds: float = 20
    body_seconds: float = 120
    stall_seconds: float = 60
    json_depth: int = 64
    json_values: int = 100_000
    input_items: int = 8192
    integrations: int = 128
    metadata_keys: int = 16


def remember_limits(scope: Scope, limits: RequestLimits) -> None:
    """Bind the limits to the request."""
    scope["state"][_KEY] = limits


def limits_of(scope: Scope) -> RequestLimits:
    """The limits that were bound to the request."""
    limits = scope["state"].get(_KEY)
    return limits if isinstance(limits, RequestLimits) else RequestLimits()


def too_much(scope: HTTPScope, limits: RequestLimits) -> ErrorInfo | None:
    """What can be said of a request by its head alone: that its address, its headers or its body are too large."""
    size = len(scope["raw_path"] if "raw_path" in scope else scope["path"].encode()) + len(scope["query_string"])
    if size > limits.url_bytes:
        message = f"The address is longer than {limits.url_bytes} bytes, the most that is taken here."
        return ErrorInfo(ErrorKind.URL_TOO_LONG, message)
    headers = list(scope["headers"])
    if len(headers) > limits.headers:
        message = f"The request has more than {limits.headers} headers, the most that is taken here."
        return ErrorInfo(ErrorKind.HEADERS_TOO_LARGE, message)
    if sum(len(name) + len(value) for name, value in headers) > limits.header_bytes:
        return headers_too_large(limits)
    announced = [value for name, value in headers if name.lower() == b"content-length"]
    if any(value.isdigit() and (len(value) > 18 or int(value) > limits.body_bytes) for value in announced):
        return body_too_large(limits.body_bytes)
    return None


def headers_too_large(limits: RequestLimits) -> ErrorInfo:
    """For headers, or a head that does not end."""
    message = f"The headers are larger than {limits.header_bytes} bytes, the most that is taken here."
    return ErrorInfo(ErrorKind.HEADERS_TOO_LARGE, message)


def body_too_large(most: int) -> ErrorInfo:
    """For a body of more than `most` bytes."""
    message = f"The body is larger than {most} bytes, the most that is taken here."
    return ErrorInfo(ErrorKind.REQUEST_TOO_LARGE, message)


def too_slow(what: str, seconds: float) -> ErrorInfo:
    """For a client that does not get on with sending."""
    message = f"The {what} of the request did not arrive within {seconds:g} seconds."
    return ErrorInfo(ErrorKind.REQUEST_TIMEOUT, message)


def within_time(receive: Receive, seconds: float) -> Receive:
    """`receive` with a deadline for the whole of the body, which begins when the body is first asked for.

    What comes after the body, the client's departure, may take as long as it likes. It raises an
    `OrchestratorError` of the kind `request_timeout`.
    """
    clock: Callable[[], float] = anyio.current_time
    due: float | None = None
    whole = False

    async def receive_in_time() -> Received:
        nonlocal due, whole
        if whole:
            return await receive()
        due = clock() + seconds if due is None else due
        message: Received | None = None
        with anyio.move_on_after(due - clock()):
            message = await receive()
        if message is None:
            raise OrchestratorError.of(too_slow("body", seconds))
        whole = message["type"] != "http.request" or not message["more_body"]
        return message

    return receive_in_time


def check_counts(body: JsonValue, limits: RequestLimits) -> None:
    """How many of each a body may have.

    Raises:
        OrchestratorError: `invalid_value` for the first list or map that has more.
    """
    if not isinstance(body, dict):
        return
    counts = {
        **dict.fromkeys(_LISTS, (limits.integrations, "items")),
        "input": (limits.input_items, "items"),
        "metadata": (limits.metadata_keys, "keys"),
    }
    for name, (most, of_what) in counts.items():
        value = body.get(name)
        if isinstance(value, list | dict) and len(value) > most:
            message = f'"{name}" must have at most {most} {of_what}.'
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=name)
