"""What a schema of a `strict` function has to be, as OpenAI documents it.

Source: https://platform.openai.com/docs/guides/structured-outputs (supported schemas).
"""

from typing import Final

from orchestrator.core.json_types import JsonObject, JsonValue

NO_PARAMETERS: Final[JsonObject] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
"""What a function without parameters takes."""

_BARRED: Final = ("allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")
_NESTED: Final = ("anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "$defs", "definitions")


def strict_problem(schema: JsonObject) -> str | None:
    """Why `schema` cannot be that of a strict function, None where it can."""
    if schema.get("type") != "object":
        return "at '/' its type must be 'object'"
    return _problem(schema, "")


def _problem(schema: JsonValue, path: str) -> str | None:
    if not isinstance(schema, dict):
        return None
    here = path or "/"
    for word in _BARRED:
        if word in schema:
            return f"at '{here}' it has '{word}', which strict functions cannot have"
    found, kinds = schema.get("properties"), schema.get("type")
    properties = found if isinstance(found, dict) else {}
    if "properties" in schema or kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        if schema.get("additionalProperties") is not False:
            return f"at '{here}' 'additionalProperties' must be false"
        required = schema.get("required")
        named = required if isinstance(required, list) else []
        optional = next((name for name in properties if name not in named), None)
        if optional is not None:
            return f"at '{here}' 'required' must have every property, '{optional[:64]}' too (one that may be left out is one that may be null)"
    for place, part in _parts(schema):
        problem = _problem(part, f"{path}/{place}")
        if problem is not None:
            return problem
    return None


def _parts(schema: JsonObject) -> list[tuple[str, JsonValue]]:
    parts: list[tuple[str, JsonValue]] = [("items", schema["items"])] if "items" in schema else []
    for word in _NESTED:
        found = schema.get(word)
        parts += [(f"{word}/{at}", part) for at, part in enumerate(found if isinstance(found, list) else ())]
    for word in _NAMED:
        named = schema.get(word)
        parts += [(f"{word}/{name}", part) for name, part in (named.items() if isinstance(named, dict) else ())]
    return parts
