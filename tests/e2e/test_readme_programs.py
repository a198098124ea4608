"""The programs of the README's dialects run as they are pasted, against the service that its first command starts."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ROOT, RunningService, free_port, running_service, wait_for_port
from tests.e2e.test_main_job import PLUGINS

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:1234"
_PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = [program for program in _PYTHON if ADDRESS in program]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service"), PLUGINS) as service:
        yield service


@pytest.fixture
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = str(Path(sys.executable).parent / "notes-mcp")
    where = tmp_path_factory.mktemp("notes") / "notes.db"
    asked = [command, "--transport", "streamable-http", "--port", str(port), "--file", str(where)]
    with subprocess.Popen(asked, stdin=subprocess.DEVNULL) as server:
        try:
            wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.terminate()


@pytest.mark.parametrize("place", range(len(PROGRAMS)))
def test_a_program_of_a_dialect_prints_what_the_clock_says(
    service: RunningService, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(PROGRAMS[place].replace(ADDRESS, service.url), {})
    assert re.search(r"result of get_current_time is \d{4}-.* Asia/Tokyo", capsys.readouterr().out)


def test_there_is_a_program_for_each_dialect_that_has_clients() -> None:
    assert [re.findall(r"^from (\w+) import", program, re.MULTILINE) for program in PROGRAMS] == [
        ["openai"],
        ["openai"],
        ["anthropic"],
    ]


def test_the_request_of_the_older_dialect_gets_the_reply_that_stands_there(
    service: RunningService, notebook: str
) -> None:
    section = README.partition("## Threads")[2].partition("\n## ")[0]
    [(path, sent)] = re.findall(rf"curl {ADDRESS}(/\S+) --json '(.*?)'$", section, re.MULTILINE | re.DOTALL)
    [shown] = re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    body: dict[str, Any] = json.loads(sent.replace("http://127.0.0.1:8931/mcp", notebook))
    with service.client() as client:
        reply = client.post(path, json=body).json()
        appended = client.post(
            path, json={"model": body["model"], "input": "Hello!", "thread_id": reply["thread_id"]}
        ).json()
    assert _plain({name: value for name, value in reply.items() if name != "stats"}) == _plain(json.loads(shown))
    assert (appended["thread_id"], appended["status"]) == (reply["thread_id"], "completed")


def _plain(reply: dict[str, Any]) -> dict[str, Any]:
    """Without what is another one each time."""
    return {
        **reply,
        "thread_id": "",
        "output": [{**item, "call_id": "", "duration_ms": 0} for item in reply["output"]],
    }
