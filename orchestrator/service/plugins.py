"""The installed plugins for those who write and run them: how each is, what it shows, whether that was approved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.core.drift import Drifted, DriftKind, DriftPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.permissions import tool_is_granted
from orchestrator.core.suspicions import Suspicion, tool_suspicions
from orchestrator.core.token_costs import definition_text
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.ports import DefinitionChange, PinnedDefinition, PluginFiles, PluginHost, PluginStatus
from orchestrator.service.callers import Caller
from orchestrator.service.definition_pins import DefinitionPins
from orchestrator.service.token_costs import TokenCostService


@dataclass(frozen=True, slots=True)
class ToolView:
    """A tool of a plugin: `tokens` is what its definition costs in every prompt that offers it."""

    definition: ToolDefinition
    digest: str
    tokens: int
    withheld: bool
    drift: DriftKind | None
    blocked: bool
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class PluginView:
    """A plugin, whole. `drifted` are the tools that are not as they are pinned, those that are gone among them."""

    status: PluginStatus
    drift_policy: DriftPolicy
    drifted: tuple[Drifted, ...]
    tools: tuple[ToolView, ...] | None
    tokens_counted_by: str | None = None


@dataclass(frozen=True, slots=True)
class DefinitionsView:
    """What is pinned of a plugin, what differs from it now, and how that came."""

    plugin_id: str
    policy: DriftPolicy
    pins: Sequence[PinnedDefinition]
    drifted: tuple[Drifted, ...]
    history: Sequence[DefinitionChange]


class PluginService:
    """What is asked about plugins beside chats. Looking at them starts none."""

    def __init__(self, host: PluginHost, pins: DefinitionPins, costs: TokenCostService) -> None:
        self._host = host
        self._pins = pins
        self._costs = costs

    def files(self) -> PluginFiles:
        """Where the plugins come from."""
        return self._host.files()

    async def plugins(self, caller: Caller) -> list[PluginView]:
        """Every plugin that the caller may use.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        _require_plugins(caller)
        return [
            await self._view(status, caller)
            for status in self._host.plugins(_whose(caller))
            if caller.may_use(status.id)
        ]

    async def plugin(self, plugin_id: str, caller: Caller) -> PluginView:
        """One plugin.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`.
        """
        return await self._view(self.status(plugin_id, caller), caller)

    def status(self, plugin_id: str, caller: Caller) -> PluginStatus:
        """How a plugin is.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`.
        """
        _require_plugins(caller)
        status = self._host.plugin(plugin_id, _whose(caller))
        if status is None:
            installed = ", ".join(known.id for known in self._host.plugins() if caller.may_use(known.id)) or "none"
            message = f"There is no plugin '{plugin_id}'. Installed plugins: {installed}."
            raise OrchestratorError(ErrorKind.PLUGIN_NOT_FOUND, message)
        caller.plugin_tools(status.id)
        return status

    async def restart(self, plugin_id: str, caller: Caller) -> PluginView:
        """End the plugin's server and start it again.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`, or as `PluginHost.restart`.
        """
        _require_admin(caller, "restart plugins")
        status = self.status(plugin_id, caller)
        await self._host.restart(status.id, caller.owner)
        return await self.plugin(status.id, caller)

    async def definitions(self, plugin_id: str, caller: Caller) -> DefinitionsView:
        """The pins and the history of a plugin, of the tools that the caller may call.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`.
        """
        status = self.status(plugin_id, caller)
        granted = caller.plugin_tools(status.id)
        return DefinitionsView(
            status.id,
            status.drift or self._pins.policy,
            [pin for pin in await self._pins.pins(status.id) if tool_is_granted(granted, pin.tool)],
            await self._drifted(status, granted),
            [change for change in await self._pins.history(status.id) if tool_is_granted(granted, change.tool)],
        )

    async def approve(
        self, plugin_id: str, caller: Caller, *, tool: str | None = None, digest: str | None = None
    ) -> tuple[Drifted, ...]:
        """Approve what the plugin shows now in place of what was pinned; returns what that was.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`, `invalid_value` on `tool` or `digest`.
        """
        _require_admin(caller, "approve definitions")
        status = self.status(plugin_id, caller)
        by = caller.token_id or caller.owner
        return await self._pins.approve(status.id, status.tools, by, tool=tool, digest=digest)

    async def _drifted(self, status: PluginStatus, granted: Sequence[str]) -> tuple[Drifted, ...]:
        """Of a plugin that has shown nothing yet, nobody knows."""
        drifted = () if status.tools is None else await self._pins.drifted(status.id, status.tools)
        return tuple(one for one in drifted if tool_is_granted(granted, one.tool))

    async def _view(self, status: PluginStatus, caller: Caller) -> PluginView:
        granted = caller.plugin_tools(status.id)
        policy = status.drift or self._pins.policy
        drifted = await self._drifted(status, granted)
        if status.tools is None:
            return PluginView(status, policy, drifted, None)
        # As the errors of a chat: what a token may not call it is not told of either.
        status = replace(status, tools=tuple(tool for tool in status.tools if tool_is_granted(granted, tool.name)))
        assert status.tools is not None
        costs = await self._costs.costs([definition_text(tool.name, tool) for tool in status.tools])
        kinds: dict[str, DriftKind] = {one.tool: one.kind for one in drifted}
        tools = tuple(
            ToolView(
                tool,
                definition_digest(tool),
                tokens,
                tool.name in status.withheld,
                kinds.get(tool.name),
                policy == "block" and tool.name in kinds,
                tool_suspicions(tool),
            )
            for tool, tokens in zip(status.tools, costs.counts, strict=True)
        )
        return PluginView(status, policy, drifted, tools, costs.counted_by)


def _whose(caller: Caller) -> str | None:
    """Whose servers the caller is told of; None for everybody's."""
    return None if caller.is_admin else caller.owner


def _require_plugins(caller: Caller) -> None:
    caller.require("plugins", "Permission denied: the API token does not allow plugins.")


def _require_admin(caller: Caller, doing: str) -> None:
    caller.require("admin", f"Permission denied: the API token does not allow to {doing}.")
