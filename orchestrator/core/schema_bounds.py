"""How large a JSON schema may be before nobody reads it. Pure, and linear in the schema's own size.

Compilers of schemas put what `$ref` names where it is named: thirty definitions, each of which names the next one
twice, are a billion parts.
"""

from collections.abc import Iterable
from typing import Final

from orchestrator.core.json_types import JsonObject, JsonValue

MAX_SCHEMA_PARTS: Final = 50_000
MAX_SCHEMA_DEPTH: Final = 100


def schema_excess(schema: JsonObject) -> str | None:
    """Why `schema` is too large to be used, as the rest of a sentence about it; None where it is not."""
    anchors: dict[str, JsonValue] = {}
    parts = 0
    level: list[tuple[str, JsonValue]] = [("#", schema)]
    for _ in range(MAX_SCHEMA_DEPTH):
        parts += len(level)
        if parts > MAX_SCHEMA_PARTS:
            return f"it has more than {MAX_SCHEMA_PARTS} parts"
        anchors.update(level)
        level = [child for place, value in level for child in _children(place, value)]
        if not level:
            break
    else:
        return f"it is nested more than {MAX_SCHEMA_DEPTH} levels deep"
    if _expanded(anchors) > MAX_SCHEMA_PARTS:
        return f"it has more than {MAX_SCHEMA_PARTS} parts once its references are followed"
    return None


def _children(place: str, value: JsonValue) -> Iterable[tuple[str, JsonValue]]:
    match value:
        case dict():
            return [(f"{place}/{key.replace('~', '~0').replace('/', '~1')}", child) for key, child in value.items()]
        case list():
            return [(f"{place}/{index}", child) for index, child in enumerate(value)]
        case _:
            return ()


def _expanded(parts: dict[str, JsonValue]) -> int:
    """How many parts the whole has with its local references followed, each as often as it is met."""
    sizes: dict[str, int] = {}
    steps: list[tuple[str, bool]] = [("#", False)]
    under_way: set[str] = set()
    while steps:
        place, is_done = steps.pop()
        following = [child for child, _ in _children(place, parts[place])]
        value = parts[place]
        reference = value.get("$ref") if isinstance(value, dict) else None
        if isinstance(reference, str) and reference in parts:
            following.append(reference)
        if is_done:
            under_way.discard(place)
            # What is being looked at is met again: a loop, which is followed once.
            sizes[place] = min(1 + sum(sizes.get(one, 0) for one in following), MAX_SCHEMA_PARTS + 1)
        elif place not in sizes and place not in under_way:
            under_way.add(place)
            steps.append((place, True))
            steps.extend((one, False) for one in following)
    return sizes["#"]
