"""Reads the body of a request, within its limit."""

from orchestrator.api.departures import ClientGoneError
from orchestrator.api.errors import HttpRequest
from orchestrator.core.errors import ErrorKind, OrchestratorError


async def read_json_body(request: HttpRequest, max_bytes: int) -> bytes:
    """The whole body of a request that says it is JSON.

    Raises:
        OrchestratorError: `unsupported_media_type`; `request_too_large`, as soon as that is known.
        ClientGoneError: it ended in the middle.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        message = "The body must be sent as application/json."
        raise OrchestratorError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, message)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        message = "A body with a Content-Encoding is not understood here."
        raise OrchestratorError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, message)
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    return await _read(request, max_bytes)


async def _read(request: HttpRequest, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        size += len(message["body"])
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)


def _too_large(max_bytes: int) -> OrchestratorError:
    message = f"The body is larger than {max_bytes} bytes, the most that is taken here."
    return OrchestratorError(ErrorKind.REQUEST_TOO_LARGE, message)
