"""How a server at an address is spoken to: by streamable HTTP, or by the older HTTP with SSE.

An entry that leaves it open gets what the specification has for servers of before: where the first thing that is
said over streamable HTTP is answered with 400, 404 or 405, and not by an MCP message, the older transport is tried.
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#backwards-compatibility
"""

from typing import Final

from orchestrator.integrations.http_transport import HttpServerTransport, HttpTransportKind

UNKNOWN_THERE: Final = frozenset({400, 404, 405})


class HttpWay:
    """The way to one server; remembers the one that worked."""

    def __init__(self, kind: HttpTransportKind, *, falls_back: bool) -> None:
        self.kind: HttpTransportKind = kind
        self._falls_back = falls_back
        self.is_second_try = False
        """Whether the next connection only takes the place of one that was tried in the wrong way."""
        self._transport: HttpServerTransport | None = None

    def went(self, transport: HttpServerTransport) -> HttpServerTransport:
        """Take note of a connection that is about to be made."""
        self._transport = transport
        self.is_second_try = False
        return transport

    def turn(self) -> bool:
        """The connection could not be opened: whether it is worth to try at once in another way, which `kind` is then."""
        if not self._falls_back or self._transport is None:
            return False
        if self.kind == "sse":
            self.kind = "streamable-http"  # what was remembered holds no longer
            return False
        if self._transport.status not in UNKNOWN_THERE or self._transport.speaks_mcp:
            return False
        self.kind = "sse"
        self.is_second_try = True
        return True
