"""uvicorn's HTTP/1.1 protocol, with the bounds that a server owes itself against clients that are slow or greedy.

What an ASGI application can see, it bounds itself (`api/limits.py`); here is what it never sees: heads that
do not end, bodies that nobody reads any more, and clients that take nothing of what they are sent. Each
connection is looked at once a second; there is no timer for each of them.
"""

from typing import Any, Final, TypeAlias

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.api.edge import SECURITY_HEADERS
from orchestrator.api.errors import ErrorAnswer, envelope_of, error_answer
from orchestrator.api.limits import RequestLimits, headers_too_large, too_slow
from orchestrator.api.request_ids import REQUEST_ID_HEADER, accept_request_id
from orchestrator.core.errors import ErrorInfo, ErrorKind

MARGIN_SECONDS: Final = 5.0
"""How much later than the application the server gives up a body, so that the client is told why."""
LINGER_SECONDS: Final = 2.0
LEAST_PROGRESS: Final = 1024
"""Bytes; comments that keep a stream open are no sign that anybody reads it."""
NOT_HTTP: Final = ErrorInfo(ErrorKind.INVALID_HTTP, "The request is not valid HTTP/1.1.")

log = structlog.stdlib.get_logger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. `look` is called by its server from time to time."""

    limits = RequestLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._begun = False
        """Whether a request has begun and has not been received as a whole."""
        self._head_bytes = 0
        self._url = b""
        self._unread = (0, 0.0)
        """How much the client has not taken, and since when no less."""
        self._refused_at: float | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there; its first request is due."""
        super().connection_made(transport)
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """The client has sent something. One that was refused may end its sentence: closed on, it would lose the answer."""
        if self._refused_at is not None:
            return
        if not self._begun and self._head_since is None:
            self._head_since = self.loop.time()
        if self._begun and self._body_since is None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self.limits.header_bytes + self.limits.url_bytes and self._refused_at is None:
            self._refuse(headers_too_large(self.limits))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begun, self._head_bytes, self._body_since = True, 0, None

    def on_url(self, url: bytes) -> None:
        """A piece of the address; its beginning says in which dialect errors are told."""
        super().on_url(url)
        self._url = self.url[:16]

    def on_headers_complete(self) -> None:
        """The head is there, the body is due."""
        self._head_since, self._head_bytes, self._body_since = None, 0, self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._begun, self._body_since = False, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP gets an envelope too."""
        self._refuse(NOT_HTTP)

    def look(self, now: float) -> None:
        """Give the connection up where its client has been too slow."""
        self._look_at_what_is_sent(now)
        if self.transport.is_closing():
            return
        if self._refused_at is not None:
            if now - self._refused_at > LINGER_SECONDS:
                self.transport.abort()
        elif self._head_since is not None and now - self._head_since > self.limits.head_seconds:
            if self._answering:
                self._head_since = now  # the next request on a connection that is busy: it may wait
            elif self._begun:
                self._refuse(too_slow("head", self.limits.head_seconds))
            else:
                self.transport.close()
        elif self._body_since is not None and now - self._body_since > self.limits.body_seconds + MARGIN_SECONDS:
            if self.flow.read_paused:
                self._body_since = now  # it is not the client that keeps it waiting
            else:
                log.info("a body came too slowly: the connection is closed")
                self.transport.abort()

    def _look_at_what_is_sent(self, now: float) -> None:
        waiting = self.transport.get_write_buffer_size()
        seen, since = self._unread
        if waiting == 0 or waiting < seen or waiting >= seen + LEAST_PROGRESS:
            self._unread = (waiting, now)
        elif now - since > self.limits.stall_seconds:
            log.info("a client takes nothing of what it is sent: the connection is closed", bytes=waiting)
            self._unread = (0, now)
            self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - uvicorn lies about None

    def _refuse(self, info: ErrorInfo) -> None:
        """Answer in place of the application, and end the connection."""
        request_id = accept_request_id(())
        log.info("a request was refused", reason=info.kind, request_id=request_id)
        if self._answering:  # another answer is on its way: there is no place for this one
            self.transport.abort()
            return
        self._refused_at = self.loop.time()
        envelope = envelope_of(self._url.decode("latin-1"))
        self.transport.write(_as_http(error_answer(info, request_id, envelope=envelope), request_id))
        self.transport.write_eof()


ProtocolClass: TypeAlias = type[BoundedHttpProtocol]


def protocol_class(limits: RequestLimits) -> ProtocolClass:
    """The protocol within `limits`, as uvicorn takes it."""
    return type("LimitedHttpProtocol", (BoundedHttpProtocol,), {"limits": limits})


def _as_http(answer: ErrorAnswer, request_id: str) -> bytes:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        REQUEST_ID_HEADER: request_id,
        **SECURITY_HEADERS,
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} {answer.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
