"""Redaction: what the rules match is replaced by a marker that names the rule, before anything is written.

Nothing of the value is left in a marker, not even a digest, which could be guessed. What the rules do to the
items of a run is in `redacted_run.py`. The time is in proportion to the text: `redaction_rules.py` says why.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, cast

from orchestrator.core.json_types import JsonValue
from orchestrator.core.redaction_rules import PathRule, PatternRule, Scope, Step

_MARKER: Final = re.compile(r"\[redacted:[a-z0-9_.-]{1,40}\]")
_SHORTEST: Final = 6
"""Characters of a value that is looked for elsewhere, once a path has told that it is secret."""

_MOST_VALUES: Final = 200
_COMMON: Final = frozenset({"false", "default", "unknown"})


def marker(name: str) -> str:
    """What stands where the rule of that name found something."""
    return f"[redacted:{name}]"


def holds_marker(value: JsonValue) -> bool:
    """Whether something of `value` was redacted."""
    return _MARKER.search(json.dumps(value)) is not None


@dataclass(slots=True)
class Learned:
    """Values that a path has told to be secret, with their markers: they are looked for in the same run's texts."""

    markers: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, value: JsonValue, put: str) -> None:
        """Every scalar of `value` that is long enough to be told from a word."""
        match value:
            case dict():
                for inner in value.values():
                    self.add(inner, put)
            case list():
                for inner in value:
                    self.add(inner, put)
            case bool() | None:
                pass
            case _:
                text = value if isinstance(value, str) else json.dumps(value)
                if len(text) >= _SHORTEST and text.casefold() not in _COMMON and len(self.markers) < _MOST_VALUES:
                    self.markers[text] = put
                    self.markers[json.dumps(text, ensure_ascii=False)[1:-1]] = put

    def mask(self, text: str) -> str:
        """`text` without them, the longest first."""
        for value in sorted(self.markers, key=len, reverse=True):
            text = text.replace(value, self.markers[value])
        return text


@dataclass(frozen=True, slots=True)
class Redaction:
    """The rules that count for something."""

    patterns: tuple[PatternRule, ...] = ()
    paths: tuple[PathRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns or self.paths)

    def joined(self, other: "Redaction") -> "Redaction":
        """These rules and those of `other`."""
        return _joined(self, other) if self and other else self or other

    def text(self, text: str) -> str:
        """`text` with everything replaced that a pattern matches."""
        data = text.encode("utf-8", "surrogatepass")
        found: list[tuple[int, int, str]] = []
        for rule in self.patterns:
            for match in rule.regex.finditer(data):
                start, end = match.span(rule.group)
                if start < 0:  # the group has no part in this match
                    start, end = match.span()
                if rule.holds is None or rule.holds(data[start:end].decode("utf-8", "replace")):
                    found.append((start, end, rule.name))
        if not found:
            return text
        parts: list[bytes] = []
        done = 0
        for start, end, name in sorted(found, key=lambda each: (each[0], -each[1])):
            if start >= done:
                parts += data[done:start], marker(name).encode()
            done = max(done, end)
        return b"".join([*parts, data[done:]]).decode("utf-8", "surrogatepass")

    def json(self, value: JsonValue, scope: Scope | None, learned: Learned) -> JsonValue:
        """`value` with everything replaced that a path (of `scope`, None: no path) or a pattern finds in it.

        What a path finds is `learned`.
        """
        try:
            for rule in self._paths(scope):
                value = _at_path(value, rule.steps, marker(rule.name), learned)
        except RecursionError:
            return marker("value")
        return self.leaves(value)

    def leaves(self, value: JsonValue, *, keys: bool = True) -> JsonValue:
        """`value` with the patterns applied to its texts, numbers and (with `keys`) names of members.

        What is nested too deeply to be looked through is replaced as a whole.
        """
        try:
            return self._leaves(value, keys=keys) if self.patterns else value
        except RecursionError:
            return marker("value")

    def _leaves(self, value: JsonValue, *, keys: bool) -> JsonValue:
        match value:
            case str():
                return self.text(value)
            case list():
                return [self._leaves(inner, keys=keys) for inner in value]
            case dict():
                return {self.text(key) if keys else key: self._leaves(inner, keys=keys) for key, inner in value.items()}
            case bool() | None:
                return value
            case _:
                text = json.dumps(value)
                put = self.text(text)
                return value if put == text else put

    def json_text(self, text: str, scope: Scope, learned: Learned) -> str:
        """`text`, which may be JSON: paths are found in it where it is, and patterns whatever is escaped in it.

        In a text that begins as JSON does and is none, because it was cut off, a path's last name is looked for;
        without one nobody can say where the path leads, and all of it is replaced.
        """
        hides = "\\" in text or any(True for _ in self._paths(scope))
        if hides and text.lstrip()[:1] in ("{", "["):
            try:
                value = parsed(text)
            except (ValueError, RecursionError):
                text = self._broken_json(text, scope)
            else:
                put = self.json(value, scope, learned)
                if put != value or _repeats_names(text):
                    text = json.dumps(put, ensure_ascii=False)
        return self.text(text)

    def _broken_json(self, text: str, scope: Scope) -> str:
        for rule in self._paths(scope):
            name, put = rule.steps[-1].name, marker(rule.name)
            if name is None:
                return put
            begun = re.compile(rf'"{re.escape(name)}"\s*:\s*', re.IGNORECASE)
            scalar = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s,\]}"{\[]+')
            at = 0
            while (found := begun.search(text, at)) is not None:
                value = scalar.match(text, found.end())
                if value is None:
                    return text[: found.end()] + put
                text = f'{text[: found.end()]}"{put}"{text[value.end() :]}'
                at = found.end() + len(put) + 2
        return text

    def _paths(self, scope: Scope | None) -> Iterable[PathRule]:
        return (rule for rule in self.paths if scope is not None and rule.scope in (None, scope))


NOTHING: Final = Redaction()


def parsed(text: str) -> JsonValue:
    """`text` as JSON.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return cast(JsonValue, json.loads(text))


@lru_cache(maxsize=256)
def _joined(one: Redaction, other: Redaction) -> Redaction:
    patterns = (*one.patterns, *(rule for rule in other.patterns if rule not in one.patterns))
    return Redaction(patterns, (*one.paths, *(rule for rule in other.paths if rule not in one.paths)))


def _repeats_names(text: str) -> bool:
    """Whether an object in `text` has a name twice: of those a reader sees only the last."""
    repeated = False

    def members(pairs: list[tuple[str, JsonValue]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=members)
    return repeated


def _at_path(value: JsonValue, steps: Sequence[Step], put: str, learned: Learned) -> JsonValue:
    if not steps:
        if value is None or value == "":
            return value
        learned.add(value, put)
        return put
    step, rest = steps[0], steps[1:]
    match value:
        case dict():
            found: dict[str, JsonValue] = {}
            for name, inner in value.items():
                if step.index is None and step.name in (None, name.casefold()):
                    inner = _at_path(inner, rest, put, learned)
                found[name] = _at_path(inner, steps, put, learned) if step.below else inner
            return found
        case list():
            elements: list[JsonValue] = []
            for place, inner in enumerate(value):
                if step.name is None and step.index in (None, place):
                    inner = _at_path(inner, rest, put, learned)
                elements.append(_at_path(inner, steps, put, learned) if step.below else inner)
            return elements
        case _:
            return value
