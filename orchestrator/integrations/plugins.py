"""The plugins of `mcp.json`, each started on first use and shared by all requests that name it."""

import anyio
import anyio.abc

from orchestrator.integrations.http_transport import HttpServerTransport
from orchestrator.integrations.mcp_json import HttpServer, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, ServerTransport
from orchestrator.integrations.redaction import redactor
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.stdio_transport import StdioServerTransport
from orchestrator.integrations.supervised import SupervisedServer


class Plugins:
    """One supervised server for each usable plugin; nothing is started before it is asked for."""

    def __init__(
        self,
        *,
        connect_timeout: float,
        task_group: anyio.abc.TaskGroup,
        features: ClientFeatures = NO_FEATURES,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._task_group = task_group
        self._features = features
        self._servers: dict[str, SupervisedServer] = {}

    def server(self, plugin: PluginConfig) -> SupervisedServer:
        """The server of `plugin`, the same one for every asker."""
        server = self._servers.get(plugin.id)
        if server is None:
            server = self._servers[plugin.id] = self._new(plugin)
        return server

    def running(self, plugin_id: str) -> SupervisedServer | None:
        """The server of the plugin of exactly this id, if it was ever asked for."""
        return self._servers.get(plugin_id)

    async def aclose(self) -> None:
        """End all of them at the same time, within limits."""
        for server in self._servers.values():
            server.close()
        # Closing input, terminating and killing take as long each.
        with anyio.move_on_after(4 * CLOSE_SECONDS, shield=True):
            for server in self._servers.values():
                await server.wait_closed()

    def _new(self, plugin: PluginConfig) -> SupervisedServer:
        match plugin.server:
            case StdioServer() as stdio:
                secrets = stdio.secrets

                def transport() -> ServerTransport:
                    return StdioServerTransport(stdio)

            case HttpServer() as http:
                url = parse_server_url(http.url)
                secrets = http.secrets | url.secrets

                def transport() -> ServerTransport:
                    return HttpServerTransport(
                        url,
                        kind=http.transport,
                        headers=http.headers,
                        policy=None,  # who writes mcp.json decides where its servers are
                        connect_timeout=self._connect_timeout,
                    )

            case UnusableServer(error):
                raise error
        return SupervisedServer(
            plugin.id,
            transport,
            task_group=self._task_group,
            connect_timeout=self._connect_timeout,
            redact=redactor(secrets),
            watch_tools=True,
            features=self._features,
        )
