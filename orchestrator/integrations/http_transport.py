"""MCP over HTTP: streamable HTTP and legacy SSE, to a pinned address where a policy asks for it."""

import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, Literal

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from orchestrator.integrations.mcp_transport import (
    MAX_MESSAGE_BYTES,
    Failure,
    Stage,
    Streams,
    TransportFailedError,
    causes,
)
from orchestrator.integrations.network_policy import Address, NetworkPolicy
from orchestrator.integrations.server_url import ServerUrl

MAX_REDIRECTS: Final = 5
HttpTransportKind = Literal["streamable-http", "sse"]


class ResponseTooLongError(httpx2.StreamError):
    """The answer exceeds what a message may hold; the session goes on."""


class LeftOriginError(httpx2.TransportError):
    """A redirect leads away from the address that was checked."""


class EncodedResponseError(httpx2.TransportError):
    """The server compressed its answer though it was asked not to: its length cannot be bounded."""


class HttpServerTransport:
    """One connection to a server at an address. With a `policy` it goes to a checked address or nowhere."""

    def __init__(
        self,
        url: ServerUrl,
        *,
        kind: HttpTransportKind,
        headers: Mapping[str, str],
        policy: NetworkPolicy | None,
        connect_timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._kind: HttpTransportKind = kind
        self._headers = headers
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._tls = tls
        # Over streamable HTTP a refused GET only means that the server has nothing to say unasked.
        self._progress = _Progress(telling=frozenset({"POST", "GET"} if kind == "sse" else {"POST"}))
        self.lost = anyio.Event()

    @property
    def stage(self) -> Stage | None:
        return self._progress.stage

    @property
    def is_gone(self) -> bool:
        return False

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
        if progress.refused is not None:
            more = f" ({error.message})" if isinstance(error, MCPError) and not _is_stand_in(error.message) else ""
            return Failure(Stage.HTTP_STATUS, progress.refused + more)
        if not isinstance(error, httpx2.TransportError):
            return None
        chain = list(causes(error))
        stage = progress.stage or Stage.CONNECT
        if any(isinstance(step, ssl.SSLError) for step in chain):
            stage = Stage.TLS
        elif any(isinstance(step, socket.gaierror) for step in chain):
            stage = Stage.RESOLVE
        if isinstance(error, httpx2.TimeoutException):
            return Failure(stage, f"there was no answer within {self._connect_timeout:g} s")
        reasons = (_os_reason(step) for step in chain if isinstance(step, OSError))
        why = next(filter(None, reasons), None) or str(error) or type(error).__name__
        return Failure(stage, why)

    def _client(self, addresses: tuple[Address, ...] | None) -> httpx2.AsyncClient:
        tls = self._tls or default_tls()
        # Servers close idle connections after 5 s: a request must not race with that.
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=10, keepalive_expiry=3.0)
        return httpx2.AsyncClient(
            headers={**self._headers, "accept-encoding": "identity"},
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
            ),
        )


async def resolve(url: ServerUrl, policy: NetworkPolicy) -> tuple[Address, ...]:
    """The addresses of the host, looked up once, every one of them allowed.

    Raises:
        TransportFailedError: there are none, or one of them is not allowed.
    """
    denied = policy.refusal_of_host(url.host)
    if denied is not None:
        raise TransportFailedError(Stage.RESOLVE, denied)
    found: list[Address] = []
    if url.literal is not None:
        found.append(url.literal)
    else:
        try:
            answers = await anyio.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a valid name"
            raise TransportFailedError(Stage.RESOLVE, f"the name cannot be resolved ({why})") from None
        found.extend(ip_address(answer[4][0]) for answer in answers)
    if not found:
        raise TransportFailedError(Stage.RESOLVE, "the name has no address")
    for address in found:
        refusal = policy.refusal(url.host, address)
        if refusal is not None:
            raise TransportFailedError(Stage.RESOLVE, refusal)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=1)
def default_tls() -> ssl.SSLContext:
    """One context for all: loading the certificates costs tens of milliseconds."""
    return httpx2.create_ssl_context()


class _Progress:
    """What the transport sees of a connection in the making."""

    def __init__(self, *, telling: frozenset[str]) -> None:
        self.stage: Stage | None = Stage.RESOLVE
        self.refused: str | None = None
        self._telling = telling

    async def note(self, event: str, _: object) -> None:
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
        if response.is_redirect:
            self.refused = _redirected(request, response)
        elif response.is_error:
            self.refused = f"it answered {_status(response.status_code)}"


class _WatchedTransport(httpx2.AsyncBaseTransport):
    """Sends to the checked addresses only, notes the progress, and bounds what comes back."""

    def __init__(
        self,
        inner: httpx2.AsyncHTTPTransport,
        url: ServerUrl,
        addresses: tuple[Address, ...] | None,
        progress: _Progress,
        connect_timeout: float,
    ) -> None:
        self._inner = inner
        self._url = url
        self._addresses = addresses
        self._progress = progress
        self._connect_timeout = connect_timeout

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "trace": self._progress.note}
        response = await (
            self._inner.handle_async_request(request) if self._addresses is None else self._pinned(request)
        )
        self._progress.answered(request, response)
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            await response.aclose()
            raise EncodedResponseError("it compresses its answers, though it was asked not to", request=request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream)
        return response

    async def _pinned(self, request: httpx2.Request) -> httpx2.Response:
        assert self._addresses is not None
        if (request.url.scheme, request.url.raw_host.decode("ascii").lower(), _port(request.url)) != (
            self._url.scheme,
            self._url.host,
            self._url.port,
        ):
            raise LeftOriginError("it redirects to another address, which is not followed", request=request)
        for place, address in enumerate(self._addresses):
            attempt = httpx2.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # Host among them, as it was asked for
                stream=request.stream,
                extensions={
                    **request.extensions,
                    "sni_hostname": self._url.host.removesuffix("."),
                    "timeout": {
                        **request.extensions.get("timeout", {}),
                        "connect": self._connect_timeout / len(self._addresses),
                    },
                },
            )
            try:
                response = await self._inner.handle_async_request(attempt)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if place == len(self._addresses) - 1:
                    raise
            else:
                self._addresses = (address,)
                return response
        raise AssertionError("there is at least one address")

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for part in self._inner:
            length += len(part)
            if length > MAX_MESSAGE_BYTES:
                raise ResponseTooLongError(f"it answered with more than {MAX_MESSAGE_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_stand_in(message: str) -> bool:
    """Whether the SDK made the message up for an answer that had none."""
    return message.startswith("Redirect to ") or message in (
        "Server returned an error response",
        "Session terminated",
        "Not Found",
    )


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


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


def _os_reason(error: OSError) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError():
            return (error.reason or "the handshake failed").replace("_", " ").lower()
        case socket.gaierror():
            return f"the name cannot be resolved ({error.strerror})"
        case _:
            return None if error.errno is None else os.strerror(error.errno).lower()
