"""What the services need of the store of API tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret. `owner` survives rotation; `id` is the public part of the token."""

    id: str
    name: str
    owner: str
    permissions: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None


class TokenStore(Protocol):
    """API tokens; only a keyed-by-id SHA-256 of the secret is kept (it has 119 bits of entropy)."""

    async def create_token(self, token: Token, secret_digest: bytes) -> None: ...

    async def find_token(self, token_id: str) -> tuple[Token, bytes] | None:
        """The token and the digest of its secret, revoked or not."""
        ...

    async def list_tokens(self) -> Sequence[Token]: ...

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Whether there was such a token that was not revoked yet."""
        ...
