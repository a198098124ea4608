"""What both plugins promise alike: their command lines, their schemas and their documents."""

import socket
import subprocess
from collections.abc import Generator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from clock_mcp.server import create_server as create_clock
from clock_mcp.zones import find_zone
from mcp import Client
from mcp.server import MCPServer
from notes_mcp.server import create_server as create_notes
from notes_mcp.store import NoteStore

from tests.plugins.plugin_processes import command

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLUGINS = {"clock-mcp": "clock_mcp", "notes-mcp": "notes_mcp"}
SHARED_FILES = ("serving.py", "tool_server.py")


def read_file(package: str, name: str) -> str:
    return (files(package) / name).read_text("utf-8")


def in_process(name: str, tmp_path: Path) -> Generator[MCPServer[Any]]:
    if name == "clock-mcp":
        yield create_clock(lambda: NOW, find_zone("UTC"))
    else:
        with NoteStore(tmp_path / "notes.db") as store:
            yield create_notes(store, lambda: NOW)


@pytest.fixture(params=PLUGINS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[MCPServer[Any]]:
    yield from in_process(str(request.param), tmp_path)


def run(name: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [command(name), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr.splitlines()[-1] if done.stderr else done.stdout


@pytest.mark.parametrize("file", SHARED_FILES)
def test_the_plugins_hold_the_same_copy_of_what_serves_them(file: str) -> None:
    assert read_file("clock_mcp", file) == read_file("notes_mcp", file)


@pytest.mark.anyio
async def test_the_tools_are_ones_that_a_small_model_can_use(server: MCPServer[Any]) -> None:
    for tool in await server.list_tools():
        assert tool.title
        assert tool.description is not None
        # The template of a small model shows no more.
        assert 0 < len(tool.description) <= 100
        assert tool.input_schema["additionalProperties"] is False
        assert {schema["type"] for schema in tool.input_schema["properties"].values()} <= {"string", "integer"}
        assert tool.output_schema is not None


@pytest.mark.anyio
async def test_the_readme_names_every_tool_with_its_arguments(server: MCPServer[Any]) -> None:
    readme = read_file(PLUGINS[server.name], "README.md")
    documented = {line for line in readme.splitlines() if line.startswith("| `")}
    told = {
        f"| `{tool.name}` | {', '.join(f'`{argument}`' for argument in tool.input_schema['properties'])} |"
        for tool in await server.list_tools()
    }
    assert {"|".join(line.split("|")[:3]) + "|" for line in documented} == told


@pytest.mark.anyio
async def test_the_server_introduces_itself(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == (server.name, "0.1.0")
        assert client.instructions


@pytest.mark.parametrize("name", PLUGINS)
def test_the_version_is_told(name: str) -> None:
    assert run(name, "--version") == (0, "0.1.0\n")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("clock-mcp", ("--timezone", "Tokio"), "clock-mcp: error: Unknown time zone 'Tokio'. Did you mean Asia/Tokyo?"),
        ("clock-mcp", ("--port", "99999"), "clock-mcp: error: argument --port: a port is a number from 0 to 65535"),
        (
            "notes-mcp",
            ("--file", "/dev/null/under/notes.db"),
            "notes-mcp: error: /dev/null/under/notes.db: The notes file cannot be opened: Not a directory.",
        ),
    ],
)
def test_a_command_line_that_cannot_be_followed_ends_with_the_reason(
    name: str, arguments: tuple[str, ...], said: str
) -> None:
    assert run(name, *arguments) == (2, said)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_port_that_is_taken_ends_with_the_reason(name: str, tmp_path: Path) -> None:
    file = ("--file", str(tmp_path / "notes.db")) if name == "notes-mcp" else ()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = run(name, "--transport", "streamable-http", "--port", port, *file)
    assert (code, "in use" in said, f"'127.0.0.1', {port}" in said) == (2, True, True)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_server_over_stdio_ends_quietly_when_its_client_goes(name: str, tmp_path: Path) -> None:
    file = ("--file", str(tmp_path / "notes.db")) if name == "notes-mcp" else ()
    assert run(name, *file) == (0, "")
