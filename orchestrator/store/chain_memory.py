"""Ended responses of chains that were continued lately, so that going on costs the same whatever came before.

A response that has ended never changes but by being deleted, so nothing here can be out of date; whether the last response
of a chain may still be read is asked of the database every time, and its ancestors stay as long as it does.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator.core.items import ImageInput, InvalidToolCall, OutputEntry, ToolCall
from orchestrator.core.prompt import PastResponse

ROOM: Final = 64 * 1024 * 1024
"""Characters of text that are kept by default."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """An ended response and where it stands."""

    id: str
    parent_id: str | None
    past: PastResponse


class ChainMemory:
    """Links by id, the least recently used forgotten first; a link larger than a quarter of the room is not kept.

    Several threads may use it.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._used = 0
        self._lock = threading.Lock()
        self._links: OrderedDict[str, tuple[ChainLink, int]] = OrderedDict()

    def path(self, response_id: str) -> tuple[PastResponse, ...] | None:
        """The chain that ends in `response_id`, oldest first, or None where a link of it is not here."""
        found: list[PastResponse] = []
        wanted: str | None = response_id
        with self._lock:
            while wanted is not None:
                kept = self._links.get(wanted)
                if kept is None:
                    return None
                self._links.move_to_end(wanted)
                found.append(kept[0].past)
                wanted = kept[0].parent_id
        return tuple(reversed(found))

    def forget(self, response_ids: Iterable[str]) -> None:
        """These are deleted."""
        with self._lock:
            for id in response_ids:
                _, size = self._links.pop(id, (None, 0))
                self._used -= size

    def keep(self, links: Iterable[ChainLink]) -> None:
        """Remember these."""
        sized = [(link, _size(link.past)) for link in links]
        with self._lock:
            for link, size in sized:
                if link.id not in self._links and size <= self._room // 4:
                    self._links[link.id] = link, size
                    self._used += size
            while self._used > self._room:
                _, (_, size) = self._links.popitem(last=False)
                self._used -= size


def _size(past: PastResponse) -> int:
    """Roughly the characters that `past` holds; every item counts for something."""
    said = sum(len(item.data_url if isinstance(item, ImageInput) else item.content) for item in past.input)
    return 256 + said + sum(_entry_size(entry) for entry in past.output)


def _entry_size(entry: OutputEntry) -> int:
    shown = 0 if entry.shown is None else 2 * len(entry.shown.arguments) + len(entry.shown.result)
    match entry.item:
        case ToolCall(output=output):
            return 256 + shown + len(output)
        case InvalidToolCall(reason=reason):
            return 256 + shown + len(reason)
        case text:
            return 256 + len(text.content)
