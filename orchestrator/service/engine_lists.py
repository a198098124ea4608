"""What one engine offers, as far as it is known: asked beside the requests, so that no request waits for another's engine."""

from dataclasses import dataclass

import anyio
import anyio.abc
import structlog

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.ports import Engine, NobodyThereError

CACHE_SECONDS = 5.0
PATIENCE_SECONDS = 3.0
"""How long a listing that is under way is waited for by a request that needs it."""
IMPATIENT_SECONDS = 0.5
"""The same, of an engine that did not answer last time. Its listing goes on when nobody waits any more."""
LISTING_SECONDS = 60.0
"""How long a listing may take where the engine itself sets no bound."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether an engine answered when it was last asked."""

    engine: str
    up: bool


class EngineList:
    """The models of one engine, listed in `tasks`; without those whoever waits lists them himself.

    An engine that is not `expected` is missed by nobody as long as nobody was ever there.
    """

    def __init__(self, engine: Engine, tasks: anyio.abc.TaskGroup | None, *, expected: bool) -> None:
        self.engine = engine
        self._tasks = tasks
        self._expected = expected
        self._last: tuple[Model, ...] | None = None
        self._failure: ErrorInfo | None = None
        self._heard_at = 0.0
        self._stale = True
        self._listing: anyio.Event | None = None
        self._asked_at = 0.0
        self._told: str | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """What can be used now: the last list, unless the engine did not answer after it."""
        return () if self._failure is not None else self._last or ()

    @property
    def last(self) -> tuple[Model, ...]:
        """What the engine listed last, whether it answers now or not."""
        return self._last or ()

    @property
    def problem(self) -> ErrorInfo | None:
        """Why nothing is known of the engine now, None where its list is."""
        if self._failure is not None or self._last is not None:
            return self._failure
        address = self.engine.traits.address
        where = "" if address is None else f" at {address}"
        message = f"The engine '{self.engine.name}'{where} has not said yet which models it has. Try again soon."
        return ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)

    @property
    def missed(self) -> bool:
        """Whether there is a problem that users have to know of."""
        return self.problem is not None and self._expected

    @property
    def health(self) -> EngineHealth | None:
        """None where nothing is known yet, or nobody expects anything."""
        if self._failure is None:
            return None if self._last is None else EngineHealth(self.engine.name, up=True)
        return EngineHealth(self.engine.name, up=False) if self._expected else None

    @property
    def due(self) -> bool:
        """Whether the engine is to be asked, or is being asked, before what is known counts."""
        if self._stale or self._listing is not None or self._failure is not None:
            return True
        return anyio.current_time() - self._heard_at > CACHE_SECONDS

    @property
    def heard(self) -> bool:
        """Whether the engine has answered or failed to."""
        return self._last is not None or self._failure is not None

    def forget(self) -> None:
        """What was listed has changed: a listing that is under way may have missed it."""
        self._stale = True

    def ask(self) -> None:
        """Have the engine asked, unless it is being asked."""
        if self._listing is None and self._tasks is not None:
            self._listing = anyio.Event()
            self._asked_at = anyio.current_time()
            self._tasks.start_soon(self._keep_asking, self._listing)

    async def wait(self) -> None:
        """Wait for the answer, but for no longer than the engine deserves: what is known has to do then."""
        if self._tasks is None:
            await self._ask_once()
        elif self._listing is not None:
            patience = PATIENCE_SECONDS if self._failure is None else IMPATIENT_SECONDS
            with anyio.move_on_after(max(0.0, self._asked_at + patience - anyio.current_time())):
                await self._listing.wait()

    async def _keep_asking(self, listing: anyio.Event) -> None:
        try:
            while True:
                await self._ask_once()
                if not self._stale:
                    return
        finally:
            self._listing = None
            listing.set()

    async def _ask_once(self) -> None:
        self._stale = False
        try:
            with anyio.fail_after(LISTING_SECONDS):
                models = tuple(await self.engine.models())
        except OrchestratorError as error:
            self._fell_silent(error.info, nobody=isinstance(error, NobodyThereError))
        except TimeoutError:
            message = f"The engine '{self.engine.name}' did not list its models within {LISTING_SECONDS:g} seconds."
            self._fell_silent(ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message), nobody=False)
        except Exception:  # the owner of this task must not go down with one listing
            log.exception("listing models failed unexpectedly", engine=self.engine.name)
            message = f"The engine '{self.engine.name}' cannot list its models; the log has the details."
            self._fell_silent(ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message), nobody=False)
        else:
            self._answered(models)
        self._heard_at = anyio.current_time()

    def _answered(self, models: tuple[Model, ...]) -> None:
        if self._told is not None:
            log.info("an engine answers again", engine=self.engine.name)
        self._last, self._failure, self._told, self._expected = models, None, None, True

    def _fell_silent(self, why: ErrorInfo, *, nobody: bool) -> None:
        self._failure = ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, why.message)
        self._expected = self._expected or not nobody
        if self._expected and self._told != why.message:
            self._told = why.message
            log.warning("an engine does not answer", engine=self.engine.name, reason=why.message)
