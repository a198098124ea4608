"""MCP over a child process: newline-delimited JSON on its standard input and output.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio

Why not the SDK's own: a message must be bounded in size without being copied again and again, an
answer that is no valid message must fail its call instead of leaving it to hang, and the error of a
server that does not start needs its exit status and the end of its standard error.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from orchestrator.integrations.child_guard import unguarded_mark
from orchestrator.integrations.mcp_json import StdioServer
from orchestrator.integrations.mcp_transport import (
    CLOSE_SECONDS,
    MAX_MESSAGE_BYTES,
    Failure,
    Stage,
    Streams,
    TransportFailedError,
)
from orchestrator.integrations.orphans import MARK_VARIABLE, end_marked
from orchestrator.integrations.plugin_owner import owner_environment
from orchestrator.integrations.redaction import Redactor, redactor
from orchestrator.integrations.stderr_ring import StderrRing
from orchestrator.integrations.stdio_messages import LineSplitter, LineTooLongError, read_message

INHERITED: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TZ", "USER")
_KEPT_LINE_BYTES: Final = 4096
_SHOWN_LINES: Final = 8
_SHOWN_LINE_LENGTH: Final = 200
_FLUSH_SECONDS: Final = 0.5
_LAST_WORDS_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01


class StdioServerTransport:
    """One child process and the messages to and from it. It ends with the context that `open` gives."""

    def __init__(
        self,
        server: StdioServer,
        *,
        environ: Mapping[str, str] | None = None,
        owner: str | None = None,
        ring: StderrRing | None = None,
        redact: Redactor = str,
        new_mark: Callable[[], str] = unguarded_mark,
    ) -> None:
        self._server = server
        self._mark = new_mark()
        self._ring = StderrRing() if ring is None else ring
        self._environ = os.environ if environ is None else environ
        self._owner = owner_environment(owner)
        known = redactor(server.secrets)
        self._redact: Redactor = lambda text: redact(known(text))
        self._stderr: deque[str] = deque(maxlen=_SHOWN_LINES)  # of this process only, as the ring's are not
        self._stderr_ended = anyio.Event()
        self._flushed = anyio.Event()
        self._process: anyio.abc.Process | None = None
        self._failure: Failure | None = None
        self._closing = False
        self._has_spoken = False
        self.is_gone = False
        self.strays = 0
        self.lost = anyio.Event()

    @property
    def stage(self) -> Stage | None:
        return Stage.START if self._process is None else None

    @property
    def pid(self) -> int | None:
        """The process, while it is there."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def notices_loss(self) -> bool:
        return True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Streams, None]:
        process = await self._spawn()
        # No await before the shield below is set up: a cancellation in the gap would leave an orphan.
        self._process = process
        incoming, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write_stream, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as pipes:
            pipes.start_soon(self._read_stdout, process, incoming)
            pipes.start_soon(self._write_stdin, process, outgoing, incoming)
            pipes.start_soon(self._read_stderr, process)
            try:
                yield read_stream, write_stream
            finally:
                self._closing = True
                with anyio.CancelScope(shield=True):
                    # The reader drains once nobody reads its messages: a server that is stuck
                    # writing would not notice the end of its input.
                    read_stream.close()
                    write_stream.close()
                    with anyio.move_on_after(_FLUSH_SECONDS):
                        await self._flushed.wait()
                    # Who never spoke has nothing to put in order.
                    await _end_process(process, patience=CLOSE_SECONDS if self._has_spoken else _FLUSH_SECONDS)
                    # What left the group: programs that make themselves independent, and browsers.
                    await anyio.to_thread.run_sync(end_marked, self._mark.__eq__)
                    for stream in (incoming, outgoing):
                        stream.close()
                pipes.cancel_scope.cancel()

    def explain(self, error: Exception | None) -> Failure | None:
        if isinstance(error, TransportFailedError):
            return error.failure
        return self._failure

    def last_words(self) -> str:
        """The end of what the server wrote beside its messages, as the end of a sentence."""
        lines = [line[:_SHOWN_LINE_LENGTH] for line in self._stderr]
        return f"; its last lines were: {' | '.join(lines)}" if lines else ""

    async def _spawn(self) -> anyio.abc.Process:
        server = self._server
        environment = child_environment(self._environ, server.env) | self._owner | {MARK_VARIABLE: self._mark}
        if not server.cwd.is_dir():
            raise TransportFailedError(Stage.START, f"its folder '{server.cwd}' does not exist")
        program = find_program(server.command, server.cwd, environment["PATH"])
        if program is None:
            raise TransportFailedError(Stage.START, f"the command '{self._redact(server.command)}' was not found")
        try:
            return await anyio.open_process(
                [program, *server.args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=server.cwd,
                env=environment,
                start_new_session=True,  # a group of its own, so that its children end with it
            )
        except OSError as error:
            why = f"the command '{self._redact(server.command)}' cannot be run ({error.strerror})"
            raise TransportFailedError(Stage.START, why) from None

    async def _read_stdout(
        self, process: anyio.abc.Process, incoming: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None
        lines = LineSplitter()
        with incoming, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            try:
                async for chunk in process.stdout:
                    for line in lines.feed(chunk):
                        await self._deliver(line, incoming)
            except LineTooLongError:
                self.is_gone = True
                why = f"it wrote a message of more than {MAX_MESSAGE_BYTES} bytes"
                self._failure = Failure(Stage.INITIALISE, why)
            else:
                self.is_gone = True
                if not self._closing:
                    await self._note_exit(process)
            self.lost.set()
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await process.stdout.receive()

    async def _deliver(self, line: bytes, incoming: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        if not line.strip():
            return
        message = read_message(line)
        if message is None:
            self.strays += 1
            self._keep(b"(standard output, not MCP) " + line[:_KEPT_LINE_BYTES])
        else:
            self._has_spoken = True
            await incoming.send(SessionMessage(message))

    async def _note_exit(self, process: anyio.abc.Process) -> None:
        """Its output ended by itself: what became of it."""
        await _exited(process, within=_LAST_WORDS_SECONDS)
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await self._stderr_ended.wait()
        self._failure = Failure(Stage.INITIALISE, _exit_reason(process.returncode))

    async def _write_stdin(
        self,
        process: anyio.abc.Process,
        outgoing: MemoryObjectReceiveStream[SessionMessage],
        incoming: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert process.stdin is not None
        try:
            with outgoing:
                async for item in outgoing:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, RuntimeError):
            # A server that exited shows by the end of its output as well, with a better reason.
            with anyio.move_on_after(2 * _LAST_WORDS_SECONDS):
                await self.lost.wait()
            self._failure = self._failure or Failure(Stage.INITIALISE, "it closed its input")
            self.lost.set()
            incoming.close()
        finally:
            self._flushed.set()

    async def _read_stderr(self, process: anyio.abc.Process) -> None:
        assert process.stderr is not None
        pending = b""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in process.stderr:
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._keep(line)
                if len(pending) > _KEPT_LINE_BYTES:
                    self._keep(pending)
                    pending = b""
        self._keep(pending)
        self._stderr_ended.set()

    def _keep(self, line: bytes) -> None:
        text = self._redact(line.decode("utf-8", "replace").strip())
        if text:
            shown = "".join(letter if letter.isprintable() else " " for letter in text)
            self._stderr.append(shown)
            self._ring.append(shown)


def child_environment(environ: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What a server's process sees: little of ours, all of its own, and our scripts last on its PATH."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    environment = {**inherited, **own}
    path = environment.get("PATH") or os.defpath
    # Last, so that the servers that ship with us are found, and the user's own commands still win.
    return {**environment, "PATH": f"{path}{os.pathsep}{Path(sys.executable).parent}"}


def find_program(command: str, folder: Path, path: str) -> str | None:
    """The file that `command` means for a server that runs in `folder`."""
    if os.sep in command:
        return shutil.which(str(folder / Path(command).expanduser()))
    return shutil.which(command, path=path)


def _exit_reason(status: int | None) -> str:
    if status is None:
        return "it closed its output"
    if status >= 0:
        return f"it exited with status {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"


async def _end_process(process: anyio.abc.Process, *, patience: float) -> None:
    """Close its input, wait, terminate its group, wait, kill: each step bounded.

    https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#shutdown
    """
    assert process.stdin is not None
    with anyio.move_on_after(_FLUSH_SECONDS), suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.aclose()
    await _exited(process, within=patience)
    # Also where it has exited: what it started and left behind is in its group.
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(process.pid, signal_):
            break
        with anyio.move_on_after(CLOSE_SECONDS / 2):
            while process.returncode is None or _signal_group(process.pid, 0):  # noqa: ASYNC110  nothing tells
                await anyio.sleep(_POLL_SECONDS)
    _close_pipes(process)


async def _exited(process: anyio.abc.Process, *, within: float) -> None:
    """Wait until the process has exited. Asked, not awaited: asyncio waits for the pipes' ends too."""
    with anyio.move_on_after(within):
        while process.returncode is None:  # noqa: ASYNC110  nothing tells
            await anyio.sleep(_POLL_SECONDS)


def _signal_group(group: int, signal_: int) -> bool:
    """Whether there is still somebody in the group to be signalled."""
    try:
        os.killpg(group, signal_)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _close_pipes(process: anyio.abc.Process) -> None:
    """Close our ends. Nothing public does where somebody outside the group still holds the other ends."""
    inner: object = getattr(process, "_process", None)
    transport: object = getattr(inner, "_transport", None)
    close: object = getattr(transport, "close", None)
    if callable(close):
        close()
