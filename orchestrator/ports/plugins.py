"""What the services need of installed plugins beside their tools: how they are, and the word to start again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from orchestrator.core.drift import DriftPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.materials import PromptArgument
from orchestrator.core.tools import ToolDefinition

PluginState: TypeAlias = Literal["disabled", "unusable", "stopped", "starting", "running", "failed"]
"""`unusable` is an entry that cannot be used as it is written, `failed` a server that did not start or has died."""

PluginScope: TypeAlias = Literal["shared", "owner", "chain", "request"]
PluginStart: TypeAlias = Literal["on_use", "at_start"]
PluginTransport: TypeAlias = Literal["stdio", "streamable-http", "sse"]


class IntegrationFailedError(OrchestratorError):
    """A server could not be connected; `stage` says how far it came, in the words of the message."""

    def __init__(self, kind: ErrorKind, message: str, *, stage: str, param: str | None = None) -> None:
        super().__init__(kind, message, param=param)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server said of itself when it was connected."""

    name: str
    version: str
    protocol_version: str
    title: str | None = None
    instructions: str | None = None
    capabilities: JsonObject = field(default_factory=JsonObject)


@dataclass(frozen=True, slots=True)
class PluginProcess:
    """One child process of a plugin, its own children included in the figures.

    `memory_bytes` is resident memory, summed: pages that its processes share count more than once.
    `processes` counts them, `users` the requests that use it now. A `retiring` one ends with them.
    """

    pid: int
    started_at: datetime | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    processes: int = 1
    users: int = 0
    retiring: bool = False


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """Why a connection could not be opened or ended by itself: how far it was, and the reason, without secrets."""

    stage: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PluginResource:
    """A resource, or with `template` a template of resources, that a server lists."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    template: bool = False


@dataclass(frozen=True, slots=True)
class PluginPrompt:
    """A prompt that a server lists."""

    name: str
    title: str | None = None
    description: str | None = None
    arguments: tuple[PromptArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginLogLine:
    """A line that a server sent as an MCP log message."""

    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """An installed plugin as it is now. No value of `env` or `headers`, no argument and no URL query is in it.

    `file` is the file that its entry stands in, `target` the program or the address without its query.
    `problem` says why it is `unusable` or `failed`. What only a connected server can tell is None before
    it ever was: `server`, `tools`, `resources`, `prompts`; the last two also where it cannot list them.
    `approval` is the entry's `require_approval`, None where it asks for none.
    `tools` are all of them, `withheld` those that the entry does not give out. `stderr` and `log` are the
    last lines, the oldest first, over all of its processes; `processes` holds more than one where the scope
    is not `shared`. `restarts` counts the connections that took an earlier one's place, `last_failure` stays when it runs again.
    """

    id: str
    file: str
    state: PluginState
    transport: PluginTransport | None = None
    target: str | None = None
    scope: PluginScope = "owner"
    start: PluginStart = "on_use"
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    withheld: frozenset[str] = frozenset()
    timeout_seconds: float | None = None
    drift: DriftPolicy | None = None
    approval: JsonValue = None
    server: ServerFacts | None = None
    tools: tuple[ToolDefinition, ...] | None = None
    resources: tuple[PluginResource, ...] | None = None
    prompts: tuple[PluginPrompt, ...] | None = None
    processes: tuple[PluginProcess, ...] = ()
    restarts: int = 0
    last_failure: PluginFailure | None = None
    stderr: tuple[str, ...] = ()
    log: tuple[PluginLogLine, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginFile:
    """One file of plugins. `error` says why what it holds now is not in use: its last good version is, since `loaded_at`.

    `origin`: the user's own file, the project's (setting `MCP_CONFIG`), or one named by `--mcp-config`.
    `plugins` are the ids that it installs, `replaced` those of them that a later file installs as well:
    that one counts.
    """

    path: str
    origin: Literal["user", "project", "flag"]
    exists: bool
    loaded_at: datetime | None
    error: str | None
    plugins: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginFiles:
    """The files that install plugins; `error` is what is wrong with the newest edit, whose last good version counts.

    `states` has each of them, the least important first; `watched` whether their changes are noticed.
    """

    files: tuple[str, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()
    states: tuple[PluginFile, ...] = ()
    watched: bool = False


class PluginHost(Protocol):
    """The installed plugins, seen from outside a request."""

    def plugins(self, owner: str | None = None) -> Sequence[PluginStatus]:
        """Every installed plugin, in the order of the files. Starts nothing, and asks no server.

        With `owner`, what runs for others, and what came of that, is left out.
        """
        ...

    def plugin(self, plugin_id: str, owner: str | None = None) -> PluginStatus | None:
        """The plugin that `plugin_id` means: case does not matter, and `_` and `-` are alike."""
        ...

    def files(self) -> PluginFiles:
        """Where they come from, and what is wrong there."""
        ...

    async def restart(self, plugin_id: str, owner: str = "local") -> None:
        """End its servers, whosever they are, and connect that of `owner` anew; calls under way finish on the old ones.

        Raises:
            OrchestratorError: `plugin_connection_error`: there is no such plugin, it is disabled or
                unusable, or it does not start (`IntegrationFailedError`).
        """
        ...
