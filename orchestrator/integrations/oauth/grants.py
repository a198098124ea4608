"""The exchanges of OAuth, as the MCP SDK does them: it decides what is asked next, here it is asked.

The SDK's providers are meant to stand in the way of every request, one at a time. Here they are given
the refusal that has come, and asked for nothing but the token that answers it.
"""

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import httpx2
import jwt
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import AnyUrl

from orchestrator.integrations.oauth.authority import AuthorityClient
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.challenge import Challenge
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.oauth.credential import Credential
from orchestrator.integrations.oauth.talk import RefusedGrantError, Talk

CLIENT_NAME: Final = "orchestrator"


class Interaction(Protocol):
    """Somebody who can log in: shown an address, and heard when the browser comes back from there."""

    @property
    def redirect_uri(self) -> str:
        """Where the browser comes back to."""
        ...

    async def show(self, url: str) -> None:
        """Lead the person to `url`."""
        ...

    async def answer(self) -> AuthorizationCodeResult:
        """What the browser brought back.

        Raises:
            AuthorizationError: it brought a refusal, or did not come back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange with the authorization server of a plugin, over an open client; `clock` counts from 1970."""

    config: OAuthConfig
    client: AuthorityClient
    credential: Credential
    clock: Callable[[], float]

    async def authorise(self, challenge: Challenge, interaction: Interaction | None) -> Credential:
        """Answer a challenge with a new token: a person logs in, or the service by its own credentials.

        Raises:
            AuthorizationError
        """
        challenge = challenge.wanting(self.config.scope)
        if self.config.grant == "authorization_code":
            assert interaction is not None
            return await self._run(self._person(interaction, challenge), challenge)
        given = self.config.client_authentication
        methods = (given,) if given is not None else ("client_secret_basic", "client_secret_post")
        if self.config.private_key is not None:
            return await self._run(self._machine_with_key(), challenge)
        for place, method in enumerate(methods):
            provider = self._machine(method)
            try:
                return await self._run(provider, challenge)
            except RefusedGrantError:
                last = place == len(methods) - 1
                if last or not _takes(provider.context.oauth_metadata, methods[place + 1]):
                    raise
        raise AssertionError("there is at least one method")

    async def refresh(self) -> Credential:
        """A new access token for the refresh token.

        Raises:
            RefusedGrantError: the refresh token is of no use any more.
            AuthorityUnavailableError: nothing is known of that.
        """
        metadata = _client_metadata(self.config, None)
        provider = OAuthClientProvider(self.credential.server_url, metadata, self._kept())
        self._prime(provider)
        provider.context.token_expiry_time = 1.0  # long ago, so that it is renewed first
        talk = Talk(self.client, self._redacted())
        request = Challenge().request(self.credential.server_url)
        async with aclosing(provider.async_auth_flow(request)) as flow:
            renewal = await anext(flow)
            if renewal is request:
                raise RefusedGrantError("there is no refresh token")
            response = await talk.send(renewal)
            await flow.asend(response)
        tokens = provider.context.current_tokens
        if tokens is None or tokens.access_token == self.credential.access_token:
            raise RefusedGrantError(talk.refusal or "its authorization server gave no token")
        return self._renewed(provider, tokens)

    async def revoke(self) -> bool:
        """Ask the authorization server to forget the tokens (RFC 7009); False where it cannot be asked to.

        Raises:
            AuthorizationError: it was asked, and did not.
        """
        metadata = _metadata(self.credential)
        token = self.credential.refresh_token or self.credential.access_token
        if metadata is None or metadata.revocation_endpoint is None or token is None:
            return False
        provider = OAuthClientProvider(self.credential.server_url, _client_metadata(self.config, None), self._kept())
        provider.context.client_info = self._client()
        hint = "refresh_token" if self.credential.refresh_token is not None else "access_token"
        form = {"token": token, "token_type_hint": hint, "client_id": self.credential.client_id or ""}
        form, headers = provider.context.prepare_token_auth(form, {})
        talk = Talk(self.client, self._redacted())
        response = await talk.send(
            httpx2.Request("POST", str(metadata.revocation_endpoint), data=form, headers=headers)
        )
        if not response.is_success:
            raise RefusedGrantError(talk.refusal or "its authorization server did not revoke the tokens")
        return True

    # ---- the SDK's part ----

    async def _run(self, provider: OAuthClientProvider, challenge: Challenge) -> Credential:
        self._prime(provider)
        request = challenge.request(self.credential.server_url)
        talk = Talk(self.client, self._redacted())
        try:
            async with aclosing(provider.async_auth_flow(request)) as flow:
                outgoing = await anext(flow)
                assert outgoing is request
                outgoing = await flow.asend(challenge.response(request))
                while outgoing is not request:
                    if self.config.client_id is not None and provider.context.client_info is None:
                        raise AuthorizationError(
                            "it names another authorization server than the one that its client belongs to"
                        )
                    outgoing = await flow.asend(await talk.send(outgoing))
        except OAuthFlowError as error:
            raise RefusedGrantError(talk.refusal or _told(error)) from None
        except (ValueError, jwt.PyJWTError) as error:
            why = (
                "private_key cannot be used to sign"
                if isinstance(error, jwt.PyJWTError)
                else "an answer of its authorization server is not what OAuth has"
            )
            raise RefusedGrantError(talk.refusal or why) from None
        tokens = provider.context.current_tokens
        if tokens is None:
            raise RefusedGrantError(talk.refusal or "its authorization server gave no token")
        return self._renewed(provider, tokens)

    def _person(self, interaction: Interaction, challenge: Challenge) -> OAuthClientProvider:
        async def show(url: str) -> None:
            self.client.checked(url.partition("?")[0])
            metadata = provider.context.oauth_metadata
            # MCP specification, "Authorization Code Protection".
            if metadata is not None and "S256" not in (metadata.code_challenge_methods_supported or ()):
                raise AuthorizationError("its authorization server does not say that it supports PKCE with S256")
            await interaction.show(url)

        provider = OAuthClientProvider(
            self.credential.server_url,
            _client_metadata(self.config, interaction.redirect_uri),
            self._kept(interaction.redirect_uri, challenge.scope),
            show,
            interaction.answer,
            self.config.client_metadata_url,
        )
        return provider

    def _machine(self, method: str) -> OAuthClientProvider:
        assert self.config.client_id is not None and self.config.client_secret is not None
        with _unpinned():
            return ClientCredentialsOAuthProvider(
                self.credential.server_url,
                self._kept(),
                self.config.client_id,
                self.config.client_secret,
                "client_secret_post" if method == "client_secret_post" else "client_secret_basic",
                self.config.scope,
                self._issuer(),
            )

    def _machine_with_key(self) -> OAuthClientProvider:
        assert self.config.client_id is not None and self.config.private_key is not None
        signed = SignedJWTParameters(
            issuer=self.config.client_id,
            subject=self.config.client_id,
            signing_key=self.config.private_key,
            signing_algorithm=self.config.signing_algorithm or _algorithm(self.config.private_key),
        )
        with _unpinned():
            return PrivateKeyJWTOAuthProvider(
                self.credential.server_url,
                self._kept(),
                self.config.client_id,
                signed.create_assertion_provider(),
                self.config.scope,
                self._issuer(),
            )

    def _prime(self, provider: OAuthClientProvider) -> None:
        """Tell the provider what an earlier one found out."""
        provider.context.oauth_metadata = _metadata(self.credential)
        if self.credential.resource is not None:
            resource = ProtectedResourceMetadata.model_validate_json(self.credential.resource)
            provider.context.protected_resource_metadata = resource

    def _kept(self, redirect_uri: str | None = None, scope: str | None = None) -> "_Kept":
        tokens = None
        if self.credential.access_token is not None:
            tokens = OAuthToken(
                access_token=self.credential.access_token,
                refresh_token=self.credential.refresh_token,
                scope=self.credential.scope,
            )
        client = self._client()
        if client is not None and self.credential.client is not None and redirect_uri is not None:
            other_way_back = redirect_uri not in [str(uri) for uri in client.redirect_uris or ()]
            if other_way_back or not set((scope or "").split()) <= set((client.scope or scope or "").split()):
                client = None  # it was registered for less: it is registered anew
        return _Kept(tokens, client)

    def _client(self) -> OAuthClientInformationFull | None:
        if self.config.client_id is not None:
            secret = self.config.client_secret
            method = self.config.client_authentication
            if method is None:
                method = "none" if secret is None else _method(_metadata(self.credential))
            return OAuthClientInformationFull(
                client_id=self.config.client_id,
                client_secret=secret,
                token_endpoint_auth_method=method,
                issuer=self._issuer(),
            )
        if self.credential.client is None:
            return None
        return OAuthClientInformationFull.model_validate_json(self.credential.client)

    def _issuer(self) -> str | None:
        """Whose credentials they are: as `mcp.json` says, or else who they were first given to."""
        if self.config.issuer is not None:
            return self.config.issuer
        metadata = _metadata(self.credential)
        return None if metadata is None else str(metadata.issuer)

    def _renewed(self, provider: OAuthClientProvider, tokens: OAuthToken) -> Credential:
        context = provider.context
        client = context.client_info
        lifetime = None if tokens.expires_in is None else float(tokens.expires_in)
        return replace(
            self.credential,
            grant=self.config.grant,
            client_id=None if client is None else client.client_id,
            client=None
            if client is None or self.config.client_id is not None
            else client.model_dump_json(exclude_none=True),
            authority=_text(context.oauth_metadata),
            resource=_text(context.protected_resource_metadata),
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            scope=tokens.scope,
            expires_at=None if lifetime is None else self.clock() + lifetime,
            lifetime=lifetime,
            wanted_scope=None,
        )

    def _redacted(self) -> Sequence[str]:
        return [*self.config.secrets, *self.credential.secrets]


class _Kept:
    """The SDK's storage for one exchange: what comes of it is taken from the provider itself."""

    def __init__(self, tokens: OAuthToken | None, client: OAuthClientInformationFull | None) -> None:
        self._tokens = tokens
        self._client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


def _told(error: OAuthFlowError) -> str:
    """What the SDK says, unless there may be something in it that is nobody's business."""
    text = str(error)
    if type(error) is not OAuthFlowError:
        return "an answer of its authorization server is not what OAuth has"
    if text.startswith("State parameter"):
        return "the browser came back from another login than this one"
    return f"the login was given up: {text[:1].lower()}{text[1:]}"


def _client_metadata(config: OAuthConfig, redirect_uri: str | None) -> OAuthClientMetadata:
    return OAuthClientMetadata(
        redirect_uris=None if redirect_uri is None else [AnyUrl(redirect_uri)],
        client_name=CLIENT_NAME,
        scope=config.scope,
        token_endpoint_auth_method=None,
    )


def _metadata(credential: Credential) -> OAuthMetadata | None:
    return None if credential.authority is None else OAuthMetadata.model_validate_json(credential.authority)


def _text(document: OAuthMetadata | ProtectedResourceMetadata | None) -> str | None:
    return None if document is None else document.model_dump_json(exclude_none=True)


def _takes(metadata: OAuthMetadata | None, method: str) -> bool:
    supported = None if metadata is None else metadata.token_endpoint_auth_methods_supported
    return supported is None or method in supported


def _method(metadata: OAuthMetadata | None) -> str:
    """How a client with a secret proves itself where nobody says: RFC 8414 has Basic as the default."""
    return "client_secret_basic" if _takes(metadata, "client_secret_basic") else "client_secret_post"


def _algorithm(private_key: str) -> str:
    """The algorithm that goes with the kind of key.

    Raises:
        RefusedGrantError: it is no key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RefusedGrantError("private_key is not a private key in PEM without a password") from None
    match key:
        case rsa.RSAPrivateKey():
            return "RS256"
        case ec.EllipticCurvePrivateKey():
            return {256: "ES256", 384: "ES384", 521: "ES512"}.get(key.curve.key_size, "ES256")
        case ed25519.Ed25519PrivateKey():
            return "EdDSA"
        case _:
            raise RefusedGrantError("private_key is of a kind that no signature of OAuth has")


@contextmanager
def _unpinned() -> Generator[None]:
    """The SDK warns where no issuer is named: here the first one found is kept, and counts from then on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield
