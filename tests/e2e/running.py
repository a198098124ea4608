"""The service as its users run it: a process of its own, spoken to over HTTP."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
DEMO_MODEL = "demo/tiny-tools"
START_SECONDS = 60


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens there.

    Raises:
        RuntimeError: the process ended, or took too long.
    """
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("nobody listens")


@dataclass
class RunningService:
    """A started service. `log` is its standard error so far."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path
    data_dir: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def client(self, **kwargs: Any) -> httpx.Client:
        """A client with a patient timeout."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **kwargs)

    def chat(self, body: dict[str, Any]) -> httpx.Response:
        """One `POST /api/v1/chat`, as a JSON reply."""
        with self.client() as client:
            return client.post("/api/v1/chat", json={"model": DEMO_MODEL, "temperature": 0, **body})

    def stream(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """One streamed chat, all of its events."""
        request = {"model": DEMO_MODEL, "temperature": 0, "stream": True, **body}
        with self.client() as client, client.stream("POST", "/api/v1/chat", json=request) as response:
            return list(events(response))

    def positions_behind(self, first: dict[str, Any], second: dict[str, Any]) -> list[int]:
        """What places in the queue `second` hears of that is sent while `first` writes, whose client then leaves."""
        with self.client() as client, contextlib.ExitStack() as leaving:
            body = {"model": DEMO_MODEL, "temperature": 0, "stream": True}
            writing = leaving.enter_context(client.stream("POST", "/api/v1/chat", json=body | first))
            told = events(writing)  # held: the stream is closed with its last reader
            next(event for event in told if event["type"] == "message.delta")
            places: list[int] = []
            ended = False
            headers = {"X-Stream-Extensions": "true"}
            with client.stream("POST", "/api/v1/chat", json=body | second, headers=headers) as response:
                for event in events(response):
                    if event["type"] == "queue.position":
                        places.append(event["position"])
                        leaving.close()
                    ended = event["type"] == "chat.end"
            assert ended
        return places

    def kill(self) -> None:
        """`kill -9`, and nothing after it."""
        self.process.kill()
        self.process.wait(10)


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream, as they come; each one's type stands in both of its lines."""
    kind, number = "", 0
    for line in response.iter_lines():
        if line.startswith("id:"):
            assert int(line[3:]) > number
            number = int(line[3:])
        elif line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data = json.loads(line[5:])
            assert data["type"] == kind
            yield data


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """What a service needs of the environment, and nothing of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return (
        kept
        | {
            "ORCHESTRATOR_DATA_DIR": str(data_dir),
            "ORCHESTRATOR_MCP_USER_CONFIG": str(data_dir / "user" / "mcp.json"),
            "ORCHESTRATOR_LOG_FORMAT": "json",
        }
        | settings
    )


@contextmanager
def running_service(
    data_dir: Path, mcp_json: dict[str, Any] | None = None, **settings: str
) -> Generator[RunningService]:
    """Start the service over `data_dir` and stop it afterwards, unless it is gone already."""
    data_dir.mkdir(parents=True, exist_ok=True)
    config = data_dir / "mcp.json"
    config.write_text(json.dumps(mcp_json or {"mcpServers": {}}))
    port = free_port()
    given = {"ORCHESTRATOR_MCP_CONFIG": str(config), "ORCHESTRATOR_PORT": str(port)}
    log_file = data_dir / "service.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "serve"],
            cwd=data_dir,
            env=environment(data_dir, **(given | settings)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    service = RunningService(f"http://127.0.0.1:{port}", process, log_file, data_dir)
    try:
        wait_until_healthy(service)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
                raise


def wait_until_healthy(service: RunningService) -> None:
    """Ask until it says that requests can be taken.

    Raises:
        RuntimeError: it ended or did not get there; the message has its log.
    """
    transport = httpx.HTTPTransport(retries=0)
    with httpx.Client(base_url=service.url, timeout=5, trust_env=False, transport=transport) as client:
        for _ in range(START_SECONDS * 10):
            if service.process.poll() is not None:
                raise RuntimeError(f"the service ended with {service.process.returncode}:\n{service.log}")
            try:
                if client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            try:
                service.process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    raise RuntimeError(f"the service did not get ready:\n{service.log}")
