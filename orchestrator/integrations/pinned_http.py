"""HTTP to addresses that were checked: a name is looked up once, and the connection goes where it led then."""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from ipaddress import ip_address

import anyio
import httpx2

from orchestrator.integrations.mcp_transport import Failure, Stage, TransportFailedError, causes
from orchestrator.integrations.network_policy import Address, NetworkPolicy
from orchestrator.integrations.server_url import ServerUrl


class ResponseTooLongError(httpx2.StreamError):
    """The answer exceeds what may be read of it; the session goes on."""


class LeftOriginError(httpx2.TransportError):
    """A redirect leads away from the address that was checked."""


class EncodedResponseError(httpx2.TransportError):
    """The server compressed its answer though it was asked not to: its length cannot be bounded."""


async def look_up(url: ServerUrl) -> list[Address]:
    """Every address of the host, as its resolver has them.

    Raises:
        TransportFailedError: there are none.
    """
    if url.literal is not None:
        return [url.literal]
    try:
        answers = await anyio.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a valid name"
        raise TransportFailedError(Stage.RESOLVE, f"the name cannot be resolved ({why})") from None
    if not answers:
        raise TransportFailedError(Stage.RESOLVE, "the name has no address")
    return [ip_address(answer[4][0]) for answer in answers]


async def resolve(url: ServerUrl, policy: NetworkPolicy) -> tuple[Address, ...]:
    """The addresses of the host, looked up once, every one of them allowed.

    Raises:
        TransportFailedError: there are none, or one of them is not allowed.
    """
    denied = policy.refusal_of_host(url.host)
    if denied is not None:
        raise TransportFailedError(Stage.RESOLVE, denied)
    found = await look_up(url)
    for address in found:
        refusal = policy.refusal(url.host, address)
        if refusal is not None:
            raise TransportFailedError(Stage.RESOLVE, refusal)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=1)
def default_tls() -> ssl.SSLContext:
    """One context for all: loading the certificates costs tens of milliseconds."""
    return httpx2.create_ssl_context()


async def send_pinned(
    inner: httpx2.AsyncHTTPTransport,
    request: httpx2.Request,
    url: ServerUrl,
    addresses: Sequence[Address],
    connect_timeout: float,
) -> tuple[httpx2.Response, Address]:
    """Send to the first of `addresses` that takes the connection; returns which one it was.

    Raises:
        LeftOriginError: the request is not for the origin of `url`.
    """
    if not is_at(request.url, url):
        raise LeftOriginError("it redirects to another address, which is not followed", request=request)
    for place, address in enumerate(addresses):
        attempt = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,  # Host among them, as it was asked for
            stream=request.stream,
            extensions={
                **request.extensions,
                "sni_hostname": url.host.removesuffix("."),
                "timeout": {
                    **request.extensions.get("timeout", {}),
                    "connect": connect_timeout / len(addresses),
                },
            },
        )
        try:
            return await inner.handle_async_request(attempt), address
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            if place == len(addresses) - 1:
                raise
    raise AssertionError("there is at least one address")


def refuse_encoded(request: httpx2.Request, response: httpx2.Response) -> None:
    """See that the length of the answer can be bounded.

    Raises:
        EncodedResponseError: it cannot.
    """
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise EncodedResponseError("it compresses its answers, though it was asked not to", request=request)


class BoundedStream(httpx2.AsyncByteStream):
    """A body of at most `limit` bytes; reading on raises `ResponseTooLongError`."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for part in self._inner:
            length += len(part)
            if length > self._limit:
                raise ResponseTooLongError(f"it answered with more than {self._limit} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def is_at(asked: httpx2.URL, url: ServerUrl) -> bool:
    """Whether both addresses have the same origin."""
    return (asked.scheme, asked.raw_host.decode("ascii").lower(), port_of(asked)) == (url.scheme, url.host, url.port)


def port_of(url: httpx2.URL) -> int:
    """The port, said or not."""
    return url.port or (443 if url.scheme == "https" else 80)


def transport_failure(error: httpx2.TransportError, stage: Stage, timeout: float) -> Failure:
    """Why no answer came, where `stage` was as far as the connection had come."""
    chain = list(causes(error))
    if any(isinstance(step, ssl.SSLError) for step in chain):
        stage = Stage.TLS
    elif any(isinstance(step, socket.gaierror) for step in chain):
        stage = Stage.RESOLVE
    if isinstance(error, httpx2.TimeoutException):
        return Failure(stage, f"there was no answer within {timeout:g} s")
    reasons = (_os_reason(step) for step in chain if isinstance(step, OSError))
    known = next(filter(None, reasons), None)
    return Failure(stage, known or f"the connection broke ({str(error).rstrip('.') or type(error).__name__})")


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
