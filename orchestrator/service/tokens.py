"""API tokens: `sk-lm-<8>:<20>`, shown once. Source: section 7 of the contract."""

import hashlib
import re
import secrets
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.core.errors import BAD_TOKEN, ErrorKind, OrchestratorError
from orchestrator.core.permissions import permission_problem
from orchestrator.ports import Token, TokenLimits, TokenStore

BOOTSTRAP_NAME: Final = "bootstrap"
MAX_NAME_LENGTH: Final = 200

_ALPHABET: Final = string.ascii_letters + string.digits
_TOKEN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")


def looks_like_a_token(text: str) -> bool:
    """Whether `text` was meant as a token of ours; local clients send all kinds of placeholders."""
    return text.startswith("sk-lm-")


class TokenService:
    """Makes tokens and tells whose a token is. `now` is the time of day."""

    def __init__(self, store: TokenStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now

    async def create_token(
        self,
        name: str,
        permissions: Iterable[str],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
        limits: TokenLimits | None = None,
    ) -> tuple[Token, str]:
        """A new token and its text, which nobody can ever show again.

        `owner` None makes a new one; giving that of an earlier token hands its responses on.

        Raises:
            OrchestratorError: `invalid_value` on `name`, `permissions`, `expires_at`, or a field of `limits`;
                `token_conflict` on `name` where a valid token has it.
        """
        wanted = frozenset(permissions)
        limits = limits or TokenLimits()
        now = self._now()
        problem = _problem(name, wanted, limits, expires_at, now)
        if problem is not None:
            param, message = problem
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
        owner = owner or f"owner_{secrets.token_hex(8)}"
        token, text, digest = _minted(Token("", name, owner, wanted, now, expires_at=expires_at, limits=limits))
        await self._store.create_token(token, digest)
        return token, text

    async def rotate(self, token_id: str, *, grace: timedelta = timedelta()) -> tuple[Token, str]:
        """A new token in the place of that one: same name, owner, permissions, limits and end.

        The old one goes on for `grace`, so that clients can be told.

        Raises:
            OrchestratorError: `token_not_found` where there is no such token that is valid; `token_conflict`
                where it has been rotated already, and the new one is valid.
        """
        found = await self._store.find_token(token_id)
        if found is not None:
            now = self._now()
            token, text, digest = _minted(replace(found, created_at=now, lineage=found.account))
            if await self._store.replace_token(token_id, token, digest, now + grace):
                return token, text
        raise _no_such_token(token_id)

    async def revoke(self, token_id: str) -> Token:
        """End the token now, for every process that asks the same store.

        Raises:
            OrchestratorError: `token_not_found` where there is no such token that was not revoked yet.
        """
        if await self._store.revoke_token(token_id, self._now()):
            found = await self._store.find_token(token_id)
            if found is not None:
                return found
        raise _no_such_token(token_id)

    async def revoke_named(self, name: str) -> Sequence[Token]:
        """End every valid token of that name, those whose grace runs after a rotation too.

        Raises:
            OrchestratorError: `token_not_found` where there is none.
        """
        ended = await self._store.revoke_named(name, self._now())
        if not ended:
            message = f"There is no valid token called '{name}'."
            raise OrchestratorError(ErrorKind.TOKEN_NOT_FOUND, message)
        return ended

    async def list_tokens(self) -> Sequence[Token]:
        """Every token, ended ones too, in the order in which they were made."""
        return await self._store.list_tokens()

    async def bootstrap(self) -> str | None:
        """The text of a first token, which may do everything; None where there ever was one."""
        if await self._store.list_tokens():
            return None
        try:
            return (await self.create_token(BOOTSTRAP_NAME, ["admin"]))[1]
        except OrchestratorError as error:
            if error.info.kind is ErrorKind.TOKEN_CONFLICT:
                return None  # another process, started at the same moment, has made it and shows it
            raise

    async def verify(self, text: str) -> Token:
        """The token that `text` is.

        Raises:
            OrchestratorError: `invalid_api_key`, in the same words whatever is wrong, but for the holder
                of a token whose time is over; never with the text.
        """
        parts = _TOKEN.fullmatch(text)
        if parts is not None:
            token = await self._store.match_token(parts[1], _digest(parts[1], parts[2]))
            if token is not None and token.revoked_at is None:
                if token.is_valid(self._now()):
                    return token
                message = f"The API token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}."
                raise OrchestratorError(ErrorKind.INVALID_API_KEY, message)
        raise OrchestratorError(ErrorKind.INVALID_API_KEY, BAD_TOKEN)


def _problem(
    name: str, permissions: frozenset[str], limits: TokenLimits, expires_at: datetime | None, now: datetime
) -> tuple[str, str] | None:
    """What is wrong with a token to be, and which field it is; the first thing only."""
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        return "name", f"A token needs a name of 1 to {MAX_NAME_LENGTH} characters."
    if not permissions:
        return "permissions", "A token needs at least one permission."
    for permission in sorted(permissions):
        problem = permission_problem(permission)
        if problem is not None:
            return "permissions", problem
    if expires_at is not None and expires_at <= now:
        return "expires_at", "A token cannot expire in the past."
    for field in ("requests_per_minute", "concurrent_runs", "output_tokens_per_day"):
        limit: int | None = getattr(limits, field)
        if limit is not None and limit < 1:
            return f"limits.{field}", "A limit is a whole number from 1 on; leave it out for no limit."
    return None


def _no_such_token(token_id: str) -> OrchestratorError:
    message = f"There is no valid token with the id '{token_id}'. The id is the 8 characters after 'sk-lm-'."
    return OrchestratorError(ErrorKind.TOKEN_NOT_FOUND, message)


def _minted(token: Token) -> tuple[Token, str, bytes]:
    """The token with an id of its own, its text, and the digest of its secret."""
    token_id, secret = _random_text(8), _random_text(20)
    return replace(token, id=token_id), f"sk-lm-{token_id}:{secret}", _digest(token_id, secret)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(token_id: str, secret: str) -> bytes:
    return hashlib.sha256(f"{token_id}:{secret}".encode()).digest()
