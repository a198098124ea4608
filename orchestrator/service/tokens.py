"""API tokens: `sk-lm-<8>:<20>`, shown once. Source: section 7 of the contract."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Token, TokenStore
from orchestrator.service.chats import PERMISSIONS

_ALPHABET: Final = string.ascii_letters + string.digits
_TOKEN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")
_NO_DIGEST: Final = bytes(hashlib.sha256().digest_size)


def looks_like_a_token(text: str) -> bool:
    """Whether `text` was meant as a token of ours; local clients send all kinds of placeholders."""
    return text.startswith("sk-lm-")


class TokenService:
    """Makes tokens and tells whose a token is."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    async def create_token(
        self, name: str, permissions: Iterable[str], *, owner: str | None = None
    ) -> tuple[Token, str]:
        """A new token and its text, which nobody can ever show again.

        `owner` None makes a new one; giving that of an earlier token hands its responses on.

        Raises:
            OrchestratorError: `invalid_value` for a permission that there is not.
        """
        wanted = frozenset(permissions)
        unknown = sorted(wanted.difference(PERMISSIONS))
        if unknown:
            message = f"There is no permission '{unknown[0]}', only: {', '.join(PERMISSIONS)}."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="permissions")
        token_id, secret = _random_text(8), _random_text(20)
        owner = owner or f"owner_{secrets.token_hex(8)}"
        token = Token(token_id, name, owner, wanted, datetime.now(UTC))
        await self._store.create_token(token, _digest(token_id, secret))
        return token, f"sk-lm-{token_id}:{secret}"

    async def verify(self, text: str) -> Token:
        """The token that `text` is.

        Raises:
            OrchestratorError: `invalid_api_key`, in the same words whatever is wrong; never with the text.
        """
        parts = _TOKEN.fullmatch(text)
        if parts is not None:
            found = await self._store.find_token(parts[1])
            token, digest = found or (None, _NO_DIGEST)
            matches = hmac.compare_digest(_digest(parts[1], parts[2]), digest)
            if token is not None and matches and token.revoked_at is None:
                return token
        raise OrchestratorError(ErrorKind.INVALID_API_KEY, "The API token is not valid.")


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(token_id: str, secret: str) -> bytes:
    return hashlib.sha256(f"{token_id}:{secret}".encode()).digest()
