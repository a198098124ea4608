"""Patterns that a grammar can hold, in the few words that llama.cpp reads.

Measured with llama.cpp b11549: a pattern that it does not understand (a class such as `\\d`, a look-ahead, one without
anchors) makes it write any string, without a word, and `.` or `[^a]` may write a bare quote, which ends the JSON string.
So a pattern is read here, and said again in what it does understand, or refused.
"""

import re
from typing import Final

MAX_REPEATS: Final = 1000
"""How often anything may be repeated, nested repetitions multiplied: llama.cpp gives up somewhere below 5,000."""

_CLASSES: Final = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}
"""`\\s` is told as a space: what is narrower still matches."""
_NEVER_BARE: Final = r"\"\\\x00-\x1F\x7F"
"""What stands escaped in a JSON string."""
_SPECIAL: Final = frozenset("\\^$.|?*+()[]{}")
_IN_CLASS: Final = {"]": "\\]", "[": "\\[", "\\": "\\\\", "^": "\\x5E", "-": "\\x2D"}
"""How a character is said within a class: `\\^` and `\\-` end Ollama's runner, and are read wrong by b11549."""
_REPEAT: Final = re.compile(r"\*|\+|\?|\{(\d{1,6})(?:(,)(\d{1,6})?)?\}")


class UnheldPatternError(ValueError):
    """A pattern that no grammar holds; the text says what of it."""


def held_pattern(pattern: str) -> str:
    """`pattern` as llama.cpp reads it; it matches the same strings, or fewer.

    Raises:
        UnheldPatternError: it cannot be said so.
    """
    if len(pattern) < 2 or not pattern.startswith("^") or not pattern.endswith("$") or pattern.endswith("\\$"):
        raise UnheldPatternError("it must begin with ^ and end with $")
    reader = _Reader(pattern[1:-1])
    text, cost, alternatives = reader.alternatives()
    if not reader.at_end:
        raise UnheldPatternError("a closing bracket has no opening one")
    if alternatives > 1:
        raise UnheldPatternError("alternatives must stand in brackets, such as ^(a|b)$")
    if cost > MAX_REPEATS:
        raise UnheldPatternError(f"it repeats more than {MAX_REPEATS} times")
    return f"^{text}$"


class _Reader:
    """Reads a pattern from left to right; each method returns what it read, and how large that is in a grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def alternatives(self) -> tuple[str, int, int]:
        branches, cost = [""], 0
        while not self.at_end and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                branches.append("")
                continue
            atom, atom_cost = self._atom()
            repeat, times = self._repeat()
            branches[-1] += atom + repeat
            cost += atom_cost * times
        if len(branches) > 1 and not all(branches):
            raise UnheldPatternError("an alternative is empty")
        return "|".join(branches), cost, len(branches)

    def _next(self) -> str:
        if self.at_end:
            raise UnheldPatternError("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _atom(self) -> tuple[str, int]:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._class(), 1
            case ".":
                return f"[^{_NEVER_BARE}]", 1
            case "\\":
                return self._escape(), 1
            case '"':
                raise UnheldPatternError("a quotation mark")
            case _ if character in _SPECIAL:
                raise UnheldPatternError(f"'{character}' in this place")
            case _:
                return character, 1

    def _group(self) -> tuple[str, int]:
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise UnheldPatternError(f"a group that begins with ({self._text[self._at : self._at + 2]}")
            self._at += 2
        text, cost, _ = self.alternatives()
        if self.at_end:
            raise UnheldPatternError("an opening bracket has no closing one")
        self._at += 1
        if not text:
            raise UnheldPatternError("an empty group")
        return f"({text})", cost

    def _escape(self) -> str:
        character = self._next()
        if character in _CLASSES:
            return f"[{_CLASSES[character]}]"
        if character.isalnum() or character in '"\\':
            raise UnheldPatternError(f"\\{character}")
        return f"\\{character}" if character in _SPECIAL else character

    def _class(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        inside = ""
        while (character := self._next()) != "]":
            if character == "\\":
                escaped = self._next()
                if escaped in _CLASSES:
                    inside += _CLASSES[escaped]
                    if self._text.startswith("-", self._at):  # no range begins with a class
                        self._at += 1
                        inside += _IN_CLASS["-"]
                    continue
                if escaped.isalnum() or (escaped in '"\\' and not negated):
                    raise UnheldPatternError(f"\\{escaped}")
                inside += _IN_CLASS.get(escaped, escaped)
            elif character == '"':
                if not negated:
                    raise UnheldPatternError("a quotation mark in a class")
            else:
                inside += _IN_CLASS[character] if character == "[" else character
        if not (inside or negated):
            raise UnheldPatternError("an empty class")
        return f"[^{inside}{_NEVER_BARE}]" if negated else f"[{inside}]"

    def _repeat(self) -> tuple[str, int]:
        found = _REPEAT.match(self._text, self._at)
        if found is None:
            return "", 1
        self._at = found.end()
        if self._text.startswith("?", self._at):  # a lazy one matches the same
            self._at += 1
        elif self._text.startswith(("+", "*", "{"), self._at):
            raise UnheldPatternError("a repetition of a repetition")
        low, comma, high = found.groups()
        if low is None:
            return found[0], 1
        if high is not None and int(high) < int(low):
            raise UnheldPatternError(f"{found[0]} counts down")
        return found[0], max(1, int(high or low)) + (1 if comma else 0)
