"""An MCP server with a login, and its authorization server: the SDK's own, on the same origin or another.

The SDK's server has no client credentials: those are answered here.
"""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import anyio
import jwt
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette

from tests.integrations.programs.faulty_app import FaultyApp, Message, Receive, Reply, Request, Send

SCOPES = ["read", "write"]


@dataclass
class Authority:
    """The SDK's `OAuthAuthorizationServerProvider`, in memory; everybody who asks is let in.

    Refresh tokens are used once: the second use of one ends its whole family, and is counted.
    """

    lifetime: int = 3600
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict[str, OAuthClientInformationFull])
    codes: dict[str, AuthorizationCode] = field(default_factory=dict[str, AuthorizationCode])
    access: dict[str, AccessToken] = field(default_factory=dict[str, AccessToken])
    refreshing: dict[str, RefreshToken] = field(default_factory=dict[str, RefreshToken])
    used: set[str] = field(default_factory=set[str])
    refreshes: int = 0
    reuses: int = 0
    resources: list[str | None] = field(default_factory=list[str | None])

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=f"code-{secrets.token_hex(8)}",
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        self.resources.append(params.resource)
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self.issue(client.client_id, authorization_code.scopes, refreshable=True)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        if refresh_token in self.used:
            self.reuses += 1
            self.forget_everything()
        return self.refreshing.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        if self.refreshing.pop(refresh_token.token, None) is None:
            raise TokenError("invalid_grant")
        self.used.add(refresh_token.token)
        self.refreshes += 1
        return self.issue(client.client_id, scopes, refreshable=True)

    async def load_access_token(self, token: str) -> AccessToken | None:
        found = self.access.get(token)
        return None if found is None or (found.expires_at or 0) <= time.time() else found

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.forget_everything()

    async def exchange_identity_assertion(self, client: OAuthClientInformationFull, params: Any) -> OAuthToken:
        raise TokenError("unsupported_grant_type")

    def issue(self, client_id: str, scopes: list[str], *, refreshable: bool) -> OAuthToken:
        token = f"access-{secrets.token_hex(12)}"
        expires_at = int(time.time()) + self.lifetime
        self.access[token] = AccessToken(token=token, client_id=client_id, scopes=scopes, expires_at=expires_at)
        refresh = None
        if refreshable:
            refresh = f"refresh-{secrets.token_hex(12)}"
            self.refreshing[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=scopes)
        return OAuthToken(access_token=token, expires_in=self.lifetime, scope=" ".join(scopes), refresh_token=refresh)

    def forget_everything(self) -> None:
        self.access.clear()
        self.refreshing.clear()


@dataclass
class OAuthApp(FaultyApp):
    """An ASGI application: `/mcp` wants a token with the scope `read`, and `write` for the tool `second`;
    `/open` wants none.

    `configure` tells it its origin before it is asked anything. `machine_secret` and `machine_key` admit
    the client `machine` by client credentials. `holding` keeps the answer with tokens back until it is set. What stands in `answers` is answered as it stands there.
    """

    authority: Authority = field(default_factory=Authority)
    issuer: str = ""
    metadata_url: str = ""
    machine_secret: str | None = None
    machine_methods: tuple[str, ...] = ("client_secret_basic",)
    machine_key: Any = None
    answers: dict[str, tuple[int, object]] = field(default_factory=dict[str, tuple[int, object]])
    registrations: int = 0
    mode: str = "fine"
    holding: anyio.Event | None = None
    oauth: Any = None

    def configure(self, origin: str, issuer: str | None = None) -> None:
        """Both are on this origin, or the authorization server is at `issuer`."""
        self.issuer = issuer or f"{origin}/"
        self.metadata_url = f"{origin}/.well-known/oauth-protected-resource/mcp"
        self.answers.setdefault(
            "/.well-known/oauth-protected-resource/mcp",
            (200, {"resource": f"{origin}/mcp", "authorization_servers": [self.issuer]}),
        )
        if issuer is None:
            routes = create_auth_routes(
                self.authority,
                AnyHttpUrl(origin),
                client_registration_options=ClientRegistrationOptions(
                    enabled=True, valid_scopes=SCOPES, default_scopes=["read"]
                ),
                revocation_options=RevocationOptions(enabled=True),
            )
            self.oauth = Starlette(routes=routes)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in self.answers:
            status, body = self.answers[path]
            reply = Reply(send, receive, self.hanging)
            location = {"location": body} if 300 <= status < 400 and isinstance(body, str) else {}
            return await reply.send(status, json.dumps(body).encode(), "application/json", **location)
        if path in ("/mcp", "/open"):
            return await super().__call__(scope, receive, send)
        if path == "/token" and self.holding is not None:
            self.hanging.set()
            await self.holding.wait()
        if path == "/register":
            self.registrations += 1
        if path == "/token" and self._has_machine:
            messages: list[Message] = []
            body = b""
            while not messages or messages[-1].get("more_body"):
                messages.append(await receive())
                body += messages[-1].get("body", b"")
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if form.get("grant_type") == "client_credentials":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                status, answer = self._machine(form, headers.get("authorization", ""))
                reply = Reply(send, receive, self.hanging)
                return await reply.send(status, json.dumps(answer).encode(), "application/json")
            replayed = iter(messages)

            async def again() -> Message:
                return next(replayed)

            return await self.oauth(scope, again, send)
        await self.oauth(scope, receive, send)

    async def answer(self, request: Request, reply: Reply) -> None:
        if request.path == "/open":
            return await self.speak("fine", request, reply)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = await self.authority.load_access_token(token) if scheme == "Bearer" else None
        if found is None:
            challenge = f'Bearer error="invalid_token", resource_metadata="{self.metadata_url}", scope="read"'
            return await reply.status(401, **{"www-authenticate": challenge})
        wants = "write" if request.message.get("params", {}).get("name") == "second" else "read"
        if wants not in found.scopes:
            challenge = f'Bearer error="insufficient_scope", scope="{wants}", resource_metadata="{self.metadata_url}"'
            return await reply.status(403, **{"www-authenticate": challenge})
        await self.speak(self.mode, request, reply)

    @property
    def _has_machine(self) -> bool:
        return self.machine_secret is not None or self.machine_key is not None

    def _machine(self, form: dict[str, str], authorization: str) -> tuple[int, object]:
        if not self._is_machine(form, authorization):
            return 401, {"error": "invalid_client", "error_description": f"not {form} with {authorization}"}
        self.authority.resources.append(form.get("resource"))
        issued = self.authority.issue("machine", form.get("scope", "read").split(), refreshable=False)
        return 200, issued.model_dump(exclude_none=True)

    def _is_machine(self, form: dict[str, str], authorization: str) -> bool:
        if self.machine_key is not None:
            claims = jwt.decode(
                form.get("client_assertion", ""), self.machine_key, ["RS256", "ES256", "EdDSA"], audience=self.issuer
            )
            return claims["iss"] == claims["sub"] == "machine"
        if authorization:
            given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            client_id, _, secret = given.partition(":")
            pair, method = (unquote(client_id), unquote(secret)), "client_secret_basic"
        else:
            pair, method = (form.get("client_id"), form.get("client_secret")), "client_secret_post"
        return method in self.machine_methods and pair == ("machine", self.machine_secret)
