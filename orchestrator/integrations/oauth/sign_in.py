"""Logging a plugin in and out, with a person at hand."""

import contextlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.abc
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata

from orchestrator.core.errors import ErrorKind, OrchestratorError, sentence
from orchestrator.core.request import PluginRequest
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.checks import usable_plugin
from orchestrator.integrations.mcp_json import HttpServer, McpConfig, PluginConfig
from orchestrator.integrations.mcp_transport import leaves
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.oauth.credential import Credential, credential_key, decode
from orchestrator.integrations.oauth.grants import Interaction
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.oauth.talk import RefusedGrantError
from orchestrator.integrations.server_url import ServerUrl, parse_server_url
from orchestrator.ports import OAuthCredentialStore, RunScope, UnreadableCredentialError

LONGEST_LOGIN_SECONDS: Final = 900.0
_NOBODY: Final = RunScope("local", "login", "login")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A plugin that can be used now. `expires_at`, in seconds since 1970, is that of a token that is renewed by itself
    where `renewable` says so.
    """

    plugin_id: str
    tools: int
    needed: bool
    authority: str | None = None
    scope: str | None = None
    expires_at: float | None = None
    renewable: bool = False


@dataclass(frozen=True, slots=True)
class PluginAtAddress:
    """A plugin that can have a login."""

    plugin: PluginConfig
    url: ServerUrl
    config: OAuthConfig

    @classmethod
    def find(cls, config: McpConfig, plugin_id: str) -> "PluginAtAddress":
        """The plugin that `plugin_id` means.

        Raises:
            OrchestratorError: there is none, or it has no login.
        """
        wanted = plugin_id if plugin_id.lower().startswith("mcp/") else f"mcp/{plugin_id}"
        plugin = usable_plugin(wanted, config)
        if not isinstance(plugin.server, HttpServer):
            why = "is a program on this machine, which has no login: what it needs stands in its 'env'"
            raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, f"The plugin '{plugin.id}' {why}.")
        if plugin.server.oauth is None:
            why = f"has no login, as {plugin.file.name} has it: it sends an Authorization header, or 'oauth' is false"
            raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, f"The plugin '{plugin.id}' {why}.")
        return cls(plugin, parse_server_url(plugin.server.url), plugin.server.oauth)

    async def registered_redirect(self, store: OAuthCredentialStore) -> str | None:
        """Where the browser came back to at the last login, if that was registered for it."""
        try:
            stored = await store.read_credential(credential_key(self.plugin.id, self.url.text))
        except UnreadableCredentialError:
            return None
        credential = None if stored is None else decode(stored.content)
        if credential is None or credential.client is None:
            return None
        client = OAuthClientInformationFull.model_validate_json(credential.client)
        return str(client.redirect_uris[0]) if client.redirect_uris else None


async def sign_in(
    target: PluginAtAddress, store: OAuthCredentialStore, policy: NetworkPolicy, interaction: Interaction
) -> SignedIn:
    """Get a new token, keep it, and see that the plugin can be used with it.

    Raises:
        OrchestratorError: `plugin_connection_error`; the message says at which stage, and why.
    """
    got: Credential | None = None
    tools = 0
    try:
        async with anyio.create_task_group() as tasks:
            got, tools = await _sign_in(
                target, OAuthLogins(store, policy, tasks, interaction=interaction), policy, tasks
            )
    except ExceptionGroup as group:
        error = next(leaves(group))
        if not isinstance(error, AuthorizationError):
            raise error from None
        message = sentence(f"The plugin '{target.plugin.id}' could not be logged in: {error}")
        raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, message) from None
    if got is None or got.access_token is None:
        return SignedIn(target.plugin.id, tools, needed=False)
    return SignedIn(
        target.plugin.id,
        tools,
        needed=True,
        authority=_authority(got),
        scope=got.scope,
        expires_at=got.expires_at,
        renewable=got.refresh_token is not None or got.grant == "client_credentials",
    )


async def _sign_in(
    target: PluginAtAddress, logins: OAuthLogins, policy: NetworkPolicy, tasks: anyio.abc.TaskGroup
) -> tuple[Credential | None, int]:
    login = logins.of(target.plugin.id, target.url, target.config)
    catalog = McpCatalog(
        McpConfig((target.plugin,)),
        policy=policy,
        connect_timeout=LONGEST_LOGIN_SECONDS,
        tool_timeout=LONGEST_LOGIN_SECONDS,
        allow_plugins=True,
        allow_ephemeral_mcp=False,
        task_group=tasks,
        logins=logins,
    )
    try:
        await login.forget_tokens()
        async with catalog.open([PluginRequest(target.plugin.id)], _NOBODY) as (session,):
            tools = len(session.tools)
        if login.credential is None or login.credential.access_token is None:
            # The server lets everybody in so far; it may ask for a login later, for a tool.
            with contextlib.suppress(RefusedGrantError):
                await login.log_in()
        return login.credential, tools
    finally:
        await catalog.aclose()


async def sign_out(target: PluginAtAddress, store: OAuthCredentialStore, policy: NetworkPolicy) -> str | None:
    """Have the tokens revoked where that can be done; returns why they may still be valid elsewhere, or None.

    What is kept of them here is for the caller to delete, also where the plugin is gone.
    """
    revoked = False
    try:
        async with anyio.create_task_group() as tasks:
            login = OAuthLogins(store, policy, tasks).of(target.plugin.id, target.url, target.config)
            revoked = await login.revoke()
    except ExceptionGroup as group:
        error = next(leaves(group))
        if isinstance(error, AuthorizationError):
            return str(error)
        raise error from None
    return None if revoked else "its authorization server does not say how to revoke tokens"


def _authority(credential: Credential) -> str | None:
    if credential.authority is None:
        return None
    parts = urlsplit(str(OAuthMetadata.model_validate_json(credential.authority).issuer))
    return f"{parts.scheme}://{parts.netloc}"
