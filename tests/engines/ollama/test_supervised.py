"""An Ollama as a child of the service: started, started again, ended. A small fake has the faults."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import httpx
import psutil
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.engines.ollama.supervised import SupervisedOllama
from tests.engines.ollama.runtime import own_binary

pytestmark = pytest.mark.anyio

BOUND_SECONDS: Final = 30
FAKE: Final = """#!{python}
import http.server, json, os, signal, sys

class Ollama(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"version": str(os.getpid())}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("fake", *sys.argv[1:], flush=True)
if {broken}:
    sys.exit(3)
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
host, _, port = os.environ["OLLAMA_HOST"].removeprefix("http://").rpartition(":")
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer((host, int(port)), Ollama).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with a program in it, and an address where nobody listens."""

    folder: Path
    host: str

    def fake(self, *, broken: bool = False, stubborn: bool = False) -> str:
        program = self.folder / "ollama"
        program.write_text(FAKE.format(python=sys.executable, broken=broken, stubborn=stubborn))
        program.chmod(0o700)
        return str(program)

    def supervised(self, binary: str) -> SupervisedOllama:
        return SupervisedOllama(binary, self.host, self.folder / "ollama.log", first_pause_seconds=0.05)

    async def version(self) -> str | None:
        """What answers at the address: of a fake it is its process id."""
        async with httpx.AsyncClient(base_url=f"http://{self.host}", timeout=5, trust_env=False) as client:
            try:
                return (await client.get("/api/version")).json()["version"]
            except httpx.HTTPError:
                return None

    async def another_than(self, version: str | None) -> str:
        """Wait until something answers that is not `version`."""
        with anyio.fail_after(BOUND_SECONDS):
            while (found := await self.version()) in (None, version):
                await anyio.lowlevel.checkpoint()
        assert found is not None
        return found


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    return Bench(tmp_path, f"127.0.0.1:{port}")


@asynccontextmanager
async def running(ollama: SupervisedOllama) -> AsyncGenerator[None]:
    """The child for as long as the block lasts."""
    async with anyio.create_task_group() as tasks:
        await ollama.start(tasks)
        yield
        tasks.cancel_scope.cancel()


async def refusal(ollama: SupervisedOllama) -> list[ErrorInfo]:
    """Why it does not start."""
    told: list[ErrorInfo] = []
    async with anyio.create_task_group() as tasks:
        with pytest.raises(OrchestratorError) as caught:
            await ollama.start(tasks)
        told.append(caught.value.info)
    return told


@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "stubborn"])
async def test_it_answers_when_the_start_is_over_and_is_gone_when_the_service_is(
    bench: Bench, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engines.ollama.supervised.STOP_SECONDS", 0.2)
    async with running(bench.supervised(bench.fake(stubborn=stubborn))):
        pid = await bench.version()
        assert pid is not None and psutil.pid_exists(int(pid))
    assert await bench.version() is None
    assert not psutil.pid_exists(int(pid))
    assert "fake serve" in await anyio.Path(bench.folder / "ollama.log").read_text()


async def test_one_that_dies_is_started_again(bench: Bench) -> None:
    async with running(bench.supervised(bench.fake())):
        first = await bench.another_than(None)
        os.kill(int(first), 9)
        second = await bench.another_than(first)
    assert first != second
    assert not psutil.pid_exists(int(second))


async def test_one_that_answers_already_is_left_to_itself(bench: Bench) -> None:
    binary = bench.fake()
    async with running(bench.supervised(binary)):
        pid = await bench.version()
        async with running(bench.supervised("no-such-program")):
            assert await bench.version() == pid
        assert await bench.version() == pid


async def test_one_that_ends_at_once_stops_the_start_with_its_status(bench: Bench) -> None:
    told = await refusal(bench.supervised(bench.fake(broken=True)))
    message = f"Ollama ended with the status 3 before it answered; {bench.folder / 'ollama.log'} says more."
    assert told == [ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)]


async def test_a_program_that_is_not_there_stops_the_start(bench: Bench) -> None:
    told = await refusal(bench.supervised("no-such-program"))
    message = (
        "Ollama cannot be started: there is no program 'no-such-program'. Install it, or name it by OLLAMA_BINARY."
    )
    assert told == [ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)]


@pytest.mark.ollama
async def test_the_real_one_is_started_and_leaves_nothing_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = own_binary()
    if binary is None:
        pytest.skip("no Ollama: not on PATH")
    monkeypatch.setenv("HOME", str(bench.folder))
    monkeypatch.setenv("OLLAMA_MODELS", str(bench.folder / "models"))
    async with running(bench.supervised(binary)):
        assert await bench.version() is not None
    assert await bench.version() is None
