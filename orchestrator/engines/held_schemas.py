"""Schemas for a final message that llama.cpp's grammar holds to the letter; whatever it would not is named and refused.

A grammar that cannot be made is an error of llama.cpp, but most of what it does not know it leaves out without a word
(measured with b11549: `not`, `multipleOf`, `uniqueItems`, the bounds of a `number`, what stands beside a `$ref` …), and
lengths out of order send it into an endless loop. So a schema is read here and said again in what was seen to hold: a
message that the grammar allows matches the schema. What is a note rather than a rule (`title`, `description`, `format`,
unknown words) goes.
"""

import math
from typing import Final, NoReturn

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import ResponseFormat
from orchestrator.engines.held_patterns import UnheldPatternError, held_pattern
from orchestrator.engines.held_types import apart_by_type, is_of, says_type, values

PARAM: Final = "response_format.json_schema.schema"
MAX_DEPTH: Final = 32
MAX_SCHEMAS: Final = 2000
MAX_REPETITION: Final = 1000
MAX_NUMBER: Final = 2**53

_RULES: Final = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"},
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"}
    | {"maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"},
    "boolean": set[str](),
    "null": set[str](),
}
_RULES["number"] = _RULES["integer"]
_COMBINED: Final = frozenset({"$ref", "const", "enum", "anyOf", "oneOf", "allOf"})
_NEVER: Final = ("not", "if", "$dynamicRef")
_HELD_FORMATS: Final = frozenset({"date", "time", "date-time", "uuid"})
_ALL_RULES: Final = frozenset[str]().union(*_RULES.values()) | _COMBINED | {"type", *_NEVER}


def check_response_format(response_format: ResponseFormat) -> None:
    """Whether the grammar holds a message to it, where it is `strict`.

    Raises:
        OrchestratorError: `invalid_value` on the schema; the message says which keyword, where, and why.
    """
    if response_format.strict:
        held_schema(response_format.schema)


def held_schema(schema: JsonObject) -> JsonObject:
    """`schema` as the grammar holds it: what matches it matches `schema`.

    Raises:
        OrchestratorError: as `check_response_format`.
    """
    reading = _Reading(schema)
    held = reading.schema(schema, "", 0)
    return {**held, "$defs": reading.definitions} if reading.definitions else held


class _Reading:
    """The walk through one document. Each place that is referred to becomes a definition."""

    def __init__(self, document: JsonObject) -> None:
        self._document = document
        self._left = MAX_SCHEMAS
        self._names: dict[str, str] = {}
        self._bare: frozenset[str] = frozenset()
        """References that lead here without anything being written in between."""
        self.definitions: JsonObject = {}

    def schema(self, schema: JsonValue, path: str, depth: int) -> JsonObject:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            _refuse(path, None, "is too large or too deep")
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            _refuse(path, None, "allows nothing")
        for word in _NEVER:
            if word in schema:
                _refuse(path, word, "cannot be held")
        combined = [word for word in schema if word in _COMBINED]
        if combined:
            return self._combined(combined, schema, path, depth)
        return self._typed(schema, path, depth)

    # ---- what is put together -----------------------------------------------------------------

    def _combined(self, words: list[str], schema: JsonObject, path: str, depth: int) -> JsonObject:
        word = words[0]
        others = [other for other in schema if other in _ALL_RULES and other not in (word, "type")]
        if others:
            _refuse(path, word, f"cannot be held beside '{others[0]}'")
        value = schema[word]
        match word:
            case "const" | "enum":
                return self._listed(word, schema, path)
            case "$ref":
                held = {"$ref": self._reference(str(value), path, depth)}
            case "allOf":
                parts = self._list(value, path, word)
                if len(parts) != 1:
                    _refuse(path, word, "can be held with one entry only")
                held = self.schema(parts[0], f"{path}/allOf/0", depth + 1)
            case _:
                parts = self._list(value, path, word)
                if word == "oneOf":
                    self._check_apart(parts, path)
                branches = [self.schema(part, f"{path}/{word}/{n}", depth + 1) for n, part in enumerate(parts)]
                held: JsonObject = {"anyOf": [*branches]}
        if "type" in schema and not says_type(held, schema["type"]):
            _refuse(path, word, "cannot be held beside 'type'")
        return held

    def _listed(self, word: str, schema: JsonObject, path: str) -> JsonObject:
        value = schema[word]
        listed = self._list(value, path, word) if word == "enum" else [value]
        allowed = [one for one in listed if "type" not in schema or is_of(one, schema["type"])]
        if not allowed:
            _refuse(path, word, "allows nothing")
        return {"enum": allowed}

    def _check_apart(self, parts: list[JsonValue], path: str) -> None:
        """One value must match one branch only: told by their types, or by a property that each names otherwise."""
        whole = [self._resolved(part) for part in parts]
        for index, one in enumerate(whole):
            for other in whole[:index]:
                if not (apart_by_type(one, other) or self._apart_by_property(one, other)):
                    _refuse(path, "oneOf", "has entries that one value could match both of; say 'anyOf'")

    def _apart_by_property(self, one: JsonObject, other: JsonObject) -> bool:
        ours, theirs = one.get("properties"), other.get("properties")
        needed, also = one.get("required"), other.get("required")
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return False
        for name in ours.keys() & theirs.keys():
            if isinstance(needed, list) and isinstance(also, list) and name in needed and name in also:
                first, second = values(self._resolved(ours[name])), values(self._resolved(theirs[name]))
                if first and second and not first & second:
                    return True
        return False

    def _resolved(self, schema: JsonValue) -> JsonObject:
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if not isinstance(schema.get("$ref"), str):
                return schema
            schema = _target(str(schema["$ref"]), self._document)
        return {}

    def _reference(self, reference: str, path: str, depth: int) -> str:
        if reference in self._bare:
            _refuse(path, "$ref", "leads back to itself")
        name = self._names.get(reference)
        if name is None:
            target = _target(reference, self._document)
            if not isinstance(target, dict | bool):
                _refuse(path, "$ref", f"refers to '{reference}', which is not there")
            name = self._names[reference] = f"part_{len(self._names)}"
            before, self._bare = self._bare, self._bare | {reference}
            self.definitions[name] = self.schema(target, reference.removeprefix("#"), depth + 1)
            self._bare = before
        return f"#/$defs/{name}"

    def _list(self, value: JsonValue, path: str, word: str) -> list[JsonValue]:
        if not isinstance(value, list) or not value:
            _refuse(path, word, "must be a list that is not empty")
        return value

    # ---- what has a type ----------------------------------------------------------------------

    def _typed(self, schema: JsonObject, path: str, depth: int) -> JsonObject:
        told = schema.get("type")
        names = told if isinstance(told, list) else [told]
        if told is None:
            names = [
                name for name, rules in _RULES.items() if name != "number" and any(rule in schema for rule in rules)
            ]
            if not names:
                return {}
            names = names[:1]  # a rule for one type: a value of that type is what is meant
        branches = [self._of_type(str(name), schema, path, depth) for name in names]
        return branches[0] if len(branches) == 1 else {"anyOf": [*branches]}

    def _of_type(self, name: str, schema: JsonObject, path: str, depth: int) -> JsonObject:
        before, self._bare = self._bare, frozenset()
        held = self._ruled(name, schema, path, depth)
        self._bare = before
        return held

    def _ruled(self, name: str, schema: JsonObject, path: str, depth: int) -> JsonObject:
        match name:
            case "string":
                return _string(schema, path)
            case "integer" | "number":
                return _number(name, schema, path)
            case "array":
                return self._array(schema, path, depth)
            case "object":
                return self._object(schema, path, depth)
            case _:
                return {"type": name}

    def _array(self, schema: JsonObject, path: str, depth: int) -> JsonObject:
        for word in ("contains", "unevaluatedItems"):
            if word in schema:
                _refuse(path, word, "cannot be held")
        if schema.get("uniqueItems") is True:
            _refuse(path, "uniqueItems", "cannot be held")
        low, high = _range(schema, "minItems", "maxItems", path)
        first, items = schema.get("prefixItems"), schema.get("items")
        if first is not None:
            parts = self._list(first, path, "prefixItems")
            if items not in (None, False, True) or not low <= len(parts) <= (len(parts) if high is None else high):
                _refuse(path, "prefixItems", "is held as a list of exactly so many items")
            held = [self.schema(part, f"{path}/prefixItems/{n}", depth + 1) for n, part in enumerate(parts)]
            return {"type": "array", "prefixItems": [*held]}
        if items is False:
            if low:
                _refuse(path, "items", "allows nothing")
            return {"type": "array", "items": {}, "maxItems": 0}
        inner: JsonObject = {} if items is None else self.schema(items, f"{path}/items", depth + 1)
        return {"type": "array", "items": inner, **_bounds("minItems", low, "maxItems", high)}

    def _object(self, schema: JsonObject, path: str, depth: int) -> JsonObject:
        for word in ("patternProperties", "propertyNames", "maxProperties", "dependentRequired", "dependentSchemas"):
            if word in schema:
                _refuse(path, word, "cannot be held")
        for word in ("dependencies", "unevaluatedProperties"):
            if schema.get(word) not in (None, True):
                _refuse(path, word, "cannot be held")
        told, needed = schema.get("properties"), schema.get("required")
        properties = dict(told) if isinstance(told, dict) else {}
        required = [str(name) for name in needed] if isinstance(needed, list) else []
        more = schema.get("additionalProperties", True)
        for name in required:
            if name not in properties and more is False:
                _refuse(path, "required", f"names '{name}', which 'additionalProperties' forbids")
            properties.setdefault(name, more)
        least = schema.get("minProperties", 0)
        if isinstance(least, int | float) and least > len(set(required)):
            _refuse(path, "minProperties", "cannot be held beyond what 'required' names")
        held: JsonObject = {"type": "object"}
        if properties or more is False:
            inner = {
                name: self.schema(part, f"{path}/properties/{name}", depth + 1) for name, part in properties.items()
            }
            held["properties"] = {**inner}
            held["additionalProperties"] = False
        if isinstance(more, dict):
            held["additionalProperties"] = self.schema(more, f"{path}/additionalProperties", depth + 1)
        if required:
            held["required"] = [*required]
        return held


# ---- values -------------------------------------------------------------------------------------


def _string(schema: JsonObject, path: str) -> JsonObject:
    low, high = _range(schema, "minLength", "maxLength", path)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        if low or high is not None:
            _refuse(path, "pattern", "cannot be held beside 'minLength' or 'maxLength'; say the length in the pattern")
        try:
            return {"type": "string", "pattern": held_pattern(pattern)}
        except UnheldPatternError as error:
            _refuse(path, "pattern", f"cannot be held: {error}")
    if low or high is not None:
        return {"type": "string", **_bounds("minLength", low, "maxLength", high)}
    told = schema.get("format")
    return {"type": "string", "format": told} if told in _HELD_FORMATS else {"type": "string"}


def _number(name: str, schema: JsonObject, path: str) -> JsonObject:
    if schema.get("multipleOf", 1) not in (1, 1.0) or (name == "number" and "multipleOf" in schema):
        _refuse(path, "multipleOf", "cannot be held")
    bounds = {
        word: schema[word] for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if word in schema
    }
    if not bounds:
        return {"type": name}
    if name == "number":
        _refuse(path, next(iter(bounds)), "can be held for integers only")
    lows: list[int] = []
    highs: list[int] = []
    for word, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_NUMBER:
            _refuse(path, word, "is no number that can be held")
        match word:
            case "minimum":
                lows.append(math.ceil(value))
            case "exclusiveMinimum":
                lows.append(math.floor(value) + 1)
            case "maximum":
                highs.append(math.floor(value))
            case _:
                highs.append(math.ceil(value) - 1)
    if lows and highs and max(lows) > min(highs):
        _refuse(path, next(iter(bounds)), "allows nothing")
    held: JsonObject = {"type": "integer"}
    if lows:
        held["minimum"] = max(lows)
    if highs:
        held["maximum"] = min(highs)
    return held


def _range(schema: JsonObject, low: str, high: str, path: str) -> tuple[int, int | None]:
    least, most = schema.get(low, 0), schema.get(high)
    for word, value in ((low, least), (high, most)):
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= MAX_REPETITION):
            _refuse(path, word, f"can be held up to {MAX_REPETITION}")
    assert isinstance(least, int | float)
    if isinstance(most, int | float) and most < least:
        _refuse(path, high, f"is below '{low}'")
    return int(least), int(most) if isinstance(most, int | float) else None


def _bounds(low: str, least: int, high: str, most: int | None) -> JsonObject:
    held: JsonObject = {low: least} if least else {}
    return held if most is None else {**held, high: most}


def _target(reference: str, document: JsonObject) -> JsonValue:
    """What a reference (RFC 6901) points to within the document; None where that is nothing."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    found: JsonValue = document
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match found:
            case list():
                found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
            case dict():
                found = found.get(name)
            case _:
                return None
    return found


def _refuse(path: str, word: str | None, why: str) -> NoReturn:
    what = "the schema" if word is None else f"'{word}'"
    message = f"The model cannot be held to the response format: {what} at '{path or '/'}' {why}. With \"strict\": false it is left out."
    raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=PARAM)
