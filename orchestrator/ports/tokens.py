"""What the services need of the store of API tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What a token may use up; None is no limit. Days are those of UTC."""

    requests_per_minute: int | None = None
    concurrent_runs: int | None = None
    output_tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret. `owner` survives rotation; `id` is the public part of the token."""

    id: str
    name: str
    owner: str
    permissions: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None
    limits: TokenLimits = field(default_factory=TokenLimits)
    lineage: str | None = None
    """The id of the first token that it came from by rotation; None for one that did not."""

    @property
    def account(self) -> str:
        """Under which what it uses up is counted: rotation goes on with the same account."""
        return self.lineage or self.id

    def is_valid(self, at: datetime) -> bool:
        """Whether it lets anybody in at that moment."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A run that asks to be admitted: `output_tokens` are what it asks to write, None is as many as there may be.

    It counts until it is settled, or `lease_until` has passed.
    """

    id: str
    account: str
    day: date
    output_tokens: int | None
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a run was admitted, with how many tokens to write (None is no limit), and what stood in its way.

    `running` runs of the account were under way, which held `reserved` of the day's tokens; `spent` were written.
    """

    admitted: bool
    output_tokens: int | None
    running: int
    reserved: int
    spent: int


class TokenStore(Protocol):
    """API tokens; only a keyed digest of each secret's digest is kept. Every method is one durable unit of work."""

    async def create_token(self, token: Token, secret_digest: bytes) -> None:
        """Insert it, unless a token that is valid at its `created_at` has its name.

        Raises:
            OrchestratorError: `token_conflict` on `name`.
        """
        ...

    async def replace_token(self, old_id: str, token: Token, secret_digest: bytes, ends_at: datetime) -> bool:
        """Insert `token`; the old one ends at `ends_at`, or when it would have ended anyway.

        False, and nothing, where there is no old one that is neither revoked nor expired at
        `token.created_at`.

        Raises:
            OrchestratorError: `token_conflict`, and nothing is written: the old one was replaced already by
                one that is valid.
        """
        ...

    async def find_token(self, token_id: str) -> Token | None:
        """The token, revoked or not."""
        ...

    async def match_token(self, token_id: str, secret_digest: bytes) -> Token | None:
        """The token, revoked or not, where its secret has this digest; compared in constant time."""
        ...

    async def list_tokens(self) -> Sequence[Token]:
        """Every token, revoked ones too, in the order in which they were made."""
        ...

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Whether there was such a token that was not revoked yet."""
        ...

    async def revoke_named(self, name: str, at: datetime) -> Sequence[Token]:
        """Revoke every token of that name that is valid at that moment, and tell which; none is made meanwhile."""
        ...

    async def find_ended(self, token_ids: Sequence[str], at: datetime) -> Sequence[Token]:
        """Those of these tokens that are revoked, or have expired at that moment."""
        ...

    async def count_request(self, account: str, allowed: int, at: datetime) -> datetime | None:
        """Count a request against the last 60 seconds, for all processes together.

        None where it is one of the `allowed`; else nothing is counted, and it is told when the next one is admitted.
        """
        ...

    async def admit_run(self, claim: RunClaim, limits: TokenLimits, at: datetime) -> Admission:
        """Admit a run within `concurrent_runs` and `output_tokens_per_day`, and reserve what it may write.

        Of runs that ask at once, in whatever process, each sees what the others hold.
        """
        ...

    async def renew_runs(self, claim_ids: Sequence[str], lease_until: datetime) -> None:
        """Let these claims count until then."""
        ...

    async def settle_run(self, claim_id: str | None, account: str, day: date, output_tokens: int) -> None:
        """Give the claim back, and add what was written to its day; to `day` where there is no claim."""
        ...

    async def spent(self, account: str, day: date) -> int:
        """How many tokens were generated for it on that day, by all processes."""
        ...
