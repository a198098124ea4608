"""Takes the content of old responses away, a little at a time, so that nobody who writes waits for it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import structlog

from orchestrator.core.errors import OrchestratorError
from orchestrator.ports import ResponseGraph

SWEEP_SECONDS = 600.0
"""From the end of one look through the store to the beginning of the next."""

PAUSE_SECONDS = 0.05
AT_ONCE = 100

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What is kept: for how many days, how many for each owner; None is without limit."""

    days: int | None = None
    max_responses: int | None = None
    keep_skeleton: bool = True


class RetentionService:
    """Keeps to the policy. Several processes may do it on one database at once."""

    def __init__(self, graph: ResponseGraph, policy: RetentionPolicy) -> None:
        self._graph = graph
        self._policy = policy

    async def keep(self) -> None:
        """Look through the store again and again; runs until cancelled."""
        while True:
            try:
                erased = await self.sweep(datetime.now(UTC))
                if erased:
                    log.info("retention", erased=erased)
                await self._graph.overwrite(whole=True)
            except OrchestratorError as error:
                log.error("retention could not be kept", reason=error.info.message)
            await anyio.sleep(SWEEP_SECONDS)

    async def sweep(self, now: datetime) -> int:
        """Erase all that is to go as of `now`, in small units of work; how many responses.

        Raises:
            OrchestratorError: `store_error`; what is erased by then stays so.
        """
        return await self._by_age(now) + await self._by_count(now)

    async def _by_age(self, now: datetime) -> int:
        policy = self._policy
        if policy.days is None:
            return 0
        before = now - timedelta(days=policy.days)
        erased = 0
        while True:
            # What two old branches grew from is the end of a branch only when both are gone.
            round_erased, after = 0, None
            while True:
                done = await self._graph.prune_older(before, after, AT_ONCE, now, keep_skeleton=policy.keep_skeleton)
                round_erased, after = round_erased + done.erased, done.after
                if after is None:
                    break
                await anyio.sleep(PAUSE_SECONDS)
            erased += round_erased
            if not round_erased:
                return erased

    async def _by_count(self, now: datetime) -> int:
        policy = self._policy
        if policy.max_responses is None:
            return 0
        erased = 0
        while True:
            done = await self._graph.prune_beyond(
                policy.max_responses, AT_ONCE, now, keep_skeleton=policy.keep_skeleton
            )
            if not done:
                return erased
            erased += done
            await anyio.sleep(PAUSE_SECONDS)
