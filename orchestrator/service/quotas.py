"""What API tokens may use up: requests a minute, runs at once, and output tokens a day.

What a token has a limit of its own for is counted in the store, for all processes together; requests of
those without one, and of addresses, are counted in this process.
"""

import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final

import anyio
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Admission, RunClaim, TokenLimits, TokenStore
from orchestrator.service.callers import Caller
from orchestrator.service.leases import LEASE_SECONDS

MINUTE: Final = 60.0
MOST_COUNTED: Final = 10_000
"""Tokens and addresses; above that, those that asked for nothing of late are forgotten."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a run was admitted with: how many tokens it may write, and where it is counted.

    `written` were counted before it was taken up.
    """

    output_tokens: int | None = None
    account: str | None = None
    claim_id: str | None = None
    written: int = 0


NO_TICKET: Final = Ticket()


class Quotas:
    """`clock` is monotonic, in seconds; `now` is the time of day.

    `requests_per_minute` is for tokens without such a limit of their own, and for addresses.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        requests_per_minute: int | None = None,
        clock: Callable[[], float] = anyio.current_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._requests_per_minute = requests_per_minute
        self._clock = clock
        self._now = now
        self._requests: dict[str, deque[float]] = {}

    async def count_request(self, caller: Caller) -> None:
        """Count one request of the caller's token against its last 60 seconds.

        Raises:
            OrchestratorError: `rate_limited`, with when the next one is admitted; it is not counted then.
        """
        account = caller.account or caller.token_id
        if account is None:
            return
        allowed = caller.limits.requests_per_minute
        if allowed is None:
            self._count(f"token {account}", self._requests_per_minute, "This API token is")
            return
        now = self._now()
        free_at = await self._store.count_request(account, allowed, now)
        if free_at is not None:
            raise _too_often("This API token is", allowed, (free_at - now).total_seconds())

    def count_anonymous(self, address: str) -> None:
        """Count one request without a token, or with a wrong one, against the last 60 seconds of its address.

        Raises:
            OrchestratorError: `rate_limited`; it is not counted then.
        """
        self._count(f"address {address}", self._requests_per_minute, "Whoever has this address is")

    def _count(self, who: str, allowed: int | None, whose: str) -> None:
        if allowed is None:
            return
        now = self._clock()
        if len(self._requests) > MOST_COUNTED:
            self._requests = {one: made for one, made in self._requests.items() if made and made[-1] > now - MINUTE}
        made = self._requests.setdefault(who, deque())
        while made and made[0] <= now - MINUTE:
            made.popleft()
        if len(made) >= allowed:
            raise _too_often(whose, allowed, made[0] + MINUTE - now if made else MINUTE)
        made.append(now)

    @asynccontextmanager
    async def admitted(
        self, caller: Caller, asked: int | None, *, written: int = 0, generates: bool = True
    ) -> AsyncGenerator[Ticket]:
        """A run of the caller's is admitted, with what it asks for or what is left of the day.

        `asked` is for the whole run, of which `written` were counted before; one that does not generate
        needs nothing of the day. What raises in the block gives the admission back.

        Raises:
            OrchestratorError: `rate_limited` where too many runs are under way, or nothing is left of the day.
        """
        ticket = await self._admit(caller, asked, written, generates)
        try:
            yield ticket
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.settle(ticket, written)
            raise

    async def _admit(self, caller: Caller, asked: int | None, written: int, generates: bool) -> Ticket:
        account, limits = caller.account or caller.token_id, caller.limits
        if not generates:
            limits = replace(limits, output_tokens_per_day=None)
        if account is None or (limits.concurrent_runs is None and limits.output_tokens_per_day is None):
            return Ticket(asked, account, None, written)
        now = self._now()
        wanted = None if asked is None else max(1, asked - written)
        lease_until = now + timedelta(seconds=LEASE_SECONDS)
        claim = RunClaim(f"run_{secrets.token_hex(12)}", account, now.date(), wanted, lease_until)
        admission = await self._store.admit_run(claim, limits, now)
        if not admission.admitted:
            raise _not_admitted(admission, limits, now)
        given = admission.output_tokens
        return Ticket(asked if given is None or given == wanted else given + written, account, claim.id, written)

    async def renew(self, tickets: Sequence[Ticket]) -> None:
        """Let what these runs hold be theirs for another while."""
        claims = [ticket.claim_id for ticket in tickets if ticket.claim_id is not None]
        if claims:
            await self._store.renew_runs(claims, self._now() + timedelta(seconds=LEASE_SECONDS))

    async def settle(self, ticket: Ticket, output_tokens: int) -> None:
        """Give back what a run was admitted with, and count what it generated, all in all.

        A store that fails costs the count, not the run.
        """
        generated = max(0, output_tokens - ticket.written)
        if ticket.account is None or (ticket.claim_id is None and generated == 0):
            return
        try:
            await self._store.settle_run(ticket.claim_id, ticket.account, self._now().date(), generated)
        except OrchestratorError as error:
            log.error("the use of a token could not be counted", account=ticket.account, reason=error.info.message)


def _too_often(whose: str, allowed: int, wait: float) -> OrchestratorError:
    message = f"{whose} limited to {allowed} requests a minute. Try again later."
    return OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=wait)


def _not_admitted(admission: Admission, limits: TokenLimits, now: datetime) -> OrchestratorError:
    allowed = limits.output_tokens_per_day
    seconds = 1.0
    if limits.concurrent_runs is not None and admission.running >= limits.concurrent_runs:
        count = limits.concurrent_runs
        message = f"Too many requests at once with this API token: {count} run already. Try again later."
    elif allowed is not None and admission.spent < allowed:
        message = (
            f"What is left of the {allowed} output tokens of today (UTC) of this API token is kept for its runs "
            'under way. Try again later, or let each ask for less with "max_output_tokens".'
        )
    else:
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        message = f"This API token has used up its {allowed} output tokens of today (UTC). Try again tomorrow."
        seconds = (midnight - now).total_seconds()
    return OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=seconds)
