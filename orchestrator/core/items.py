"""What goes into a response and what comes out of it, in the order in which it happened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final, Literal, TypeAlias, assert_never

from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import TokenLogprob


@dataclass(frozen=True, slots=True)
class PluginProvider:
    """A server installed in `mcp.json`; `plugin_id` is `mcp/<server_label>`."""

    plugin_id: str


@dataclass(frozen=True, slots=True)
class EphemeralProvider:
    """A server that the request itself brought along."""

    server_label: str


@dataclass(frozen=True, slots=True)
class ClientProvider:
    """The client itself: it runs its own functions, and tells of their results in a later request."""


ServerProvider: TypeAlias = PluginProvider | EphemeralProvider
ProviderInfo: TypeAlias = ServerProvider | ClientProvider

CLIENT_LABEL: Final = "client"
"""What the client is called where servers have their labels."""


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
PromptSpeaker: TypeAlias = Literal["user", "assistant"]
Speaker: TypeAlias = PromptSpeaker | Literal["system", "developer"]


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
    """A piece of what somebody said, mostly the user; with an `origin`, of what the user took from a server.

    What others than the user are to have said stands in prompts of servers, and in histories that a client brings.
    In every input item, `begins` says that a message of its own begins here; without it, what one side says in a row
    is one message. What `heads` the chat is of the system and stands first in an input: prompts have it at their
    beginning, in the place of what an earlier input of the chain had there; an empty one takes that away. The first item
    of a message of the user has the `name` of who speaks, where the client tells several apart.
    """

    content: str
    origin: Origin | None = None
    speaker: Speaker = "user"
    begins: bool = False
    heads: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A picture that the user sent, or took from a server, as a `data:` URL."""

    data_url: str
    origin: Origin | None = None
    begins: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class ReasoningInput:
    """What the model wrote to itself, in a history that the client brings."""

    content: str
    begins: bool = False


@dataclass(frozen=True, slots=True)
class FunctionCallInput:
    """A call of a function of the client's, in a history that it brings; `arguments` is the model's JSON text.

    `of_server`: it is one of a server's tool, which ran where the history was made; transcripts do not have it.
    `server` is what the history calls that server, where it says so.
    """

    call_id: str
    name: str
    arguments: str
    begins: bool = False
    of_server: bool = False
    server: str = ""


@dataclass(frozen=True, slots=True)
class FunctionOutput:
    """The result of a function that the client ran.

    `output` is JSON text of a content array, as MCP has it. `name` is that of the function, empty where it is not
    looked up yet. `of_server`: it is that of a server's tool, as its call is.
    """

    call_id: str
    output: str
    is_error: bool = False
    name: str = ""
    of_server: bool = False


InputItem: TypeAlias = TextInput | ImageInput | ReasoningInput | FunctionCallInput | FunctionOutput


def heads_of(said: Sequence[InputItem]) -> tuple[TextInput, ...]:
    """What in `said` heads the chat."""
    first = takewhile(lambda item: isinstance(item, TextInput) and item.heads, said)
    return tuple(item for item in first if isinstance(item, TextInput))


def origin_of(item: InputItem) -> Origin | None:
    """What `item` was taken from, None where the client wrote it."""
    return item.origin if isinstance(item, TextInput | ImageInput) else None


def text_of(item: InputItem) -> str:
    """The text in which `item` says what it says: of a picture its URL, of a result its JSON text."""
    match item:
        case TextInput(content=text) | ImageInput(data_url=text) | ReasoningInput(content=text):
            return text
        case FunctionCallInput(arguments=text) | FunctionOutput(output=text):
            return text
        case _:
            assert_never(item)


def with_text(item: InputItem, text: str) -> InputItem:
    """`item` with `text` in the place of its own."""
    match item:
        case TextInput() | ReasoningInput():
            return replace(item, content=text)
        case ImageInput():
            return replace(item, data_url=text)
        case FunctionCallInput():
            return replace(item, arguments=text)
        case FunctionOutput():
            return replace(item, output=text)
        case _:
            assert_never(item)


@dataclass(frozen=True, slots=True)
class Message:
    """Text of the model that is meant for the user; `logprobs` are those of its tokens, where they were asked for."""

    content: str
    logprobs: tuple[TokenLogprob, ...] = ()


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


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a function of the client's, which the client is to run.

    `arguments` is the text that the model wrote: the client checks it. It is not `complete` where a limit, or the end
    of the run, cut it off; then it is not to be run, and stands in no later prompt.
    """

    call_id: str
    name: str
    arguments: str
    complete: bool = True


OutputItem: TypeAlias = Message | Reasoning | ToolCall | InvalidToolCall | FunctionCall


def asked_of_client(output: Sequence[OutputItem]) -> tuple[FunctionCall, ...]:
    """The calls in `output` that its client is to run before it goes on."""
    return tuple(item for item in output if isinstance(item, FunctionCall) and item.complete)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the model saw of a call, byte for byte, so that later prompts can repeat it.

    `name` is the name offered to the model, `arguments` the JSON text of an object, `result` the
    text of the tool message, None where a later input has it.
    """

    name: str
    arguments: str
    result: str | None


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """An output item with its place: the turn that made it (from 1) and what the model saw of it.

    `shown` is None for messages and reasoning, and for a call that was cut off and so is left out
    of later prompts.
    """

    turn: int
    item: OutputItem
    shown: Shown | None = None
