"""The service for tests with many requests: all of it, behind its own server, over a scripted model.

Run as a program it says the line `ready PORT` on standard output, and logs to standard error.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from orchestrator import app as composition
from orchestrator.cli.http_service import HttpService, listen
from orchestrator.cli.serve import run_service
from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import TextInput
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.settings import load_settings
from orchestrator.telemetry import configure_logging
from orchestrator.testing import Break, Call, Say, ScriptedEngine, Think, Turn
from tests.e2e.running import ROOT, free_port

SECONDS = 60


def script(request: Generate) -> Turn:
    """What the model does: it calls the first tool once, and fails where it is told to."""
    last = request.messages[-1]
    if isinstance(last, UserMessage) and last.parts == (TextInput("fail"),):
        return [Say("So"), Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine broke."))]
    if request.tools and not isinstance(last, ToolMessage):
        return [Think("Well."), Call(request.tools[0].name, "{}"), Call("fly", '{"to": ')]
    return [Say("Fine \x00 so far.")]


class Model(ScriptedEngine):
    """The scripted model, as the composition root closes an engine; it forgets what it was asked, to keep its memory flat."""

    def __init__(self) -> None:
        super().__init__(self._forget_and_go_on)

    def _forget_and_go_on(self, request: Generate) -> Turn:
        self.requests.clear()
        return script(request)

    async def aclose(self) -> None:
        """Nothing to close."""


def engines(*_: object) -> list[Model]:
    """What stands in for every engine."""
    return [Model()]


def main() -> None:
    """Serve until a signal."""
    composition.__dict__["engines_of"] = engines
    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    sockets, settings = listen(settings)
    opening, limits = composition.open_app(settings), composition.request_limits(settings)
    service = HttpService(opening, sockets, limits)
    run_service(service.serve, lambda: print(f"ready {settings.port}", flush=True))  # noqa: T201 - whoever started it waits for this


@dataclass
class FuzzedService:
    """The running process. `secrets` are what must not be found in its log."""

    url: str
    pid: int
    log_file: Path
    tokens: dict[str, str]
    secrets: dict[str, str]

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


async def _tokens(environ: dict[str, str]) -> dict[str, str]:
    """Tokens by what they are for, made in the service's own database."""
    from orchestrator.service.tokens import TokenService
    from orchestrator.store.database import open_database
    from orchestrator.store.encryption import Sealer
    from orchestrator.store.migrate import prepare
    from orchestrator.store.tokens import SqlTokenStore

    settings = load_settings(environ)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        sealer = Sealer(settings.encryption_key, settings.encryption_key_file)
        service = TokenService(SqlTokenStore(database, sealer))
        return {
            "admin": (await service.create_token("admin", ["admin"]))[1],
            "other": (await service.create_token("other", ["chat", "plugins", "audit.read", "ephemeral_mcp"]))[1],
            "narrow": (await service.create_token("narrow", ["models.read"]))[1],
        }
    finally:
        await database.aclose()


@contextmanager
def fuzzed_service(folder: Path, database_url: str) -> Generator[FuzzedService]:
    """The service in a process of its own, with authentication on and two real plugins."""
    secret = "canary-of-the-environment-" + os.urandom(6).hex()
    config = {
        "mcpServers": {
            "clock": {"command": sys.executable, "args": ["-m", "clock_mcp"], "env": {"SECRET": secret, "PYTHONPATH": "plugins"}},
            "gone": {"command": "a-program-that-is-not-there"},
        }
    }  # fmt: skip
    (folder / "mcp.json").write_text(json.dumps(config))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    nowhere = f"http://127.0.0.1:{free_port()}"
    given = {
        "DATA_DIR": str(folder),
        "DATABASE_URL": database_url,
        "MCP_CONFIG": str(folder / "mcp.json"),
        "MCP_USER_CONFIG": str(folder / "none.json"),
        "REQUIRE_AUTHENTICATION": "true",
        "EPHEMERAL_ALLOW": "127.0.0.0/8,::1/128",
        "PORT": "0",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "OLLAMA_HOST": nowhere,
    }
    # No name of a model leads out of this machine.
    environ = kept | {f"ORCHESTRATOR_{name}": value for name, value in given.items()} | {"HF_ENDPOINT": nowhere}
    tokens = anyio.run(_tokens, environ)
    log_file = folder / "fuzzed-service.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.service"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            assert said[:1] == [b"ready"], log_file.read_text()
            secrets = {name: token.partition(":")[2] for name, token in tokens.items()} | {"environment": secret}
            yield FuzzedService(f"http://127.0.0.1:{int(said[1])}", process.pid, log_file, tokens, secrets)
        finally:
            process.terminate()
            process.wait(SECONDS)
            if process.stdout is not None:
                process.stdout.close()


if __name__ == "__main__":
    main()
