"""Talking to authorization servers. Where they are, remote servers say: so they are asked under the network policy.

Free of it are only origins that `mcp.json` itself names. Plain http is for loopback and for those.
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import anyio
import httpx2

from orchestrator.integrations.mcp_transport import Stage, TransportFailedError
from orchestrator.integrations.network_policy import Address, NetworkPolicy, address_kind
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.pinned_http import (
    BoundedStream,
    EncodedResponseError,
    ResponseTooLongError,
    default_tls,
    refuse_encoded,
    resolve,
    send_pinned,
    transport_failure,
)
from orchestrator.integrations.server_url import ServerUrl, ServerUrlError, parse_server_url

ANSWER_SECONDS: Final = 10.0
LONGEST_ANSWER: Final = 1024 * 1024


class AuthorityUnavailableError(AuthorizationError):
    """An authorization server did not answer; what is stored of it still stands."""


class AuthorityClient:
    """Sends the requests of one exchange of tokens; opened for that exchange."""

    def __init__(self, client: httpx2.AsyncClient, transport: "_AuthorityTransport") -> None:
        self._client = client
        self._transport = transport

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, read.

        Raises:
            AuthorizationError: the address is not allowed.
            AuthorityUnavailableError: there was no usable answer.
        """
        url = self.checked(str(request.url))
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                response = await self._client.send(request, follow_redirects=False)
                await response.aread()
        except TransportFailedError as error:
            raise _unreachable(url, error.failure.stage, error.failure.why) from None
        except (EncodedResponseError, ResponseTooLongError) as error:
            raise _unreachable(url, Stage.HTTP_STATUS, str(error)) from None
        except TimeoutError:
            why = f"there was no answer within {ANSWER_SECONDS:g} s"
            raise _unreachable(url, Stage.CONNECT, why) from None
        except httpx2.TransportError as error:
            failure = transport_failure(error, Stage.CONNECT, ANSWER_SECONDS)
            raise _unreachable(url, failure.stage, failure.why) from None
        return response

    def checked(self, text: str) -> ServerUrl:
        """An address of OAuth, fit to be used.

        Raises:
            AuthorizationError: it is not.
        """
        try:
            url = parse_server_url(text)
        except ServerUrlError as error:
            raise AuthorizationError(f"its authorization server has an address that {error}") from None
        self._transport.check_scheme(url)
        return url


@asynccontextmanager
async def open_authority_client(
    server: ServerUrl, config: OAuthConfig, policy: NetworkPolicy, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[AuthorityClient, None]:
    """A client for the authorization servers of `server`."""
    named = {server.origin}
    if config.issuer is not None:
        named.add(parse_server_url(config.issuer).origin)
    # A server elsewhere has no say in what is asked of this machine.
    policy = replace(policy, allow_loopback=policy.allow_loopback and _is_loopback(server))
    inner = httpx2.AsyncHTTPTransport(verify=tls or default_tls(), trust_env=False)
    transport = _AuthorityTransport(inner, frozenset(named), policy)
    async with httpx2.AsyncClient(
        headers={"accept": "application/json", "accept-encoding": "identity"},
        timeout=httpx2.Timeout(ANSWER_SECONDS),
        trust_env=False,
        transport=transport,
    ) as client:
        yield AuthorityClient(client, transport)


class _AuthorityTransport(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncHTTPTransport, named: frozenset[str], policy: NetworkPolicy) -> None:
        self._inner = inner
        self._named = named
        self._policy = policy
        self._addresses: dict[str, tuple[Address, ...]] = {}

    def check_scheme(self, url: ServerUrl) -> None:
        if url.scheme != "https" and url.origin not in self._named and not _is_loopback(url):
            raise AuthorizationError(f"its authorization server at {url.origin} does not use https")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = parse_server_url(str(request.url))
        self.check_scheme(url)  # redirects come through here alone
        if url.origin in self._named:
            response = await self._inner.handle_async_request(request)
        else:
            addresses = self._addresses.get(url.origin)
            if addresses is None:
                addresses = await resolve(url, self._policy)
            response, address = await send_pinned(self._inner, request, url, addresses, ANSWER_SECONDS)
            self._addresses[url.origin] = (address,)
        try:
            refuse_encoded(request, response)
        except EncodedResponseError:
            await response.aclose()
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = BoundedStream(response.stream, LONGEST_ANSWER)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_loopback(url: ServerUrl) -> bool:
    if url.literal is not None:
        return address_kind(url.literal) == "loopback"
    return url.host.removesuffix(".") == "localhost"


def _unreachable(url: ServerUrl, stage: Stage, why: str) -> AuthorityUnavailableError:
    message = f"its authorization server at {url.origin} cannot be asked (stage: {stage}): {why}"
    return AuthorityUnavailableError(message)
