"""Arguments by their path: the rows by which a call is found by what it was asked with. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Final

from orchestrator.core.json_types import JsonValue

MOST_LEAVES: Final = 64
"""How many values of one call are found by their path."""

MOST_CHARACTERS: Final = 256
"""How much of a value, and of a path, is compared. Longer than that, Postgres' index rows would become too large."""

MOST_LEVELS: Final = 32
"""How deep in the arguments of a call they are found."""


CUT: Final = ("*" * (MOST_CHARACTERS + 1), "")
"""The row that says of a call that it has more, or deeper, values than the index takes. No path of the index is so long."""


def argument_leaves(arguments: JsonValue) -> list[tuple[str, str]]:
    """Path and value of every scalar in `arguments`, once each, in order; an element of an array is at `name[]`.

    `CUT` comes last where some are left out.
    """
    found: dict[tuple[str, str], None] = {}
    is_cut = False
    for leaf in _leaves(arguments, "", 0):
        if leaf is None:
            is_cut = True
            continue
        kept = leaf[0][:MOST_CHARACTERS], leaf[1][:MOST_CHARACTERS]
        if len(found) == MOST_LEAVES and kept not in found:
            is_cut = True
            break
        found[kept] = None
    return [*found, CUT] if is_cut else list(found)


def _leaves(value: JsonValue, path: str, level: int) -> Iterator[tuple[str, str] | None]:
    """The scalars; None stands for what lies too deep."""
    if level > MOST_LEVELS:
        yield None
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, level + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]", level + 1)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def has_argument(arguments: JsonValue, path: str, glob: str) -> bool:
    """Whether a scalar at `path`, however deep, late or long, is like `glob`: see `ArgumentPattern`."""
    rest: list[tuple[JsonValue, str]] = [(arguments, "")]
    while rest:
        value, at = rest.pop()
        if isinstance(value, dict):
            rest += ((inner, f"{at}.{name}" if at else name) for name, inner in value.items())
        elif isinstance(value, list):
            rest += ((inner, f"{at}[]") for inner in value)
        elif at == path and is_like(value if isinstance(value, str) else json.dumps(value), glob):
            return True
    return False


def is_like(text: str, glob: str) -> bool:
    """Whether all of `text` is like `glob`, in a time that many a `*` does not multiply."""
    pieces = [""]
    for mark, character in glob_marks(glob):
        if mark and character == "*":
            pieces.append("")
        else:
            pieces[-1] += "." if mark else re.escape(character)
    first, *others = pieces
    if not others:
        return re.fullmatch(first, text, re.DOTALL) is not None
    found = re.match(first, text, re.DOTALL)
    for piece in others[:-1]:
        found = found and re.compile(piece, re.DOTALL).search(text, found.end())
    # A piece has no mark of an open length: the last one is as long as what it matches.
    return found is not None and re.compile(f"(?:{others[-1]})\\Z", re.DOTALL).search(text, found.end()) is not None


def glob_marks(glob: str) -> Iterator[tuple[bool, str]]:
    """The characters of `glob`, each with whether it has a meaning of its own."""
    escaped = False
    for character in glob:
        if character == "\\" and not escaped:
            escaped = True
            continue
        yield character in "*?" and not escaped, character
        escaped = False
