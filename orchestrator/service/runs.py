"""Owns the runs in flight: starts them, lets any number of readers follow, ends them."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import anyio
import anyio.abc
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.request import RunRequest
from orchestrator.core.response import SERVICE_STOPS
from orchestrator.ports import ResponseStore, Token
from orchestrator.service.driver import RunContext
from orchestrator.service.leases import LEASE_SECONDS, RENEW_SECONDS, is_dead
from orchestrator.service.live_runs import LiveRun, Spending

PUT_AWAY_SECONDS = 10.0
TOLD_SECONDS = 300.0
MOST_TOLD = 32
"""How long, and how many, runs that outlived their clients can be told again event by event after their end."""
CANCEL_CHECK_SECONDS = 0.5

CancelRequests: TypeAlias = Callable[[str], Awaitable[Sequence[tuple[str, str]]]]
"""The responses that a holder runs and that are to end, each with the reason."""

EndedTokens: TypeAlias = Callable[[Sequence[str], datetime], Awaitable[Sequence[Token]]]
"""Those of these API tokens that are revoked, or have expired at that moment."""

log = structlog.stdlib.get_logger(__name__)


class RunService:
    """The runs of this process, and the care for those of processes that died.

    `task_group` belongs to the lifespan; `max_concurrent_runs` bounds how many run at once,
    `on_end` is told of each how many seconds it took and what became of it, `spending` how many tokens
    were generated for which API token.
    """

    def __init__(
        self,
        store: ResponseStore,
        holder: str,
        task_group: anyio.abc.TaskGroup,
        max_concurrent_runs: int,
        on_end: Callable[[float, str], None] | None = None,
        spending: Spending | None = None,
    ) -> None:
        self._store = store
        self._holder = holder
        self._task_group = task_group
        self._max = max_concurrent_runs
        self._on_end = on_end
        self._spending = spending
        self._live: dict[str, LiveRun] = {}
        self._told: dict[str, tuple[float, LiveRun]] = {}
        self._idle = anyio.Event()
        self._closing = False

    @property
    def live(self) -> int:
        """How many run now. One that is over has given its place up before anybody heard of its end."""
        return sum(not run.over for run in self._live.values())

    def start(self, request: RunRequest, context: RunContext) -> LiveRun:
        """Start a run.

        Raises:
            OrchestratorError: `rate_limited` where too many run already, or the service is stopping;
                `approval_conflict` where a run of this response is going on here.
        """
        if self._closing or self.live >= self._max:
            message = (
                "The service is stopping."
                if self._closing
                else f"Too many requests at once: {self._max} run already. Try again later."
            )
            raise OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=1)
        if request.response_id in self._live:
            message = "The response is just being taken up by another request."
            raise OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message)
        live = self._live[request.response_id] = LiveRun(request, context, self._spending)
        self._task_group.start_soon(self._drive, live)
        return live

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this beside the runs, for as long as the service does not stop; it raises nothing."""
        self._task_group.start_soon(work)

    async def put_away(self, response_id: str, owner: str) -> None:
        """Wait until a run of this response of `owner`'s that has said its last word has closed its connections too."""
        with anyio.move_on_after(PUT_AWAY_SECONDS):
            while (live := self._live.get(response_id)) is not None and live.is_told and live.owner == owner:
                await live.gone.wait()

    def find(self, response_id: str) -> LiveRun | None:
        """The run of this response, where this process has it."""
        return self._live.get(response_id)

    def find_told(self, response_id: str) -> LiveRun | None:
        """The run of this response, where this process has it or remembers what it said."""
        self._forget_old()
        told = self._told.get(response_id)
        return self._live.get(response_id) or (told and told[1])

    def forget(self, response_ids: Iterable[str]) -> None:
        """Remember nothing of what these said: they are deleted."""
        for response_id in response_ids:
            self._told.pop(response_id, None)
            live = self._live.get(response_id)
            if live is not None:  # it has said its last word and closes what it opened
                live.forgotten = True

    def _remember(self, live: LiveRun) -> None:
        if live.lasting and not live.forgotten:
            self._told[live.request.response_id] = anyio.current_time(), live
            self._forget_old()

    def _forget_old(self) -> None:
        before = anyio.current_time() - TOLD_SECONDS
        old = [response_id for response_id, (at, _) in self._told.items() if at < before]
        self.forget([*old, *list(self._told)[: max(0, len(self._told) - len(old) - MOST_TOLD)]])

    async def heed_cancels(self, requests: CancelRequests) -> None:
        """End the runs of this process that somebody cancelled through another one; runs until cancelled."""
        while True:
            await anyio.sleep(CANCEL_CHECK_SECONDS)
            try:
                for response_id, reason in await requests(self._holder) if self._live else ():
                    live = self.find(response_id)
                    if live is not None:
                        live.cancel(reason)
            except OrchestratorError as error:
                log.error("requests to cancel could not be looked for", reason=error.info.message)

    async def heed_tokens(self, ended_tokens: EndedTokens) -> None:
        """End the runs of this process whose API token is revoked or expires; runs until cancelled."""
        while True:
            await anyio.sleep(CANCEL_CHECK_SECONDS)
            running = [live for live in self._live.values() if live.token_id is not None and not live.over]
            token_ids = sorted({live.token_id for live in running if live.token_id is not None})
            try:
                ended = (
                    {token.id: token for token in await ended_tokens(token_ids, datetime.now(UTC))} if running else {}
                )
            except OrchestratorError as error:
                log.error("tokens that ended could not be looked for", reason=error.info.message)
                continue
            for live in running:
                token = ended.get(live.token_id or "")
                if token is not None:
                    live.cancel(f"its API token {'expired' if token.revoked_at is None else 'was revoked'}")

    async def _drive(self, live: LiveRun) -> None:
        with structlog.contextvars.bound_contextvars(response_id=live.request.response_id):
            started = anyio.current_time()
            try:
                await live.drive()
            finally:
                if self._on_end is not None:
                    self._on_end(anyio.current_time() - started, live.status)
                with anyio.CancelScope(shield=True):
                    await live.settle(live.output_tokens)
                del self._live[live.request.response_id]
                self._remember(live)
                live.gone.set()
                if not self._live:
                    self._idle.set()

    async def recover(self) -> None:
        """End what dead processes left in progress."""
        holders = await self._store.holders_in_progress()
        dead = [holder for holder in holders if is_dead(holder)]
        for response_id in await self._store.end_abandoned(datetime.now(UTC), dead):
            log.warning("its process died: the response is incomplete now", response_id=response_id)

    async def keep_leases(self) -> None:
        """Renew the leases of what runs here and look after those that expired; runs until cancelled."""
        while True:
            await anyio.sleep(RENEW_SECONDS)
            try:
                if self._live:
                    until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
                    await self._store.renew_leases(list(self._live), until)
                    if self._spending is not None:
                        await self._spending.renew([live.ticket for live in self._live.values() if not live.over])
                await self.recover()
            except OrchestratorError as error:
                log.error("leases could not be looked after", reason=error.info.message)

    async def drain(self, seconds: float) -> None:
        """Take no more runs, and let those that run go on for `seconds`; then end them as cancelled."""
        self._closing = True
        await self._until_idle(seconds)
        for live in list(self._live.values()):
            live.cancel(SERVICE_STOPS)

    async def close(self, grace_seconds: float) -> None:
        """Take no more runs, end those that run as cancelled, and wait for their saves."""
        await self.drain(0)
        await self._until_idle(grace_seconds)

    async def _until_idle(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._live:
                self._idle = anyio.Event()
                await self._idle.wait()
