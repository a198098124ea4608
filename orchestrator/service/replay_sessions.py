"""The MCP servers of a replay: stored answers alone, or live ones for the calls that may run again."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.core.approvals import NEVER, ApprovalPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ClientProvider, EphemeralProvider, PluginProvider, ProviderInfo, ServerIdentity
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece, Prompt, Resource, ResourceTemplate
from orchestrator.core.reading import SERVICE
from orchestrator.core.redaction import holds_marker
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.core.tools import OfferedTool, ToolDefinition, ToolResult, provider_label
from orchestrator.ports import IntegrationCatalog, IntegrationSession, RunScope
from orchestrator.ports.integrations import CallWatch
from orchestrator.service.recorded_answers import RecordedAnswers, answer_key, stored_result

NOT_REPLAYED = "Resources and prompts are not replayed."


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A server as a response saw it: its tools by their definitions of then, its answers from the store."""

    provider: ProviderInfo
    tools: tuple[ToolDefinition, ...]
    answers: RecordedAnswers
    withheld: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    approval: ApprovalPolicy = NEVER
    server: ServerIdentity | None = None

    async def call_tool(self, tool: str, arguments: JsonObject, watch: CallWatch | None = None) -> ToolResult:
        return stored_result(self.answers.next(answer_key(self.provider, tool, arguments)), tool)

    async def list_resources(self) -> tuple[Resource, ...]:
        return ()

    async def list_resource_templates(self) -> tuple[ResourceTemplate, ...]:
        return ()

    async def list_prompts(self) -> tuple[Prompt, ...]:
        return ()

    async def read_resource(self, uri: str) -> tuple[Piece, ...]:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, NOT_REPLAYED)

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> tuple[Piece, ...]:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, NOT_REPLAYED)


class StoredToolsCatalog:
    """`IntegrationCatalog` of what a response was offered: nothing is connected and nothing is called."""

    def __init__(self, offered: Sequence[OfferedTool], answers: RecordedAnswers) -> None:
        self._sessions = tuple(
            StoredSession(provider, tuple(tool.definition for tool in offered if tool.provider == provider), answers)
            for provider in dict.fromkeys(tool.provider for tool in offered)
            if provider != SERVICE and not isinstance(provider, ClientProvider)
        )

    def requests(self) -> tuple[IntegrationRequest, ...]:
        """The integrations that it answers for, in its order."""
        requests: list[IntegrationRequest] = []
        for session in self._sessions:
            match session.provider:
                case PluginProvider(plugin_id):
                    requests.append(PluginRequest(plugin_id))
                case EphemeralProvider(server_label):
                    requests.append(EphemeralRequest(server_label, ""))
                case ClientProvider():
                    pass  # no server of it
        return tuple(requests)

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        """See `IntegrationCatalog.check`: nothing here can be wrong."""

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession]]:
        yield self._sessions


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """Which calls of a replay may reach their server.

    Those of tools that are annotated read-only, and of the `allowed` ones, each `<label>/<tool>`; but none
    that needs somebody's approval, and none that somebody kept from running in the original.
    """

    allowed: frozenset[str] = frozenset()

    def may_run(self, provider: ProviderInfo, tool: ToolDefinition, policies: Sequence[ApprovalPolicy]) -> bool:
        """Whether a call of `tool` may, as far as its definition and the policies of its server are concerned."""
        named = f"{provider_label(provider)}/{tool.name}" in self.allowed
        return (named or tool.annotations.read_only is True) and not any(policy.demands(tool) for policy in policies)


class LiveSession:
    """A connected server, of which the calls that may not run again are answered from the store."""

    def __init__(
        self, inner: IntegrationSession, answers: RecordedAnswers, rules: ReplayRules, approval: ApprovalPolicy
    ) -> None:
        self._inner = inner
        self._answers = answers
        policies = (approval, inner.approval)
        self._live = {tool.name for tool in inner.tools if rules.may_run(inner.provider, tool, policies)}

    @property
    def provider(self) -> ProviderInfo:
        return self._inner.provider

    @property
    def server(self) -> ServerIdentity | None:
        return self._inner.server

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        return self._inner.tools

    @property
    def withheld(self) -> frozenset[str]:
        return self._inner.withheld

    @property
    def drifted(self) -> frozenset[str]:
        return self._inner.drifted

    @property
    def changed(self) -> frozenset[str]:
        return self._inner.changed

    @property
    def removed(self) -> frozenset[str]:
        return self._inner.removed

    @property
    def problems(self) -> tuple[str, ...]:
        return self._inner.problems

    @property
    def approval(self) -> ApprovalPolicy:
        """Nothing waits for anybody: what would need approval does not run."""
        return NEVER

    async def call_tool(self, tool: str, arguments: JsonObject, watch: CallWatch | None = None) -> ToolResult:
        outcome = self._answers.next(answer_key(self.provider, tool, arguments))
        kept = outcome is not None and outcome.status in ("refused", "edited")
        # Nobody has the true values any more of arguments that redaction took something out of.
        if tool in self._live and not kept and not holds_marker(arguments):
            return await self._inner.call_tool(tool, arguments, watch)
        return stored_result(outcome, tool)

    async def list_resources(self) -> tuple[Resource, ...]:
        return await self._inner.list_resources()

    async def list_resource_templates(self) -> tuple[ResourceTemplate, ...]:
        return await self._inner.list_resource_templates()

    async def list_prompts(self) -> tuple[Prompt, ...]:
        return await self._inner.list_prompts()

    async def read_resource(self, uri: str) -> tuple[Piece, ...]:
        return await self._inner.read_resource(uri)

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> tuple[Piece, ...]:
        return await self._inner.get_prompt(name, arguments)


class LiveToolsCatalog:
    """`IntegrationCatalog` whose servers are connected; `policies` are those of the request, in its order."""

    def __init__(
        self,
        inner: IntegrationCatalog,
        answers: RecordedAnswers,
        rules: ReplayRules,
        policies: Sequence[ApprovalPolicy],
    ) -> None:
        self._inner = inner
        self._answers = answers
        self._rules = rules
        self._policies = policies

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        """See `IntegrationCatalog.check`."""
        self._inner.check(integrations)

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession]]:
        async with self._inner.open(integrations, scope) as sessions:
            yield [
                LiveSession(session, self._answers, self._rules, policy)
                for session, policy in zip(sessions, self._policies, strict=True)
            ]
