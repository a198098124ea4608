"""An Ollama of our own: started where none answers, started again when it dies, ended with the service."""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import httpx
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.ollama.address import base_url, shown_address

ANSWER_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1
STOP_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Who lived for so long is started again as if it had never failed."""

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None

log = structlog.stdlib.get_logger(__name__)


class SupervisedOllama:
    """`ollama serve` as a child. `binary` is a name on PATH or a path, `host` is where it shall listen, `log_path` gets what it prints.
    `parallel` is how many turns it writes at once for a model.

    It ends with this process, however that ends: on Linux also where the process is killed.
    """

    def __init__(
        self,
        binary: str,
        host: str,
        log_path: Path,
        *,
        parallel: int = 1,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._binary = binary
        self._url = base_url(host)
        self._log_path = log_path
        self._parallel = parallel
        self._first_pause = first_pause_seconds

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Return when an Ollama answers; one that was there already is left to itself.

        Raises:
            OrchestratorError: `engine_unavailable`: there is no such program, or it does not get as far as answering.
        """
        if await self._answers():
            log.info("an Ollama answers already: none is started", address=shown_address(self._url))
            return
        await tasks.start(self._supervise)

    async def _supervise(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        failures, was_there = 0, False
        while True:
            process = await self._spawn()
            began = anyio.current_time()
            try:
                problem = await self._until_it_answers(process)
                if problem is None:
                    if not was_there:
                        was_there = True
                        task_status.started()
                    log.info("Ollama is started", address=shown_address(self._url), pid=process.pid)
                    problem = f"Ollama ended with the status {await process.wait()}"
                elif not was_there:
                    raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, f"{problem}; {self._log_path} says more.")
            finally:
                await _stop(process)
            failures = 1 if anyio.current_time() - began >= STEADY_SECONDS else failures + 1
            pause = min(LONGEST_PAUSE_SECONDS, self._first_pause * 2.0 ** (failures - 1))
            log.warning("Ollama is gone", reason=problem, starts_again_in_seconds=pause, log=str(self._log_path))
            await anyio.sleep(pause)

    async def _spawn(self) -> Process:
        binary = shutil.which(self._binary)
        if binary is None:
            message = f"Ollama cannot be started: there is no program '{self._binary}'. Install it, or name it by OLLAMA_BINARY."
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)
        try:
            output = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                return await asyncio.create_subprocess_exec(
                    binary,
                    "serve",
                    env=os.environ | {"OLLAMA_HOST": self._url, "OLLAMA_NUM_PARALLEL": str(self._parallel)},
                    stdin=DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for us; it is ended once its clients are gone
                    preexec_fn=_end_with_parent,
                )
            finally:
                os.close(output)
        except OSError as error:
            message = f"Ollama cannot be started: {error.strerror}."
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message) from error

    async def _until_it_answers(self, process: Process) -> str | None:
        """None once it does, else why it does not."""
        with anyio.move_on_after(ANSWER_SECONDS):
            while process.returncode is None:
                if await self._answers():
                    return None
                await anyio.sleep(LOOK_SECONDS)
            return f"Ollama ended with the status {process.returncode} before it answered"
        return f"Ollama did not answer at {shown_address(self._url)} within {ANSWER_SECONDS:.0f} s"

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(base_url=self._url, timeout=2, trust_env=False) as client:
                return (await client.get("/api/version")).is_success
        except httpx.HTTPError:
            return False


async def _stop(process: Process) -> None:
    """End it and what it started: politely, so that it takes its runners along, then by force."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(STOP_SECONDS):
                await process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nobody of its group is left
            pass
        await process.wait()


def _end_with_parent() -> None:
    """Runs in the child before it becomes Ollama: have the kernel end it when this process is gone."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
