"""Drift: the definitions of a plugin's tools are pinned when they are first seen; what is done of a change.

The first list of tools that a plugin shows is trusted and pinned. From then on every tool whose
definition is not the pinned one has drifted: `changed`, `added` (new in a plugin that had pins
before, so that a block cannot be evaded by a new name) or `removed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.core.tools import ToolDefinition, definition_digest

DriftPolicy: TypeAlias = Literal["allow", "warn", "block"]
"""`allow` pins what a plugin shows now, `warn` offers it and says so until it is approved, `block` withholds it."""

DRIFT_POLICIES: Final[tuple[DriftPolicy, ...]] = ("allow", "warn", "block")

DriftKind: TypeAlias = Literal["changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Drifted:
    """A tool that is not as it was pinned; digests are None where there is no definition on that side."""

    tool: str
    kind: DriftKind
    old_digest: str | None
    new_digest: str | None


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """What follows from a list of tools: what to pin now, what has drifted, what must not be offered."""

    pin: tuple[ToolDefinition, ...] = ()
    unpin: tuple[str, ...] = ()
    drifted: tuple[Drifted, ...] = ()
    blocked: frozenset[str] = frozenset()

    @property
    def warned(self) -> frozenset[str]:
        """The names of tools that are shown, not as they are pinned, and neither pinned nor withheld."""
        shown = (one.tool for one in self.drifted if one.new_digest is not None)
        return frozenset(shown).difference(self.blocked, (tool.name for tool in self.pin))

    @property
    def removed(self) -> frozenset[str]:
        """The names of tools that are pinned, not shown any more, and not to be unpinned."""
        return frozenset(one.tool for one in self.drifted if one.new_digest is None).difference(self.unpin)


def judge_definitions(pins: Mapping[str, str], tools: Sequence[ToolDefinition], policy: DriftPolicy) -> DriftVerdict:
    """Compare what a plugin shows with its pins, tool name to digest; no pins at all is a first sight."""
    shown = {tool.name: tool for tool in reversed(tools)}
    if not pins:
        return DriftVerdict(pin=tuple(shown[name] for name in sorted(shown)))
    drifted = [
        Drifted(name, "changed" if name in pins else "added", pins.get(name), digest)
        for name, digest in sorted((name, definition_digest(tool)) for name, tool in shown.items())
        if pins.get(name) != digest
    ]
    gone = [Drifted(name, "removed", pins[name], None) for name in sorted(pins) if name not in shown]
    unlike = tuple(one.tool for one in drifted)
    if policy == "allow":
        pin = tuple(shown[name] for name in unlike)
        return DriftVerdict(pin, tuple(one.tool for one in gone), (*drifted, *gone))
    return DriftVerdict(drifted=(*drifted, *gone), blocked=frozenset(unlike) if policy == "block" else frozenset())


@dataclass(frozen=True, slots=True)
class ChangedPart:
    """A part of a definition that differs: its path, such as `inputSchema.properties.city`, and both values.

    A part that is not there on one side is None on it.
    """

    path: str
    old: JsonValue
    new: JsonValue


LONGEST_LIST: Final = 200


def changed_parts(old: JsonObject | None, new: JsonObject | None) -> tuple[ChangedPart, ...]:
    """Where two definitions (`ToolDefinition.as_json`) differ, as deep as objects go, in the order of paths."""
    found: list[ChangedPart] = []
    _compare("", old, new, found)
    return tuple(found[:LONGEST_LIST])


def _compare(path: str, old: JsonValue, new: JsonValue, found: list[ChangedPart]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            _compare(f"{path}.{key}" if path else key, old.get(key), new.get(key), found)
    elif canonical_json(old) != canonical_json(new):
        found.append(ChangedPart(path, old, new))
