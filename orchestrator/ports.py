"""The ports: what the services need of the world, said once, implemented by adapters and twins.

Each port has one contract suite in `tests/contract/` that runs over its twin and its adapters.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from orchestrator.core.commands import Generate, Outcome, PlacedItem
from orchestrator.core.downloads import DownloadJob, DownloadPlan, DownloadProgress
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    GenerationFinished,
    LoadProgressed,
    LoadStarted,
    ModelReady,
    PromptProgressed,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.items import InputItem, OutputEntry, ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.prompt import PastResponse
from orchestrator.core.request import IntegrationRequest
from orchestrator.core.response import Ending, IncompleteReason, ResponseStatus, Stats
from orchestrator.core.tools import OfferedTool, ToolDefinition, ToolKey, ToolResult

# ---- engines ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The model began a tool call; the driver gives it its id and feeds it on as `CallOpened`."""

    index: int
    name: str


LoadStep: TypeAlias = LoadStarted | LoadProgressed | ModelReady
GenerationChunk: TypeAlias = (
    PromptProgressed | ReasoningArrived | TextArrived | CallBegun | CallArgumentsArrived | GenerationFinished
)


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What an engine can be asked for. An engine that does not load has its models ready, or loads them itself."""

    loads: bool
    many_instances: bool = False
    embeds: bool = False


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, in their order; None is what the engine does not count."""

    vectors: tuple[tuple[float, ...], ...]
    input_tokens: int | None = None


class Engine(Protocol):
    """Generates text. One adapter a kind of engine; `name` is what `engine::key` refers to.

    Instances are named by the caller. Which of them is loaded, shared, evicted and when is decided in
    `service/instances.py`, for all engines alike; an engine does as it is told.
    """

    @property
    def name(self) -> str: ...

    @property
    def traits(self) -> EngineTraits: ...

    async def models(self) -> Sequence[Model]:
        """Every model that can be used now, in a stable order, with its loaded instances.

        Raises:
            OrchestratorError: `engine_unavailable`, naming the engine and its address.
        """
        ...

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> None:
        """Whether the instance would fit, were the instances `freed` gone; an engine that cannot know says nothing.

        Raises:
            OrchestratorError: `insufficient_resources`; the message says what it needs and what there is.
        """
        ...

    def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        """Make the instance ready; the last step is `ModelReady`, the only one where it was ready already.

        A setting that is None keeps what is loaded. A longer context than the instance has means that
        it is loaded again, once nobody generates on it. Many askers share one load; one that nobody
        waits for any more is ended. `ttl_seconds` is for engines that unload by themselves.

        Raises:
            OrchestratorError: `engine_unavailable`, `engine_error`, or `invalid_value` on the setting
                that the engine cannot apply.
        """
        ...

    async def unload(self, instance_id: str) -> None:
        """End the instance, once nobody generates on it; no instance of that id is no error.

        Raises:
            OrchestratorError: `engine_unavailable`, or `not_implemented` where the engine does not load.
        """
        ...

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        """The vectors of `texts`.

        Raises:
            OrchestratorError: `invalid_value` on `model` where it does not embed, or as `generate`.
        """
        ...

    def generate(self, model: Model, instance_id: str, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        """One turn, as it is written; the last chunk is `GenerationFinished`.

        Every `CallArgumentsArrived` follows the `CallBegun` of its index, and each index begins once.
        Closing the generator frees the slot.

        Raises:
            OrchestratorError: `exceed_context_size` on `input`, `engine_error`, `engine_unavailable`.
        """
        ...


# ---- integrations -----------------------------------------------------------------------------


class IntegrationSession(Protocol):
    """An open connection to an MCP server that offers tools."""

    @property
    def provider(self) -> ProviderInfo: ...

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """All tools of the server, in its own order."""
        ...

    @property
    def withheld(self) -> frozenset[str]:
        """Names of tools that the server has and that its configuration does not give out."""
        ...

    async def call_tool(self, tool: str, arguments: JsonObject) -> ToolResult:
        """Call `tool` by the server's own name, within the tool timeout. Cancelling cancels the call.

        Raises:
            OrchestratorError: no result came: a timeout, a dead server, a broken protocol. The message
                is fit for the model and the client.
        """
        ...


class IntegrationCatalog(Protocol):
    """Knows the plugins and how to reach ephemeral servers."""

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        """Refuse, without any I/O, what cannot work: unknown plugins, twice the same one, bad addresses.

        Raises:
            OrchestratorError: with the `param` of the entry, such as `integrations.0.server_url`.
        """
        ...

    def open(
        self, integrations: Sequence[IntegrationRequest]
    ) -> AbstractAsyncContextManager[Sequence[IntegrationSession]]:
        """Connect all of them at the same time, under one deadline; sessions in the request's order.

        Leaving the context closes what lives only as long as the request.

        Raises:
            OrchestratorError: `plugin_connection_error` or `mcp_connection_error` on `integrations`; the
                message says which server, at which stage, and why, and holds no header value.
        """
        ...


# ---- store ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewResponse:
    """A node of the graph as it begins.

    `parameters` are the request's settings as JSON, without content and without secrets. With
    `stored` False only a skeleton is kept: no input, system prompt, parameters or metadata.
    `holder` names the process that runs it, `lease_until` how long its word counts.
    """

    id: str
    previous_response_id: str | None
    owner: str
    model_key: str
    model_instance_id: str
    system_prompt: str | None
    parameters: JsonObject
    metadata: dict[str, str]
    input: tuple[InputItem, ...]
    stored: bool
    offered: tuple[OfferedTool, ...]
    tool_names: dict[ToolKey, str]
    holder: str
    created_at: datetime
    lease_until: datetime
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The path from the root to a response, as a continuation needs it, oldest first."""

    responses: tuple[PastResponse, ...]
    system_prompt: str | None
    tool_names: dict[ToolKey, str] = field(default_factory=dict[ToolKey, str])


@dataclass(frozen=True, slots=True)
class JournaledCall:
    """A row of the journal, as its readers see it."""

    call_id: str
    response_id: str
    position: int
    turn: int
    model_name: str
    tool: str | None
    provider: ProviderInfo | None
    definition_digest: str | None
    arguments: JsonObject | None
    status: str
    output: str | None
    is_error: bool
    duration_ms: int | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response, whole."""

    id: str
    previous_response_id: str | None
    root_id: str
    depth: int
    owner: str
    model_key: str
    model_instance_id: str
    system_prompt: str | None
    parameters: JsonObject
    metadata: dict[str, str]
    status: ResponseStatus
    incomplete_reason: IncompleteReason | None
    error: ErrorInfo | None
    stats: Stats
    input: tuple[InputItem, ...]
    output: tuple[OutputEntry, ...]
    created_at: datetime
    ended_at: datetime | None


class ResponseStore(Protocol):
    """The graph of responses and the journal of their tool calls. Every method is one durable unit of work."""

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        """The chain that ends in `response_id`, in one query whatever its depth.

        Raises:
            OrchestratorError: `invalid_value` on `previous_response_id` for an id that is unknown,
                deleted, not stored or another owner's, all alike; `response_not_finished` while it runs.
        """
        ...

    async def open_response(self, response: NewResponse) -> None:
        """Insert the node, `in_progress`, and the definitions it offers by their digest."""
        ...

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        """Insert the items, calls among them; returns once they are durable.

        For a response that is not stored, only the skeleton of each call is kept: offered tool,
        provider, digest, times, status.
        """
        ...

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        """Settle one journaled call. A settled call never changes again."""
        ...

    async def save_response(
        self,
        response_id: str,
        ending: Ending,
        stats: Stats,
        items: Sequence[PlacedItem],
        outcomes: Sequence[tuple[str, Outcome]],
        at: datetime,
    ) -> None:
        """End the response. Items already there stay as they are, but for an unsettled call's outcome."""
        ...

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        """The response, or None for an id that is unknown, not stored or another owner's.

        Calls that are not settled are left out of its output.
        """
        ...

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        """The journal of one response, by position; empty for an unknown one."""
        ...

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        """These responses are being run, and are at least until then; one that has ended stays as it is."""
        ...

    async def holders_in_progress(self) -> Sequence[str]:
        """The processes that, as far as the store knows, run something."""
        ...

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        """End what nobody runs any more: leases that expired, and holders known to be dead.

        Such a response becomes `incomplete` (`process_died`), its unsettled calls `abandoned`. Returns
        the ids. Safe when several processes do it at once.
        """
        ...


# ---- tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret. `owner` survives rotation; `id` is the public part of the token."""

    id: str
    name: str
    owner: str
    permissions: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None


class TokenStore(Protocol):
    """API tokens; only a keyed-by-id SHA-256 of the secret is kept (it has 119 bits of entropy)."""

    async def create_token(self, token: Token, secret_digest: bytes) -> None: ...

    async def find_token(self, token_id: str) -> tuple[Token, bytes] | None:
        """The token and the digest of its secret, revoked or not."""
        ...

    async def list_tokens(self) -> Sequence[Token]: ...

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Whether there was such a token that was not revoked yet."""
        ...


# ---- downloads --------------------------------------------------------------------------------


class Downloader(Protocol):
    """Fetches models from one kind of place. `forms` says, for people, which references it takes."""

    @property
    def name(self) -> str: ...

    @property
    def forms(self) -> str: ...

    def takes(self, model: str, quantization: str | None) -> bool:
        """Whether this is where `model` would come from; without any I/O."""
        ...

    async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
        """What would be fetched.

        Raises:
            OrchestratorError: `invalid_value` on `model` or `quantization`, `unknown_model`,
                `permission_denied`, `insufficient_storage`, `engine_unavailable` or `engine_error`.
        """
        ...

    async def fetch(self, plan: DownloadPlan, report: Callable[[DownloadProgress], None]) -> None:
        """Fetch it, going on where an earlier attempt ended; returns when the model can be used.

        `report` is called with what there is so far, as it grows. Cancelling stops it within a second and
        keeps what there is.

        Raises:
            OrchestratorError: it cannot be fetched; what there is is kept, unless it is wrong.
        """
        ...

    async def discard(self, plan: DownloadPlan) -> None:
        """Throw away what an unfinished attempt left, which nobody wants any more."""
        ...


class JobStore(Protocol):
    """Downloads. Every method is one durable unit of work; all are safe when several processes use them at once."""

    async def create_job(self, job: DownloadJob) -> DownloadJob:
        """Insert the job and return it, or return the unfinished one of the same identity that is there already."""
        ...

    async def get_job(self, job_id: str) -> DownloadJob | None: ...

    async def active_jobs(self) -> Sequence[DownloadJob]:
        """Every job that is queued or downloading, the oldest first."""
        ...

    async def change_job(self, before: DownloadJob, after: DownloadJob) -> bool:
        """Write `after`'s state; False, and nothing, where the job is no longer in the state and hands of `before`.

        Also where it would begin again beside another unfinished job of the same identity.
        """
        ...

    async def record_progress(
        self, holder: str, progress: Mapping[str, DownloadProgress], lease_until: datetime
    ) -> frozenset[str]:
        """Write how far these jobs are and renew their leases; returns the ids that `holder` still has to care for."""
        ...
