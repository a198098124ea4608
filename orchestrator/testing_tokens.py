"""The token store's in-memory twin, for tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Admission, RunClaim, Token, TokenLimits


class MemoryTokenStore:
    """`TokenStore` without a database."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[Token, bytes]] = {}
        self._holders: dict[str, str] = {}
        self._requests: dict[str, list[datetime]] = {}
        self._runs: dict[str, tuple[RunClaim, int | None]] = {}
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

    async def find_ended(self, token_ids: Sequence[str], at: datetime) -> Sequence[Token]:
        found = sorted((token for token in self._sorted() if token.id in token_ids), key=lambda token: token.id)
        return [token for token in found if not token.is_valid(at)]

    async def count_request(self, account: str, allowed: int, at: datetime) -> datetime | None:
        made = self._requests.setdefault(account, [])
        recent = [moment for moment in made if moment > at - timedelta(seconds=60)]
        if len(recent) >= allowed:
            return recent[-allowed] + timedelta(seconds=60)
        self._requests[account] = [*recent, at]
        return None

    async def admit_run(self, claim: RunClaim, limits: TokenLimits, at: datetime) -> Admission:
        runs = {id: run for id, run in self._runs.items() if run[0].account != claim.account or run[0].lease_until > at}
        self._runs = runs
        mine = [run for run in runs.values() if run[0].account == claim.account]
        reserved = sum(kept or 0 for other, kept in mine if other.day == claim.day)
        used = await self.spent(claim.account, claim.day)
        full = limits.concurrent_runs is not None and len(mine) >= limits.concurrent_runs
        kept: int | None = None
        if limits.output_tokens_per_day is not None:
            left = max(0, limits.output_tokens_per_day - used - reserved)
            kept = left if claim.output_tokens is None else min(claim.output_tokens, left)
            full = full or left == 0
        if not full:
            self._runs[claim.id] = claim, kept
        return Admission(not full, claim.output_tokens if kept is None else kept, len(mine), reserved, used)

    async def renew_runs(self, claim_ids: Sequence[str], lease_until: datetime) -> None:
        for claim_id in self._runs.keys() & set(claim_ids):
            claim, kept = self._runs[claim_id]
            self._runs[claim_id] = replace(claim, lease_until=lease_until), kept

    async def settle_run(self, claim_id: str | None, account: str, day: date, output_tokens: int) -> None:
        settled = None if claim_id is None else self._runs.pop(claim_id, None)
        self._spent[account, day if settled is None else settled[0].day] += output_tokens

    async def spent(self, account: str, day: date) -> int:
        return self._spent[account, day]


def _name_taken(name: str) -> OrchestratorError:
    message = f"There is a valid token called '{name}' already: revoke it, rotate it, or choose another name."
    return OrchestratorError(ErrorKind.TOKEN_CONFLICT, message, param="name")
