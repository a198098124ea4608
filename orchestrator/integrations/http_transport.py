"""MCP over HTTP: streamable HTTP and legacy SSE, to a pinned address where a policy asks for it."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, Literal

import anyio
import httpcore2
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND

from orchestrator.integrations.mcp_transport import (
    MAX_MESSAGE_BYTES,
    Failure,
    Stage,
    Streams,
    TransportFailedError,
)
from orchestrator.integrations.network_policy import Address, NetworkPolicy
from orchestrator.integrations.oauth.bearer import BearerAuth, Bearers
from orchestrator.integrations.pinned_http import (
    BoundedStream,
    EncodedResponseError,
    LeftOriginError,
    ResponseTooLongError,
    default_tls,
    is_at,
    look_up,
    refuse_encoded,
    resolve,
    send_pinned,
    transport_failure,
)
from orchestrator.integrations.server_errors import UNKNOWN_RESOURCE
from orchestrator.integrations.server_url import ServerUrl

MAX_REDIRECTS: Final = 5
HttpTransportKind = Literal["streamable-http", "sse"]


class HttpServerTransport:
    """One connection to a server at an address. With a `policy` it goes to a checked address or nowhere.

    With `bearers` every request carries a token of theirs, and a refusal that asks for another one is
    answered by another one, once. `caller_token` goes to the origin of `url` and nowhere else.
    """

    def __init__(
        self,
        url: ServerUrl,
        *,
        kind: HttpTransportKind,
        headers: Mapping[str, str],
        policy: NetworkPolicy | None,
        connect_timeout: float,
        tls: ssl.SSLContext | None = None,
        bearers: Bearers | None = None,
        caller_token: str | None = None,
    ) -> None:
        self._url = url
        self._kind: HttpTransportKind = kind
        self._headers = headers
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._bearers = bearers
        self._caller_token = caller_token
        # Over streamable HTTP a refused GET only means that the server has nothing to say unasked.
        self._progress = _Progress(telling=frozenset({"POST", "GET"} if kind == "sse" else {"POST"}))
        self.lost = anyio.Event()
        self.strays = 0

    @property
    def stage(self) -> Stage | None:
        return self._progress.stage

    @property
    def is_gone(self) -> bool:
        return False

    @property
    def status(self) -> int | None:
        """The HTTP status of the last answer that tells how the connection is."""
        return self._progress.status

    @property
    def speaks_mcp(self) -> bool:
        """Whether the server answered in the way that it was spoken to, be it with an error."""
        return self._progress.speaks_mcp

    @property
    def notices_loss(self) -> bool:
        return False

    def last_words(self) -> str:
        return ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Streams, None]:
        addresses: tuple[Address, ...] | None = None
        if self._policy is not None:
            addresses = await resolve(self._url, self._policy)
        else:
            # Only to know that it can be: the HTTP library looks up and connects in one step.
            await look_up(self._url)
        self._progress.stage = Stage.CONNECT
        client = self._client(addresses)
        if self._kind == "sse":

            def the_client(
                headers: dict[str, str] | None = None,
                timeout: httpx2.Timeout | None = None,
                auth: httpx2.Auth | None = None,
            ) -> httpx2.AsyncClient:
                return client  # the transport closes it

            async with sse_client(self._url.text, httpx_client_factory=the_client) as streams:
                yield streams
        else:
            async with (
                client,
                streamable_http_client(
                    self._url.text, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
                ) as streams,
            ):
                yield streams

    def explain(self, error: Exception | None) -> Failure | None:
        progress = self._progress
        if isinstance(error, TransportFailedError):
            return error.failure
        if isinstance(error, LeftOriginError | EncodedResponseError | ResponseTooLongError):
            return Failure(Stage.HTTP_STATUS, str(error))
        refused = progress.refused
        if refused is not None:
            more, answered = "", False
            if isinstance(error, MCPError) and refused.stage is Stage.HTTP_STATUS and not _is_stand_in(error.message):
                more = f" ({error.message})"
                progress.speaks_mcp = True
                answered = error.code in _ANSWERS
            if self._policy is not None and progress.status == HTTPStatus.METHOD_NOT_ALLOWED:
                more += (
                    "; an ephemeral server is spoken to by streamable HTTP, which this address does not seem to take"
                )
            return Failure(refused.stage, refused.why + more, answered)
        if not isinstance(error, httpx2.TransportError):
            return None
        return transport_failure(error, progress.stage or Stage.CONNECT, self._connect_timeout)

    def _client(self, addresses: tuple[Address, ...] | None) -> httpx2.AsyncClient:
        tls = self._tls or default_tls()
        # Servers close idle connections after 5 s: a request must not race with that.
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=10, keepalive_expiry=3.0)
        return httpx2.AsyncClient(
            headers={**self._headers, "accept-encoding": "identity"},
            auth=None if self._bearers is None else BearerAuth(self._bearers, self._progress.unauthorised),
            # Calls have deadlines of their own, and streams may be silent for long.
            timeout=httpx2.Timeout(None, connect=self._connect_timeout, write=self._connect_timeout),
            max_redirects=MAX_REDIRECTS,
            # With a transport given, the environment's proxies are not used; nor is a netrc file.
            trust_env=False,
            transport=_WatchedTransport(
                httpx2.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False),
                self._url,
                addresses,
                self._progress,
                self._connect_timeout,
                self._caller_token,
            ),
        )


_ANSWERS: Final = frozenset({INVALID_PARAMS, METHOD_NOT_FOUND, UNKNOWN_RESOURCE})
"""Errors about what was asked, which the stateless protocol puts under an HTTP status of their own."""


class _Progress:
    """What the transport sees of a connection in the making."""

    def __init__(self, *, telling: frozenset[str]) -> None:
        self.stage: Stage | None = Stage.RESOLVE
        self.refused: Failure | None = None
        self.status: int | None = None
        self.speaks_mcp = False
        self._telling = telling

    def note(self, event: str) -> None:
        """A trace event of the HTTP library."""
        if self.stage is None:
            return
        if event.endswith("connect_tcp.started"):
            self.stage = Stage.CONNECT
        elif event.endswith("start_tls.started"):
            self.stage = Stage.TLS
        elif event.endswith("send_request_headers.started"):
            self.stage = Stage.INITIALISE

    def answered(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Keep what the last telling answer was, where it was a refusal."""
        self.stage = None
        if request.method not in self._telling:
            return
        self.refused = None
        self.status = response.status_code
        if response.is_redirect:
            self.refused = Failure(Stage.HTTP_STATUS, _redirected(request, response))
        elif response.is_success:
            self.speaks_mcp = True
        elif response.is_error:
            self.refused = Failure(Stage.HTTP_STATUS, f"it answered {_status(response.status_code)}")

    def unauthorised(self, request: httpx2.Request, why: str) -> None:
        """Keep why a refused request could not be given a token that would do."""
        if request.method in self._telling:
            self.refused = Failure(Stage.AUTHORISE, why)


class _Attempt:
    """The trace of one request: how far it is, and the connection that it makes if none is there to be used."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        self._connected: httpcore2.AsyncNetworkStream | None = None

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        """A trace event of the HTTP library.

        A TLS handshake that is cancelled would leave its connection open until it is collected.
        """
        self._progress.note(event)
        if event.endswith("connect_tcp.complete"):
            self._connected = info["return_value"]
        elif event.endswith("start_tls.failed") and self._connected is not None:
            with anyio.CancelScope(shield=True):
                await self._connected.aclose()


class _WatchedTransport(httpx2.AsyncBaseTransport):
    """Sends to the checked addresses only, notes the progress, and bounds what comes back."""

    def __init__(
        self,
        inner: httpx2.AsyncHTTPTransport,
        url: ServerUrl,
        addresses: tuple[Address, ...] | None,
        progress: _Progress,
        connect_timeout: float,
        caller_token: str | None,
    ) -> None:
        self._inner = inner
        self._url = url
        self._addresses = addresses
        self._progress = progress
        self._connect_timeout = connect_timeout
        self._caller_token = caller_token

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "trace": _Attempt(self._progress).note}
        if self._caller_token is not None and is_at(request.url, self._url):
            request.headers["Authorization"] = f"Bearer {self._caller_token}"
        if self._addresses is None:
            response = await self._inner.handle_async_request(request)
        else:
            response, address = await send_pinned(
                self._inner, request, self._url, self._addresses, self._connect_timeout
            )
            self._addresses = (address,)
        self._progress.answered(request, response)
        try:
            refuse_encoded(request, response)
        except EncodedResponseError:
            await response.aclose()
            raise
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = BoundedStream(response.stream, MAX_MESSAGE_BYTES)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_stand_in(message: str) -> bool:
    """Whether the SDK made the message up for an answer that had none."""
    return message.startswith("Redirect to ") or message in (
        "Server returned an error response",
        "Session terminated",
        "Not Found",
    )


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _redirected(request: httpx2.Request, response: httpx2.Response) -> str:
    """Where to, as far as it may be told: an origin, without path and query."""
    try:
        target = request.url.join(response.headers.get("location", ""))
        where = f" to {target.scheme}://{target.netloc.decode('ascii').rpartition('@')[2]}"
    except (httpx2.InvalidURL, UnicodeDecodeError):
        where = ""
    return f"it redirects ({response.status_code}){where}, which is not followed"
