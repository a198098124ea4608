"""uvicorn's HTTP/1.1 protocol, with the bounds that a server owes itself against clients that are slow or greedy.

What an ASGI application can see, it bounds itself (`api/limits.py`); here is what it never sees: heads that
do not end, chunks with long extensions, trailers, bodies that nobody reads any more, and clients that take nothing
of what they are sent. Each connection is looked at once a second; there is no timer for each of them.

Where two readers could take the same bytes for different requests, they are refused (RFC 9112, section 11.2). Trailers
are dropped: what a proxy checked in the head, they must not change (RFC 9110, section 6.5.1).
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import httptools
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
LINGER_BYTES: Final = 16 * 1024 * 1024
LEAST_PROGRESS: Final = 1024
"""Bytes; comments that keep a stream open are no sign that anybody reads it."""
FRAMING_OF_A_BYTE: Final = 16
"""Bytes that each byte of a body may cost in lines of chunks, beside what a head may have."""
MOST_WAITING: Final = 32
"""Requests that may wait on a connection for the answers before theirs."""
NOT_HTTP: Final = ErrorInfo(ErrorKind.INVALID_HTTP, "The request is not valid HTTP/1.1.")
UNKNOWN_CODING: Final = ErrorInfo(
    ErrorKind.NOT_IMPLEMENTED, "The only Transfer-Encoding that is understood here is 'chunked', alone and once."
)
TWO_HOSTS: Final = ErrorInfo(
    ErrorKind.INVALID_HTTP, "The address of the request names another host than its Host header."
)

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
        self._body_bytes = 0
        self._framing_bytes = 0
        """What came after the head and is no body: lines of chunks, and trailers."""
        self._without_body = 0
        """How many bytes came since a piece of the body did."""
        self._trailers = 0
        self._why: ErrorInfo | None = None
        """Why a request is refused that is well formed as far as the parser can tell."""
        self._url = b""
        self._unread = (0, 0.0)
        """How much the client has not taken, and since when no less."""
        self._refused_at: float | None = None
        self._unheard_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A client is there; its first request is due."""
        super().connection_made(transport)
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """The client has sent something. One that was refused may end its sentence: closed on, it would lose the answer."""
        if self._refused_at is not None:
            self._unheard_bytes += len(data)
            if self._unheard_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        if not self._begun and self._head_since is None:
            self._head_since = self.loop.time()
        if self._body_since is None:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)  # less the body in it
            self._without_body += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._refused_at is None:
            self._check_sizes()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # To another protocol nobody is taken here. The parser stops all the same, and would take the body for the
            # next request: a new one reads the request again, as if nothing had been offered.
            head = self._head_again()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._feed(head + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._why or NOT_HTTP)

    def _head_again(self) -> bytes:
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version), *(b"%s: %s" % one for one in kept)]
        return b"\r\n".join([*lines, b"", b""])

    def _check_sizes(self) -> None:
        limits = self.limits
        most = limits.header_bytes + limits.url_bytes
        self._framing_bytes = max(0, self._framing_bytes)  # where the body came with the head
        framing = self._framing_bytes > most + FRAMING_OF_A_BYTE * self._body_bytes
        if framing or max(self._head_bytes, self._without_body) > most or self._trailers > limits.headers:
            self._refuse(headers_too_large(limits))
        elif self._body_bytes > limits.body_bytes and self.cycle.response_complete:
            self._end()  # it has been told, and goes on

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begun, self._body_since = True, None
        self._head_bytes = self._body_bytes = self._framing_bytes = self._without_body = self._trailers = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the address; its beginning says in which dialect errors are told."""
        super().on_url(url)
        self._url = self.url[:16]

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is dropped."""
        if self._body_since is None:
            super().on_header(name, value)
        else:
            self._trailers += 1

    def on_headers_complete(self) -> None:
        """The head is there, the body is due."""
        tunnel = self.parser.get_method() == b"CONNECT"
        if self.parser.should_upgrade() and not tunnel:
            return
        self._why = _ambiguous(self.parser.get_http_version(), self.url, self.headers)
        if tunnel or len(self.pipeline) >= MOST_WAITING:
            self._why = NOT_HTTP
        if self._why is not None:
            raise ValueError(self._why.message)  # it ends the parsing
        super().on_headers_complete()
        self._head_since, self._head_bytes, self._body_since = None, 0, self.loop.time()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        self._framing_bytes -= len(body)
        self._without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if self._body_since is None:  # the parser stops for another protocol: the request is read again
            return
        self._begun, self._body_since, self._head_bytes = False, None, 0
        super().on_message_complete()

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
        if self._answering:
            mine = self._body_since is not None and not self.cycle.response_started and not self.pipeline
            if not mine:  # another answer is on its way: there is no place for this one
                self.transport.abort()
                return
            self.cycle.disconnected = True  # for the application the client has gone
            self.cycle.message_event.set()
        elif self._body_since is not None:  # it has had its answer
            self._end()
            return
        envelope = envelope_of(self._url.decode("latin-1"))
        self.transport.write(_as_http(error_answer(info, request_id, envelope=envelope), request_id))
        self._end()

    def _end(self) -> None:
        """Say no more, listen no more, and close a little later: closed on, a client would lose what it was told."""
        self._refused_at = self.loop.time()
        self.transport.write_eof()


ProtocolClass: TypeAlias = type[BoundedHttpProtocol]


def protocol_class(limits: RequestLimits) -> ProtocolClass:
    """The protocol within `limits`, as uvicorn takes it."""
    return type("LimitedHttpProtocol", (BoundedHttpProtocol,), {"limits": limits})


def _ambiguous(version: str, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> ErrorInfo | None:
    """Why this head could be read in two ways."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if version not in ("1.0", "1.1") or (codings and version == "1.0"):
        return NOT_HTTP
    if codings not in ([], [b"chunked"]):
        return UNKNOWN_CODING
    if not url.startswith((b"/", b"*")):
        authority = url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        if [value.lower() for name, value in headers if name == b"host"] != [authority.lower()]:
            return TWO_HOSTS
    return None


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
