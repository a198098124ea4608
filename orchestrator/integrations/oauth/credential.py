"""What is kept between a login and the next: tokens, the client that they were given to, and where it was. Pure."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from orchestrator.integrations.oauth.config import Grant, OAuthConfig

_MARGIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Credential:
    """The standing of one plugin with its authorization server. `expires_at` is in seconds since 1970.

    `client`, `authority` and `resource` are documents of OAuth as JSON text. A client that `mcp.json`
    gives has no `client`: only its id is kept. `wanted_scope` is what a server asked for in vain.
    """

    server_url: str = field(repr=False)
    grant: Grant = "authorization_code"
    client_id: str | None = None
    client: str | None = field(default=None, repr=False)
    authority: str | None = field(default=None, repr=False)
    resource: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    scope: str | None = None
    expires_at: float | None = None
    lifetime: float | None = None
    wanted_scope: str | None = None

    def is_expired(self, now: float) -> bool:
        """Whether the access token is known to be of no use any more."""
        return self.expires_at is not None and now >= self.expires_at

    def is_due(self, now: float) -> bool:
        """Whether the access token should be renewed before it is used again."""
        if self.expires_at is None:
            return False
        return now >= self.expires_at - min(_MARGIN_SECONDS, (self.lifetime or 0.0) / 10)

    def fits(self, config: OAuthConfig) -> bool:
        """Whether it was got in the way that `mcp.json` asks for now."""
        given = config.client_id or config.client_metadata_url
        if self.grant != config.grant or (given is not None and self.client_id not in (None, given)):
            return False
        # A client that was given once and is not any more: nothing is known of it here.
        return given is not None or self.client_id is None or self.client is not None

    def without_tokens(self) -> "Credential":
        """The same client, logged out."""
        return replace(self, access_token=None, refresh_token=None, expires_at=None, lifetime=None)

    @property
    def secrets(self) -> frozenset[str]:
        """What no message may show."""
        return frozenset(secret for secret in (self.access_token, self.refresh_token) if secret is not None)


def encode(credential: Credential) -> bytes:
    """As it is kept, before it is encrypted."""
    return msgspec.json.encode(credential)


def decode(content: bytes) -> Credential | None:
    """What `encode` was given; None where an older version wrote something else."""
    try:
        return msgspec.json.decode(content, type=Credential)
    except msgspec.DecodeError:
        return None


def credential_key(plugin_id: str, server_url: str) -> str:
    """One for each plugin and address: a plugin that moves takes no token along."""
    return hashlib.sha256(f"{plugin_id}\n{server_url}".encode()).hexdigest()
