"""`orchestrator plugins add`, `remove` and `import`."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import one_line, run

SECRET = "hush-hush-1"


class Machine:
    """A home with nothing in it, and a file of plugins of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "own" / "mcp.json"

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        result = run("plugins", *arguments, **{"MCP_USER_CONFIG": str(self.file), **environ})
        assert SECRET not in result.output
        return result.exit_code, result.stdout, result.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        status, output, errors = self.run(*arguments, "--json")
        assert (status, errors) == (0, "")
        return json.loads(one_line(output))

    @property
    def servers(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())["mcpServers"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "project")
    return Machine(tmp_path)


ADDED: list[tuple[list[str], dict[str, Any]]] = [
    (["--command", "npx -y 'a b'"], {"command": "npx", "args": ["-y", "a b"]}),
    (["--", "npx", "-y", "--url", "x"], {"command": "npx", "args": ["-y", "--url", "x"]}),
    (["--url", "http://h/mcp", "--type", "sse"], {"url": "http://h/mcp", "type": "sse"}),
    (
        ["--url", "http://h/mcp", "--header", f"X-Key: {SECRET}:1"],
        {"url": "http://h/mcp", "headers": {"X-Key": f"{SECRET}:1"}},
    ),
    (
        ["--command", "x", "--env", f"A={SECRET}=1", "--env", "B=${LATER}", "--cwd", "/srv", "--timeout", "5"],
        {"command": "x", "env": {"A": f"{SECRET}=1", "B": "${LATER}"}, "cwd": "/srv", "timeout": 5.0},
    ),
    (
        ["--command", "x", "--scope", "chain", "--start", "at_start", "--allowed-tools", "a, b"],
        {"command": "x", "scope": "chain", "start": "at_start", "allowed_tools": ["a", "b"]},
    ),
]


@pytest.mark.parametrize(("arguments", "entry"), ADDED)
def test_a_server_is_added_by_what_it_is(machine: Machine, arguments: list[str], entry: dict[str, Any]) -> None:
    status, output, _ = machine.run("add", "x", *arguments)
    assert status == 0
    assert f"Written to {machine.file}" in output
    assert machine.servers == {"x": entry}


WRONG: list[tuple[list[str], int, str]] = [
    (["x"], 2, "say what the server is"),
    (["x", "--command", "a", "--url", "http://h"], 2, "say what the server is"),
    (["x", "--command", " "], 2, "--command must name a program"),
    (["x", "--command", "a", "--env", "A"], 2, "--env must be NAME=VALUE"),
    (["x", "--url", "ftp://h"], 1, "key 'url'"),
    (["x", "--url", "http://h", "--header", f"A b: {SECRET}"], 1, "key 'headers.A b'"),
    (["x", "--command", "${input:key}"], 1, "${input:key}"),
    (["a\nb", "--command", "x"], 1, "a label must be printable text"),
    (["https://example.com/x"], 1, "the link cannot be used: it is not a link of LM Studio"),
    (["lmstudio://add_mcp?name=a&config=e30=", "--url", "http://h"], 2, "a link says by itself"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_what_cannot_be_added_is_not_written(machine: Machine, arguments: list[str], status: int, said: str) -> None:
    found, _, errors = machine.run("add", *arguments)
    assert found == status
    assert said in " ".join(errors.split())
    assert not machine.file.exists()


def test_a_link_is_added_as_it_says(machine: Machine) -> None:
    entry = {"url": "https://h/mcp", "headers": {"X-Key": SECRET}}
    link = f"lmstudio://add_mcp?name=hf&config={base64.b64encode(json.dumps(entry).encode()).decode()}"
    status, _, errors = machine.run("add", link)
    assert (status, machine.file.exists()) == (1, False)
    assert "The link installs 'hf'" in errors
    assert "nothing is installed" in " ".join(errors.split())
    found = machine.json("add", link, "--yes")
    assert found["plugins"] == [
        {"label": "hf", "from": str(machine.file), "server": "https://h", "action": "added", "notes": []}
    ]
    assert machine.servers == {"hf": entry}


def test_an_entry_that_is_there_stays_unless_it_is_to_be_replaced(machine: Machine) -> None:
    machine.run("add", "My_Tool", "--command", "old")
    assert machine.run("add", "My_Tool", "--command", "old")[0] == 0
    status, _, errors = machine.run("add", "my-tool", "--command", "new")
    assert (status, "--replace" in errors) == (1, True)
    assert machine.servers == {"My_Tool": {"command": "old"}}
    assert machine.run("add", "my-tool", "--command", "new", "--replace")[0] == 0
    assert machine.servers == {"my-tool": {"command": "new"}}


def test_a_server_is_removed_and_a_missing_one_said(machine: Machine) -> None:
    machine.run("add", "a", "--command", "x")
    machine.run("add", "b", "--command", "x")
    assert machine.run("remove", "mcp/A")[0] == 0
    assert machine.servers == {"b": {"command": "x"}}
    status, _, errors = machine.run("remove", "a", "b")
    assert (status, "does not install a; it installs: b" in " ".join(errors.split())) == (1, True)
    assert machine.servers == {"b": {"command": "x"}}


def test_the_projects_file_is_written_where_that_is_asked_for(machine: Machine) -> None:
    machine.run("add", "a", "--command", "x", "--project")
    assert json.loads((machine.folder / "project" / "mcp.json").read_text()) == {"mcpServers": {"a": {"command": "x"}}}
    assert not machine.file.exists()


def write(file: Path, document: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def test_everything_that_is_found_is_imported_once(machine: Machine) -> None:
    home = machine.folder / "home"
    env = {"KEY": SECRET}
    claude = write(
        home / ".config" / "Claude" / "claude_desktop_config.json",
        {"mcpServers": {"files": {"command": "npx", "env": env}, "both": {"command": "one"}}},
    )
    cursor = write(home / ".cursor" / "mcp.json", {"mcpServers": {"both": {"command": "two"}, "odd": {"args": []}}})
    code = write(
        home / ".config" / "Code" / "User" / "mcp.json",
        {"servers": {"web": {"type": "http", "url": "https://h/mcp", "headers": {"K": "${input:k}"}}}, "inputs": []},
    )
    machine.file.parent.mkdir()
    machine.file.write_text('{\n  // my own\n  "mcpServers": {}\n}\n')
    preview = machine.json("import", "--dry-run")
    assert (preview["file"], preview["dry_run"]) == (str(machine.file), True)
    rows = {(row["label"], row["from"]): (row["action"], row["notes"]) for row in preview["plugins"]}
    assert rows == {
        ("files", str(claude)): ("added", []),
        ("both", str(claude)): ("added", []),
        ("both", str(cursor)): ("skipped", ["another entry has this label; --replace puts this one in its place"]),
        ("odd", str(cursor)): (
            "unusable",
            [f"{machine.file}, server 'odd': needs either 'command' or 'url'"],
        ),
        ("web", str(code)): (
            "added",
            [
                "set the environment variable K, which was asked of a person as 'k'",
                "the environment variable K is not set",
            ],
        ),
    }
    assert machine.file.read_text() == '{\n  // my own\n  "mcpServers": {}\n}\n'
    status, output, _ = machine.run("import")
    assert status == 0
    assert "web: set the environment variable K" in output
    text = machine.file.read_text()
    assert text.startswith("{\n  // my own\n")
    entries = json.loads(text.replace("  // my own\n", ""))["mcpServers"]
    assert entries == {
        "files": {"command": "npx", "env": env},
        "both": {"command": "one"},
        "web": {"type": "http", "url": "https://h/mcp", "headers": {"K": "${K}"}},
    }
    again = machine.json("import", "--from", "claude-desktop")
    assert [row["action"] for row in again["plugins"]] == ["there already", "there already"]
    assert machine.file.read_text() == text


def test_a_file_is_imported_by_its_path(machine: Machine) -> None:
    file = write(machine.folder / "other.json", {"mcpServers": {"a": {"command": "x"}}})
    machine.run("import", "--from", str(file))
    assert machine.servers == {"a": {"command": "x"}}


def test_a_program_without_a_file_is_said_with_where_it_was_looked_for(machine: Machine) -> None:
    status, _, errors = machine.run("import", "--from", "lm-studio")
    assert status == 1
    assert ".lmstudio/mcp.json" in errors


def test_nothing_found_is_said_and_nothing_written(machine: Machine) -> None:
    assert machine.run("import")[:2] == (0, "No MCP servers were found.\n")
    assert not machine.file.exists()


def test_a_broken_file_of_another_program_does_not_stop_the_others(machine: Machine) -> None:
    home = machine.folder / "home"
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text("{oops")
    write(home / ".lmstudio" / "mcp.json", {"mcpServers": {"a": {"command": "x"}}})
    status, _, errors = machine.run("import")
    assert status == 0
    assert "not valid JSON" in errors
    assert machine.servers == {"a": {"command": "x"}}
    assert machine.run("import", "--from", "cursor")[0] == 1
