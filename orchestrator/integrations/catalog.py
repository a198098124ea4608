"""The integrations of a request: plugins from `mcp.json`, servers that the request brings along."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, PluginProvider, ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.core.tools import ToolDefinition, ToolResult, provider_label
from orchestrator.integrations.checks import check_integrations, usable_plugin
from orchestrator.integrations.http_transport import HttpServerTransport
from orchestrator.integrations.mcp_json import McpConfig
from orchestrator.integrations.mcp_session import ConnectionEndedError, NoAnswerError
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, Failure, leaves
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.plugin_host import McpPluginHost
from orchestrator.integrations.plugins import Plugins
from orchestrator.integrations.redaction import redactor
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import IntegrationFailedError, IntegrationSession, RunScope


@dataclass(frozen=True, slots=True)
class _Member:
    """A server that takes part in a request; `kind` and `described` are for its errors."""

    provider: ProviderInfo
    server: SupervisedServer
    kind: ErrorKind
    described: str
    tool_timeout: float
    allowed_tools: tuple[str, ...] | None = None


class McpSession:
    """A member of a request, connected, with the tools that it had when the request was opened."""

    def __init__(self, member: _Member, tools: tuple[ToolDefinition, ...]) -> None:
        self._member = member
        self._tools = tools

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

    async def call_tool(self, tool: str, arguments: JsonObject) -> ToolResult:
        member = self._member
        try:
            return await member.server.call_tool(tool, arguments, member.tool_timeout)
        except (ConnectionEndedError, NoAnswerError) as error:
            message = f"The tool '{tool}' of '{provider_label(member.provider)}' gave no result: {error}."
            raise OrchestratorError(member.kind, message) from None


class McpCatalog:
    """Knows the plugins and how to reach ephemeral servers; every task lives in `task_group`.

    `connect_timeout` and `tool_timeout` are seconds. `aclose` ends what requests share, in order;
    cancelling the task group ends it as well, at once.
    """

    def __init__(
        self,
        config: McpConfig,
        *,
        policy: NetworkPolicy,
        connect_timeout: float,
        tool_timeout: float,
        allow_plugins: bool,
        allow_ephemeral_mcp: bool,
        task_group: anyio.abc.TaskGroup,
    ) -> None:
        self._config = config
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._tool_timeout = tool_timeout
        self._allow_plugins = allow_plugins
        self._allow_ephemeral_mcp = allow_ephemeral_mcp
        self._task_group = task_group
        self._plugins = Plugins(connect_timeout=connect_timeout, task_group=task_group)
        self.host = McpPluginHost(config, self._plugins, connect_timeout=connect_timeout)

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        check_integrations(
            integrations,
            self._config,
            self._policy,
            allow_plugins=self._allow_plugins,
            allow_ephemeral_mcp=self._allow_ephemeral_mcp,
        )

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession], None]:
        self.check(integrations)
        members = [self._member(integration) for integration in integrations]
        try:
            yield await self._open_all(members)
        finally:
            await _close([member.server for member in members if isinstance(member.provider, EphemeralProvider)])

    async def aclose(self) -> None:
        """End all plugins, in order, within limits; nothing can be opened afterwards."""
        await self._plugins.aclose()

    def _member(self, integration: IntegrationRequest) -> _Member:
        match integration:
            case PluginRequest(plugin_id):
                plugin = usable_plugin(plugin_id, self._config)
                return _Member(
                    PluginProvider(plugin.id),
                    self._plugins.server(plugin),
                    ErrorKind.PLUGIN_CONNECTION_ERROR,
                    f"The plugin '{plugin.id}' could not be started",
                    plugin.timeout_seconds or self._tool_timeout,
                    plugin.allowed_tools,
                )
            case EphemeralRequest(server_label, server_url):
                return _Member(
                    EphemeralProvider(server_label),
                    self._ephemeral_server(integration),
                    ErrorKind.MCP_CONNECTION_ERROR,
                    f"The MCP server '{server_label}' at {parse_server_url(server_url).origin} could not be connected",
                    self._tool_timeout,
                )

    def _ephemeral_server(self, integration: EphemeralRequest) -> SupervisedServer:
        url = parse_server_url(integration.server_url)

        def transport() -> HttpServerTransport:
            return HttpServerTransport(
                url,
                kind="streamable-http",
                headers=integration.headers,
                policy=self._policy,
                connect_timeout=self._connect_timeout,
            )

        return SupervisedServer(
            integration.server_label,
            transport,
            task_group=self._task_group,
            connect_timeout=self._connect_timeout,
            redact=redactor([*integration.headers.values(), *url.secrets]),
            watch_tools=False,
        )

    async def _open_all(self, members: Sequence[_Member]) -> tuple[IntegrationSession, ...]:
        """Connect all at the same time; the first that fails ends the others' opening."""
        sessions: dict[int, McpSession] = {}

        async def connect(index: int, member: _Member) -> None:
            with anyio.move_on_after(self._connect_timeout) as limit:
                try:
                    sessions[index] = McpSession(member, await member.server.tools())
                except ConnectionEndedError as error:
                    raise _unreachable(member, error.failure) from None
            if limit.cancelled_caught:
                raise _unreachable(member, member.server.overdue)

        try:
            async with anyio.create_task_group() as opening:
                for index, member in enumerate(members):
                    opening.start_soon(connect, index, member)
        except ExceptionGroup as group:
            raise next(leaves(group)) from None
        return tuple(sessions[index] for index in range(len(members)))


def _unreachable(member: _Member, failure: Failure) -> OrchestratorError:
    message = f"{member.described} (stage: {failure.stage}): {failure.why}."
    return IntegrationFailedError(member.kind, message, stage=failure.stage, param="integrations")


async def _close(servers: Sequence[SupervisedServer]) -> None:
    for server in servers:
        server.close()
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        for server in servers:
            await server.wait_closed()
