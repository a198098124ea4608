"""What goes into a response and what comes out of it, in the order in which it happened."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.core.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class PluginProvider:
    """A server installed in `mcp.json`; `plugin_id` is `mcp/<server_label>`."""

    plugin_id: str


@dataclass(frozen=True, slots=True)
class EphemeralProvider:
    """A server that the request itself brought along."""

    server_label: str


ProviderInfo: TypeAlias = PluginProvider | EphemeralProvider


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which server stands behind a label: without secrets, so that it may be kept and shown for ever.

    `address` is the origin and the path of a URL, or the name of the program; `name` and `version` are what
    the server calls itself, None where it does not.
    """

    address: str | None = None
    name: str | None = None
    version: str | None = None


OriginKind: TypeAlias = Literal["resource", "prompt"]
Speaker: TypeAlias = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a piece of input comes from that the user did not write: a server's resource or prompt.

    `name` is the URI of the resource or the name of the prompt.
    """

    provider: ProviderInfo
    kind: OriginKind
    name: str


@dataclass(frozen=True, slots=True)
class TextInput:
    """A piece of what the user said; with an `origin`, of what the user took from a server.

    Only prompts of servers hold what an assistant is to have said.
    """

    content: str
    origin: Origin | None = None
    speaker: Speaker = "user"


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A picture that the user sent, or took from a server, as a `data:` URL."""

    data_url: str
    origin: Origin | None = None


InputItem: TypeAlias = TextInput | ImageInput


@dataclass(frozen=True, slots=True)
class Message:
    """Text of the model that is meant for the user."""

    content: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text of the model that it wrote to itself."""

    content: str


ResultSource: TypeAlias = Literal["edited", "replayed"]
"""Who gave a result that no server gave: a client, or a stored response."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A valid call of an offered tool, settled.

    `tool` is the server's own name. `output` is JSON text: the `content` array of the MCP result,
    or of what stands in for it where the call broke. `duration_ms` is 0 for a call that never ran.
    `requested` are the model's own arguments where somebody put others in their place. `source` is None where the call
    ran, or was refused. `structured` is the JSON text of the MCP result's `structuredContent`.
    """

    call_id: str
    tool: str
    arguments: JsonObject
    output: str
    provider: ProviderInfo
    is_error: bool
    duration_ms: int
    requested: JsonObject | None = None
    source: ResultSource | None = None
    structured: str | None = None


InvalidKind: TypeAlias = Literal["invalid_name", "invalid_arguments"]


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """A call that was refused before it could run, and told to the model.

    `arguments` and `provider` are there for `invalid_arguments` only; `arguments` is None as well
    where the model's text was no JSON object.
    """

    call_id: str
    kind: InvalidKind
    reason: str
    tool_name: str
    arguments: JsonObject | None = None
    provider: ProviderInfo | None = None


OutputItem: TypeAlias = Message | Reasoning | ToolCall | InvalidToolCall


@dataclass(frozen=True, slots=True)
class Shown:
    """What the model saw of a call, byte for byte, so that later prompts can repeat it.

    `name` is the name offered to the model, `arguments` the JSON text of an object, `result` the
    text of the tool message.
    """

    name: str
    arguments: str
    result: str


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """An output item with its place: the turn that made it (from 1) and what the model saw of it.

    `shown` is None for messages and reasoning, and for a call that was cut off and so is left out
    of later prompts.
    """

    turn: int
    item: OutputItem
    shown: Shown | None = None
