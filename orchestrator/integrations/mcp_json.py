"""`mcp.json`: which plugins are installed, and how each is reached (contract, section 2).

A file that cannot be read as a whole is an error. An entry that cannot be used is kept with its
reason, so that it takes nobody else down. No message here ever holds a value of `env` or `headers`.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, cast

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.integrations.mcp_json_entry import EntryProblem, read_entry

PLUGIN_PREFIX = "mcp/"


class McpJsonError(OrchestratorError):
    """`mcp.json` cannot be used: the message names the file, the label and the key."""

    def __init__(self, problem: str, *, file: Path, label: str | None = None, key: str | None = None) -> None:
        where = [str(file)]
        if label is not None:
            where.append(f"server '{label}'")
        if key is not None:
            where.append(f"key '{key}'")
        super().__init__(ErrorKind.INVALID_VALUE, f"{', '.join(where)}: {problem}")
        self.file = file
        self.label = label
        self.key = key
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that is a child process; `secrets` are the texts that no message may show."""

    command: str
    args: tuple[str, ...] = field(repr=False)
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server at an address; header values and `secrets` stay out of every message and repr."""

    url: str = field(repr=False)
    transport: Literal["streamable-http", "sse"]
    headers: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusableServer:
    """An entry that cannot be used, and why."""

    error: McpJsonError


ServerConfig: TypeAlias = StdioServer | HttpServer | UnusableServer


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One entry of `mcp.json`; `allowed_tools` None gives out all, `extra` are the keys that we do not know."""

    label: str
    file: Path
    server: ServerConfig
    disabled: bool = False
    timeout_seconds: float | None = None
    allowed_tools: tuple[str, ...] | None = None
    extra: JsonObject = field(default_factory=dict[str, JsonValue], repr=False)

    @property
    def id(self) -> str:
        return PLUGIN_PREFIX + self.label


@dataclass(frozen=True, slots=True)
class McpConfig:
    """Every installed plugin, in the order of the files; `warnings` are for the log."""

    plugins: tuple[PluginConfig, ...] = ()
    warnings: tuple[str, ...] = ()

    def find(self, plugin_id: str) -> PluginConfig | None:
        """The plugin that `plugin_id` means: case does not matter, and `_` and `-` are alike."""
        wanted = normal_plugin_id(plugin_id)
        return next((plugin for plugin in self.plugins if normal_plugin_id(plugin.id) == wanted), None)


def normal_plugin_id(plugin_id: str) -> str:
    """The one spelling that all spellings of a plugin id share."""
    return plugin_id.casefold().replace("_", "-")


def config_paths(setting: str) -> tuple[Path, ...]:
    """The files that `MCP_CONFIG` names, separated by `:`."""
    return tuple(Path(part).expanduser() for part in setting.split(":") if part)


def load_mcp_json(
    paths: Sequence[Path], *, environ: Mapping[str, str] | None = None, missing_ok: bool = False
) -> McpConfig:
    """Read and merge `paths`; the same label in a later file replaces the earlier entry, where it stood.

    With `missing_ok` a file that does not exist counts as empty.

    Raises:
        McpJsonError: a file cannot be read, is not JSON of the right shape, or has two labels that
            mean the same.
    """
    variables = os.environ if environ is None else environ
    merged: dict[str, PluginConfig] = {}
    warnings: list[str] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            if missing_ok:
                continue
            raise McpJsonError("the file does not exist", file=path) from None
        except OSError as error:
            raise McpJsonError(f"the file cannot be read ({error.strerror or error})", file=path) from None
        except UnicodeDecodeError:
            raise McpJsonError("the file is not UTF-8 text", file=path) from None
        plugins, notes = parse_mcp_json(text, file=path, environ=variables)
        merged.update({normal_plugin_id(plugin.id): plugin for plugin in plugins})
        warnings += notes
    return McpConfig(tuple(merged.values()), tuple(warnings))


def parse_mcp_json(
    text: str, *, file: Path, environ: Mapping[str, str]
) -> tuple[tuple[PluginConfig, ...], tuple[str, ...]]:
    """The entries of one file and the warnings about it.

    Raises:
        McpJsonError: it is not JSON of the right shape, or has two labels that mean the same.
    """
    try:
        document: object = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        # The decoder's message has a place and no content.
        raise McpJsonError(f"it is not valid JSON ({error})", file=file) from None
    if not isinstance(document, _Pairs):
        raise McpJsonError("it must hold a JSON object", file=file)
    warnings = [f"{file}: key '{key}' is not known and has no effect" for key in document if key != "mcpServers"]
    servers = document.get("mcpServers")
    if servers is None:
        return (), (*warnings, f"{file}: there is no 'mcpServers', so it installs nothing")
    if not isinstance(servers, _Pairs):
        raise McpJsonError("must be an object of label and server", file=file, key="mcpServers")
    _refuse_same_labels([*servers, *servers.repeated], file)
    plugins: list[PluginConfig] = []
    for label, entry in servers.items():
        plugin, notes = _plugin(label, entry, file, environ)
        plugins.append(plugin)
        warnings += notes
    return tuple(plugins), tuple(warnings)


class _Pairs(dict[str, object]):
    """A JSON object that remembers which keys it had more than once."""

    def __init__(self, pairs: Iterable[tuple[str, object]]) -> None:
        self.repeated: list[str] = []
        super().__init__()
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            self[key] = value


def _refuse_same_labels(labels: Iterable[str], file: Path) -> None:
    seen: dict[str, str] = {}
    for label in labels:
        normal = normal_plugin_id(label)
        if normal in seen:
            problem = f"the label means the same as '{seen[normal]}': case, '_' and '-' make no difference"
            raise McpJsonError(problem, file=file, label=label)
        seen[normal] = label


def _plugin(label: str, entry: object, file: Path, environ: Mapping[str, str]) -> tuple[PluginConfig, tuple[str, ...]]:
    try:
        if not label.strip() or not label.isprintable():
            raise EntryProblem("a label must be printable text", None)
        if not isinstance(entry, dict):
            raise EntryProblem("must be an object", None)
        read = read_entry(cast(JsonObject, entry), folder=file.absolute().parent, environ=environ)
    except EntryProblem as problem:
        error = McpJsonError(problem.problem, file=file, label=label, key=problem.key)
        return PluginConfig(label, file, UnusableServer(error)), (error.info.message,)
    secrets = frozenset(read.secrets)
    if read.command is not None:
        server = StdioServer(read.command, read.args, read.cwd, read.env, secrets)
    else:
        server = HttpServer(read.url, "sse" if read.type == "sse" else "streamable-http", read.headers, secrets)
    notes = tuple(f"{file}, server '{label}': {note}" for note in read.warnings)
    plugin = PluginConfig(
        label, file, server, read.disabled, read.timeout_seconds, read.allowed_tools, extra=read.extra
    )
    return plugin, notes
