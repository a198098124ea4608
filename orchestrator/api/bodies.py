"""Reads the body of a request, within its limit."""

from orchestrator.api.departures import ClientGoneError
from orchestrator.api.errors import HttpRequest
from orchestrator.api.json_shape import shape_problem
from orchestrator.api.limits import body_too_large, limits_of
from orchestrator.core.errors import ErrorKind, OrchestratorError


async def read_json_body(request: HttpRequest, max_bytes: int) -> bytes:
    """The whole body of a request that says it is JSON, of a shape that may be parsed.

    Raises:
        OrchestratorError: `unsupported_media_type`; `request_too_large`, as soon as that is known;
            `request_timeout`; `invalid_json` where it is nested too deep, or has a key twice.
        ClientGoneError: it ended in the middle.
    """
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json" or not _is_utf8(parameters):
        message = "The body must be sent as application/json, in UTF-8."
        raise OrchestratorError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, message)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        message = "A body with a Content-Encoding is not understood here."
        raise OrchestratorError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, message)
    body = await _read(request, max_bytes)
    limits = limits_of(request.scope)
    problem = shape_problem(body, limits.json_depth, limits.json_values)
    if problem is not None:
        raise OrchestratorError.of(problem)
    return body


def _is_utf8(parameters: str) -> bool:
    """Whether the parameters of a media type name no other encoding."""
    named = (parameter.partition("=") for parameter in parameters.lower().split(";"))
    return all(name.strip() != "charset" or value.strip(' "') in ("utf-8", "utf8") for name, _, value in named)


async def _read(request: HttpRequest, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        size += len(message["body"])
        if size > max_bytes:
            raise OrchestratorError.of(body_too_large(max_bytes))
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)
