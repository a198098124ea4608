"""Arguments by their path: the rows by which a call is found by what it was asked with. Pure."""

import json
from collections.abc import Iterator
from typing import Final

from orchestrator.core.json_types import JsonValue

MOST_LEAVES: Final = 64
"""How many values of one call are found by their path."""

MOST_CHARACTERS: Final = 256
"""How much of a value, and of a path, is compared. Longer than that, Postgres' index rows would become too large."""

MOST_LEVELS: Final = 32


def argument_leaves(arguments: JsonValue) -> list[tuple[str, str]]:
    """Path and value of every scalar in `arguments`, once each, in order; an element of an array is at `name[]`."""
    found: dict[tuple[str, str], None] = {}
    for path, value in _leaves(arguments, "", 0):
        found[path[:MOST_CHARACTERS], value[:MOST_CHARACTERS]] = None
        if len(found) == MOST_LEAVES:
            break
    return list(found)


def _leaves(value: JsonValue, path: str, level: int) -> Iterator[tuple[str, str]]:
    if level > MOST_LEVELS:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, level + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]", level + 1)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
