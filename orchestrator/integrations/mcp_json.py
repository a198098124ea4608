"""`mcp.json`: which plugins are installed, and how each is reached (contract, section 2).

A file that cannot be read as a whole is an error. An entry that cannot be used is kept with its
reason, so that it takes nobody else down. No message here ever holds a value of `env` or `headers`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from orchestrator.core.approvals import NEVER, ApprovalPolicy
from orchestrator.core.drift import DriftPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.integrations.env_file import EnvFile
from orchestrator.integrations.mcp_json_entry import Entry, EntryProblem, Scope, Start, read_entry
from orchestrator.integrations.mcp_json_text import (
    Pairs,
    after_blank,
    line_and_column,
    members_of,
    plain_json,
    read_json,
)
from orchestrator.integrations.mcp_json_variables import Variables
from orchestrator.integrations.oauth.config import OAuthConfig

PLUGIN_PREFIX = "mcp/"
LONGEST_LABEL: Final = 128
LABEL_RULE: Final = (
    f"printable text of at most {LONGEST_LABEL} characters without spaces at its ends;"
    " what stands between slashes must not be empty, '.' or '..'"
)
SERVERS_KEYS: Final = ("mcpServers", "servers")
"""The second is VS Code's."""

_KNOWN_KEYS: Final = frozenset({*SERVERS_KEYS, "inputs", "$schema"})
MAX_FILE_BYTES: Final = 4 * 1024 * 1024


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


class UnreadableFileError(McpJsonError):
    """There is no such file, or it cannot be opened: nobody can say what was to be in it."""


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
    """A server at an address; header values and `secrets` stay out of every message and repr.

    With `falls_back`, a server that does not know streamable HTTP is asked for the older transport.
    `oauth` None says that there is no login; without a word of it in the file, a refusal tells whether there is one.
    With `forward_authorization` it gets the token of whoever calls it.
    """

    url: str = field(repr=False)
    transport: Literal["streamable-http", "sse"]
    headers: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    falls_back: bool = False
    oauth: OAuthConfig | None = None
    forward_authorization: bool = False


@dataclass(frozen=True, slots=True)
class UnusableServer:
    """An entry that cannot be used, and why."""

    error: McpJsonError


ServerConfig: TypeAlias = StdioServer | HttpServer | UnusableServer


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One entry of `mcp.json`; `allowed_tools` None gives out all, `extra` are the keys that we do not know.

    `raw` is the entry as it was written, for keys that are read elsewhere. `idle_seconds` None is the setting's.
    `approval` says which calls need somebody's approval, whatever a request says.
    `roots` None is the setting's for a server with a command, and none for others. `env_file` was read with the entry.
    """

    label: str
    file: Path
    server: ServerConfig
    disabled: bool = False
    timeout_seconds: float | None = None
    allowed_tools: tuple[str, ...] | None = None
    scope: Scope = "owner"
    start: Start = "on_use"
    idle_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    approval: ApprovalPolicy = NEVER
    extra: JsonObject = field(default_factory=dict[str, JsonValue], repr=False)
    raw: JsonObject = field(default_factory=dict[str, JsonValue], repr=False)
    drift: DriftPolicy | None = None
    roots: tuple[Path, ...] | None = None
    redaction: Redaction = NOTHING
    env_file: EnvFile | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        return PLUGIN_PREFIX + self.label

    @property
    def is_usable(self) -> bool:
        return not self.disabled and not isinstance(self.server, UnusableServer)

    def is_same_server(self, other: "PluginConfig") -> bool:
        """Whether what runs for `other` can go on for this one: only what concerns its requests has changed."""
        return (self.id, self.server, self.scope, self.roots) == (other.id, other.server, other.scope, other.roots)


@dataclass(frozen=True, slots=True)
class McpConfig:
    """Every installed plugin, in the order of the files; `warnings` are for the log, `errors` of files not in use."""

    plugins: tuple[PluginConfig, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[McpJsonError, ...] = ()

    def find(self, plugin_id: str) -> PluginConfig | None:
        """The plugin that `plugin_id` means: case does not matter, and `_` and `-` are alike."""
        wanted = normal_plugin_id(plugin_id)
        return next((plugin for plugin in self.plugins if normal_plugin_id(plugin.id) == wanted), None)


def normal_plugin_id(plugin_id: str) -> str:
    """The one spelling that all spellings of a plugin id share."""
    return plugin_id.casefold().replace("_", "-")


def is_label(label: str) -> bool:
    """Whether it can name a plugin, also in an address: `LABEL_RULE`."""
    clean = label.isprintable() and label.strip() == label and len(label) <= LONGEST_LABEL
    return clean and not any(part in ("", ".", "..") for part in label.split("/"))


def load_mcp_json(
    paths: Sequence[Path], *, environ: Mapping[str, str] | None = None, missing_ok: bool = False
) -> McpConfig:
    """Read and merge `paths`; the same label in a later file replaces the earlier entry, where it stood.

    With `missing_ok` a file that does not exist counts as empty.

    Raises:
        McpJsonError: a file cannot be read, or is not JSON of the right shape.
    """
    merged: dict[str, PluginConfig] = {}
    warnings: list[str] = []
    for path in paths:
        text = read_config(path)
        if text is None and not missing_ok:
            raise UnreadableFileError("the file does not exist", file=path)
        if text is not None:
            file = parse_mcp_json(text, file=path, environ=os.environ if environ is None else environ)
            merged.update({normal_plugin_id(plugin.id): plugin for plugin in file.plugins})
            warnings += file.warnings
    return McpConfig(tuple(merged.values()), tuple(warnings))


def read_config(path: Path) -> str | None:
    """The text of the file, or None where there is none.

    Raises:
        McpJsonError: it cannot be read; an `UnreadableFileError` where it cannot even be opened.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableFileError(f"the file cannot be read ({error.strerror or error})", file=path) from None
    if len(content) > MAX_FILE_BYTES:
        raise McpJsonError(f"the file has more than {MAX_FILE_BYTES} bytes", file=path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise McpJsonError("the file is not UTF-8 text", file=path) from None


def parse_mcp_json(text: str, *, file: Path, environ: Mapping[str, str]) -> McpConfig:
    """What one file installs; of labels that mean the same, none can be used.

    Raises:
        McpJsonError: it is not JSON of the right shape.
    """
    try:
        document = read_json(text)
    except ValueError as error:
        raise McpJsonError(f"it is not valid JSON ({error})", file=file) from None
    if not isinstance(document, Pairs):
        raise McpJsonError("it must hold a JSON object", file=file)
    warnings = [f"{file}: key '{key}' is not known and has no effect" for key in document if key not in _KNOWN_KEYS]
    if not any(key in document for key in SERVERS_KEYS):
        return McpConfig((), (*warnings, f"{file}: there is no 'mcpServers', so it installs nothing"))
    entries: list[tuple[str, object]] = []
    for key in SERVERS_KEYS:
        servers = document.get(key, Pairs(()))
        if not isinstance(servers, Pairs):
            raise McpJsonError("must be an object of label and server", file=file, key=key)
        entries += servers.items()
    variables = Variables(environ, file.absolute().parent, _inputs(document.get("inputs")))
    twins = _twins(text)
    read: list[tuple[PluginConfig, tuple[str, ...]]] = []
    for label, entry in entries:
        meaning = normal_plugin_id(label)
        if meaning not in twins:
            read.append(_plugin(label, entry, file, variables))
        elif twins[meaning]:
            read.append(_ambiguous(twins[meaning], file))
            twins[meaning] = []
    return McpConfig(tuple(plugin for plugin, _ in read), (*warnings, *(note for _, notes in read for note in notes)))


def _inputs(written: object) -> dict[str, str]:
    """What VS Code would ask a person for, by id."""
    found: dict[str, str] = {}
    for entry in cast("list[object]", written) if isinstance(written, list) else ():
        match entry:
            case {"id": str() as id_, "description": str() as description}:
                found[id_] = description
            case _:
                pass
    return found


@dataclass(frozen=True, slots=True)
class _Label:
    label: str
    where: str


def _twins(text: str) -> dict[str, list[_Label]]:
    """The labels that are not the only ones of their meaning, by that, in the order of the text."""
    plain = plain_json(text)
    found: dict[str, list[_Label]] = {}
    for part in members_of(plain, after_blank(plain, 0)):
        if part.key in SERVERS_KEYS and plain[part.value_start] == "{":
            for member in members_of(plain, part.value_start):
                label = _Label(member.key, line_and_column(text, member.start))
                found.setdefault(normal_plugin_id(member.key), []).append(label)
    return {meaning: labels for meaning, labels in found.items() if len(labels) > 1}


def _ambiguous(labels: Sequence[_Label], file: Path) -> tuple[PluginConfig, tuple[str, ...]]:
    """What stands for them all: which of them is meant nobody can say."""
    first, *others = labels
    where = " and ".join(f"'{other.label}' ({other.where})" for other in others)
    problem = (
        f"the label ({first.where}) means the same as {where}, so that none of them is used:"
        " case, '_' and '-' make no difference; give them different labels"
    )
    error = McpJsonError(problem, file=file, label=first.label)
    return PluginConfig(first.label, file, UnusableServer(error)), (error.info.message,)


def _plugin(label: str, entry: object, file: Path, variables: Variables) -> tuple[PluginConfig, tuple[str, ...]]:
    raw: JsonObject = cast(JsonObject, entry) if isinstance(entry, dict) else {}
    try:
        if not is_label(label):
            raise EntryProblem(f"a label must be {LABEL_RULE}", None)
        if not isinstance(entry, dict):
            raise EntryProblem("must be an object", None)
        read = read_entry(raw, variables)
    except EntryProblem as problem:
        error = McpJsonError(problem.problem, file=file, label=label, key=problem.key)
        disabled = raw.get("disabled") is True  # who switched it off is not asked to mend it
        notes = () if disabled else (error.info.message,)
        unusable = UnusableServer(error)
        return PluginConfig(label, file, unusable, disabled, raw=raw, env_file=problem.env_file), notes
    notes = tuple(f"{file}, server '{label}': {note}" for note in read.warnings)
    plugin = PluginConfig(
        label,
        file,
        _server(read),
        read.disabled,
        read.timeout_seconds,
        read.allowed_tools,
        read.scope,
        read.start,
        read.idle_seconds,
        tuple(read.warnings),
        read.approval,
        read.extra,
        raw,
        read.drift,
        read.roots,
        read.redaction,
        read.env_file,
    )
    return plugin, notes


def _server(read: Entry) -> StdioServer | HttpServer:
    secrets = frozenset(read.secrets)
    if read.command is not None:
        return StdioServer(read.command, read.args, read.cwd, read.env, secrets)
    transport = "sse" if read.type == "sse" else "streamable-http"
    return HttpServer(
        read.url,
        transport,
        read.headers,
        secrets,
        falls_back=read.type == "http",
        oauth=read.oauth,
        forward_authorization=read.forward_authorization,
    )
