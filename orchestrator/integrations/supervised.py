"""One server and its connection, whoever uses it: opened on first use, replaced on the next use after its end."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

import anyio
import anyio.abc
import structlog

from orchestrator.core.tools import ToolDefinition
from orchestrator.integrations.material_lists import MaterialLists
from orchestrator.integrations.mcp_session import ConnectionEndedError, McpConnection
from orchestrator.integrations.mcp_transport import Failure, ServerTransport, Stage
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.server_facts import ServerFacts
from orchestrator.integrations.server_log import ServerLog
from orchestrator.integrations.server_methods import ServerMethods
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures

log = structlog.stdlib.get_logger(__name__)

LONGEST_PAUSE_SECONDS: Final = 30.0


class SupervisedServer:
    """Keeps at most one usable connection to a server; its owner tasks live in `task_group`.

    A call that was under way when its connection ended has failed: only the next one gets a new
    connection.
    """

    def __init__(
        self,
        name: str,
        make_transport: Callable[[], ServerTransport],
        *,
        task_group: anyio.abc.TaskGroup,
        connect_timeout: float,
        redact: Redactor,
        watch_tools: bool,
        features: ClientFeatures = NO_FEATURES,
        server_log: ServerLog | None = None,
        on_failure: Callable[[Failure], None] | None = None,
        other_way: Callable[[], bool] | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._name = name
        self._make_transport = make_transport
        self._task_group = task_group
        self._connect_timeout = connect_timeout
        self._redact = redact
        self._watch_tools = watch_tools
        self._features = features
        self._server_log = server_log
        self._on_failure = on_failure
        self._other_way = other_way
        self._turned_from: McpConnection | None = None
        self._first_failure: Failure | None = None  # until it is known how the other way ends
        self._clock = clock
        self._current: McpConnection | None = None
        self._alive: set[McpConnection] = set()
        self._failed_starts = 0
        self._ended_at = 0.0
        self._closed = False

    async def tools(self) -> tuple[ToolDefinition, ...]:
        """The tools of an open connection, as they were last listed.

        Raises:
            ConnectionEndedError: there is no connection, and why.
        """
        return (await self._opened()).tools

    async def check(self) -> None:
        """Let go of a connection that was silent for long and does not answer, and list tools that may have changed.

        Takes no longer than a connection may take to open, and is not part of that time: the next one has all of it.
        """
        current = self._current
        if current is not None and current.is_usable and current.was_open and current.needs_check:
            with suppress(ConnectionEndedError):  # whether the server is there, a new connection tells
                await current.check()

    @property
    def overdue(self) -> Failure:
        """What is to be said of an opening that takes too long."""
        if self._current is None:
            return Failure(Stage.START, "it is not connected")
        return self._with_first(self._current.overdue)

    @property
    def failure(self) -> Failure | None:
        """Why there is no connection, where one was wanted and nobody ended it on purpose."""
        current = self._current
        return None if current is None or current.was_ended_by_us else current.failure

    @property
    def state(self) -> Literal["stopped", "starting", "running"]:
        """How the connection is, where it has not failed."""
        current = self._current
        if current is None or not current.is_usable:
            return "stopped"
        return "running" if current.was_open else "starting"

    @property
    def last_tools(self) -> tuple[ToolDefinition, ...] | None:
        """The tools as they were last listed; None before the first time."""
        return None if self._current is None or not self._current.was_open else self._current.tools

    @property
    def withheld(self) -> tuple[str, ...]:
        """What is wrong with tools that the server lists and that cannot be used."""
        return () if self._current is None else self._current.withheld

    def restart(self) -> None:
        """Give the connection up, if there is one, once its calls are done; the next use makes a new one at once."""
        if self._current is not None:
            self._current.retire()
        self._failed_starts = 0

    async def methods(self) -> ServerMethods:
        """The server's methods, over the connection that is open or a new one: for one request, never kept.

        Raises:
            ConnectionEndedError: there is no connection, and why.
        """
        return (await self._opened()).methods

    @property
    def materials(self) -> MaterialLists | None:
        """What the server has beside tools; None before it was first connected."""
        return None if self._current is None else self._current.materials

    @property
    def facts(self) -> ServerFacts | None:
        """What the server said of itself when it was last connected; None before the first time."""
        return None if self._current is None else self._current.facts

    async def until_ended(self) -> bool:
        """Connect where there is no connection, and wait for its end; returns whether that was on purpose."""
        while True:
            try:
                connection = self._connection()
            except ConnectionEndedError:
                return False
            await connection.ended.wait()
            if connection is not self._turned_from:
                return connection.was_ended_by_us

    @property
    def is_over(self) -> bool:
        """Whether it was closed, and all of its connections have ended."""
        return self._closed and not self._alive

    def close(self) -> None:
        """End every connection, for good."""
        self._closed = True
        for connection in list(self._alive):
            connection.close()

    async def wait_closed(self) -> None:
        """Wait until every connection has ended."""
        for connection in list(self._alive):
            await connection.ended.wait()

    async def _opened(self) -> McpConnection:
        """An open connection: where the first attempt shows that there is another way, that is tried too.

        Raises:
            ConnectionEndedError: there is none, and why.
        """
        connection = self._connection()
        try:
            await connection.wait_open()
        except ConnectionEndedError:
            if connection is not self._turned_from:
                raise
        else:
            return connection
        connection = self._connection()
        await connection.wait_open()
        return connection

    def _connection(self) -> McpConnection:
        if self._closed:
            raise ConnectionEndedError(Failure(Stage.START, "the service is shutting down"))
        current = self._current
        if current is not None and current.is_usable:
            return current
        self._refuse_during_pause()
        connection = McpConnection(
            self._make_transport(),
            connect_timeout=self._connect_timeout,
            redact=self._redact,
            watch_tools=self._watch_tools,
            features=self._features,
            server_log=self._server_log,
            on_given_up=self._tell,
        )
        self._current = connection
        self._alive.add(connection)
        self._task_group.start_soon(self._own, connection)
        return connection

    def _refuse_during_pause(self) -> None:
        """From the second failed start in a row on, each is followed by a pause."""
        failure = None if self._current is None else self._current.failure
        if failure is None or self._failed_starts < 2:
            return
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (self._failed_starts - 2))
        left = self._ended_at + pause - self._clock()
        if left > 0:
            why = (
                f"{failure.why} (failed {self._failed_starts} times in a row; the next attempt is due in {left:.0f} s)"
            )
            raise ConnectionEndedError(Failure(failure.stage, why))

    async def _own(self, connection: McpConnection) -> None:
        try:
            await connection.run()
        finally:
            # No await since its end: whoever waits for that finds this done.
            self._alive.discard(connection)
            self._ended_at = self._clock()
            if self._turns_from(connection):
                self._turned_from, self._first_failure = connection, connection.failure
            else:
                if connection.failure is not None and not connection.was_open:
                    connection.failure = self._with_first(connection.failure)
                self._first_failure = None
                self._failed_starts = 0 if connection.was_open else self._failed_starts + 1
                if connection.failure is not None and not connection.was_ended_by_us and connection.given_up is None:
                    self._tell(connection.failure)

    def _with_first(self, failure: Failure) -> Failure:
        """`failure` with what had been tried before."""
        first = self._first_failure
        if first is None:
            return failure
        second = "it did the same" if first.why == failure.why else failure.why
        return Failure(first.stage, f"{first.why}; asked in the older way, by HTTP with SSE: {second}")

    def _turns_from(self, connection: McpConnection) -> bool:
        """Whether the failed opening only showed that there is another way."""
        if connection.was_open or connection.was_ended_by_us or self._other_way is None:
            return False
        return self._other_way()

    def _tell(self, failure: Failure) -> None:
        """Tell the log of an end that nobody asked for."""
        log.warning("an MCP server is gone", server=self._name, stage=str(failure.stage), reason=failure.why)
        if self._on_failure is not None:
            self._on_failure(failure)
