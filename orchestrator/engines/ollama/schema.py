"""Tool schemas in the shape that Ollama's server reads: what it would refuse or lose is said another way.

Its types for tools (`ToolFunctionParameters` and `ToolProperty` in the server's `api/types.go`) know `type`, `items`,
`description`, `enum`, `anyOf`, `properties` and `required`. Anything else is dropped without a word, so that a model
would see nothing of a parameter behind a `$ref`, as every nested pydantic model is; and some valid JSON schemas, such
as `true` for a property, are a 400 that takes all the tools of the request along.
"""

from typing import Final

from orchestrator.core.json_types import JsonObject, JsonValue

MAX_SCHEMAS: Final = 2000
"""How many schemas a tool's may consist of once its references are replaced; the rest allows anything.

References can be nested so that a small document stands for an endless one.
"""


def fit_parameters(schema: JsonObject) -> JsonObject:
    """`schema` as the parameters of a function: of type object, references replaced by what they refer to.

    A reference to another document, and one that leads back to itself, becomes the schema that allows anything.
    """
    root = _Fitting(schema).fit(schema)
    properties = root.get("properties")
    return {**root, "type": "object", "properties": properties if isinstance(properties, dict) else {}}


class _Fitting:
    """The walk through one document."""

    def __init__(self, document: JsonObject) -> None:
        self._document = document
        self._left = MAX_SCHEMAS
        self._within: list[str] = []

    def fit(self, schema: JsonValue) -> JsonObject:
        """One schema. One that is `true`, or no schema at all, becomes the one that allows anything."""
        self._left -= 1
        if not isinstance(schema, dict) or self._left < 0:
            return {}
        entered = len(self._within)
        words = self._resolved(schema)
        fitted = {word: self._word(word, value) for word, value in _renamed(words).items()}
        del self._within[entered:]
        return {word: value for word, value in fitted.items() if _is_readable(word, value)}

    def _word(self, word: str, value: JsonValue) -> JsonValue:
        if word == "properties" and isinstance(value, dict):
            return {name: self.fit(schema) for name, schema in value.items()}
        if word == "anyOf" and isinstance(value, list):
            return [self.fit(schema) for schema in value]
        return self.fit(value) if word == "items" else value

    def _resolved(self, schema: JsonObject) -> JsonObject:
        """`schema` with what its `$ref` and `allOf` say merged into it; its own words win."""
        own = dict(schema)
        reference, conjunction = own.pop("$ref", None), own.pop("allOf", None)
        parts = list(conjunction) if isinstance(conjunction, list) else []
        if isinstance(reference, str) and reference not in self._within:
            self._within.append(reference)
            parts.append(_target(reference, self._document))
        merged: JsonObject = {}
        for part in parts:
            self._left -= 1
            if isinstance(part, dict) and self._left >= 0:
                merged = _merged(merged, self._resolved(part))
        return _merged(merged, own)


def _renamed(words: JsonObject) -> JsonObject:
    """The same schema in the words that the server knows. Definitions go: what referred to them has them now."""
    renamed: JsonObject = {}
    for word, value in words.items():
        match word:
            case "$defs" | "definitions":
                pass
            case "oneOf":
                renamed.setdefault("anyOf", value)
            case "const":
                renamed["enum"] = [value]
            case _:
                renamed[word] = value
    return renamed


def _merged(first: JsonObject, second: JsonObject) -> JsonObject:
    """Both; `second` wins, but for properties and what is required, which add up."""
    merged = {**first, **second}
    ours, theirs = first.get("properties"), second.get("properties")
    if isinstance(ours, dict) and isinstance(theirs, dict):
        merged["properties"] = {**ours, **theirs}
    needed, more = first.get("required"), second.get("required")
    if isinstance(needed, list) and isinstance(more, list):
        merged["required"] = [*needed, *more]
    return merged


def _target(reference: str, document: JsonObject) -> JsonValue:
    """What a reference (RFC 6901) points to within the document; other documents are not fetched."""
    if not reference.startswith("#"):
        return None
    found: JsonValue = document
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _is_readable(word: str, value: JsonValue) -> bool:
    """Whether the server's decoder takes `value` for `word`. Words that it does not know it skips."""
    match word:
        case "description":
            return isinstance(value, str)
        case "type":
            return isinstance(value, str) or _is_list_of_text(value)
        case "required":
            return _is_list_of_text(value)
        case "enum" | "anyOf":
            return isinstance(value, list)
        case "properties":
            return isinstance(value, dict)
        case _:
            return True


def _is_list_of_text(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
