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

log = structlog.stdlib.get_logger(__name__)


class Quotas:
    """`clock` is monotonic, in seconds; `now` is the time of day."""

    def __init__(
        self,
        store: TokenStore,
        *,
        clock: Callable[[], float] = anyio.current_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
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
        allowed = caller.limits.requests_per_minute
        if caller.token_id is None or allowed is None:
            return
        made, now = self._requests.setdefault(caller.token_id, deque()), self._clock()
        while made and made[0] <= now - MINUTE:
            made.popleft()
        if len(made) >= allowed:
            message = f"This API token is limited to {allowed} requests a minute. Try again later."
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
