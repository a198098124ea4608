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
from mcp.client import Client, ClientSession, IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    Implementation,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import RootModel, ValidationError

from orchestrator.core.json_types import JsonObject
from orchestrator.core.tools import ToolDefinition, ToolResult
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, Failure, ServerTransport, Stage, leaves
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.results import tool_definition, tool_result

log = structlog.stdlib.get_logger(__name__)

MAX_TOOL_PAGES: Final = 100
MAX_TOOLS: Final = 2000
_LONGEST_REASON: Final = 2000
TRUSTED_SECONDS: Final = 30.0
"""How long a server at an address counts as there after its last answer."""
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
    """A request got no result. The message says why as the rest of a sentence about the server."""


class _RawResult(RootModel[dict[str, Any]]):
    """A result as the server sent it: no field added, none lost, no output schema checked."""


class _Job(Generic[T]):
    """A request on its way through the owner; `scope` ends it, `done` tells that it is settled."""

    def __init__(self, work: Callable[[ClientSession], Awaitable[T]]) -> None:
        self.work = work
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
        self, transport: ServerTransport, *, connect_timeout: float, redact: Redactor, watch_tools: bool
    ) -> None:
        self.tools: tuple[ToolDefinition, ...] = ()
        self.was_open = False
        self.was_ended_by_us = False
        self.ended = anyio.Event()
        self.failure: Failure | None = None
        self._transport = transport
        self._connect_timeout = connect_timeout
        self._redact = redact
        self._watch_tools = watch_tools
        self._stage = Stage.INITIALISE
        self._settled = anyio.Event()  # open, or ended before it was
        self._life = anyio.CancelScope()
        self._service: anyio.CancelScope | None = None
        self._pending: set[_Job[Any]] = set()
        self._retired = False
        self._closed = False
        self._tools_stale = False
        self._unwatched = False
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
        """Whether its tools may have changed, or it may have gone away unnoticed."""
        silent = not self._transport.notices_loss and anyio.current_time() - self._heard_at > TRUSTED_SECONDS
        return self._tools_stale or self._unwatched or silent

    @property
    def overdue(self) -> Failure:
        """What is to be said of an opening that takes too long."""
        why = f"there was no answer within {self._connect_timeout:g} s{self._transport.last_words()}"
        told = self._told(None) or Failure(self._transport.stage or self._stage, why)
        return Failure(told.stage, self._redact(told.why))

    async def wait_open(self) -> None:
        """Return once it is open.

        Raises:
            ConnectionEndedError: it could not be opened, or it has ended.
        """
        await self._settled.wait()
        if self.failure is not None:
            raise ConnectionEndedError(self.failure)

    async def refresh_tools(self, timeout: float) -> None:
        """List the tools again.

        Raises:
            ConnectionEndedError, NoAnswerError
        """
        self._tools_stale = False
        self.tools = await self._ask(_list_tools, timeout)

    async def call_tool(self, tool: str, arguments: JsonObject, timeout: float) -> ToolResult:
        """Call a tool; cancelling, and a timeout, cancel the call at the server where the transport can.

        Raises:
            ConnectionEndedError, NoAnswerError
        """

        async def work(session: ClientSession) -> JsonObject:
            request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
            return (await session.send_request(request, _RawResult)).root

        raw = await self._ask(work, timeout)
        if raw.get("resultType") == "input_required":
            raise NoAnswerError("it asks for further input, which is not supported")
        return tool_result(raw)

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
            self._end(failure)

    async def _live(self) -> None:
        client = Client(
            self._transport.open(), mode="auto", cache=None, client_info=_CLIENT_INFO, message_handler=self._hear
        )
        async with client:
            self._stage = Stage.LIST_TOOLS
            self.tools = await _list_tools(client.session)
            self._life.deadline = inf
            self._stage = Stage.OPEN
            self.was_open = True
            self._settled.set()
            try:
                await self._serve(client)
            finally:
                self._life.deadline = anyio.current_time() + CLOSE_SECONDS

    async def _serve(self, client: Client) -> None:
        async with anyio.create_task_group() as watching:
            self._service = watching.cancel_scope
            watching.start_soon(self._watch_loss, watching.cancel_scope)
            if self._watch_tools:
                watching.start_soon(self._watch_list, client)
            async with anyio.create_task_group() as working:
                async for job in self._jobs:
                    working.start_soon(self._work, job, client.session)
            watching.cancel_scope.cancel()

    async def _work(self, job: _Job[Any], session: ClientSession) -> None:
        with job.scope:
            try:
                job.succeed(await job.work(session))
                self._heard_at = anyio.current_time()
                self._unanswered = 0
            except MCPError as error:
                if self._transport.lost.is_set():
                    return  # the end of the connection, which follows, settles it with the reason
                told = self._told(error)
                job.fail(NoAnswerError(self._redact(told.why if told is not None else _why(error))))
                if error.code == CONNECTION_CLOSED or error.message == _SESSION_TERMINATED:
                    self.retire()
            except (ValueError, RuntimeError) as error:  # what the SDK makes of a broken answer
                job.fail(NoAnswerError(self._redact(_why(error))))

    async def _watch_loss(self, service: anyio.CancelScope) -> None:
        await self._transport.lost.wait()
        service.cancel()

    async def _watch_list(self, client: Client) -> None:
        """Servers of the stateless protocol tell of changes only those who ask; of others, `_hear` hears."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed or client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                self._tools_stale = True  # they may have changed since they were listed, unheard
                async for _ in changes:
                    self._tools_stale = True
        except (MCPError, RuntimeError, TimeoutError) as error:
            log.debug("a server does not tell when its tools change", reason=self._redact(_why(error)))
        self._unwatched = True

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools_stale = True

    async def _ask(self, work: Callable[[ClientSession], Awaitable[T]], timeout: float) -> T:
        job = _Job(work)
        try:
            self._submit.send_nowait(job)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise ConnectionEndedError(self.failure or Failure(self._stage, "the connection was closed")) from None
        self._pending.add(job)
        try:
            with anyio.move_on_after(timeout):
                await job.done.wait()
            if not job.done.is_set():
                self._unanswered += 1
                if self._unanswered >= UNANSWERED_CALLS:
                    self.retire()
                raise NoAnswerError(f"there was no answer within {timeout:g} s, so the call was cancelled")
            return job.result()
        finally:
            self._pending.discard(job)
            job.scope.cancel()

    # ---- ends ----

    def _end(self, failure: Failure) -> None:
        self.was_ended_by_us = self._retired
        self.failure = Failure(failure.stage, self._redact(failure.why)[:_LONGEST_REASON])
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
        return Failure(stage, told.why if self.was_open else told.why + self._transport.last_words())

    def _reason(self, error: Exception) -> Failure:
        """The most telling of the exceptions in `error`: one that the transport can explain, or the first."""
        found = list(leaves(error))
        for leaf in found:
            told = self._told(leaf)
            if told is not None:
                return told
        if not isinstance(found[0], MCPError | ValueError | RuntimeError | OSError):
            log.error("a connection failed unexpectedly", exc_info=error)
        why = _why(found[0]) + self._transport.last_words()
        return Failure(self._transport.stage or self._stage, why)


_SESSION_TERMINATED: Final = "Session terminated"  # what the SDK makes of a 404 within a session


async def _list_tools(session: ClientSession) -> tuple[ToolDefinition, ...]:
    """All tools in the server's order.

    Raises:
        MCPError, ValueError: it does not answer, answers nonsense, or goes on without end.
    """
    tools: list[ToolDefinition] = []
    cursor: str | None = None
    for _ in range(MAX_TOOL_PAGES):
        try:
            page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        except MCPError as error:
            capabilities = session.server_capabilities
            if error.code == METHOD_NOT_FOUND and (capabilities is None or capabilities.tools is None):
                return ()
            raise
        tools.extend(tool_definition(tool) for tool in page.tools)
        cursor = page.next_cursor
        if len(tools) > MAX_TOOLS:
            raise ValueError(f"it lists more than {MAX_TOOLS} tools")
        if cursor is None:
            return tuple(tools)
    raise ValueError(f"it lists its tools on more than {MAX_TOOL_PAGES} pages")


def _why(error: Exception) -> str:
    """The error as the rest of a sentence about the server, without what it was about."""
    match error:
        case MCPError() if error.code == CONNECTION_CLOSED:
            return f"the connection broke ({error.message})"
        case MCPError():
            return f"it answered with the error {error.code}: {error.message}"
        case ValidationError():
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return f"its answer does not follow the protocol ({where}: {first['msg']})"
        case ValueError() | RuntimeError():
            return str(error)
        case _:
            return f"it failed unexpectedly ({type(error).__name__})"
