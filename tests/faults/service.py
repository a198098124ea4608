"""The service for tests of sudden ends: the whole application over a scripted model, a fresh process each time.

This process imports everything once and forks the service whenever it is told to: `start PORT` on
standard input is answered by the pid of a process that will listen there.
"""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from orchestrator import app as composition
from orchestrator.core.commands import Generate
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.settings import Settings, load_settings
from orchestrator.telemetry import configure_logging
from orchestrator.testing import SCRIPTED_MODEL, Call, Say, ScriptedEngine, Turn

ROOT = Path(__file__).parents[2]
CALLING_TURNS = 2
"""Turns of a chat that call tools, two calls each; one more says something."""


def script(request: Generate) -> Turn:
    """What the model does next, by what it was told since the user spoke."""
    asked = max(place for place, message in enumerate(request.messages) if isinstance(message, UserMessage))
    answers = sum(isinstance(message, ToolMessage) for message in request.messages[asked:])
    if answers >= 2 * CALLING_TURNS:
        return [Say(f"That was it, after {answers} answers, one word after the other, as models do.")]
    return [Say("One moment."), *(Call("note", {"text": os.urandom(8).hex()}) for _ in range(2))]


def scripted_engines(*_: object) -> list[ScriptedEngine]:
    """What stands in for every engine."""
    return [ScriptedEngine(script)]


async def serve(settings: Settings, port: int) -> None:
    """The service, until it is ended."""
    # The composition root, as it is, but for the model.
    composition.__dict__["engines_of"] = scripted_engines
    async with composition.open_app(settings) as application:
        config = uvicorn.Config(application, "127.0.0.1", port, lifespan="off", ws="none", log_config=None)
        await uvicorn.Server(config).serve()


def main() -> None:
    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for those that are killed
    for line in sys.stdin:
        port = int(line.split()[1])
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            anyio.run(serve, settings, port)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


class Forker:
    """Starts services; at most one lives at a time."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._stdin = process.stdin
        self._stdout = TextReceiveStream(process.stdout)
        self.pid: int | None = None

    async def start(self, port: int) -> None:
        """Start one on `port`; it takes a moment until it listens."""
        await self._stdin.send(f"start {port}\n".encode())
        self.pid = int(await self._stdout.receive())

    def kill(self) -> None:
        """`kill -9`, and nothing after it."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None


@asynccontextmanager
async def forker(data_dir: Path, log: Path, **settings: str) -> AsyncGenerator[Forker]:
    """What starts services with these settings; the last one is killed at the end."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    given = {f"ORCHESTRATOR_{name}": value for name, value in settings.items()}
    given |= {"ORCHESTRATOR_DATA_DIR": str(data_dir), "ORCHESTRATOR_MCP_USER_CONFIG": str(data_dir / "none.json")}
    command = [sys.executable, "-m", "tests.faults.service"]
    with log.open("ab") as errors:
        async with await anyio.open_process(command, cwd=ROOT, env=kept | given, stderr=errors) as process:
            started = Forker(process)
            try:
                yield started
            finally:
                started.kill()
                process.kill()
                with anyio.CancelScope(shield=True):
                    await process.wait()


__all__ = ["SCRIPTED_MODEL", "Forker", "forker"]

if __name__ == "__main__":
    main()
