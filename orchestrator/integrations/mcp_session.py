"""One connection to one MCP server, opened, served and closed by one task.

MCP's transports hold cancel scopes that must be left in the task that entered them, and an error of
one HTTP request can end a whole session. So `McpConnection.run` is the only task that touches the
transport; everybody else hands it calls and waits.
"""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from math import inf
from typing import Any, Final, Generic, TypeVar

import anyio
import structlog
from mcp.client import Client, ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, PARSE_ERROR, EmptyResult, Implementation, PingRequest

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.materials import MaterialList
from orchestrator.core.tools import ToolDefinition
from orchestrator.integrations.call_clock import CallClock, CallLimits
from orchestrator.integrations.complete_results import with_complete_results
from orchestrator.integrations.listings import list_tools
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, Failure, ServerTransport, Stage, leaves
from orchestrator.integrations.open_calls import NOBODY, OpenCall, OpenCalls
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.server_errors import shortened, why
from orchestrator.integrations.server_facts import ServerFacts, server_facts
from orchestrator.integrations.server_log import ServerLog
from orchestrator.integrations.server_methods import ServerMethods
from orchestrator.integrations.server_notices import ServerNotices
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures, ServerRequests, UnansweredError

log = structlog.stdlib.get_logger(__name__)

TRUSTED_SECONDS: Final = 30.0
"""How long a server at an address counts as there after its last answer."""
CHECK_SECONDS: Final = 10.0
"""How long a server on this machine may take to show that it is there."""
MOST_WITHHELD: Final = 50
"""Of how many tools that cannot be used it is said why."""
UNANSWERED_CALLS: Final = 3
"""After how many calls in a row without any answer a connection is given up."""
_CLIENT_INFO: Final = Implementation(name="orchestrator", version=version("orchestrator"))

T = TypeVar("T")


class ConnectionEndedError(Exception):
    """There is no connection: it could not be opened, or it ended. `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


class NoAnswerError(Exception):
    """A request got no result. The message says why as the rest of a sentence about the server.

    `refused`: the server is there, and answered with an error, of this `code`. `overdue`: there was no answer at all.
    """

    def __init__(self, why: str, *, refused: bool = False, overdue: bool = False, code: int | None = None) -> None:
        super().__init__(why)
        self.refused = refused
        self.code = code
        self.overdue = overdue


class _Job(Generic[T]):
    """A request on its way through the owner; `scope` ends it, `done` tells that it is settled."""

    def __init__(self, work: Callable[[ClientSession], Awaitable[T]], call: OpenCall) -> None:
        self.work = work
        self.call = call
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self.results: list[T] = []
        self.error: Exception | None = None

    def succeed(self, result: T) -> None:
        self.results.append(result)
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]


class McpConnection:
    """A connection for one life: opened once, used by many at the same time, closed once."""

    def __init__(
        self,
        transport: ServerTransport,
        *,
        connect_timeout: float,
        redact: Redactor,
        watch_tools: bool,
        features: ClientFeatures = NO_FEATURES,
        server_log: ServerLog | None = None,
        on_given_up: Callable[[Failure], None] | None = None,
    ) -> None:
        self.tools: tuple[ToolDefinition, ...] = ()
        self.withheld: tuple[str, ...] = ()
        """What is wrong with tools that the server lists and that cannot be used."""
        self.facts: ServerFacts | None = None
        self.was_open = False
        self.was_ended_by_us = False
        self.ended = anyio.Event()
        self.failure: Failure | None = None
        self.given_up: Failure | None = None
        """Why it was given up as stuck; told at once, since its end may take longer than the next one's start."""
        self._on_given_up = on_given_up
        self._transport = transport
        self._connect_timeout = connect_timeout
        self._redact = redact
        self._watch_tools = watch_tools
        self._calls = OpenCalls()
        self._requests = ServerRequests(features, self._calls, redact)
        self._notices = ServerNotices(server_log, redact)
        self.materials = self._notices.materials
        self.methods = ServerMethods(self._ask, self._requests, self._notices, self._keeps_list, redact)
        self._stage = Stage.INITIALISE
        self._settled = anyio.Event()  # open, or ended before it was
        self._life = anyio.CancelScope()
        self._service: anyio.CancelScope | None = None
        self._pending: set[_Job[Any]] = set()
        self._checks = 0
        self._retired = False
        self._closed = False
        self._heard_at = anyio.current_time()
        self._unanswered = 0
        self._submit, self._jobs = anyio.create_memory_object_stream[_Job[Any]](inf)

    # ---- for everybody ----

    @property
    def is_usable(self) -> bool:
        """Whether new requests may go through it; true also while it is being opened."""
        return not self._retired and self.failure is None and not self._transport.is_gone

    @property
    def needs_check(self) -> bool:
        """Whether its tools may have changed, or it may have gone away or got stuck unnoticed."""
        silent = not self.is_busy and anyio.current_time() - self._heard_at > TRUSTED_SECONDS
        return self._notices.tools_stale or self._notices.unwatched or silent

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way that are not checks: a server may do one thing after the other."""
        return len(self._pending) > self._checks

    @property
    def overdue(self) -> Failure:
        """What is to be said of an opening that takes too long."""
        late = f"there was no answer within {self._connect_timeout:g} s{self._transport.last_words()}"
        told = self._told(None) or Failure(self._transport.stage or self._stage, late)
        return self._shown(told)

    async def wait_open(self) -> None:
        """Return once it is open.

        Raises:
            ConnectionEndedError: it could not be opened, or it has ended.
        """
        await self._settled.wait()
        if self.failure is not None:
            raise ConnectionEndedError(self.failure)

    async def check(self) -> None:
        """Ask whether it is there, and for its tools where they may have changed.

        One that is stuck is given up. One that is busy with calls may be late: its tools stay as they were.

        Raises:
            ConnectionEndedError: it has ended, or was given up.
        """
        local = self._transport.notices_loss
        seconds = min(CHECK_SECONDS, self._connect_timeout) if local else self._connect_timeout
        call = OpenCall(CallClock(CallLimits(seconds, seconds)), NOBODY, self._redact)
        stale = self._notices.tools_stale
        self._checks += 1
        try:
            if local and not stale and self.facts is not None and not self.facts.is_stateless:
                await self._ask(_ping, call)
            else:
                self._notices.tools_stale = False
                self.withheld = ()
                self.tools = await self._ask(list_tools, call)
            return
        except NoAnswerError as error:
            late = f"it did not answer a health check within {seconds:g} s"
            failure = Failure(Stage.HEALTH_CHECK, late if error.overdue else f"it failed a health check: {error}")
            overdue = error.overdue
        except anyio.get_cancelled_exc_class():
            self._notices.tools_stale |= stale
            raise
        finally:
            self._checks -= 1
        if overdue and self.is_busy and self.is_usable:
            self._notices.tools_stale |= stale
            return
        self._give_up(failure)
        if not self.is_busy and self._service is not None:
            self._service.cancel()
        raise ConnectionEndedError(failure)

    def retire(self) -> None:
        """Take no new requests, and end once those under way are settled."""
        self._retired = True
        self._submit.close()

    def close(self) -> None:
        """End now: in order where it is open, at once where it is not."""
        self._closed = True
        self.retire()
        (self._service or self._life).cancel()

    # ---- the owner ----

    async def run(self) -> None:
        """Open, serve, close: to be run once, as a task of its own. Raises nothing but cancellation."""
        failure = Failure(self._stage, "the connection was closed")
        try:
            self._life.deadline = anyio.current_time() + self._connect_timeout
            with self._life:
                await self._live()
            if self._life.cancelled_caught and not self.was_open and not self._closed:
                failure = self.overdue
            elif not self._closed:
                failure = self._told(None) or failure
        except Exception as error:
            failure = self._reason(error)
        finally:
            self._end(self.given_up or failure)

    async def _live(self) -> None:
        client = Client(
            with_complete_results(self._transport.open(), self._withhold),
            mode="auto",
            cache=None,
            client_info=_CLIENT_INFO,
            message_handler=self._notices.hear,
            logging_callback=self._notices.log_line,
            log_level=self._notices.log_level,
            **self._requests.callbacks(),
        )
        async with client:
            self.facts = server_facts(client.session)
            self._stage = Stage.LIST_TOOLS
            self.tools = await list_tools(client.session)
            self._life.deadline = inf
            self._stage = Stage.OPEN
            self.was_open = True
            self._settled.set()
            try:
                await self._serve(client)
            finally:
                self._life.deadline = anyio.current_time() + CLOSE_SECONDS

    def _withhold(self, problems: tuple[str, ...]) -> None:
        """A page of a list came, with these problems."""
        told = tuple(shortened(self._redact(problem)) for problem in problems)
        new = tuple(problem for problem in told if problem not in self.withheld)[:MOST_WITHHELD]
        self.withheld = (*self.withheld, *new)[-MOST_WITHHELD:]

    async def _serve(self, client: Client) -> None:
        async with anyio.create_task_group() as watching:
            self._service = watching.cancel_scope
            watching.start_soon(self._watch_loss, watching.cancel_scope)
            watching.start_soon(self._notices.ask_for_log, client, self._connect_timeout)
            if self._watch_tools:
                watching.start_soon(self._notices.watch_lists, client)
                watching.start_soon(self.materials.keep, client.session, self._connect_timeout)
            async with anyio.create_task_group() as working:
                async for job in self._jobs:
                    working.start_soon(self._work, job, client.session)
            watching.cancel_scope.cancel()

    async def _work(self, job: _Job[Any], session: ClientSession) -> None:
        with job.scope, self._calls.under_way(job.call):
            try:
                result = await job.work(session)
                self._heard_at = anyio.current_time()
                self._unanswered = 0
                job.call.tell_held()
                job.succeed(result)
            except MCPError as error:
                if self._transport.lost.is_set():
                    return  # the end of the connection, which follows, settles it with the reason
                told = self._told(error)
                if told is not None and told.answered:
                    told = None  # the same as over any other way
                refused = told is None and error.code not in (CONNECTION_CLOSED, PARSE_ERROR)  # our own side's
                reason = why(error) if told is None else told.why
                job.fail(NoAnswerError(self._redact(reason), refused=refused, code=error.code))
                if error.code == CONNECTION_CLOSED or error.message == _SESSION_TERMINATED:
                    self.retire()
            except (ValueError, RuntimeError, UnansweredError) as error:  # what the SDK makes of a broken answer
                job.fail(NoAnswerError(self._redact(why(error))))

    async def _watch_loss(self, service: anyio.CancelScope) -> None:
        await self._transport.lost.wait()
        service.cancel()

    def _keeps_list(self, what: MaterialList) -> bool:
        """Whether a change of the list will be heard: a stateless server tells only those who listen."""
        facts = self.facts
        return facts is not None and what in facts.tells_changes and (self._notices.listening or not facts.is_stateless)

    async def _ask(self, work: Callable[[ClientSession], Awaitable[T]], call: OpenCall) -> T:
        job, strays = _Job(work, call), self._transport.strays
        try:
            self._submit.send_nowait(job)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise ConnectionEndedError(self.failure or Failure(self._stage, "the connection was closed")) from None
        self._pending.add(job)
        try:
            with job.call.clock.scope:
                await job.done.wait()
            if not job.done.is_set():
                self._unanswered += 1
                if self._unanswered >= UNANSWERED_CALLS:
                    count = f"{UNANSWERED_CALLS} calls in a row"
                    self._give_up(Failure(Stage.CALL, f"it left {count} without an answer"))
                heard = _STRAYS.format(self._transport.strays - strays) if self._transport.strays > strays else ""
                raise NoAnswerError(job.call.clock.overdue() + heard, overdue=True)
            return job.result()
        finally:
            self._pending.discard(job)
            job.scope.cancel()

    # ---- ends ----

    def _shown(self, failure: Failure) -> Failure:
        return Failure(failure.stage, shortened(self._redact(failure.why)))

    def _give_up(self, failure: Failure) -> None:
        """Take no new requests, and end as a failure; nothing to tell where it was to end anyway."""
        if not self._retired and self.failure is None:
            self.given_up = self._shown(failure)
            if self._on_given_up is not None:
                self._on_given_up(self.given_up)
        self.retire()

    def _end(self, failure: Failure) -> None:
        self.was_ended_by_us = self._retired and self.given_up is None
        self.failure = self._shown(failure)
        self.retire()
        self._jobs.close()
        for job in self._pending:
            job.fail(ConnectionEndedError(self.failure))
        self._settled.set()
        self.ended.set()

    def _told(self, error: Exception | None) -> Failure | None:
        """What the transport knows; it does not know how far the session is."""
        told = self._transport.explain(error)
        if told is None:
            return None
        stage = self._stage if told.stage is Stage.INITIALISE else told.stage
        reason = told.why if self.was_open else told.why + self._transport.last_words()
        return Failure(stage, reason, told.answered)

    def _reason(self, error: Exception) -> Failure:
        """The most telling of the exceptions in `error`: one that the transport can explain, or the first."""
        found = list(leaves(error))
        for leaf in found:
            told = self._told(leaf)
            if told is not None:
                return told
        if not isinstance(found[0], OrchestratorError | MCPError | ValueError | RuntimeError | OSError):
            log.error("a connection failed unexpectedly", exc_info=error)
        return Failure(self._transport.stage or self._stage, why(found[0]) + self._transport.last_words())


_STRAYS: Final = "; meanwhile it wrote {} lines to its standard output that are no message (each is one line of JSON)"
_SESSION_TERMINATED: Final = "Session terminated"  # what the SDK makes of a 404 within a session


async def _ping(session: ClientSession) -> None:
    """Any answer says that it is there.

    Raises:
        MCPError: there was none.
    """
    try:
        await session.send_request(PingRequest(), EmptyResult)
    except MCPError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
