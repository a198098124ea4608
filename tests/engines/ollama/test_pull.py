"""Pulls: what Ollama says while it pulls, on recorded lines; and the real one where it is, without its registry."""

import json
import subprocess
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest

from orchestrator.core.downloads import DownloadPlan, DownloadProgress
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.engines.ollama.pull import OllamaDownloader
from tests.e2e.running import free_port, wait_for_port
from tests.engines.ollama.runtime import own_binary

pytestmark = pytest.mark.anyio

MODEL, LICENSE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PULLED: list[dict[str, Any]] = [
    {"status": "pulling manifest"},
    {"status": "pulling aaaaaaaaaaaa", "digest": MODEL, "total": 1000},
    {"status": "pulling aaaaaaaaaaaa", "digest": MODEL, "total": 1000, "completed": 400},
    {"status": "pulling aaaaaaaaaaaa", "digest": MODEL, "total": 1000, "completed": 1000},
    {"status": "pulling bbbbbbbbbbbb", "digest": LICENSE, "total": 50, "completed": 50},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]
PLAN = DownloadPlan("ollama", "tiny:latest")


@dataclass
class FakeOllama:
    """What it has and says. With `hangs` a pull stops after its lines until its client is `gone`."""

    url: str = ""
    installed: list[str] = field(default_factory=list[str])
    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    status: int = 200
    hangs: bool = False
    said_all: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class _Request(BaseHTTPRequestHandler):
    @property
    def ollama(self) -> FakeOllama:
        return cast(_Server, self.server).ollama

    def do_GET(self) -> None:
        tags = [{"name": name, "model": name, "size": 1} for name in self.ollama.installed]
        self._begin(200)
        self.wfile.write(json.dumps({"models": tags}).encode())

    def do_POST(self) -> None:
        ollama = self.ollama
        ollama.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._begin(ollama.status)
        for line in ollama.lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")
        self.wfile.flush()
        ollama.said_all.set()
        if ollama.hangs:
            self.connection.settimeout(30)
            if self.connection.recv(1) == b"":
                ollama.gone.set()

    def _begin(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, ollama: FakeOllama) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.ollama = ollama


@pytest.fixture
def fake() -> Generator[FakeOllama]:
    ollama = FakeOllama(lines=list(PULLED))
    with _Server(ollama) as server:
        ollama.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield ollama
        server.shutdown()
        thread.join()


async def failure(work: Callable[[], Awaitable[object]]) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await work()
    return caught.value.info


def ignore(_: DownloadProgress) -> None:
    pass


@pytest.mark.parametrize(
    ("model", "quantization", "takes"),
    [
        ("qwen3:8b", None, True),
        ("qwen3", None, True),
        ("ada/model:latest", None, True),
        ("hf.co/ada/model-GGUF:Q4_K_M", None, True),
        ("registry.example:5000/ada/model:1", None, True),
        ("qwen3:8b", "Q4_K_M", False),
        ("https://huggingface.co/ada/model", None, False),
        ("../etc/passwd", None, False),
        ("a b", None, False),
    ],
)
def test_names_of_a_catalogue_are_taken_links_and_quantizations_are_not(
    model: str, quantization: str | None, takes: bool
) -> None:
    assert OllamaDownloader("127.0.0.1").takes(model, quantization) is takes


@pytest.mark.parametrize(
    "model",
    [
        "10.0.0.1/library/x",
        "169.254.169.254/latest/meta-data:x",
        "127.0.0.1:8080/library/x",
        "localhost:5000/x",
        "2130706433/a/b",
        "inner.example/ada/model:1",
        "hf.co.evil.example/a/b",
        "LOCALHOST/a/b",
    ],
)
async def test_ollama_is_sent_to_no_registry_that_nobody_allowed(model: str) -> None:
    told = await failure(lambda: OllamaDownloader("127.0.0.1:1").plan(model, None))
    host = model.partition("/")[0].partition(":")[0].lower()
    message = f"Models are not downloaded from '{host}'. The setting OLLAMA_REGISTRIES can allow it."
    assert told == ErrorInfo(ErrorKind.INVALID_VALUE, message, "model")


@pytest.mark.parametrize("model", ["hf.co/ada/model", "Registry.ollama.ai/library/x", "inner.example:5000/ada/model"])
async def test_known_registries_and_allowed_ones_are_asked(model: str) -> None:
    told = await failure(lambda: OllamaDownloader("127.0.0.1:1", ["Inner.example"]).plan(model, None))
    assert told.kind is ErrorKind.ENGINE_UNAVAILABLE


async def test_a_name_without_a_tag_means_latest_and_an_installed_one_is_present(fake: FakeOllama) -> None:
    fake.installed = ["tiny:latest", "hf.co/ada/Model:Q8_0"]
    pulling = OllamaDownloader(fake.url)
    planned = [await pulling.plan(name, None) for name in ("tiny", "hf.co/ada/model:q8_0", "tiny:1b")]
    assert [(plan.reference, plan.present) for plan in planned] == [
        ("tiny:latest", True),
        ("hf.co/ada/model:q8_0", True),
        ("tiny:1b", False),
    ]


async def test_a_pull_tells_the_bytes_of_all_layers_and_ends_with_success(fake: FakeOllama) -> None:
    told: list[DownloadProgress] = []
    await OllamaDownloader(fake.url).fetch(PLAN, told.append)
    assert told == [
        DownloadProgress(0, 1000),
        DownloadProgress(400, 1000),
        DownloadProgress(1000, 1000),
        DownloadProgress(1050, 1050),
    ]
    assert [(asked["model"], asked["stream"]) for asked in fake.asked] == [("tiny:latest", True)]


async def test_cancelling_closes_the_connection_which_ends_the_pull(fake: FakeOllama) -> None:
    fake.lines, fake.hangs, begun = PULLED[:3], True, 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(OllamaDownloader(fake.url).fetch, PLAN, ignore)
        assert await anyio.to_thread.run_sync(fake.said_all.wait, 10)
        begun = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - begun < 1
    assert await anyio.to_thread.run_sync(fake.gone.wait, 10)


@pytest.mark.parametrize(
    ("status", "error", "kind", "param"),
    [
        (200, "pull model manifest: file does not exist", ErrorKind.UNKNOWN_MODEL, "model"),
        (200, 'Get "https://registry": dial tcp: lookup registry: no such host', ErrorKind.ENGINE_UNAVAILABLE, None),
        (200, "write /blobs/x: no space left on device", ErrorKind.INSUFFICIENT_STORAGE, None),
        (200, "digest mismatch, file must be downloaded again", ErrorKind.ENGINE_ERROR, None),
        (400, "invalid model name", ErrorKind.INVALID_VALUE, "model"),
        (500, "boom", ErrorKind.ENGINE_ERROR, None),
    ],
)
async def test_what_ollama_refuses_is_told_in_the_words_of_the_error_table(
    fake: FakeOllama, status: int, error: str, kind: ErrorKind, param: str | None
) -> None:
    fake.status = status
    fake.lines = [*(PULLED[:1] if status == 200 else []), {"error": error}]
    told = await failure(lambda: OllamaDownloader(fake.url).fetch(PLAN, ignore))
    assert (told.kind, told.param) == (kind, param)
    assert error in told.message or kind is ErrorKind.INSUFFICIENT_STORAGE


async def test_a_pull_that_ends_without_success_has_failed(fake: FakeOllama) -> None:
    fake.lines = PULLED[:-1]
    told = await failure(lambda: OllamaDownloader(fake.url).fetch(PLAN, ignore))
    assert told.kind is ErrorKind.ENGINE_ERROR


async def test_an_ollama_that_is_not_there_is_unavailable() -> None:
    pulling = OllamaDownloader(f"127.0.0.1:{free_port()}")
    for told in (
        await failure(lambda: pulling.plan("tiny", None)),
        await failure(lambda: pulling.fetch(PLAN, ignore)),
    ):
        assert told.kind is ErrorKind.ENGINE_UNAVAILABLE
        assert "does not answer" in told.message


async def test_a_model_of_its_cloud_is_nothing_to_download(fake: FakeOllama) -> None:
    told = await failure(lambda: OllamaDownloader(fake.url).plan("huge:120b-cloud", None))
    assert (told.kind, told.param) == (ErrorKind.INVALID_VALUE, "model")


# ---- the real one -----------------------------------------------------------------------------


@contextmanager
def real_ollama(home: Path) -> Generator[str]:
    """A fresh Ollama of its own, which has nothing installed."""
    program = own_binary()
    if program is None:
        pytest.skip("no ollama on PATH, nor at ORCHESTRATOR_TEST_OLLAMA")
    port = free_port()
    # Its registry is reached through a proxy that is not there: the same answer with and without a network.
    environ = {"HOME": str(home), "OLLAMA_HOST": f"127.0.0.1:{port}", "HTTPS_PROXY": "http://127.0.0.1:9"}
    process = subprocess.Popen(
        [program, "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.ollama
async def test_the_real_ollama_says_that_its_registry_cannot_be_reached(tmp_path: Path) -> None:
    with real_ollama(tmp_path) as url:
        pulling = OllamaDownloader(url)
        plan = await pulling.plan("qwen3:8b", None)
        assert plan == DownloadPlan("ollama", "qwen3:8b")
        told = await failure(lambda: pulling.fetch(plan, ignore))
    assert told.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert "does not reach the registry" in told.message


@pytest.mark.ollama
async def test_the_real_ollama_refuses_a_name_that_is_none(tmp_path: Path) -> None:
    with real_ollama(tmp_path) as url:
        told = await failure(lambda: OllamaDownloader(url).fetch(DownloadPlan("ollama", "a/b/c/d/e"), ignore))
    assert (told.kind, told.param) == (ErrorKind.INVALID_VALUE, "model")
