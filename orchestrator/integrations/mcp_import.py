"""The MCP servers that other programs have installed, as entries for our `mcp.json`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.integrations.mcp_json import McpJsonError, read_config
from orchestrator.integrations.mcp_json_text import read_json
from orchestrator.integrations.mcp_json_variables import EDITOR_FOLDERS, environment_name

_INPUT: Final = re.compile(r"\$\{input:([^{}]+)\}")
_FOLDER: Final = re.compile(r"\$\{workspaceFolder\}")
_FOLDER_NAME: Final = re.compile(r"\$\{workspaceFolderBasename\}")
_TYPES: Final = {"streamableHttp": "streamable-http", "streamable_http": "streamable-http", "local": "stdio"}
_ADDRESSES: Final = ("serverUrl", "httpUrl")
_LEAST_MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that another program has installed in `file`; `notes` say what is to be known of its entry here."""

    label: str
    entry: JsonObject
    file: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where programs keep their files on this machine."""

    home: Path
    config: Path
    """Where the system keeps the configuration of programs: `%APPDATA%`, `~/Library/Application Support`, `~/.config`."""
    folder: Path
    """The project."""

    @classmethod
    def of(cls, platform: str, home: Path, environ: Mapping[str, str], folder: Path) -> "Place":
        """The place on a system, by its name in `sys.platform`."""
        if platform == "darwin":
            return cls(home, home / "Library" / "Application Support", folder)
        if platform == "win32":
            return cls(home, Path(environ.get("APPDATA") or home / "AppData" / "Roaming"), folder)
        return cls(home, Path(environ.get("XDG_CONFIG_HOME") or home / ".config"), folder)


def _vs_code(name: str) -> Callable[[Place], list[Path]]:
    return lambda place: [place.config / name / "User" / "mcp.json", place.config / name / "User" / "settings.json"]


PROGRAMS: Final[Mapping[str, Callable[[Place], list[Path]]]] = {
    "claude-desktop": lambda place: [place.config / "Claude" / "claude_desktop_config.json"],
    "claude-code": lambda place: [place.home / ".claude.json", place.folder / ".mcp.json"],
    "cursor": lambda place: [place.home / ".cursor" / "mcp.json", place.folder / ".cursor" / "mcp.json"],
    "vscode": lambda place: [
        *_vs_code("Code")(place),
        *_vs_code("Code - Insiders")(place),
        *_vs_code("VSCodium")(place),
        place.folder / ".vscode" / "mcp.json",
    ],
    "lm-studio": lambda place: [
        place.home / ".lmstudio" / "mcp.json",
        place.home / ".cache" / "lm-studio" / "mcp.json",
    ],
}
"""The programs, by name, and their files."""


def found_files(program: str, place: Place) -> tuple[Path, ...]:
    """The files of the program that exist."""
    return tuple(path for path in PROGRAMS[program](place) if path.is_file())


def candidates(file: Path) -> tuple[Candidate, ...]:
    """The servers that `file` has, as entries that mean the same in any `mcp.json`.

    Raises:
        McpJsonError: it cannot be read, or is not a file of that kind.
    """
    text = read_config(file)
    if text is None:
        raise McpJsonError("the file does not exist", file=file)
    try:
        document = read_json(text)
    except ValueError as error:
        raise McpJsonError(f"it is not valid JSON ({error})", file=file) from None
    if not isinstance(document, dict):
        raise McpJsonError("it must hold a JSON object", file=file)
    servers = _servers(cast(JsonObject, document), file)
    return tuple(
        _candidate(label, cast(JsonObject, entry), file)
        if isinstance(entry, dict)
        else Candidate(label, {}, file, ("its entry is not an object",))
        for label, entry in servers.items()
    )


def _servers(document: JsonObject, file: Path) -> JsonObject:
    inner = document.get("mcp")
    places: list[JsonObject] = [document, cast(JsonObject, inner)] if isinstance(inner, dict) else [document]
    found: JsonObject = {}
    for place in places:
        for key in ("mcpServers", "servers"):
            servers = place.get(key)
            if servers is not None and not isinstance(servers, dict):
                raise McpJsonError("must be an object of label and server", file=file, key=key)
            found.update(cast(JsonObject, servers or {}))
    return found


def _candidate(label: str, entry: JsonObject, file: Path) -> Candidate:
    notes: list[str] = []
    entry = _in_our_words(dict(entry), notes)
    folder = file.parent
    workspace = folder.parent if folder.name in EDITOR_FOLDERS else folder
    of_a_project = folder.name in EDITOR_FOLDERS or file.name == ".mcp.json"
    converted = {
        key: _expanded(value, workspace if of_a_project else None, notes) if key != "name" else value
        for key, value in entry.items()
    }
    if of_a_project and "command" in converted:
        converted["cwd"] = str(workspace / str(converted.get("cwd", ".")))
        if isinstance(converted.get("envFile"), str):
            converted["envFile"] = str(workspace / str(converted["envFile"]))
    return Candidate(label, converted, file, tuple(dict.fromkeys(notes)))


def _in_our_words(entry: JsonObject, notes: list[str]) -> JsonObject:
    """What others call otherwise."""
    for name in _ADDRESSES:
        if name in entry and "url" not in entry:
            entry["url"] = entry.pop(name)
    kind = entry.get("type", entry.get("transport"))
    if isinstance(kind, str) and ("type" in entry or "url" in entry):
        entry.pop("transport", None)
        entry["type"] = _TYPES.get(kind, kind)
    if entry.get("enabled") is False:
        entry["disabled"] = True
    if isinstance(entry.get("enabled"), bool):
        del entry["enabled"]
    timeout = entry.get("timeout")
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= _LEAST_MILLISECONDS:
        entry["timeout"] = timeout / 1000
        notes.append(f"its timeout of {timeout:g} was taken for milliseconds")
    return entry


def _expanded(value: JsonValue, workspace: Path | None, notes: list[str]) -> JsonValue:
    if isinstance(value, list):
        return [_expanded(item, workspace, notes) for item in value]
    if isinstance(value, dict):
        return {key: _expanded(item, workspace, notes) for key, item in value.items()}
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        name = environment_name(found[1])
        notes.append(f"set the environment variable {name}, which was asked of a person as '{found[1]}'")
        return f"${{{name}}}"

    text = _INPUT.sub(variable, value)
    if workspace is not None:
        text = _FOLDER.sub(lambda _: str(workspace), text)
        return _FOLDER_NAME.sub(lambda _: workspace.name, text)
    if _FOLDER.search(text):
        notes.append("${workspaceFolder} means the folder of mcp.json here")
    return text
