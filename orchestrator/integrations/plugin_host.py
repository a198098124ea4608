"""The installed plugins as their developers see them: what `mcp.json` says, and what their servers do."""

from collections.abc import Sequence

import anyio

from orchestrator.core.errors import ErrorKind
from orchestrator.integrations.checks import usable_plugin
from orchestrator.integrations.mcp_json import HttpServer, McpConfig, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.mcp_session import ConnectionEndedError
from orchestrator.integrations.mcp_transport import Failure
from orchestrator.integrations.plugins import Plugins
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import IntegrationFailedError, PluginFiles, PluginState, PluginStatus, PluginTransport


class McpPluginHost:
    """`PluginHost` over the servers of a catalog."""

    def __init__(self, config: McpConfig, plugins: Plugins, *, connect_timeout: float) -> None:
        self._config = config
        self._plugins = plugins
        self._connect_timeout = connect_timeout

    def plugins(self) -> Sequence[PluginStatus]:
        return [self._status(plugin) for plugin in self._config.plugins]

    def plugin(self, plugin_id: str) -> PluginStatus | None:
        plugin = self._config.find(plugin_id)
        return None if plugin is None else self._status(plugin)

    def files(self) -> PluginFiles:
        files = tuple(dict.fromkeys(str(plugin.file) for plugin in self._config.plugins))
        return PluginFiles(files, warnings=self._config.warnings)

    async def restart(self, plugin_id: str) -> None:
        plugin = usable_plugin(plugin_id, self._config)
        server = self._plugins.server(plugin)
        server.restart()
        failure: Failure | None = None
        with anyio.move_on_after(self._connect_timeout) as limit:
            try:
                await server.tools()
            except ConnectionEndedError as error:
                failure = error.failure
        if limit.cancelled_caught:
            failure = server.overdue
        if failure is None:
            return
        message = f"The plugin '{plugin.id}' could not be started (stage: {failure.stage}): {failure.why}."
        raise IntegrationFailedError(
            ErrorKind.PLUGIN_CONNECTION_ERROR, message, stage=failure.stage, param="integrations"
        )

    def _status(self, plugin: PluginConfig) -> PluginStatus:
        server = self._plugins.running(plugin.id)
        transport, target = _way(plugin)
        state, problem = _state(plugin, server)
        tools = None if server is None else server.last_tools
        allowed = plugin.allowed_tools
        names = frozenset(tool.name for tool in tools or ())
        return PluginStatus(
            id=plugin.id,
            file=str(plugin.file),
            state=state,
            transport=transport,
            target=target,
            problem=problem,
            allowed_tools=allowed,
            withheld=frozenset() if allowed is None else names.difference(allowed),
            timeout_seconds=plugin.timeout_seconds,
            tools=tools,
        )


def _way(plugin: PluginConfig) -> tuple[PluginTransport | None, str | None]:
    match plugin.server:
        case StdioServer(command):
            return "stdio", command
        case HttpServer(url, transport):
            return transport, parse_server_url(url).origin
        case UnusableServer():
            return None, None


def _state(plugin: PluginConfig, server: SupervisedServer | None) -> tuple[PluginState, str | None]:
    if plugin.disabled:
        return "disabled", None
    if isinstance(plugin.server, UnusableServer):
        return "unusable", plugin.server.error.info.message
    if server is None:
        return "stopped", None
    failure = server.failure
    if failure is not None:
        return "failed", f"{failure.why} (stage: {failure.stage})"
    return server.state, None
