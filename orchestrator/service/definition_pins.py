"""Looks at the tools of a plugin whenever a request opens it: pins them, tells of changes, withholds what is blocked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

import structlog

from orchestrator.core.drift import Drifted, DriftPolicy, DriftVerdict, judge_definitions
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.ports import DefinitionChange, DefinitionStore, PinnedDefinition

MOST_CHANGES: Final = 200

log = structlog.stdlib.get_logger(__name__)

_Sight: TypeAlias = tuple[DriftPolicy, tuple[tuple[str, str], ...]]


class DefinitionPins:
    """`DefinitionGuard` over the store. `policy` is for plugins whose entry has none.

    What a plugin showed last is remembered, so that an unchanged one costs a request nothing. Where changes
    are blocked the store is asked each time: an approval counts at once, wherever it was given.
    """

    def __init__(self, store: DefinitionStore, policy: DriftPolicy) -> None:
        self._store = store
        self.policy: DriftPolicy = policy
        self._settled: dict[str, _Sight] = {}
        self._told: dict[str, tuple[_Sight, DriftVerdict]] = {}

    async def judge(self, plugin_id: str, tools: Sequence[ToolDefinition], policy: DriftPolicy | None) -> DriftVerdict:
        policy = policy or self.policy
        sight = policy, tuple((tool.name, definition_digest(tool)) for tool in tools)
        if self._settled.get(plugin_id) == sight:
            return DriftVerdict()
        verdict = judge_definitions(await self._store.load_pins(plugin_id), tools, policy)
        if self._told.get(plugin_id) == (sight, verdict):
            return verdict
        if verdict != DriftVerdict():
            await self._store.record_sight(plugin_id, tools, verdict, policy, datetime.now(UTC))
        if verdict.drifted:
            told = [f"{one.tool} ({one.kind})" for one in verdict.drifted]
            log.warning("a plugin's tools are not as they were pinned", plugin=plugin_id, policy=policy, tools=told)
        self._settled.pop(plugin_id, None)
        self._told.pop(plugin_id, None)
        if verdict.warned or verdict.removed:
            self._told[plugin_id] = sight, verdict
        elif policy != "block":
            self._settled[plugin_id] = sight
        return verdict

    async def drifted(self, plugin_id: str, tools: Sequence[ToolDefinition]) -> tuple[Drifted, ...]:
        """What of `tools` is not as it is pinned; writes nothing down."""
        return judge_definitions(await self._store.load_pins(plugin_id), tools, "warn").drifted

    async def approve(
        self,
        plugin_id: str,
        shown: Sequence[ToolDefinition] | None,
        by: str,
        *,
        tool: str | None = None,
        digest: str | None = None,
    ) -> tuple[Drifted, ...]:
        """Pin what the plugin shows now, of `tool` or of all its tools; without `shown`, what was last seen of it.

        `digest` is the definition that was looked at: another one is not approved in its place.

        Raises:
            OrchestratorError: `invalid_value` on `tool` or `digest`.
        """
        drifted = await self._open_changes(plugin_id, shown)
        approved = tuple(one for one in drifted if tool is None or one.tool == tool)
        if tool is not None and not approved:
            names = ", ".join(one.tool for one in drifted) or "none"
            message = f"The definition of '{tool}' of '{plugin_id}' waits for no approval. Those that do: {names}."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="tool")
        if digest is not None and [one.new_digest for one in approved] != [digest]:
            message = f"'{plugin_id}' does not show the definition '{digest}' now. Look at the change again."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="digest")
        if approved:
            pins = {one.tool: one.new_digest for one in approved}
            await self._store.approve(plugin_id, pins, by, datetime.now(UTC))
            log.info("definitions were approved", plugin=plugin_id, tools=sorted(pins), by=by)
        return approved

    async def _open_changes(self, plugin_id: str, shown: Sequence[ToolDefinition] | None) -> tuple[Drifted, ...]:
        if shown is not None:
            verdict = judge_definitions(await self._store.load_pins(plugin_id), shown, "warn")
            await self._store.record_sight(plugin_id, shown, verdict, self.policy, datetime.now(UTC))
            return verdict.drifted
        newest: dict[str, Drifted] = {}
        for change in await self._store.list_changes(plugin_id, MOST_CHANGES):
            if change.outcome is None:
                one = Drifted(change.tool, change.kind, change.old_digest, change.new_digest)
                newest.setdefault(change.tool, one)
        return tuple(newest[tool] for tool in sorted(newest))

    async def pins(self, plugin_id: str) -> Sequence[PinnedDefinition]:
        """What is pinned, by tool."""
        return await self._store.list_pins(plugin_id)

    async def history(self, plugin_id: str) -> Sequence[DefinitionChange]:
        """The newest changes, the newest first."""
        return await self._store.list_changes(plugin_id, MOST_CHANGES)
