"""The installed plugins as their developers see them: what `mcp.json` says, and what their servers do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import anyio

from orchestrator.core.approvals import NEVER, approval_policy_json
from orchestrator.core.errors import ErrorKind, sentence
from orchestrator.integrations.caller_token import forwards
from orchestrator.integrations.checks import usable_plugin
from orchestrator.integrations.entry_problems import unknown_names
from orchestrator.integrations.mcp_config import McpConfigFiles
from orchestrator.integrations.mcp_json import HttpServer, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.mcp_session import ConnectionEndedError
from orchestrator.integrations.mcp_transport import Failure
from orchestrator.integrations.plugin_owner import LOCAL_OWNER
from orchestrator.integrations.plugins import Plugins, PluginServer
from orchestrator.integrations.process_use import ProcessUse, measure
from orchestrator.integrations.server_log import LoggedLine
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import (
    IntegrationFailedError,
    PluginFiles,
    PluginLogLine,
    PluginProcess,
    PluginPrompt,
    PluginResource,
    PluginState,
    PluginStatus,
    PluginTransport,
    RunScope,
    ServerFacts,
)


class McpPluginHost:
    """`PluginHost` over the servers of a catalog."""

    def __init__(self, plugins: Plugins, *, connect_timeout: float, files: McpConfigFiles | None = None) -> None:
        self._files = files
        self._plugins = plugins
        self._connect_timeout = connect_timeout

    def plugins(self, owner: str | None = None) -> Sequence[PluginStatus]:
        use = measure(held.pid for held in self._plugins.living() if held.pid is not None)
        return [self._status(plugin, use, owner) for plugin in self._plugins.config.plugins]

    def plugin(self, plugin_id: str, owner: str | None = None) -> PluginStatus | None:
        plugin = self._plugins.config.find(plugin_id)
        if plugin is None:
            return None
        return self._status(
            plugin, measure(held.pid for held in self._plugins.living(plugin.id) if held.pid is not None), owner
        )

    def files(self) -> PluginFiles:
        if self._files is not None:
            return self._files.state()
        config = self._plugins.config
        return PluginFiles(
            tuple(dict.fromkeys(str(plugin.file) for plugin in config.plugins)), warnings=config.warnings
        )

    async def restart(self, plugin_id: str, owner: str = LOCAL_OWNER) -> None:
        plugin = usable_plugin(plugin_id, self._plugins.config)
        self._plugins.restart(plugin)
        if plugin.scope not in ("shared", "owner") or forwards(plugin):
            return  # the next request of a chain or of a caller, or the next one at all, starts its own
        held = self._plugins.acquire(plugin, RunScope(owner, "", ""))
        try:
            failure = await self._connect(held.server)
        finally:
            self._plugins.release(held)
        if failure is None:
            return
        message = sentence(f"The plugin '{plugin.id}' could not be started (stage: {failure.stage}): {failure.why}")
        raise IntegrationFailedError(
            ErrorKind.PLUGIN_CONNECTION_ERROR, message, stage=failure.stage, param="integrations"
        )

    async def _connect(self, server: SupervisedServer) -> Failure | None:
        """Why it cannot be connected; None where it is."""
        failure: Failure | None = None
        with anyio.move_on_after(self._connect_timeout) as limit:
            try:
                await server.tools()
                if server.materials is not None:
                    await server.materials.settled.wait()
            except ConnectionEndedError as error:
                failure = error.failure
        if limit.cancelled_caught and server.state != "running":  # else only its lists take long
            failure = server.overdue
        return failure

    def _status(self, plugin: PluginConfig, use: Mapping[int, ProcessUse], owner: str | None) -> PluginStatus:
        living = [held for held in self._plugins.living(plugin.id) if owner is None or held.owner in (None, owner)]
        records = self._plugins.records(plugin.id, owner)
        servers = [held.server for held in living if not held.retired]
        server = next((one for one in servers if one.state == "running"), servers[-1] if servers else None)
        last = next((record.last for record in reversed(records) if record.last is not None), None)
        failures = [record.failure for record in records if record.failure is not None]
        known = last.server if server is None and last is not None and last.plugin.is_same_server(plugin) else server
        transport, target = _way(plugin)
        state, problem = _state(plugin, server)
        tools = None if known is None else known.last_tools
        allowed = plugin.allowed_tools
        names = frozenset(tool.name for tool in tools or ())
        return PluginStatus(
            id=plugin.id,
            file=str(plugin.file),
            state=state,
            transport=transport,
            target=target,
            scope=plugin.scope,
            start=plugin.start,
            problem=problem,
            warnings=(*plugin.warnings, *_problems(plugin, known)),
            allowed_tools=allowed,
            withheld=frozenset() if allowed is None else names.difference(allowed),
            timeout_seconds=plugin.timeout_seconds,
            drift=plugin.drift,
            approval=None if plugin.approval == NEVER else approval_policy_json(plugin.approval),
            server=_facts(known),
            tools=tools,
            resources=_resources(known),
            prompts=_prompts(known),
            processes=tuple(_processes(living, use)),
            restarts=sum(record.restarts for record in records),
            last_failure=max(failures, key=lambda failure: failure.at, default=None),
            stderr=tuple(line for record in records for line in record.stderr.lines),
            log=tuple(
                map(_log_line, sorted((line for record in records for line in record.log), key=lambda line: line.at))
            ),
        )


def _problems(plugin: PluginConfig, server: SupervisedServer | None) -> tuple[str, ...]:
    """What is wrong with what the server lists, and with the entry beside that."""
    if server is None or server.last_tools is None:
        return ()
    names = (tool.name for tool in server.last_tools)
    return (*server.withheld, *unknown_names(names, plugin.allowed_tools, plugin.approval))


def _facts(server: SupervisedServer | None) -> ServerFacts | None:
    facts = None if server is None else server.facts
    if facts is None:
        return None
    name, version = facts.name or "", facts.version or ""
    return ServerFacts(name, version, facts.protocol_version, facts.title, facts.instructions, facts.capabilities)


def _resources(server: SupervisedServer | None) -> tuple[PluginResource, ...] | None:
    lists = None if server is None else server.materials
    if lists is None or (lists.resources is None and lists.templates is None):
        return None
    listed = [
        PluginResource(one.uri, one.name, one.title, one.description, one.mime_type, one.size)
        for one in lists.resources or ()
    ]
    templates = [
        PluginResource(one.uri_template, one.name, one.title, one.description, one.mime_type, template=True)
        for one in lists.templates or ()
    ]
    return (*listed, *templates)


def _prompts(server: SupervisedServer | None) -> tuple[PluginPrompt, ...] | None:
    lists = None if server is None else server.materials
    if lists is None or lists.prompts is None:
        return None
    return tuple(PluginPrompt(one.name, one.title, one.description, one.arguments) for one in lists.prompts)


def _log_line(line: LoggedLine) -> PluginLogLine:
    return PluginLogLine(line.at, line.level, line.text if line.logger is None else f"{line.logger}: {line.text}")


def _processes(living: Iterable[PluginServer], use: Mapping[int, ProcessUse]) -> Iterator[PluginProcess]:
    for held in living:
        pid = held.pid
        if pid is None:
            continue
        figures = use.get(pid)
        yield PluginProcess(
            pid,
            held.started_at,
            None if figures is None else figures.memory_bytes,
            None if figures is None else figures.cpu_seconds,
            1 if figures is None else figures.processes,
            held.users,
            held.retired,
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
