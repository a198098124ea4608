"""The twin of the host of plugins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import IntegrationFailedError, PluginFiles, PluginStatus


class FakePluginHost:
    """`PluginHost` over statuses that a test may replace; a plugin in `failing` does not start again."""

    def __init__(self, statuses: Sequence[PluginStatus] = (), files: PluginFiles | None = None) -> None:
        self.statuses: dict[str, PluginStatus] = {status.id: status for status in statuses}
        self.failing: Mapping[str, str] = {}
        self._files = files or PluginFiles(("mcp.json",))

    def plugins(self, owner: str | None = None) -> Sequence[PluginStatus]:
        return list(self.statuses.values())

    def plugin(self, plugin_id: str, owner: str | None = None) -> PluginStatus | None:
        return next((one for one in self.plugins() if _normal(one.id) == _normal(plugin_id)), None)

    def files(self) -> PluginFiles:
        return self._files

    async def restart(self, plugin_id: str, owner: str = "local") -> None:
        status = self.plugin(plugin_id)
        if status is None:
            message = f"Cannot find plugin '{plugin_id}'."
            raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, message, param="integrations")
        why = self.failing.get(status.id)
        if why is not None:
            self.statuses[status.id] = replace(status, state="failed", problem=why)
            kind = ErrorKind.PLUGIN_CONNECTION_ERROR
            raise IntegrationFailedError(kind, why, stage="start", param="integrations")
        self.statuses[status.id] = replace(status, state="running", restarts=status.restarts + 1)


def _normal(plugin_id: str) -> str:
    return plugin_id.casefold().replace("_", "-")
