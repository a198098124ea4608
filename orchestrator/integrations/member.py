"""A server that takes part in a request, as the services see it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from mcp_types import INVALID_PARAMS

from orchestrator.core.approvals import NEVER, ApprovalPolicy
from orchestrator.core.drift import DriftPolicy, DriftVerdict
from orchestrator.core.errors import ErrorKind, OrchestratorError, sentence
from orchestrator.core.items import ProviderInfo, ServerIdentity
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece, Prompt, Resource, ResourceTemplate
from orchestrator.core.server_requests import Elicitation, ElicitationAnswer, SamplingReply, SamplingRequest
from orchestrator.core.tools import ToolDefinition, ToolResult, provider_label
from orchestrator.integrations.call_clock import CallLimits
from orchestrator.integrations.entry_problems import unknown_names
from orchestrator.integrations.mcp_session import ConnectionEndedError, NoAnswerError
from orchestrator.integrations.open_calls import CallSide
from orchestrator.integrations.server_errors import UNKNOWN_RESOURCE, shortened
from orchestrator.integrations.server_methods import ServerMethods
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import CallWatch, RunScope

T = TypeVar("T")
_UNKNOWN_CODES: Final = (UNKNOWN_RESOURCE, INVALID_PARAMS)
"""What servers answer to a URI that they do not have, by the older and by the newer protocol."""


@dataclass(frozen=True, slots=True)
class Member:
    """A server of a request; `kind` and `described` are for its errors, `list_timeout` is in seconds."""

    provider: ProviderInfo
    server: SupervisedServer
    kind: ErrorKind
    described: str
    limits: CallLimits
    list_timeout: float
    scope: RunScope
    allowed_tools: tuple[str, ...] | None = None
    drift: DriftPolicy | None = None
    approval: ApprovalPolicy = NEVER
    address: str | None = None


class McpSession:
    """A member of a request, connected, with the tools that it had when the request was opened."""

    def __init__(
        self,
        member: Member,
        server: ServerIdentity,
        tools: tuple[ToolDefinition, ...],
        verdict: DriftVerdict,
    ) -> None:
        self._member = member
        self.server = server
        self._tools = tools
        self.drifted = verdict.blocked
        self.changed = verdict.warned
        allowed = member.allowed_tools
        self.removed = verdict.removed if allowed is None else verdict.removed.intersection(allowed)
        names = (tool.name for tool in tools)
        self.problems = (*member.server.withheld, *unknown_names(names, allowed, member.approval))

    @property
    def provider(self) -> ProviderInfo:
        return self._member.provider

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        return self._tools

    @property
    def withheld(self) -> frozenset[str]:
        allowed = self._member.allowed_tools
        names = frozenset(tool.name for tool in self._tools)
        return frozenset() if allowed is None else names.difference(allowed)

    @property
    def approval(self) -> ApprovalPolicy:
        return self._member.approval

    async def call_tool(self, tool: str, arguments: JsonObject, watch: CallWatch | None = None) -> ToolResult:
        return await self._ask(
            f"The tool '{tool}'",
            lambda methods: methods.call_tool(tool, arguments, self._member.limits, self._side(watch)),
            nothing="gave no result",
            whole=True,
        )

    async def list_resources(self) -> tuple[Resource, ...]:
        return await self._ask("The list of resources", lambda methods: methods.list_resources(self._list_timeout))

    async def list_resource_templates(self) -> tuple[ResourceTemplate, ...]:
        return await self._ask(
            "The list of resource templates", lambda methods: methods.list_resource_templates(self._list_timeout)
        )

    async def list_prompts(self) -> tuple[Prompt, ...]:
        return await self._ask("The list of prompts", lambda methods: methods.list_prompts(self._list_timeout))

    async def read_resource(self, uri: str) -> tuple[Piece, ...]:
        return await self._ask(
            f"The resource '{uri}'",
            lambda methods: methods.read_resource(uri, self._member.limits, self._side(None)),
            refusal=ErrorKind.INVALID_VALUE,
            unknown=ErrorKind.RESOURCE_NOT_FOUND,
        )

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> tuple[Piece, ...]:
        return await self._ask(
            f"The prompt '{name}'",
            lambda methods: methods.get_prompt(name, arguments, self._member.limits, self._side(None)),
            refusal=ErrorKind.INVALID_VALUE,
        )

    @property
    def _list_timeout(self) -> float:
        return self._member.list_timeout

    async def _ask(
        self,
        what: str,
        ask: Callable[[ServerMethods], Awaitable[T]],
        *,
        nothing: str = "could not be had",
        refusal: ErrorKind | None = None,
        unknown: ErrorKind | None = None,
        whole: bool = False,
    ) -> T:
        """The answer; `refusal` is the error's kind where the server refuses what the client named.

        `unknown` is it where the server says that there is no such thing. With `whole` nothing of an error is cut: the
        journal takes it as it takes a result.
        """
        member = self._member
        try:
            return await ask(await member.server.methods())
        except (ConnectionEndedError, NoAnswerError) as error:
            said = str(error) if whole else shortened(str(error))
            message = sentence(f"{what} of '{provider_label(member.provider)}' {nothing}: {said}")
            kind = refusal if isinstance(error, NoAnswerError) and error.refused else None
            if kind is not None and isinstance(error, NoAnswerError) and error.code in _UNKNOWN_CODES:
                kind = unknown or kind
            raise OrchestratorError(kind or member.kind, message) from None

    def _side(self, watch: CallWatch | None) -> CallSide:
        """What the server reaches through a request of this run."""
        scope, provider = self._member.scope, self._member.provider
        callbacks = scope.callbacks
        call_id = None if watch is None else watch.call_id
        progressed = None if watch is None else watch.progressed
        if callbacks is None:
            return CallSide(scope.response_id, progressed)

        async def elicit(asked: Elicitation) -> ElicitationAnswer:
            return await callbacks.elicit(provider, call_id, asked)

        async def sample(asked: SamplingRequest) -> SamplingReply:
            return await callbacks.sample(provider, call_id, asked)

        return CallSide(scope.response_id, progressed, elicit, sample)
