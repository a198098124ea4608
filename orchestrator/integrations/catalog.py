"""The integrations of a request: plugins from `mcp.json`, servers that the request brings along."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import anyio
import anyio.abc
import structlog

from orchestrator.core.drift import DriftVerdict
from orchestrator.core.errors import ErrorKind, OrchestratorError, sentence
from orchestrator.core.items import EphemeralProvider, PluginProvider, ProviderInfo
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.core.tools import ToolDefinition, provider_label, redacted_definition
from orchestrator.integrations.call_clock import CallLimits
from orchestrator.integrations.checks import check_integrations, usable_plugin
from orchestrator.integrations.child_guard import unguarded_mark
from orchestrator.integrations.http_transport import HttpServerTransport
from orchestrator.integrations.known_secrets import redaction_of, secrets_of
from orchestrator.integrations.mcp_config import McpConfigFiles
from orchestrator.integrations.mcp_json import McpConfig, PluginConfig
from orchestrator.integrations.mcp_session import ConnectionEndedError
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, Failure, leaves
from orchestrator.integrations.member import McpSession, Member
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.plugin_host import McpPluginHost
from orchestrator.integrations.plugins import END_SECONDS, ChainLimits, Plugins, PluginServer
from orchestrator.integrations.redaction import Redactor, redactor
from orchestrator.integrations.server_identity import http_address, plugin_address, server_identity
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import DefinitionGuard, IntegrationFailedError, IntegrationSession, RunScope

log = structlog.stdlib.get_logger(__name__)

TOOL_TIMEOUT_CAP: Final = 600.0
"""How long a call may take in seconds, whatever progress it reports."""


@dataclass(frozen=True, slots=True)
class _Lent:
    """What a request brings along that is secret, for the server of that label (None: for any that it uses)."""

    label: str | None
    secrets: frozenset[str]


class McpCatalog:
    """Knows the plugins and how to reach ephemeral servers; every task lives in `task_group`.

    `connect_timeout`, `tool_timeout` and `tool_timeout_cap` are seconds. `aclose` ends what requests share, in order;
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
        tool_timeout_cap: float = TOOL_TIMEOUT_CAP,
        features: ClientFeatures = NO_FEATURES,
        chains: ChainLimits | None = None,
        files: McpConfigFiles | None = None,
        logins: OAuthLogins | None = None,
        guard: DefinitionGuard | None = None,
        redaction: Redaction = NOTHING,
        new_mark: Callable[[], str] = unguarded_mark,
        one_owner: bool = True,
    ) -> None:
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._tool_timeout = tool_timeout
        self._tool_timeout_cap = tool_timeout_cap
        # The roots are folders here: whom a request brings along learns nothing of them.
        self._ephemeral_features = replace(features, roots=())
        self._allow_plugins = allow_plugins
        self._allow_ephemeral_mcp = allow_ephemeral_mcp
        self._task_group = task_group
        self._guard = guard
        self._general_redaction = redaction
        self._logins = logins
        self._known: dict[str, tuple[PluginConfig, frozenset[str]]] = {}
        self._lent: list[_Lent] = []
        self._told: dict[str, tuple[str, ...]] = {}
        self._plugins = Plugins(
            config,
            connect_timeout=connect_timeout,
            task_group=task_group,
            chains=chains,
            features=features,
            logins=logins,
            redaction=self.redaction,
            new_mark=new_mark,
            one_owner=one_owner,
        )
        self.host = McpPluginHost(self._plugins, connect_timeout=connect_timeout, files=files)

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        check_integrations(
            integrations,
            self._plugins.config,
            self._policy,
            allow_plugins=self._allow_plugins,
            allow_ephemeral_mcp=self._allow_ephemeral_mcp,
        )

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession], None]:
        self.check(integrations)
        held: list[PluginServer] = []
        members: list[Member] = []
        lent = [
            _Lent(each.server_label, frozenset([*each.headers.values(), *parse_server_url(each.server_url).secrets]))
            for each in integrations
            if isinstance(each, EphemeralRequest)
        ]
        if scope.caller_token is not None:
            lent.append(_Lent(None, frozenset([scope.caller_token])))
        self._lent += lent
        try:
            for integration in integrations:
                members.append(self._member(integration, scope, held))  # noqa: PERF401  what is held must be let go
            yield await self._open_all(members)
        finally:
            for each in lent:
                self._lent.remove(each)
            for server in held:
                self._plugins.release(server)
            own = [server.server for server in held if server.plugin.scope == "request"]
            ephemeral = [member.server for member in members if isinstance(member.provider, EphemeralProvider)]
            await _close(ephemeral, own)

    def redaction(self, provider: ProviderInfo | None) -> Redaction:
        """The rules for what this server is asked and answers; those of all servers for None.

        They are those of the file as it is now, with what is known to be secret of the server.
        """
        rules = self._general_redaction
        for plugin in self._plugins.config.plugins:
            if provider is None or provider == PluginProvider(plugin.id):
                tokens = frozenset[str]() if self._logins is None else self._logins.secrets(plugin.id)
                rules = rules.joined(plugin.redaction).joined(redaction_of(self._secrets(plugin) | tokens))
        for lent in self._lent:
            if provider is None or lent.label is None or provider == EphemeralProvider(lent.label):
                rules = rules.joined(redaction_of(lent.secrets))
        return rules

    def _secrets(self, plugin: PluginConfig) -> frozenset[str]:
        known = self._known.get(plugin.id)
        if known is None or known[0] is not plugin:
            known = self._known[plugin.id] = plugin, secrets_of(plugin)
        return known[1]

    def start_plugins(self) -> None:
        """Start the plugins that are to run from the start on."""
        if self._allow_plugins:
            self._plugins.start()

    def reload(self, config: McpConfig) -> None:
        """Let `config` count from now on; requests in flight finish with what they began with."""
        self._plugins.use(config, start=self._allow_plugins)

    async def aclose(self) -> None:
        """End all plugins, in order, within limits; nothing can be opened afterwards."""
        await self._plugins.aclose()

    def _member(self, integration: IntegrationRequest, scope: RunScope, held: list[PluginServer]) -> Member:
        match integration:
            case PluginRequest(plugin_id):
                plugin = usable_plugin(plugin_id, self._plugins.config)
                held.append(self._plugins.acquire(plugin, scope))
                return Member(
                    PluginProvider(plugin.id),
                    held[-1].server,
                    ErrorKind.PLUGIN_CONNECTION_ERROR,
                    f"The plugin '{plugin.id}' could not be started",
                    self._limits(plugin.timeout_seconds),
                    self._connect_timeout,
                    scope,
                    plugin.allowed_tools,
                    plugin.drift,
                    plugin.approval,
                    plugin_address(plugin),
                )
            case EphemeralRequest(server_label, server_url):
                return Member(
                    EphemeralProvider(server_label),
                    self._ephemeral_server(integration),
                    ErrorKind.MCP_CONNECTION_ERROR,
                    f"The MCP server '{server_label}' at {parse_server_url(server_url).origin} could not be connected",
                    self._limits(None),
                    self._connect_timeout,
                    scope,
                    address=http_address(parse_server_url(server_url)),
                )

    def _limits(self, seconds: float | None) -> CallLimits:
        """The time of a call of a server whose own time is `seconds`."""
        seconds = seconds or self._tool_timeout
        return CallLimits(seconds, max(seconds, self._tool_timeout_cap))

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
            redact=self._redactor(integration, url.secrets),
            watch_tools=False,
            features=self._ephemeral_features,
        )

    async def _open_all(self, members: Sequence[Member]) -> tuple[IntegrationSession, ...]:
        """Connect all at the same time; the first that fails ends the others' opening."""
        sessions: dict[int, McpSession] = {}

        async def connect(index: int, member: Member) -> None:
            await member.server.check()
            with anyio.move_on_after(self._connect_timeout) as limit:
                try:
                    tools = self._redacted(member.provider, await member.server.tools())
                    rules = self.redaction(member.provider)
                    server = server_identity(member.address, member.server.facts, rules)
                    sessions[index] = McpSession(member, server, tools, await self._verdict(member, tools))
                    self._tell(sessions[index])
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

    def _tell(self, session: McpSession) -> None:
        """What is wrong goes to the log as well, once for each plugin and as long as it is the same."""
        label = provider_label(session.provider)
        if session.problems and self._told.get(label) != session.problems:
            log.warning("not all is well with the tools of an MCP server", server=label, problems=session.problems)
        if isinstance(session.provider, PluginProvider):
            self._told[label] = session.problems

    def _redactor(self, integration: EphemeralRequest, secrets: Iterable[str]) -> Redactor:
        known = redactor([*integration.headers.values(), *secrets])
        return lambda text: self._general_redaction.text(known(text))

    def _redacted(self, provider: ProviderInfo, tools: tuple[ToolDefinition, ...]) -> tuple[ToolDefinition, ...]:
        """The definitions as everybody may have them: model, pins and journal alike, so that one digest names them."""
        rules = self.redaction(provider)
        return tuple(redacted_definition(tool, rules) for tool in tools) if rules.patterns else tools

    async def _verdict(self, member: Member, tools: tuple[ToolDefinition, ...]) -> DriftVerdict:
        """What has drifted; an ephemeral server is nobody that one could have met before."""
        if self._guard is None or not isinstance(member.provider, PluginProvider):
            return DriftVerdict()
        return await self._guard.judge(member.provider.plugin_id, tools, member.drift)


def _unreachable(member: Member, failure: Failure) -> OrchestratorError:
    message = sentence(f"{member.described} (stage: {failure.stage}): {failure.why}")
    return IntegrationFailedError(member.kind, message, stage=failure.stage, param="integrations")


async def _close(ephemeral: Sequence[SupervisedServer], processes: Sequence[SupervisedServer]) -> None:
    servers = [*ephemeral, *processes]
    for server in servers:
        server.close()
    with anyio.move_on_after(END_SECONDS if processes else CLOSE_SECONDS, shield=True):
        for server in servers:
            await server.wait_closed()
