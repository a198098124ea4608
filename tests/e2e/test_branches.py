"""Leaving, comparing and running again what was said, with a real server whose answers change and the real demo model."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.program import one_line, run
from tests.e2e.running import DEMO_MODEL, RunningService, running_service

PROGRAM = Path(__file__).with_name("weather_station.py")
DIFFERENT = 3


@dataclass(frozen=True, slots=True)
class Desk:
    """A running service with the plugin `mcp/station`, and the file of its sky."""

    service: RunningService
    sky: Path

    def responses(self, *arguments: str) -> Result:
        """`orchestrator responses …`, sent to the service."""
        return run("responses", *arguments, "--url", self.service.url)

    def json(self, *arguments: str, status: int = 0) -> Any:
        """The same with `--json`, which must be all that is printed."""
        result = self.responses(*arguments, "--json")
        assert result.exit_code == status, result.output
        return json.loads(one_line(result.stdout))

    def ask(self, tool: str, city: str, **body: Any) -> dict[str, Any]:
        """A chat in which the model calls that tool."""
        said = {"input": f'Use {tool} with city="{city}"', "integrations": ["mcp/station"], **body}
        reply: dict[str, Any] = self.service.chat(said).json()
        assert reply["output"][0]["tool"] == tool, reply
        return reply

    @property
    def observed(self) -> list[str]:
        """Which cities somebody really looked at."""
        log = self.sky.with_name("observed")
        return log.read_text().split() if log.exists() else []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    sky = folder / "sky"
    entry = {"command": sys.executable, "args": [str(PROGRAM), str(sky)]}
    with running_service(folder / "data", {"mcpServers": {"station": entry}}) as service:
        yield Desk(service, sky)


@pytest.fixture
def desk(running: Desk) -> Desk:
    """The desk, with a sunny sky at which nobody has looked."""
    running.sky.write_text("sunny")
    running.sky.with_name("observed").unlink(missing_ok=True)
    return running


def test_a_response_is_left_inside_it_compared_shown_and_pruned(desk: Desk) -> None:
    reply = desk.ask("forecast", "Bergen")
    id, call = reply["response_id"], reply["output"][0]["call_id"]
    told = desk.responses("fork", id, "--call", call, "--output", "Bergen: a storm")
    assert told.exit_code == 0, told.output
    assert "storm" in told.stdout
    edited = told.stdout.split()[-1]
    other = desk.json("fork", id, "--call", call, "--arguments", '{"city": "Oslo"}')
    assert json.loads(other["output"][0]["output"])[0]["text"] == "Oslo: sunny"
    wrong = desk.responses("fork", id, "--call", call, "--arguments", '{"town": "Oslo"}')
    assert (wrong.exit_code, "required" in wrong.stderr) == (1, True)

    compared = desk.responses("diff", id, edited)
    assert compared.exit_code == DIFFERENT
    assert "~ output 0  tool_call  forecast\n        output: Bergen: sunny → Bergen: a storm\n" in compared.stdout
    assert "        status: succeeded → edited\n" in compared.stdout
    [pair] = desk.json("diff", id, other["response_id"], status=DIFFERENT)["responses"]
    assert {"field": "arguments.city", "a": "Bergen", "b": "Oslo"} in pair["output"][0]["changes"]
    same = desk.responses("diff", id, id)
    assert (same.exit_code, same.stdout.endswith("equal\n")) == (0, True)

    after = desk.json("fork", id, "--input", "And then?")["response_id"]
    listed = [each["response_id"] for each in desk.json("list", "--tool", "forecast", "--limit", "2")["responses"]]
    assert listed == [other["response_id"], edited]
    assert edited in desk.responses("list", "--text", "storm").stdout
    lines = desk.responses("tree", id).stdout.splitlines()
    assert [line.split("resp_")[0] for line in lines] == ["├── ", "│   └── ", "├── ", "└── "]
    assert f"left {id} at 0" in lines[2]
    assert [each["response_id"] for each in desk.json("tree", after)["responses"]][-1] == after
    shown = desk.responses("show", id).stdout
    assert f'    0  tool_call  {call}  mcp/station/forecast(city="Bergen") → Bergen: sunny' in shown
    assert desk.json("show", edited)["forked_from"] == {"response_id": id, "position": 0}

    refused = desk.responses("delete", id)
    assert (refused.exit_code, "subtree" in refused.stderr) == (1, True)
    shared = "still has some of this content: a fork or a replay shares it; delete that too"
    told = [f"deleted {id}", f"deleted {after}", *(f"{kept} {shared}" for kept in (edited, other["response_id"]))]
    assert desk.responses("delete", id, "--subtree").stdout.splitlines() == told
    kept = desk.json("show", edited)["output"][0]
    assert json.loads(kept["output"])[0]["text"] == "Bergen: a storm"
    assert desk.responses("cancel", edited).stdout == f"{edited} is completed\n"
    gone = desk.responses("show", id)
    assert (gone.exit_code, "There is no such response" in gone.stderr) == (1, True)


def test_a_plugins_author_replays_what_was_and_sees_what_changed(desk: Desk) -> None:
    reply = desk.ask("forecast", "Bergen")
    id = reply["response_id"]
    assert desk.json("replay", id)["equal"] is True
    desk.sky.write_text("rain")
    told = desk.responses("replay", id)
    assert told.exit_code == DIFFERENT
    assert "~ result mcp/station/forecast at output 0\n    output: Bergen: sunny → Bergen: rain\n" in told.stdout
    assert told.stdout.endswith("1 difference\n")
    assert desk.responses("replay", id, "--ignore", "result").exit_code == 0
    # The server learns to describe a tool otherwise; the model's turns stay word for word.
    desk.sky.with_name("changed").touch()
    desk.sky.write_text("sunny")
    assert run("plugins", "restart", "station", "--url", desk.service.url).exit_code == 0
    report = desk.json("replay", id, status=DIFFERENT)
    assert [(found["type"], found["tool"]) for found in report["differences"]] == [("definition", "observe")]
    assert desk.json("show", report["response_id"])["replay_of"] == id


def test_what_writes_is_answered_from_the_store_unless_it_is_named(desk: Desk) -> None:
    reply = desk.ask("observe", "Bergen")
    id = reply["response_id"]
    assert desk.observed == ["Bergen"]
    told = desk.responses("replay", id)
    assert (told.exit_code, desk.observed) == (0, ["Bergen"])
    assert "  not run: mcp/station/observe at output 0: it is not annotated read-only; --allow runs it\n" in told.stdout
    report = desk.json("replay", id, "--allow", "mcp/station/observe")
    assert (report["equal"], report["not_run"], desk.observed) == (True, [], ["Bergen", "Bergen"])
    wrong = desk.responses("replay", id, "--allow", "mcp/station/fly")
    assert (wrong.exit_code, "mcp/station/forecast, mcp/station/observe" in wrong.stderr) == (1, True)


def test_the_model_writes_anew_over_what_the_tools_had_answered(desk: Desk) -> None:
    reply = desk.ask("forecast", "Bergen")
    desk.sky.write_text("rain")
    report = desk.json("replay", reply["response_id"], "--tools", "stored")
    assert (report["equal"], [call["reason"] for call in report["not_run"]]) == (True, ["tools_stored"])
    again = desk.json("show", report["response_id"])
    assert again["output"][-1] == reply["output"][-1]
    assert again["model"] == DEMO_MODEL
    assert again["stats"]["total_output_tokens"] > 0
    with desk.service.client() as client:
        journaled = client.get("/api/v1/tool-calls", params={"response_id": again["response_id"]}).json()
    assert [call["status"] for call in journaled["tool_calls"]] == ["replayed"]
