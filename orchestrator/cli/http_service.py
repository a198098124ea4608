"""The service in this process: sockets, the application's lifespan, uvicorn, signals."""

import asyncio
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import anyio
import uvicorn

from orchestrator.api.limits import RequestLimits
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.http_protocol import BoundedHttpProtocol, protocol_class
from orchestrator.settings import Settings

GRACE_SECONDS = 8
DRAIN_SECONDS = 4.0
"""How long runs may go on after the first signal; then they are cancelled, saved, and their streams ended."""
BACKLOG = 2048
TICKS = 10

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Opening: TypeAlias = AbstractAsyncContextManager[AsgiApp]


@runtime_checkable
class Drainable(Protocol):
    """An application that can bring what it is doing to an end while its clients still listen."""

    async def drain(self, seconds: float) -> None:
        """Let what runs go on for `seconds`, then end it in order."""
        ...


def listen(settings: Settings) -> tuple[list[socket.socket], Settings]:
    """Sockets that listen where the settings say, and the settings with the port that is really used.

    Raises:
        CommandError: the address cannot be listened on.
    """
    host, port = settings.host, settings.port
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    try:
        # A name may have several addresses, and the resolver may give one of them twice.
        for family, address in dict.fromkeys((found[0], found[4][0]) for found in _addresses(host, port)):
            try:
                sockets.append(_bound(family, address, port))
            except OSError as error:
                problem = error
                if error.errno == errno.EADDRINUSE:
                    raise  # half of a name's addresses would be half a service
            else:
                port = sockets[-1].getsockname()[1]
    except OSError as error:
        problem = error
        for bound in sockets:
            bound.close()
        sockets = []
    if sockets:
        return sockets, replace(settings, port=port)
    raise CommandError(_why_not(host, port, problem))


def _addresses(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _bound(family: int, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _why_not(host: str, port: int, problem: OSError | None) -> str:
    if problem is not None and problem.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken: stop what listens there, or choose another one with --port"
    if problem is not None and problem.errno == errno.EACCES:
        return f"port {port} of {host} needs more rights: choose one above 1023 with --port"
    return f"{host} port {port} cannot be listened on: {problem.strerror if problem else 'it has no address'}"


class HttpService:
    """One run of the service, from the opening of the application to its orderly end.

    `serve` returns once everything is closed: after `stop`, or after SIGINT or SIGTERM. Runs in flight
    have `DRAIN_SECONDS` to finish, then their clients are told of the end; a second signal does not wait.
    """

    def __init__(self, opening: Opening, sockets: Sequence[socket.socket], limits: RequestLimits | None = None) -> None:
        self._opening = opening
        self._limits = limits or RequestLimits()
        self._sockets = list(sockets)
        self._server: _Server | None = None
        self._stopping = False
        self._stop = anyio.Event()

    def stop(self) -> None:
        """Begin to stop; asked again, do not wait for requests in flight."""
        if self._server is not None:
            self._server.should_exit, self._server.force_exit = True, self._stopping
        self._stopping = True
        self._stop.set()

    async def serve(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until it is stopped. `on_ready` is called once requests can be taken.

        Raises:
            OrchestratorError: the application could not start; the message says why.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stop_on_signals)
                async with self._opening as app:
                    self._server = _Server(_config(app, self._limits))
                    self._server.on_ready = on_ready
                    if isinstance(app, Drainable):
                        tasks.start_soon(self._drain, app)
                    if not self._stopping:
                        await self._server.serve(self._sockets)
                    for request in self._server.server_state.tasks:
                        request.cancel("the service was told not to wait")
                tasks.cancel_scope.cancel()
        finally:
            for bound in self._sockets:
                bound.close()

    async def _drain(self, app: Drainable) -> None:
        await self._stop.wait()
        await app.drain(DRAIN_SECONDS)

    async def _stop_on_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.stop()


def _config(app: AsgiApp, limits: RequestLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=protocol_class(limits),
        ws="none",
        lifespan="off",  # the application is open already, so that what fails in that can be told in one line
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class _Server(uvicorn.Server):
    on_ready: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_ready is not None:
            self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once, every connection is looked at."""
        if counter % TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, BoundedHttpProtocol):
                    connection.look(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The signals are received beside: uvicorn would raise them again after an orderly end."""
        yield


def single_exception(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception of a group, which task groups wrap it in; several stay a group."""
    first, *others = group.exceptions
    if others:
        return group
    return (
        single_exception(cast("BaseExceptionGroup[BaseException]", first))
        if isinstance(first, BaseExceptionGroup)
        else first
    )
