"""Servers come from the links of web pages and from the files of other programs."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from orchestrator.integrations.mcp_import import PROGRAMS, Candidate, Place, candidates, found_files
from orchestrator.integrations.mcp_json import McpJsonError
from orchestrator.integrations.mcp_links import LinkProblem, is_link, read_link

ENTRY: dict[str, Any] = {"command": "npx", "args": ["-y", "pkg>>>???"]}


def coded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


LINKS = [
    f"lmstudio://add_mcp?name=a%20b&config={quote(coded(ENTRY))}",
    f"lmstudio://add_mcp?name=a%20b&config={coded(ENTRY)}",
    f"lmstudio://add_mcp?name=a%20b&config={coded(ENTRY).rstrip('=').replace('+', '-').replace('/', '_')}",
    f"https://lmstudio.ai/install-mcp?name=a+b&config={coded(ENTRY)}".replace("a+b", "a%20b"),
    f"cursor://anysphere.cursor-deeplink/mcp/install?name=a%20b&config={coded(ENTRY)}",
    f"cursor://anysphere.cursor-deeplink/mcp/install?name=a%20b&config={coded({'a b': ENTRY})}",
    f"cursor://anysphere.cursor-deeplink/mcp/install?name=a%20b&config={coded({'other': ENTRY})}",
    f"cursor://anysphere.cursor-deeplink/mcp/install?config={coded({'mcpServers': {'a b': ENTRY}})}",
    f"https://cursor.com/install-mcp?name=a%20b&config={coded(ENTRY)}",
    f"vscode:mcp/install?{quote(json.dumps({'name': 'a b', **ENTRY}))}",
    f"vscode-insiders:mcp/install?{quote(json.dumps({'name': 'a b', **ENTRY}))}",
    f"https://insiders.vscode.dev/redirect/mcp/install?name=a%20b&config={quote(json.dumps(ENTRY))}",
]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_says_what_it_installs(link: str) -> None:
    assert is_link(link)
    assert read_link(link) == ("a b", ENTRY)


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("https://example.com/?name=a&config=e30=", "not a link of LM Studio, Cursor or VS Code"),
        ("lmstudio://open_from_hf?model=x", "not a link of LM Studio"),
        ("http://[", "not a link"),
        ("lmstudio://add_mcp?name=a", "it has no 'config'"),
        ("lmstudio://add_mcp?name=a&config=hush!", "not base64"),
        (f"lmstudio://add_mcp?name=a&config={base64.b64encode(b'hush').decode()}", "not JSON"),
        (f"lmstudio://add_mcp?name=a&config={coded(['hush'])}", "not a JSON object"),
        (f"lmstudio://add_mcp?name=a&config={coded({'env': 'hush'})}", "neither 'command' nor 'url'"),
        (f"lmstudio://add_mcp?config={coded(ENTRY)}", "what the server is called"),
    ],
)
def test_a_link_that_is_none_is_refused_without_its_content(link: str, problem: str) -> None:
    with pytest.raises(LinkProblem) as caught:
        read_link(link)
    assert problem in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("label", ["clock", "my clock", "a:b"])
def test_a_label_is_no_link(label: str) -> None:
    assert not is_link(label)


def test_the_files_of_programs_are_where_each_system_has_them(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "project"
    mac = Place.of("darwin", home, {}, folder)
    windows = Place.of("win32", home, {"APPDATA": str(home / "Roaming")}, folder)
    linux = Place.of("linux", home, {}, folder)
    claude = PROGRAMS["claude-desktop"]
    assert claude(mac) == [home / "Library/Application Support/Claude/claude_desktop_config.json"]
    assert claude(windows) == [home / "Roaming/Claude/claude_desktop_config.json"]
    assert claude(linux) == [home / ".config/Claude/claude_desktop_config.json"]
    assert claude(Place.of("linux", home, {"XDG_CONFIG_HOME": "/x"}, folder)) == [
        Path("/x/Claude/claude_desktop_config.json")
    ]
    for program in PROGRAMS:
        assert found_files(program, linux) == ()
        for path in PROGRAMS[program](linux):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        assert found_files(program, linux) == tuple(PROGRAMS[program](linux))


def imported(file: Path, document: object) -> list[Candidate]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"// as it is\n{json.dumps(document)}")
    return list(candidates(file))


@pytest.mark.parametrize(
    "document", [{"mcpServers": {"a": ENTRY}}, {"servers": {"a": ENTRY}}, {"mcp": {"servers": {"a": ENTRY}}, "font": 1}]
)
def test_every_place_of_servers_is_read(tmp_path: Path, document: object) -> None:
    file = tmp_path / "User" / "settings.json"
    assert imported(file, document) == [Candidate("a", ENTRY, file)]


def test_a_file_without_servers_has_none(tmp_path: Path) -> None:
    assert imported(tmp_path / "f.json", {"theme": "dark"}) == []


CONVERTED: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({"serverUrl": "http://h"}, {"url": "http://h"}, None),
    ({"url": "http://h", "transport": "sse"}, {"url": "http://h", "type": "sse"}, None),
    ({"url": "http://h", "type": "streamableHttp"}, {"url": "http://h", "type": "streamable-http"}, None),
    ({"command": "x", "enabled": False}, {"command": "x", "disabled": True}, None),
    ({"command": "x", "enabled": True}, {"command": "x"}, None),
    ({"command": "x", "timeout": 30000}, {"command": "x", "timeout": 30.0}, "taken for milliseconds"),
    ({"command": "x", "alwaysAllow": ["a"]}, {"command": "x", "alwaysAllow": ["a"]}, None),
    (
        {"url": "http://h", "headers": {"A": "Bearer ${input:api-key}"}},
        {"url": "http://h", "headers": {"A": "Bearer ${API_KEY}"}},
        "set the environment variable API_KEY, which was asked of a person as 'api-key'",
    ),
    (
        {"command": "${workspaceFolder}/x"},
        {"command": "${workspaceFolder}/x"},
        "${workspaceFolder} means the folder of mcp.json here",
    ),
]


@pytest.mark.parametrize(("entry", "converted", "note"), CONVERTED)
def test_what_others_call_otherwise_is_put_into_our_words(
    tmp_path: Path, entry: dict[str, Any], converted: dict[str, Any], note: str | None
) -> None:
    (found,) = imported(tmp_path / "User" / "mcp.json", {"servers": {"a": entry}})
    assert found.entry == converted
    assert (found.notes == ()) if note is None else (len(found.notes) == 1 and note in found.notes[0])


@pytest.mark.parametrize("name", [".vscode/mcp.json", ".cursor/mcp.json", ".mcp.json"])
def test_an_entry_of_a_project_goes_on_to_mean_that_project(tmp_path: Path, name: str) -> None:
    entry = {"command": "x", "args": ["${workspaceFolder}/a"], "cwd": "sub", "envFile": ".env"}
    (found,) = imported(tmp_path / name, {"mcpServers": {"a": entry}})
    assert found.entry == {
        "command": "x",
        "args": [f"{tmp_path}/a"],
        "cwd": f"{tmp_path}/sub",
        "envFile": f"{tmp_path}/.env",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}'])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(McpJsonError, match=r"x\.json"):
        candidates(file)
    with pytest.raises(McpJsonError, match="does not exist"):
        candidates(tmp_path / "none.json")
