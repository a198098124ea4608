"""JSON schemas as llama.cpp makes grammars of them.

One tool with a schema that it cannot read fails the whole request, whether the tool is called or not (measured: a
schema that is `true`, an unknown type, a `$ref` to elsewhere, to nothing or to `#`, a repetition of more than 2,000).
A tool's schema may be loosened, because the arguments are checked against the real one before anything runs. The
schema of a final message may not: it is moved as it is, or the request is refused.
"""

import re
from typing import Final

from orchestrator.core.json_types import JsonObject, JsonValue

MAX_REPETITION: Final = 2_000
MAX_DEPTH: Final = 64

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_MAPS: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_LITERALS: Final = frozenset({"const", "enum", "default", "examples"})
# Groups with a question mark and the escapes that are missing here are read as plain characters, which would force
# the model to write them.
_UNREADABLE: Final = re.compile(r"\(\?|\\[^dwsDWS.\-+*?()\[\]{}|^$/\\]")


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


def loosened(schema: JsonObject) -> JsonObject:
    """`schema` without what llama.cpp cannot read; everything that matches `schema` matches this too."""
    return _loosened(schema, schema, 0)


def _loosened(schema: JsonValue, root: JsonObject, depth: int) -> JsonObject:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return {}
    kept: JsonObject = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            kept[name] = {key: _loosened(entry, root, depth + 1) for key, entry in value.items()}
        elif name in _LISTS and isinstance(value, list):
            kept[name] = [_loosened(entry, root, depth + 1) for entry in value]
        elif name == "items" or (name == "additionalProperties" and isinstance(value, dict)):
            kept[name] = _loosened(value, root, depth + 1)
        elif _is_readable(name, value, root):
            kept[name] = value
    return kept


def _is_readable(name: str, value: JsonValue, root: JsonObject) -> bool:
    if name == "$ref":
        return isinstance(value, str) and _leads_somewhere(value, root)
    if name == "type":
        return all(isinstance(kind, str) and kind in _TYPES for kind in (value if isinstance(value, list) else [value]))
    if name in _COUNTS:
        return isinstance(value, int) and 0 <= value <= MAX_REPETITION
    if name == "pattern":
        anchored = isinstance(value, str) and value.startswith("^") and value.endswith("$")
        return anchored and _UNREADABLE.search(str(value)) is None
    return not (name == "enum" and value == [])


def _leads_somewhere(reference: str, root: JsonObject) -> bool:
    if not reference.startswith("#/"):
        return False
    found: JsonValue = root
    for step in reference[2:].split("/"):
        if not isinstance(found, dict) or step not in found:
            return False
        found = found[step]
    return isinstance(found, dict)
