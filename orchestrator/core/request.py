"""What a run is asked to do: everything decided before its first step, ids included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, assert_never

from orchestrator.core.approvals import NEVER, ApprovalPolicy, Decision
from orchestrator.core.items import EphemeralProvider, InputItem, PluginProvider, ServerProvider
from orchestrator.core.json_types import JsonObject
from orchestrator.core.permissions import ALL_TOOLS
from orchestrator.core.placed import PlacedCall, PlacedItem
from orchestrator.core.prompt import Past
from orchestrator.core.response import Counters
from orchestrator.core.tools import ToolDefinition, ToolKey


@dataclass(frozen=True, slots=True)
class WantedPrompt:
    """A prompt of a server, filled in."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class PluginRequest:
    """An integration that names a plugin; `allowed_tools` None means all, empty means none; `excluded` ones never count.

    With `read_only` only tools count that say they change nothing; with False, only the others.

    The contents of `resources` (URIs) and the messages of `prompt` become input of the request.
    `granted_tools` are patterns of what the caller's token allows; not the client's to say.
    """

    id: str
    allowed_tools: tuple[str, ...] | None = None
    granted_tools: tuple[str, ...] = ALL_TOOLS
    approval: ApprovalPolicy = NEVER
    resources: tuple[str, ...] = ()
    prompt: WantedPrompt | None = None
    read_only: bool | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EphemeralRequest:
    """An integration that brings its own server; header values are secrets and stay out of every repr."""

    server_label: str
    server_url: str
    allowed_tools: tuple[str, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    approval: ApprovalPolicy = NEVER
    resources: tuple[str, ...] = ()
    prompt: WantedPrompt | None = None
    read_only: bool | None = None
    excluded: tuple[str, ...] = ()


IntegrationRequest: TypeAlias = PluginRequest | EphemeralRequest


def requested_provider(integration: IntegrationRequest) -> ServerProvider:
    """Who the request means, in the words of the request."""
    match integration:
        case PluginRequest(id=plugin_id):
            return PluginProvider(plugin_id)
        case EphemeralRequest(server_label=server_label):
            return EphemeralProvider(server_label)
        case _:
            assert_never(integration)


ReasoningSetting: TypeAlias = Literal["off", "low", "medium", "high", "on"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are picked; None leaves it to the engine's default for the model.

    `logit_bias` are pairs of a token's id and what is added to its logit. `logprobs` asks how likely the tokens of the
    message were, with so many of the likeliest in the place of each.
    """

    temperature: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The one tool that the first turn must call; `server` is a plugin id or a server label, None any."""

    tool: str
    server: str | None = None


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The JSON schema that the final message must match."""

    name: str
    schema: JsonObject
    strict: bool = True


JSON_OBJECT: Final = ResponseFormat("json_object", {"type": "object"}, strict=False)
"""Any JSON object, as the final message."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The guards of a run; sizes are bytes of UTF-8. Above the `warn_…` ones nothing ends: they are warned about.

    `raw_results` shows the model the markup of chat templates in results as it is.
    Calls of servers' tools beyond `max_tool_calls` are refused; None is as many as come.
    """

    max_turns: int = 32
    max_identical_calls: int = 8
    max_tool_output_bytes: int = 8 * 1024 * 1024
    max_tool_output_model_bytes: int = 64 * 1024
    max_tools: int = 2000
    warn_tools: int = 40
    warn_tool_tokens: int = 8_000
    raw_results: bool = False
    max_tool_calls: int | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run is taken up: what its response holds already, and what comes of it now.

    `items` are durable. Where `reopens`, the response was put away: `decisions` are made about its
    calls that are not settled, `counters` and `load_seconds` are those of the turns so far, `warnings`
    what was told. Else it is a new response that begins with items of another one, and `call`, if there
    is one, comes next: it is judged, journaled and run, or only journaled where it has an outcome.
    Its place may be before the last of `items`: the rest of its turn stands behind it.
    The run ends when the calls of turn `ends_after` have their outcomes, where it comes that far: another response goes on.
    """

    items: tuple[PlacedItem, ...] = ()
    reopens: bool = False
    decisions: Mapping[str, Decision] = field(default_factory=dict[str, Decision])
    call: PlacedCall | None = None
    counters: tuple[Counters, ...] = ()
    load_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    ends_after: int | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One request, resolved: the model is known, the chain is loaded, the ids are minted.

    `response_id` names the node even where `store` is False and nobody is told of it.
    `tool_names` are the names that the chain has already given to tools. With `resumed` the run
    does not begin at its first turn. `vision`: the model
    sees pictures. `functions` are the client's: the run ends with the turn that calls one. Without `parallel_tool_calls`
    a turn makes one call at most. `raw`: the input is the prompt, without the model's template.
    """

    response_id: str
    model_key: str
    model_instance_id: str
    input: tuple[InputItem, ...]
    history: tuple[Past, ...] = ()
    system_prompt: str | None = None
    integrations: tuple[IntegrationRequest, ...] = ()
    store: bool = True
    sampling: Sampling = Sampling()
    reasoning: ReasoningSetting | None = None
    max_output_tokens: int | None = None
    context_length: int | None = None
    tool_choice: ToolChoice = "auto"
    response_format: ResponseFormat | None = None
    limits: Limits = Limits()
    tool_names: Mapping[ToolKey, str] = field(default_factory=dict[ToolKey, str])
    resumed: Resumed | None = None
    vision: bool = False
    functions: tuple[ToolDefinition, ...] = ()
    parallel_tool_calls: bool = True
    raw: bool = False
