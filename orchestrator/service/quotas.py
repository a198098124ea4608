"""What API tokens may use up: requests a minute, and output tokens a day.

How many runs there are at once is known, and limited, in `service/runs.py`. Requests and runs are counted
in this process, output tokens in the store, for all processes together.
"""

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

import anyio
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import TokenStore
from orchestrator.service.callers import Caller

MINUTE: Final = 60.0
MOST_COUNTED: Final = 10_000
"""Tokens and addresses; above that, those that asked for nothing of late are forgotten."""

log = structlog.stdlib.get_logger(__name__)


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
        self._owed: Counter[str] = Counter()
        """What runs generated that is not in the store yet."""

    def count_request(self, caller: Caller) -> None:
        """Count one request of the caller's token against its last 60 seconds.

        Raises:
            OrchestratorError: `rate_limited`, with when the next one is admitted; it is not counted then.
        """
        if caller.token_id is not None:
            allowed = caller.limits.requests_per_minute or self._requests_per_minute
            self._count(f"token {caller.token_id}", allowed, "This API token is")

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
            message = f"{whose} limited to {allowed} requests a minute. Try again later."
            wait = made[0] + MINUTE - now if made else MINUTE
            raise OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=wait)
        made.append(now)

    async def output_budget(self, caller: Caller, asked: int | None) -> int | None:
        """How many tokens a run of the caller's may generate: what it asks for, or what is left of the day.

        Raises:
            OrchestratorError: `rate_limited` where nothing is left.
        """
        allowed = caller.limits.output_tokens_per_day
        if caller.token_id is None or allowed is None:
            return asked
        now = self._now()
        owed = self._owed[caller.token_id]  # before the store is asked: rather counted twice than not at all
        left = allowed - await self._store.spent(caller.token_id, now.date()) - owed
        if left <= 0:
            midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
            message = f"This API token has used up its {allowed} output tokens of today (UTC). Try again tomorrow."
            seconds = (midnight - now).total_seconds()
            raise OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=seconds)
        return left if asked is None else min(asked, left)

    def owe(self, token_id: str, output_tokens: int) -> None:
        """Count what a run generated from the moment on at which its client hears of its end."""
        self._owed[token_id] += output_tokens

    async def spend(self, token_id: str, output_tokens: int) -> None:
        """Write down what is owed of a run; a store that fails costs the count, not the run."""
        if output_tokens == 0:
            return
        try:
            await self._store.spend(token_id, self._now().date(), output_tokens)
        except OrchestratorError as error:
            log.error("the use of a token could not be counted", token_id=token_id, reason=error.info.message)
        finally:
            self._owed[token_id] -= output_tokens
            if self._owed[token_id] <= 0:
                del self._owed[token_id]
