"""Ended responses of chains that were continued lately, so that going on costs the same whatever came before.

A response that has ended never changes but by being deleted, so nothing here can be out of date; whether the last response
of a chain may still be read is asked of the database every time, and its ancestors stay as long as it does.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.core.items import FunctionCall, InvalidToolCall, OutputEntry, ToolCall, text_of
from orchestrator.core.prompt import Past, PastResponse

ROOM: Final = 64 * 1024 * 1024
"""Characters of text that are kept by default."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """An ended response and where it stands."""

    id: str
    parent_id: str | None
    past: PastResponse


@dataclass(frozen=True, slots=True)
class ChainSegment:
    """Ended responses that follow each other: the id of the last one, that of the first one's parent, and about how
    many characters they have."""

    id: str
    parent_id: str | None
    pasts: tuple[Past, ...]
    size: int


ChainPart: TypeAlias = ChainLink | ChainSegment


def pasts_of(parts: Sequence[ChainPart]) -> tuple[Past, ...]:
    """What was said in these parts of a chain."""
    found: list[Past] = []
    for part in parts:
        if isinstance(part, ChainLink):
            found.append(part.past)
        else:
            found += part.pasts
    return tuple(found)


class ChainMemory:
    """Parts by id, the least recently used forgotten first; one larger than a quarter of the room is not kept.

    Several threads may use it.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._used = 0
        self._lock = threading.Lock()
        self._parts: OrderedDict[str, tuple[ChainPart, int]] = OrderedDict()

    def path(self, response_id: str) -> tuple[ChainPart, ...] | None:
        """The chain that ends in `response_id`, oldest first, or None where a part of it is not here."""
        found: list[ChainPart] = []
        wanted: str | None = response_id
        with self._lock:
            while wanted is not None:
                kept = self._parts.get(wanted)
                if kept is None:
                    return None
                self._parts.move_to_end(wanted)
                found.append(kept[0])
                wanted = kept[0].parent_id
        return tuple(reversed(found))

    def forget(self, response_ids: Iterable[str]) -> None:
        """These are deleted, or kept in segments."""
        with self._lock:
            for id in response_ids:
                _, size = self._parts.pop(id, (None, 0))
                self._used -= size

    def forget_all(self) -> None:
        """As after a start."""
        with self._lock:
            self._parts.clear()
            self._used = 0

    def keep(self, parts: Iterable[ChainPart]) -> None:
        """Remember these; what is here already stays."""
        sized = [(part, part.size if isinstance(part, ChainSegment) else _size(part.past)) for part in parts]
        with self._lock:
            for part, size in sized:
                if part.id not in self._parts and size <= self._room // 4:
                    self._parts[part.id] = part, size
                    self._used += size
            while self._used > self._room:
                _, (_, size) = self._parts.popitem(last=False)
                self._used -= size


def _size(past: PastResponse) -> int:
    """Roughly the characters that `past` holds; every item counts for something."""
    said = sum(len(text_of(item)) for item in past.input)
    return 256 + said + sum(_entry_size(entry) for entry in past.output)


def _entry_size(entry: OutputEntry) -> int:
    shown = 0 if entry.shown is None else 2 * len(entry.shown.arguments) + len(entry.shown.result or "")
    match entry.item:
        case ToolCall(output=output):
            return 256 + shown + len(output)
        case InvalidToolCall(reason=reason):
            return 256 + shown + len(reason)
        case FunctionCall(arguments=arguments):
            return 256 + shown + len(arguments)
        case text:
            return 256 + len(text.content)
