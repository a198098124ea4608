"""The twin of the store of pins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.core.drift import DriftPolicy, DriftVerdict
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.ports import DefinitionChange, PinnedDefinition


class MemoryDefinitionStore:
    """`DefinitionStore` in memory; `error` makes every method fail."""

    def __init__(self) -> None:
        self.error: OrchestratorError | None = None
        self._pins: dict[str, dict[str, PinnedDefinition]] = {}
        self._changes: dict[str, list[DefinitionChange]] = {}
        self._definitions: dict[str, JsonObject] = {}

    async def load_pins(self, plugin_id: str) -> Mapping[str, str]:
        return {pin.tool: pin.digest for pin in self._of(plugin_id).values()}

    async def record_sight(
        self,
        plugin_id: str,
        tools: Sequence[ToolDefinition],
        verdict: DriftVerdict,
        policy: DriftPolicy,
        at: datetime,
    ) -> None:
        pins = self._of(plugin_id)
        self._definitions.update({definition_digest(tool): tool.as_json() for tool in tools})
        changes = self._changes.setdefault(plugin_id, [])
        open_ones = {(one.tool, one.old_digest, one.new_digest) for one in changes if one.outcome is None}
        for one in verdict.drifted:
            pin = pins.get(one.tool)
            moved = (pin and pin.digest) != one.old_digest
            if moved or (one.tool, one.old_digest, one.new_digest) in open_ones:
                continue
            old, new = self._definition(one.old_digest), self._definition(one.new_digest)
            change = DefinitionChange(one.tool, one.kind, one.old_digest, one.new_digest, old, new, policy, at)
            changes.append(replace(change, outcome="allowed", settled_at=at) if policy == "allow" else change)
        for tool in verdict.pin:
            if verdict.drifted or tool.name not in pins:
                pins[tool.name] = PinnedDefinition(tool.name, definition_digest(tool), at)
        for name in verdict.unpin:
            pins.pop(name, None)

    async def list_pins(self, plugin_id: str) -> Sequence[PinnedDefinition]:
        return sorted(self._of(plugin_id).values(), key=lambda pin: pin.tool)

    async def list_changes(self, plugin_id: str, limit: int) -> Sequence[DefinitionChange]:
        self._of(plugin_id)
        return self._changes.get(plugin_id, [])[::-1][:limit]

    async def approve(self, plugin_id: str, digests: Mapping[str, str | None], by: str, at: datetime) -> None:
        pins = self._of(plugin_id)
        for tool, digest in digests.items():
            if digest is not None and digest not in self._definitions:
                message = f"The store has no definition '{digest}' of the tool '{tool}'."
                raise OrchestratorError(ErrorKind.STORE_ERROR, message)
        for tool, digest in digests.items():
            if digest is None:
                pins.pop(tool, None)
            else:
                pins[tool] = PinnedDefinition(tool, digest, at, by)
            changes = self._changes.get(plugin_id, [])
            for index, change in enumerate(changes):
                if change.tool == tool and change.outcome is None:
                    outcome = "approved" if change.new_digest == digest else "superseded"
                    changes[index] = replace(change, outcome=outcome, settled_at=at, settled_by=by)

    def _of(self, plugin_id: str) -> dict[str, PinnedDefinition]:
        if self.error is not None:
            raise self.error
        return self._pins.setdefault(plugin_id, {})

    def _definition(self, digest: str | None) -> JsonObject | None:
        return None if digest is None else self._definitions[digest]
