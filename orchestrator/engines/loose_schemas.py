"""Input schemas as llama.cpp can take them: it makes a grammar of each, and one that it cannot make fails the request.

Schemas come from servers that nobody here wrote. Measured with llama.cpp b11549: an outside or unresolved `$ref`, a
boolean schema, an unknown type, an empty `enum`, a length in the thousands and some patterns are each answered with
status 400, whatever else the request offers; a `minLength` above its `maxLength` (or `minItems`, `maxItems`) sends
the server into an endless loop that takes 150 MB a second. So what is not known to work is left out here. That loosens
the grammar only: the arguments of a call are checked against the tool's own schema, whole, before it runs.
"""

from typing import Final

from orchestrator.core.json_types import JsonObject, JsonValue

MAX_DEPTH: Final = 64
MAX_REPETITION: Final = 1000
"""Of lengths. llama.cpp gives up somewhere below 5,000."""
MAX_NUMBER: Final = 2**53

_LITERALS: Final = frozenset({"const", "enum", "default", "examples"})
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_RANGES: Final = (
    ("minLength", "maxLength", 0, MAX_REPETITION),
    ("minItems", "maxItems", 0, MAX_REPETITION),
    ("minimum", "maximum", -MAX_NUMBER, MAX_NUMBER),
    ("exclusiveMinimum", "exclusiveMaximum", -MAX_NUMBER, MAX_NUMBER),
)
_SHAPED: Final = frozenset(
    {"$ref", "type", "enum", "required", "items", "additionalProperties"}
    | {"anyOf", "oneOf", "allOf", "prefixItems", "properties", "$defs", "definitions"}
)
"""The keywords that llama.cpp reads, and so must find in the shape that it expects."""


def grammar_schema(schema: JsonObject) -> JsonObject:
    """`schema` without what llama.cpp cannot make a grammar of. A pattern is told in the description instead."""
    while (loosened := _loosened(schema, schema, 0)) != schema:
        schema = loosened  # a reference may have led to what is gone now; each round takes something away
    return schema


def rehomed(schema: JsonValue, home: str) -> JsonValue:
    """`schema` as it reads when it stands at `home` (such as `#/$defs/tool_0`) of another document."""
    if isinstance(schema, list):
        return [rehomed(entry, home) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    moved: JsonObject = {}
    for name, value in schema.items():
        if name == "$ref" and isinstance(value, str) and value.startswith("#"):
            moved[name] = home + value[1:]
        else:
            moved[name] = value if name in _LITERALS else rehomed(value, home)
    return moved


def _loosened(schema: JsonValue, root: JsonObject, depth: int) -> JsonObject:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return {}
    out: JsonObject = {}
    for key, value in schema.items():
        kept = _keyword(key, value, root, depth)
        if kept is not None:
            out[key] = kept
    for low, high, floor, ceiling in _RANGES:
        if not _is_range(floor, out.get(low, floor), out.get(high, ceiling), ceiling):
            out.pop(low, None)
            out.pop(high, None)
    pattern = out.pop("pattern", None)
    if isinstance(pattern, str):
        description = out.get("description")
        words = f"{description} " if isinstance(description, str) and description else ""
        out["description"] = f"{words}(pattern: {pattern})"
    return out


def _keyword(key: str, value: JsonValue, root: JsonObject, depth: int) -> JsonValue:
    """The value as it may stay; None where it goes."""
    match key, value:
        case "$ref", str():
            return value if _resolves(value, root) else None
        case "type", str():
            return value if value in _TYPES else None
        case "type", list():
            return [name for name in value if isinstance(name, str) and name in _TYPES] or None
        case "enum" | "required", list():
            return value or None
        case "additionalProperties", bool():
            return value
        case (("properties" | "$defs" | "definitions"), dict()):
            return {name: _loosened(part, root, depth + 1) for name, part in value.items()}
        case (("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items"), list()):
            return [_loosened(part, root, depth + 1) for part in value] or None
        case (("items" | "additionalProperties"), dict() | bool()):
            return _loosened(value, root, depth + 1)
        case _:
            return None if key in _SHAPED else value


def _resolves(reference: str, root: JsonObject) -> bool:
    """Whether it is a path of plain names into the same document; llama.cpp reads no escapes, and not `#` alone."""
    if not reference.startswith("#/") or "~" in reference or "%" in reference:
        return False
    place: JsonValue = root
    for name in reference[2:].split("/"):
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        else:
            return False
    return isinstance(place, dict)


def _is_range(floor: int, low: JsonValue, high: JsonValue, ceiling: int) -> bool:
    """Two numbers in their order, within the limits. Draft 4's `exclusiveMinimum: true` is none."""
    if isinstance(low, bool) or isinstance(high, bool):
        return False
    return isinstance(low, int | float) and isinstance(high, int | float) and floor <= low <= high <= ceiling
