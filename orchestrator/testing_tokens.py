"""The token store's in-memory twin, for tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Token


class MemoryTokenStore:
    """`TokenStore` without a database."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[Token, bytes]] = {}
        self._holders: dict[str, str] = {}
        self._spent: Counter[tuple[str, date]] = Counter()

    async def create_token(self, token: Token, secret_digest: bytes) -> None:
        if self._valid_named(token.name, token.created_at):
            raise _name_taken(token.name)
        self._add(token, secret_digest)

    def _add(self, token: Token, secret_digest: bytes) -> None:
        if token.id in self._tokens:
            raise OrchestratorError(ErrorKind.STORE_ERROR, f"There is a token '{token.id}' already.")
        self._tokens[token.id] = token, secret_digest
        self._holders[token.name] = token.id

    def _valid_named(self, name: str, at: datetime) -> list[Token]:
        return [token for token in self._sorted() if token.name == name and token.is_valid(at)]

    def _sorted(self) -> list[Token]:
        return sorted((token for token, _ in self._tokens.values()), key=lambda token: (token.created_at, token.id))

    async def replace_token(self, old_id: str, token: Token, secret_digest: bytes, ends_at: datetime) -> bool:
        old, digest = self._tokens.get(old_id, (None, b""))
        now = token.created_at
        if old is None or not old.is_valid(now):
            return False
        holder = self._holders[token.name]
        if holder != old_id and self._tokens[holder][0].is_valid(now):
            raise _name_taken(token.name)
        self._add(token, secret_digest)
        ends = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
        self._tokens[old_id] = (replace(old, revoked_at=ends) if ends <= now else replace(old, expires_at=ends)), digest
        return True

    async def find_token(self, token_id: str) -> Token | None:
        return self._tokens.get(token_id, (None, b""))[0]

    async def match_token(self, token_id: str, secret_digest: bytes) -> Token | None:
        token, digest = self._tokens.get(token_id, (None, b""))
        return token if digest == secret_digest else None

    async def list_tokens(self) -> Sequence[Token]:
        return self._sorted()

    async def revoke_named(self, name: str, at: datetime) -> Sequence[Token]:
        ended = self._valid_named(name, at)
        for token in ended:
            await self.revoke_token(token.id, at)
        return [self._tokens[token.id][0] for token in ended]

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        token, digest = self._tokens.get(token_id, (None, b""))
        if token is None or token.revoked_at is not None:
            return False
        self._tokens[token_id] = replace(token, revoked_at=at), digest
        return True

    async def spend(self, token_id: str, day: date, output_tokens: int) -> None:
        self._spent[token_id, day] += output_tokens

    async def spent(self, token_id: str, day: date) -> int:
        return self._spent[token_id, day]


def _name_taken(name: str) -> OrchestratorError:
    message = f"There is a valid token called '{name}' already: revoke it, rotate it, or choose another name."
    return OrchestratorError(ErrorKind.TOKEN_CONFLICT, message, param="name")
