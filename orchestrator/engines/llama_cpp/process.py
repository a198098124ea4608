"""One worker process: spawn, listen to its load, notice its end, end it."""

import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import anyio
import msgspec
import structlog
from anyio.abc import ByteReceiveStream, Process

from orchestrator.core.json_types import parse_object
from orchestrator.engines.llama_cpp.launch import LISTENING, Launch

TERM_SECONDS: Final = 3.0
"""From SIGTERM to SIGKILL. The worker keeps nothing that it would have to save."""
KILL_SECONDS: Final = 5.0
MAX_LINE_BYTES: Final = 64 * 1024
KEPT_LINES: Final = 100

_log = structlog.stdlib.get_logger(__name__)
_STATE: Final = "cmd_child_to_router:state:"
_PACKAGE_ROOT: Final = str(Path(__file__).resolve().parents[3])
# What the loader, the C library and the GPU drivers read. Everything else, keys and tokens with it, stays here.
_INHERITED: Final = frozenset(
    {"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
)
_INHERITED_PREFIXES: Final = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GGML_", "OMP_")


class WorkerProcess:
    """A worker from its spawn to its end. `run` owns it: cancelling that, or `stop`, ends the process."""

    def __init__(self, key: str, launch: Launch, on_progress: Callable[[float], None]) -> None:
        self._key = key
        self._launch = launch
        self._on_progress = on_progress
        self._scope = anyio.CancelScope()
        self._errors: deque[str] = deque(maxlen=KEPT_LINES)
        self._returncode: int | None = None
        self.pid: int | None = None
        self.address: str | None = None
        self.context_length = launch.context_length
        self.settled = anyio.Event()
        """Set once it listens (`address` is there) or has ended."""
        self.ended = anyio.Event()

    @property
    def alive(self) -> bool:
        """Whether it listens and has not ended, as far as is known."""
        return self.address is not None and not self.ended.is_set() and not self._scope.cancel_called

    async def run(self) -> None:
        """Spawn the process and stay with it to its end."""
        try:
            with self._scope:
                await self._live()
        except OSError as error:  # no more processes, no more descriptors
            self._errors.append(f" E {error.strerror}")
        except Exception:  # the owner of this task must not go down with one worker
            _log.exception("worker_supervision_failed", model=self._key)
        finally:
            self.ended.set()
            self.settled.set()

    def stop(self) -> None:
        """End the process; `ended` says when it is gone."""
        self._scope.cancel()

    def why_ended(self) -> str:
        """What is known of the end, in one line, without any content of requests."""
        reason = self._reason()
        if reason is not None:
            return reason
        code = self._returncode
        if code is None:
            return "the worker process could not be started"
        if code < 0:
            return f"the worker process was ended by {_signal_name(-code)}"
        return f"the worker process ended with status {code}"

    async def _live(self) -> None:
        command = [sys.executable, "-P", "-m", "orchestrator.engines.llama_cpp.worker", self._key]
        # A session of its own: Ctrl-C in the terminal is for the service, which ends its workers when it is done.
        process = await anyio.open_process(command, env=worker_environment(os.environ), start_new_session=True)
        self.pid = process.pid
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            async with anyio.create_task_group() as readers:
                readers.start_soon(self._hear, process.stdout)
                readers.start_soon(self._keep_errors, process.stderr)
                try:
                    await process.stdin.send(msgspec.json.encode(self._launch) + b"\n")
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # it is gone already: its end tells why
                self._returncode = await process.wait()
            if self.address is not None:
                _log.warning("worker_died", model=self._key, reason=self.why_ended())
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            self._returncode = process.returncode

    async def _hear(self, stdout: ByteReceiveStream) -> None:
        async with aclosing(_lines(stdout)) as lines:
            async for line in lines:
                if line.startswith(_STATE):
                    self._state(line.removeprefix(_STATE))
                elif line.startswith(LISTENING):
                    self.address = line.removeprefix(LISTENING).strip()
                    self.settled.set()

    def _state(self, text: str) -> None:
        """llama.cpp's line: `loading` with a value for each stage, `ready` with what the model really got."""
        state = parse_object(text) or {}
        payload = state.get("payload")
        if not isinstance(payload, dict):
            return
        if state.get("state") == "loading":
            stages, current, value = payload.get("stages"), payload.get("current"), payload.get("value")
            if isinstance(stages, list) and current in stages and isinstance(value, int | float):
                self._on_progress(min(1.0, (stages.index(current) + float(value)) / len(stages)))
        elif state.get("state") == "ready":
            meta = payload.get("meta")
            context_length = meta.get("n_ctx") if isinstance(meta, dict) else None
            if isinstance(context_length, int):
                self.context_length = context_length

    async def _keep_errors(self, stderr: ByteReceiveStream) -> None:
        async with aclosing(_lines(stderr)) as lines:
            async for line in lines:
                self._errors.append(line)

    def _reason(self) -> str | None:
        """The first error is the cause, the rest are its consequences. After the load only aborts are quoted:
        other lines may hold what a model wrote."""
        for line in self._errors:
            if self.address is None and " E " in line:
                return _bare(line.partition(" E ")[2], self._launch.model_path)
            if self.address is None and "what():" in line:  # of a C++ exception that nobody caught
                return line.partition("what():")[2].strip()
            if "GGML_ASSERT" in line:
                return line.strip()
        return None


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker inherits of `environ`, and what it is told besides."""
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() in _INHERITED or name.upper().startswith(_INHERITED_PREFIXES)
    }
    return kept | {
        "PYTHONPATH": _PACKAGE_ROOT,
        "LLAMA_SERVER_ROUTER_PORT": "0",  # makes llama.cpp report the load on stdout and watch stdin
        "GGML_NO_BACKTRACE": "1",  # a backtrace would start gdb
    }


def _bare(line: str, model_path: str) -> str:
    """An error line without padding, the name of the C++ function, and the folder of the file."""
    text = line.strip().replace(model_path, Path(model_path).name)
    function, colon, rest = text.partition(": ")
    return rest if colon and function.replace(" ", "").replace("_", "").isalnum() else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _lines(stream: ByteReceiveStream) -> AsyncGenerator[str, None]:
    rest = b""
    async for block in stream:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        rest = rest[-MAX_LINE_BYTES:]
    if rest:
        yield rest.decode("utf-8", "replace")


async def _end(process: Process) -> None:
    """SIGTERM, then SIGKILL; waiting for the end leaves no zombie. Call it shielded."""
    if process.returncode is None:
        with anyio.move_on_after(TERM_SECONDS), suppress(ProcessLookupError):
            process.terminate()
            await process.wait()
    with anyio.move_on_after(KILL_SECONDS):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.aclose()
