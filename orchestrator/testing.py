"""Twins of the ports: small, in memory, and obedient. For tests here and for those who build on us.

They stand where a test needs an answer, or a fault, that the real thing will not give on demand.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import anyio

from orchestrator.core.approvals import NEVER, ApprovalPolicy
from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    FinishReason,
    GenerationFinished,
    ModelReady,
    PromptProgressed,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.items import PluginProvider, ProviderInfo, ServerIdentity
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.logprobs import TokenLogprob
from orchestrator.core.materials import Piece, Prompt, Resource, ResourceTemplate
from orchestrator.core.models import LoadConfig, LoadSettings, Model, ModelInstance
from orchestrator.core.request import IntegrationRequest, PluginRequest, ResponseFormat, requested_provider
from orchestrator.core.response import Counters
from orchestrator.core.tools import ToolDefinition, ToolResult, text_content
from orchestrator.ports import (
    CallBegun,
    CallWatch,
    Embeddings,
    EngineTraits,
    GenerationChunk,
    IntegrationSession,
    LoadStep,
    RunScope,
)
from orchestrator.testing_downloads import MemoryJobStore, ScriptedDownloader
from orchestrator.testing_store import MemoryStore
from orchestrator.testing_tokens import MemoryTokenStore

__all__ = [
    "SCRIPTED_MODEL",
    "Break",
    "Call",
    "FakeCatalog",
    "FakeServer",
    "FakeTool",
    "MemoryJobStore",
    "MemoryStore",
    "MemoryTokenStore",
    "Say",
    "ScriptedDownloader",
    "ScriptedEngine",
    "Stall",
    "Think",
    "ToolFunction",
]

SCRIPTED_MODEL = "test/scripted"
SCRIPTED_TRAITS = EngineTraits(loads=True, many_instances=True, embeds=True, raw=True)


@dataclass(frozen=True, slots=True)
class Say:
    """The model says this, word by word; with `logprobs` in one piece."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Think:
    """The model reasons this, word by word."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """The model calls `name`; arguments given as text go out as they are."""

    name: str
    arguments: JsonObject | str = ""


@dataclass(frozen=True, slots=True)
class Stall:
    """The model writes nothing more until `until` is set (or for ever, if it never is)."""

    until: anyio.Event


@dataclass(frozen=True, slots=True)
class Break:
    """The engine fails here."""

    error: OrchestratorError


ScriptLine: TypeAlias = Say | Think | Call | Stall | Break
Turn: TypeAlias = Sequence[ScriptLine]
Script: TypeAlias = Callable[[Generate], Turn]


class ScriptedEngine:
    """An engine whose model reads from a script; `requests` are the `Generate`s it got.

    `script` is either the turns in order, the last one repeated, or a function of the request.
    """

    name = "scripted"

    def __init__(
        self,
        script: Sequence[Turn] | Script,
        *,
        model: Model | None = None,
        load: Sequence[LoadStep | OrchestratorError] = (ModelReady(),),
        counters: Counters | None = None,
        finish_as: FinishReason | None = None,
        traits: EngineTraits = SCRIPTED_TRAITS,
        parallel: int | None = None,
    ) -> None:
        self._script = script
        self._load = load
        self._counters = counters or Counters(10, 5, 0, 8, 0.5, 0.25)
        self._finish_as: FinishReason | None = finish_as
        self.traits = traits
        self._parallel = parallel
        self.model = model or Model(
            SCRIPTED_MODEL,
            self.name,
            "llm",
            "test",
            "Scripted",
            max_context_length=4096,
            trained_for_tool_use=True,
        )
        self.loaded: dict[str, ModelInstance] = {one.id: one for one in self.model.loaded_instances}
        self.requests: list[Generate] = []
        self.open_generations = 0

    async def models(self) -> Sequence[Model]:
        return (replace(self.model, loaded_instances=tuple(self.loaded.values())),)

    def check_response_format(self, response_format: ResponseFormat) -> None:
        pass

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        return True

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        for step in self._load:
            if isinstance(step, OrchestratorError):
                raise step
            if isinstance(step, ModelReady) and instance_id not in self.loaded:
                config = LoadConfig(settings.context_length or 4096, parallel=self._parallel)
                self.loaded[instance_id] = ModelInstance(instance_id, config)
            yield step

    async def unload(self, instance_id: str) -> None:
        self.loaded.pop(instance_id, None)

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        return Embeddings(tuple((float(len(text)), 1.0) for text in texts), sum(map(len, texts)))

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        self.requests.append(request)
        self.open_generations += 1
        try:
            yield PromptProgressed(1.0)
            index = 0
            turn = self._turn(request)
            for line in turn:
                await anyio.lowlevel.checkpoint()
                match line:
                    case Say(text, logprobs):
                        text, stopped_at = _until(text, request.sampling.stop)
                        for word in [text] if logprobs else _words(text):
                            yield TextArrived(word, logprobs)
                        if stopped_at is not None:
                            yield GenerationFinished("stop", self._counters, stopped_at)
                            return
                    case Think(text):
                        for word in _words(text):
                            yield ReasoningArrived(word)
                    case Call(name, arguments):
                        yield CallBegun(index, name)
                        text = arguments if isinstance(arguments, str) else canonical_json(arguments)
                        for word in _words(text):
                            yield CallArgumentsArrived(index, word)
                        index += 1
                    case Stall(until):
                        await until.wait()
                    case Break(error):
                        raise error
            usual: FinishReason = "tool_calls" if index else "stop"
            reason = usual if self._finish_as is None else self._finish_as
            yield GenerationFinished(reason, self._counters)
        finally:
            self.open_generations -= 1

    def _turn(self, request: Generate) -> Turn:
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.requests), len(self._script)) - 1]


def _until(text: str, stop: Sequence[str]) -> tuple[str, str | None]:
    """What is written of `text`, and the stop sequence that ends it."""
    at, word = min(((text.find(word), word) for word in stop if word in text), default=(len(text), None))
    return text[:at], word


def _words(text: str) -> Iterable[str]:
    return text.replace(" ", " \0").split("\0")


ToolFunction: TypeAlias = Callable[[JsonObject], Awaitable[ToolResult | str]]


@dataclass(frozen=True, slots=True)
class FakeTool:
    """A tool and what it does; a plain text stands for a result of one text part."""

    definition: ToolDefinition
    function: ToolFunction


@dataclass(slots=True)
class FakeServer:
    """A server with its tools; `calls` are those that reached it, `watches` who follows them.

    `resources` are by URI, `prompts` with the messages that they give. `error` makes it unreachable.
    """

    tools: Sequence[FakeTool] = ()
    withheld: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    approval: ApprovalPolicy = NEVER
    server: ServerIdentity | None = None
    error: OrchestratorError | None = None
    calls: list[tuple[str, JsonObject]] = field(default_factory=list[tuple[str, JsonObject]])
    open_sessions: int = 0
    watches: list[CallWatch] = field(default_factory=list[CallWatch])
    resources: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict[str, tuple[Piece, ...]])
    prompts: Mapping[Prompt, tuple[Piece, ...]] = field(default_factory=dict[Prompt, tuple[Piece, ...]])


class _FakeSession:
    def __init__(self, provider: ProviderInfo, server: FakeServer) -> None:
        self.provider = provider
        self.withheld = server.withheld
        self.drifted = server.drifted
        self.changed = server.changed
        self.removed = server.removed
        self.problems = server.problems
        self.approval = server.approval
        self.server = server.server
        self._server = server

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        return tuple(tool.definition for tool in self._server.tools)

    async def call_tool(self, tool: str, arguments: JsonObject, watch: CallWatch | None = None) -> ToolResult:
        self._server.calls.append((tool, arguments))
        if watch is not None:
            self._server.watches.append(watch)
        function = next(known.function for known in self._server.tools if known.definition.name == tool)
        result = await function(arguments)
        return ToolResult(text_content(result), result, is_error=False) if isinstance(result, str) else result

    async def list_resources(self) -> tuple[Resource, ...]:
        return tuple(Resource(uri, uri) for uri in self._server.resources)

    async def list_resource_templates(self) -> tuple[ResourceTemplate, ...]:
        return ()

    async def list_prompts(self) -> tuple[Prompt, ...]:
        return tuple(self._server.prompts)

    async def read_resource(self, uri: str) -> tuple[Piece, ...]:
        if uri not in self._server.resources:
            raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, f"The resource '{uri}' could not be had.")
        return self._server.resources[uri]

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> tuple[Piece, ...]:
        for prompt, pieces in self._server.prompts.items():
            if prompt.name == name and all(one.name in arguments for one in prompt.arguments if one.required):
                return pieces
        raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, f"The prompt '{name}' could not be had.")


class FakeCatalog:
    """A catalog over fake servers, by plugin id or server label; `scopes` are those it was opened with."""

    def __init__(self, servers: Mapping[str, FakeServer] | None = None) -> None:
        self._servers = dict(servers or {})
        self.scopes: list[RunScope] = []

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        for integration in integrations:
            if isinstance(integration, PluginRequest) and integration.id not in self._servers:
                known = ", ".join(name for name in self._servers if name.startswith("mcp/")) or "none"
                message = f"Cannot find plugin '{integration.id}'. Installed plugins: {known}."
                raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, message, param="integrations")

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession]]:
        self.scopes.append(scope)
        sessions: list[IntegrationSession] = []
        servers: list[FakeServer] = []
        for integration in integrations:
            provider = requested_provider(integration)
            label = provider.plugin_id if isinstance(provider, PluginProvider) else provider.server_label
            server = self._servers[label]
            if server.error is not None:
                raise server.error
            servers.append(server)
            sessions.append(_FakeSession(provider, server))
        for server in servers:
            server.open_sessions += 1
        try:
            yield sessions
        finally:
            for server in servers:
                server.open_sessions -= 1
