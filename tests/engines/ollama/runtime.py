"""A real Ollama for tests: started on a free loopback port with an empty store, or one that already runs.

It is looked for in `ORCHESTRATOR_TEST_OLLAMA` (a binary), on PATH, and at `OLLAMA_HOST`. Its models are made from the
demo model, with templates in Ollama's language.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import ollama
import psutil

from orchestrator.engines.ollama.address import base_url
from tests.engines.llama_cpp.gguf_files import with_number

BOUND_SECONDS: Final = 60
NAMESPACE: Final = "orchestrator-test"
TOOLS: Final = f"{NAMESPACE}/tools:latest"
"""Calls tools, does not think."""
THINKER: Final = f"{NAMESPACE}/thinker:latest"
"""Calls tools and thinks, unless told not to."""
PLAIN: Final = "orchestrator-test-plain:latest"
"""Does neither; stands in Ollama's own namespace."""
EMBEDDER: Final = f"{NAMESPACE}/embedder:latest"
"""Makes vectors: the demo model, with the word in its file that tells Ollama so."""
FAR: Final = f"{NAMESPACE}/far:latest"
"""Is passed on to another machine, though its name does not say so."""

_GGUF: Final = Path(__file__).parents[3] / "orchestrator/engines/llama_cpp/bundled/demo/tiny-tools/tiny-tools-q8_0.gguf"
_TEMPLATE: Final = (Path(__file__).parent / "tiny-tools.gotmpl").read_text("utf-8").removesuffix("\n")
_THINKS_BEFORE: Final = "{{ if .Thinking }}<think>\n{{ .Thinking }}\n</think>\n\n{{ end }}"
_THINKS_NOW: Final = "{{ if .Think }}<think>\n{{ end }}"
_PLAIN: Final = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A server with the models above. `pid` is None for one that somebody else started."""

    host: str
    pid: int | None

    def unload(self, model: str) -> None:
        """Take `model` out of memory, and wait until it is gone: Ollama says yes before it is."""
        with closing(_client(self.host)) as client:
            client.generate(model, keep_alive=0)
            give_up_at = time.monotonic() + BOUND_SECONDS
            while any(entry.model == model for entry in client.ps().models):
                assert time.monotonic() < give_up_at, f"{model} stays in memory"

    def load(self, model: str, num_ctx: int | None) -> None:
        """Load `model` as another program would."""
        with closing(_client(self.host)) as client:
            client.generate(model, options={} if num_ctx is None else {"num_ctx": num_ctx})

    def kill_runners(self) -> None:
        """Kill the processes in which models run, as the kernel does when memory is short."""
        assert self.pid is not None
        for child in psutil.Process(self.pid).children():
            child.kill()


def missing() -> str | None:
    """Why there is no Ollama to test with, or None where there is one."""
    return None if own_binary() is not None or _running() is not None else "no Ollama: not on PATH, none at OLLAMA_HOST"


@contextmanager
def real_ollama(*names: str) -> Generator[Runtime]:
    """A server with the models of these names, or with all of them; what was made for it is gone afterwards."""
    names = names or (TOOLS, THINKER, PLAIN, EMBEDDER, FAR)
    binary = own_binary()
    if binary is not None:
        with tempfile.TemporaryDirectory() as folder, _serving(binary, Path(folder)) as runtime:
            make_models(runtime.host, names)
            yield runtime
        return
    host = _running()
    assert host is not None
    make_models(host, names)
    try:
        yield Runtime(host, None)
    finally:
        with closing(_client(host)) as client:
            for name in names:
                client.delete(name)


def _client(host: str) -> ollama.Client:
    return ollama.Client(host, trust_env=False, timeout=BOUND_SECONDS)


def own_binary() -> str | None:
    """The program to start, where there is one. One that is named must be there."""
    named = os.environ.get("ORCHESTRATOR_TEST_OLLAMA")
    assert not named or shutil.which(named), f"ORCHESTRATOR_TEST_OLLAMA names no program: {named}"
    return named or shutil.which("ollama")


def _running() -> str | None:
    host = os.environ.get("OLLAMA_HOST")
    if not host:
        return None
    try:
        url = base_url(host)
        httpx.get(f"{url}/api/version", timeout=2, trust_env=False).raise_for_status()
    except (ValueError, httpx.HTTPError):
        return None
    return url


@contextmanager
def _serving(binary: str, folder: Path) -> Generator[Runtime]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
    environ |= {
        "HOME": str(folder),  # a key pair is made there
        "OLLAMA_HOST": "127.0.0.1:0",
        "OLLAMA_MODELS": str(folder / "models"),
        "OLLAMA_NO_CLOUD": "1",
    }
    process = subprocess.Popen(
        [binary, "serve"],
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    output = _Output(process)
    output.start()
    try:
        yield Runtime(output.address(), process.pid)
    finally:
        process.terminate()  # it takes its runners along
        try:
            process.wait(BOUND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(BOUND_SECONDS)
        output.join(BOUND_SECONDS)
        assert process.stderr is not None
        process.stderr.close()


class _Output(threading.Thread):
    """Reads what the server prints, so that it never waits for a reader, and finds its address in it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        super().__init__(daemon=True)
        self._process = process
        self._last: deque[str] = deque(maxlen=50)
        self._address = ""
        self._known = threading.Event()

    def run(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last.append(line)
            listening = re.search(r"Listening on ([0-9.]+:[0-9]+)", line)
            if listening is not None:
                self._address = f"http://{listening[1]}"
                self._known.set()
        self._known.set()

    def address(self) -> str:
        """Where the server listens, once it does."""
        assert self._known.wait(BOUND_SECONDS) and self._address, "".join(self._last)
        return self._address


def make_models(host: str, names: Sequence[str]) -> None:
    """Create the models of these names in the Ollama at `host`."""
    # One thread: on shared cores two of them cost more than they bring.
    parameters = {"temperature": 0, "num_thread": 1}
    templates = {
        TOOLS: _TEMPLATE.replace(_THINKS_BEFORE, "").replace(_THINKS_NOW, ""),
        THINKER: _TEMPLATE,
        PLAIN: _PLAIN,
    }
    with closing(_client(host)) as client:
        digest = client.create_blob(_GGUF)
        for name in names:
            if name in templates:
                client.create(name, files={"model.gguf": digest}, template=templates[name], parameters=parameters)
        if EMBEDDER in names:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "embeds.gguf"
                file.write_bytes(with_number(_GGUF.read_bytes(), "llama.pooling_type", 1))
                digest = client.create_blob(file)
            client.create(EMBEDDER, files={"model.gguf": digest}, parameters={"num_thread": 1})
    if FAR not in names:
        return
    far = {"model": FAR, "from": "gpt-oss:20b", "remote_host": "https://ollama.com", "stream": False}
    httpx.post(f"{host}/api/create", json=far, timeout=BOUND_SECONDS, trust_env=False).raise_for_status()
