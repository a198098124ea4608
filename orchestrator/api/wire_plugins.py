"""Bodies of the routes for plugins, as they are on the wire. Extensions, all of them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ErrorBody, PendingApprovals, ProviderInfo, Status
from orchestrator.api.wire_requests import MOST_SERVERS, ChatBody, IntegrationEntry, Name, ThreadServer

State: TypeAlias = Literal["disabled", "unusable", "stopped", "starting", "running", "failed"]
Policy: TypeAlias = Literal["allow", "warn", "block"]
DriftWord: TypeAlias = Literal["changed", "added", "removed"]

_ADMIN = "Only with the permission `admin`."


class Finding(Struct, frozen=True):
    """A suspicious text in a definition."""

    pattern: Annotated[str, Meta(description="Which kind of text it is; the documentation lists them.")]
    where: Annotated[str, Meta(description="The part of the definition.")]
    excerpt: str


class Tokens(Struct, frozen=True):
    """How many tokens something costs in every prompt that holds it."""

    count: int
    estimated: Annotated[bool, Meta(description="Whether this is an estimate from its size.")]
    counted_by: Annotated[str, Meta(description="The instance whose tokenizer counted.")] | UnsetType = UNSET


class PluginTool(Struct, frozen=True):
    """A tool of a plugin."""

    name: str
    title: str | None
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, bool]
    digest: Annotated[str, Meta(description="Of the whole definition; what the pins and the journal call it.")]
    tokens: int
    withheld: Annotated[bool, Meta(description="Its `allowed_tools` in `mcp.json` leave it out.")]
    blocked: Annotated[bool, Meta(description="It has drifted, and the policy is to withhold it until it is approved.")]
    drift: DriftWord | None
    suspicions: list[Finding]


class PluginServer(Struct, frozen=True):
    """What the server said of itself."""

    name: str
    version: str
    title: str | None
    protocol_version: str
    instructions: str | None
    capabilities: dict[str, Any]


class Process(Struct, frozen=True):
    """A child process, with its own children."""

    pid: int
    started_at: datetime | None
    memory_bytes: Annotated[int | None, Meta(description="Resident; shared pages count more than once.")]
    cpu_seconds: float | None
    processes: Annotated[int, Meta(description="How many there are, itself included.")]
    users: Annotated[int, Meta(description="Requests that use it now.")]
    retiring: Annotated[bool, Meta(description="It ends with the requests that use it.")]


class Failure(Struct, frozen=True):
    """Why a connection could not be opened, or ended by itself."""

    stage: str
    why: str
    at: datetime


class PluginResource(Struct, frozen=True):
    """A resource, or a template of resources, that the server lists."""

    uri: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    size_bytes: int | None
    template: bool


class PromptArgument(Struct, frozen=True):
    """What a prompt can be given."""

    name: str
    description: str | None
    required: bool


class PluginPrompt(Struct, frozen=True):
    """A prompt that the server lists."""

    name: str
    title: str | None
    description: str | None
    arguments: list[PromptArgument]


class LogLine(Struct, frozen=True):
    """An MCP log message of the server's."""

    at: datetime
    level: str
    text: str


class DriftInfo(Struct, frozen=True):
    """A tool whose definition is not the pinned one."""

    tool: str
    kind: DriftWord
    old_digest: str | None
    new_digest: str | None


class PluginSummary(Struct, frozen=True):
    """A plugin in the list of all."""

    id: str
    state: State
    problem: Annotated[str | None, Meta(description="Why it is `unusable` or `failed`.")]
    transport: Literal["stdio", "streamable-http", "sse"] | None
    scope: Literal["shared", "owner", "chain", "request"]
    tools: Annotated[int | None, Meta(description="How many; null before it was ever connected.")]
    tokens: Tokens | None
    restarts: int
    drift_policy: Policy
    drifted: Annotated[list[str], Meta(description="Tools whose definition is not the pinned one.")]
    suspicions: Annotated[int, Meta(description="Suspicious texts in its definitions.")]
    file: Annotated[str, Meta(description=_ADMIN)] | UnsetType = UNSET
    memory_bytes: Annotated[int | None, Meta(description=_ADMIN)] | UnsetType = UNSET


class ConfigFile(Struct, frozen=True):
    """A file that installs plugins, or could."""

    path: str
    origin: Literal["user", "project", "flag"]
    exists: bool
    loaded_at: datetime | None
    error: Annotated[str | None, Meta(description="What is wrong with the newest edit; the last good one counts.")]
    plugins: list[str]
    replaced: Annotated[list[str], Meta(description="Those that a later file installs as well: that one counts.")]
    warnings: list[str]


class Config(Struct, frozen=True):
    """The files that install plugins, the least important first."""

    files: list[ConfigFile]
    watched: Annotated[bool, Meta(description="Whether changes take effect without a restart.")]
    error: str | None
    warnings: list[str]


class PluginList(Struct, frozen=True):
    """Every installed plugin."""

    plugins: list[PluginSummary]
    config: Annotated[Config, Meta(description=_ADMIN)] | UnsetType = UNSET


class PluginDetail(Struct, frozen=True):
    """A plugin, whole. What only a connected server can tell is null before it ever was, as is what it cannot list."""

    id: str
    state: State
    problem: str | None
    transport: Literal["stdio", "streamable-http", "sse"] | None
    scope: Literal["shared", "owner", "chain", "request"]
    start: Literal["on_use", "at_start"]
    allowed_tools: list[str] | None
    timeout_seconds: Annotated[float | None, Meta(description="Its own tool timeout; null: the service's.")]
    require_approval: Annotated[
        dict[str, Any] | str | None, Meta(description="What its entry in `mcp.json` says, whatever a request says.")
    ]
    drift_policy: Policy
    drift: list[DriftInfo]
    restarts: int
    last_failure: Failure | None
    server: PluginServer | None
    tools: list[PluginTool] | None
    tokens: Tokens | None
    resources: list[PluginResource] | None
    prompts: list[PluginPrompt] | None
    warnings: Annotated[list[str], Meta(description=f"About its entry. {_ADMIN}")] | UnsetType = UNSET
    file: Annotated[str, Meta(description=f"The file that its entry stands in. {_ADMIN}")] | UnsetType = UNSET
    target: (
        Annotated[str | None, Meta(description=f"The program, or the address without its query. {_ADMIN}")] | UnsetType
    ) = UNSET
    processes: Annotated[list[Process], Meta(description=_ADMIN)] | UnsetType = UNSET
    stderr: Annotated[list[str], Meta(description=f"Its last lines of standard error. {_ADMIN}")] | UnsetType = UNSET
    log: Annotated[list[LogLine], Meta(description=f"Its last log messages. {_ADMIN}")] | UnsetType = UNSET


class DirectCallBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a direct call."""

    arguments: Annotated[dict[str, Any], Meta(description="As the tool's input schema has them.")] = {}
    previous_response_id: (
        Annotated[
            str, Meta(max_length=512, description="Call it in this chain: a plugin of its scope keeps its state.")
        ]
        | UnsetType
    ) = UNSET
    stream: Annotated[
        bool,
        Meta(description="Answer with the events of a chat's stream: progress, and what the server asks the user."),
    ] = False


class DirectCallReply(Struct, frozen=True):
    """What became of a direct call. `call_id` and what follows from it are absent while it waits for an approval."""

    response_id: Annotated[str, Meta(description="The node of the graph that the call is.")]
    status: Status
    tool: str
    provider_info: ProviderInfo
    call_id: str | UnsetType = UNSET
    arguments: dict[str, Any] | UnsetType = UNSET
    output: Annotated[str, Meta(description="JSON text: the content array of the tool's result.")] | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    structured_output: (
        Annotated[str, Meta(description="The JSON text of the result's `structuredContent`.")] | UnsetType
    ) = UNSET
    warnings: (
        Annotated[list[str], Meta(description="Such as of a result that does not match the tool's output schema.")]
        | UnsetType
    ) = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET


class CheckedFields(Struct, frozen=True, forbid_unknown_fields=True):
    """What a dry run reads of a chat's body; one of the two lists has to be there."""

    integrations: Annotated[list[IntegrationEntry], Meta(min_length=1, max_length=MOST_SERVERS)] | UnsetType = UNSET
    mcp_servers: (
        Annotated[list[ThreadServer], Meta(min_length=1, max_length=MOST_SERVERS, description="Of the older dialect.")]
        | UnsetType
    ) = UNSET
    model: (
        Annotated[str, Meta(max_length=512, description="Costs are counted by its tokenizer, where it is loaded.")]
        | UnsetType
    ) = UNSET


_IgnoredField = Annotated[Any, Meta(description="As in a chat; it plays no part here.")]
CheckBody: Final = cast(
    "type[CheckedFields]",
    msgspec.defstruct(
        "CheckBody",
        [
            (field.name, _IgnoredField, UNSET)
            for field in msgspec.structs.fields(ChatBody)
            if field.name not in CheckedFields.__struct_fields__
        ],
        bases=(CheckedFields,),
        namespace={"__doc__": "The body of a dry run: a chat's, of which little more than `integrations` is read."},
        module=__name__,
        frozen=True,
        forbid_unknown_fields=True,
    ),
)
"""The body of a chat, so that one which is to be sent can be tried out as it is."""


class CheckedTool(Struct, frozen=True):
    """A tool that would be offered."""

    name: str
    offered_as: Annotated[str, Meta(description="The name that the model would be shown.")]
    description: str
    tokens: int
    digest: str
    warnings: list[str]
    suspicions: list[Finding]


class CheckedEntry(Struct, frozen=True):
    """What would become of one entry."""

    provider_info: ProviderInfo
    ok: bool
    error: ErrorBody | None
    stage: Annotated[
        str | None,
        Meta(
            description="How far it came: `check`, `start`, `resolve`, `connect`, `TLS`, `HTTP status`, `initialise`, "
            "`list tools`, `offer`."
        ),
    ]
    connect_seconds: float | None
    tools: list[CheckedTool]
    withheld: Annotated[list[str], Meta(description="Tools that `mcp.json` does not give out.")]
    blocked: Annotated[list[str], Meta(description="Tools that drifted and wait for an approval.")]
    problems: Annotated[
        list[str],
        Meta(description="Tools that cannot be used, and names in `mcp.json` that the server does not have."),
    ]


class CheckReply(Struct, frozen=True):
    """What would become of a request's integrations."""

    ok: Annotated[bool, Meta(description="Whether a chat with them would begin.")]
    integrations: list[CheckedEntry]
    tokens: Annotated[Tokens, Meta(description="Of all definitions that would be offered.")]
    warnings: list[str]


class PinInfo(Struct, frozen=True):
    """The definition that a tool may show."""

    tool: str
    digest: str
    pinned_at: datetime
    approved_by: Annotated[str | None, Meta(description="null: pinned at first sight, or by the policy `allow`.")]


class ChangedPartInfo(Struct, frozen=True):
    """A part of a definition that differs."""

    path: str
    old: Any
    new: Any


class ChangeInfo(Struct, frozen=True):
    """A change that was seen."""

    tool: str
    kind: DriftWord
    old_digest: str | None
    new_digest: str | None
    parts: list[ChangedPartInfo]
    policy: Policy
    seen_at: datetime
    outcome: Annotated[
        Literal["approved", "allowed", "superseded"] | None, Meta(description="null: it waits for an approval.")
    ]
    settled_at: datetime | None
    settled_by: str | None


class DefinitionsReply(Struct, frozen=True):
    """What is pinned of a plugin's tools, and how they changed, the newest first."""

    id: str
    drift_policy: Policy
    pins: list[PinInfo]
    drift: list[DriftInfo]
    history: list[ChangeInfo]


class ApproveBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an approval of definitions."""

    tool: Annotated[Name, Meta(description="Absent: every tool that has drifted.")] | UnsetType = UNSET
    digest: (
        Annotated[Name, Meta(description="The new digest that was looked at: nothing else is approved in its place.")]
        | UnsetType
    ) = UNSET


class ApproveReply(Struct, frozen=True):
    """What was approved."""

    id: str
    approved: list[DriftInfo]
