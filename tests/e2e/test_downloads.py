"""A download as its users see it: over HTTP, through a `kill -9`, and from the command line."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.llama_cpp.catalogue import BUNDLED
from tests.e2e.running import RunningService, environment, running_service
from tests.engines.hub import PIECE, Hub, running_hub

DEMO = (BUNDLED / "demo" / "tiny-tools" / "tiny-tools-q8_0.gguf").read_bytes()
DOWNLOAD = "/api/v1/models/download"
LINK = {"model": "https://huggingface.co/ada/tiny-GGUF", "quantization": "Q8_0"}


@pytest.fixture
def hub() -> Generator[Hub]:
    with running_hub() as hub:
        hub.files["ada/tiny-GGUF"] = {"tiny-Q8_0.gguf": DEMO}
        yield hub


def serving(hub: Hub, data_dir: Path) -> AbstractContextManager[RunningService]:
    """The service, with this hub for the real one, and nobody's token."""
    return running_service(data_dir, HF_ENDPOINT=hub.url, HF_HOME=str(data_dir / "hf"))


def ask(service: RunningService, method: str, path: str, body: Any = None) -> Any:
    with service.client() as client:
        response = client.request(method, path, json=body)
        assert response.status_code == 200, response.text
        return response.json()


def until(service: RunningService, job_id: str, reached: Callable[[Any], bool]) -> Any:
    """The job's status once `reached` is true of it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        told = ask(service, "GET", f"{DOWNLOAD}/status/{job_id}")
        if reached(told):
            return told
    raise AssertionError(f"the download did not get there:\n{service.log}")


def completed(told: Any) -> bool:
    return told["status"] == "completed"


def moved(told: Any) -> bool:
    return told["downloaded_bytes"] > 0


def test_after_a_kill_the_next_process_goes_on_where_the_bytes_ended_and_the_model_can_be_used(
    hub: Hub, tmp_path: Path
) -> None:
    hub.hold_at = 24 * PIECE
    with serving(hub, tmp_path) as service:
        job = ask(service, "POST", DOWNLOAD, LINK)
        until(service, job["job_id"], moved)
        service.kill()
    hub.hold_at = None
    hub.go_on.set()
    with serving(hub, tmp_path) as service:
        done = until(service, job["job_id"], completed)
        assert done["downloaded_bytes"] == done["total_size_bytes"] == len(DEMO)
        first, second = hub.ranges
        assert first is None
        assert second is not None and int(second.removeprefix("bytes=").removesuffix("-")) >= 16 * PIECE
        assert (tmp_path / "models" / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO
        assert ask(service, "POST", DOWNLOAD, LINK) == {"status": "already_downloaded"}
        assert "ada/tiny-GGUF" in [model["key"] for model in ask(service, "GET", "/api/v1/models")["models"]]


def pulling(service: RunningService, data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "orchestrator", "models", "pull", *arguments, "--url", service.url]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=data_dir, env=environment(data_dir), stdout=pipe, stderr=pipe, text=True)


def test_the_command_line_watches_a_download_and_leaves_it_running_on_ctrl_c(hub: Hub, tmp_path: Path) -> None:
    hub.hold_at = 24 * PIECE
    with serving(hub, tmp_path) as service:
        with pulling(service, tmp_path, LINK["model"], "--quantization", "Q8_0") as command:
            end = time.monotonic() + 30
            while "download/status" not in service.log and time.monotonic() < end and command.poll() is None:
                assert hub.holding.wait(30)
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=30)
            assert command.returncode == 130, said
            job_id = ask(service, "POST", DOWNLOAD, LINK)["job_id"]
            assert said == f"The download goes on in the service, as {job_id}.\n"
        hub.go_on.set()
        until(service, job_id, completed)
        with pulling(service, tmp_path, LINK["model"], "--quantization", "Q8_0", "--json") as command:
            out, said = command.communicate(timeout=30)
            assert (command.returncode, json.loads(out), said) == (0, {"status": "already_downloaded"}, "")


def test_the_command_line_says_what_was_downloaded_and_why_something_was_not(hub: Hub, tmp_path: Path) -> None:
    with serving(hub, tmp_path) as service:
        with pulling(service, tmp_path, LINK["model"]) as command:
            out, said = command.communicate(timeout=30)
            assert (command.returncode, out.splitlines()[-1], said) == (0, f"downloaded {LINK['model']}", "")
        with pulling(service, tmp_path, LINK["model"], "--quantization", "Q2_K") as command:
            out, said = command.communicate(timeout=30)
            assert (command.returncode, out) == (1, "")
            assert "ada/tiny-GGUF has no Q2_K, only: Q8_0." in said
