"""Writes an `mcp.json`: at once or not at all, readable by its owner alone, and never over what it could not read."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.core.json_types import JsonObject
from orchestrator.integrations.mcp_json import (
    McpJsonError,
    PluginConfig,
    UnusableServer,
    parse_mcp_json,
    read_config,
)
from orchestrator.integrations.mcp_json_edit import EditProblem, installed, same_label, with_servers, without_servers


class _AnyEnvironment(Mapping[str, str]):
    """Has every variable: what is not known when an entry is written may be set when it is used."""

    def __getitem__(self, key: str) -> str:
        return "x"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def entries_of(path: Path) -> dict[str, object]:
    """What the file installs, by label; nothing where there is none.

    Raises:
        McpJsonError: it cannot be read, or is not an `mcp.json`.
    """
    try:
        return installed(read_config(path) or "")
    except EditProblem as problem:
        raise McpJsonError(f"{problem}; mend it first", file=path) from None


def install(path: Path, entries: Mapping[str, JsonObject]) -> Path | None:
    """Write these entries into the file, each in the place of the one with its label; makes the file and its folder.

    Comments and everything else stay. Where that cannot be, the file is written anew, and the return value is
    where the old one is kept.

    Raises:
        McpJsonError: the file cannot be read or written, or is not an `mcp.json`.
    """
    before = entries_of(path)
    kept = {label: entry for label, entry in before.items() if not any(same_label(label, new) for new in entries)}
    return _change(path, lambda text: with_servers(text, entries), {**kept, **entries})


def uninstall(path: Path, labels: Iterable[str]) -> Path | None:
    """Take these labels out of the file; see `install`.

    Raises:
        McpJsonError: the file cannot be read or written, or is not an `mcp.json`.
    """
    gone = list(labels)
    kept = {
        label: entry for label, entry in entries_of(path).items() if not any(same_label(label, one) for one in gone)
    }
    return _change(path, lambda text: without_servers(text, gone), kept)


def check_entry(label: str, entry: JsonObject, file: Path, environ: Mapping[str, str] | None = None) -> PluginConfig:
    """The entry as it would be read from `file`; without `environ`, every variable counts as set.

    Raises:
        McpJsonError: it could not be used; the message has no value of it.
    """
    text = json.dumps({"mcpServers": {label: entry}})
    config = parse_mcp_json(text, file=file, environ=_AnyEnvironment() if environ is None else environ)
    plugin = config.plugins[0]
    if isinstance(plugin.server, UnusableServer):
        raise plugin.server.error
    return plugin


def _change(path: Path, edit: Callable[[str], str], wanted: Mapping[str, object]) -> Path | None:
    text = read_config(path) or ""
    try:
        edited = edit(text)
        if installed(edited) == dict(wanted):
            _save(path, edited)
            return None
    except EditProblem:
        pass
    backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%d-%H%M%S}.bak")
    _save(backup, text)
    _save(path, json.dumps({"mcpServers": dict(wanted)}, indent=2, ensure_ascii=False) + "\n")
    return backup


def _save(path: Path, text: str) -> None:
    """A link stays a link; an existing file keeps its mode, a new one is its owner's alone."""
    path = path.resolve()
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise McpJsonError(f"the file cannot be written ({error.strerror or error})", file=path) from None
