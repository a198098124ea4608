"""The last lines that a plugin's processes wrote beside their messages, bounded in number and in length."""

from collections import deque
from typing import Final

MAX_LINES: Final = 200
MAX_CHARACTERS: Final = 64 * 1024


class StderrRing:
    """Lines, the oldest first, over all processes of a plugin; secrets are masked before they get here."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._characters = 0

    def append(self, line: str) -> None:
        """Add a line at the end, and drop the oldest ones that no longer fit."""
        line = line[:MAX_CHARACTERS]
        self._lines.append(line)
        self._characters += len(line)
        while len(self._lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
            self._characters -= len(self._lines.popleft())

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)
