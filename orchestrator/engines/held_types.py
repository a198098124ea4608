"""What schemas say of the types and values that match them, as far as it stands in plain sight."""

from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json


def is_of(value: JsonValue, told: JsonValue) -> bool:
    """Whether `value` is of the type, or of one of the types, that `told` names."""
    match value:
        case bool():
            name = "boolean"
        case int():
            name = "integer"
        case float():
            name = "integer" if value.is_integer() else "number"
        case str():
            name = "string"
        case list():
            name = "array"
        case dict():
            name = "object"
        case _:
            name = "null"
    names = told if isinstance(told, list) else [told]
    return name in names or (name == "integer" and "number" in names)


def says_type(held: JsonObject, told: JsonValue) -> bool:
    """Whether all that `held` allows is of the type `told`, as far as can be seen."""
    branches = held.get("anyOf", [held])
    assert isinstance(branches, list)
    names = told if isinstance(told, list) else [told]
    for branch in branches:
        assert isinstance(branch, dict)
        values = branch.get("enum")
        if isinstance(values, list) and all(is_of(value, told) for value in values):
            continue
        if branch.get("type") not in names and not (branch.get("type") == "integer" and "number" in names):
            return False
    return True


def _types(schema: JsonObject) -> set[str]:
    told = schema.get("type")
    names = {str(name) for name in (told if isinstance(told, list) else [told])} if told is not None else set[str]()
    listed = values(schema)
    if not names and listed is not None:
        return {"a value"}
    return {"number" if name == "integer" else name for name in names}


def apart_by_type(one: JsonObject, other: JsonObject) -> bool:
    """Whether no value can match both, told by their types or by the values that they list."""
    first, second = values(one), values(other)
    if first and second:
        return not first & second
    ours, theirs = _types(one), _types(other)
    return bool(ours and theirs) and "a value" not in ours | theirs and not ours & theirs


def values(schema: JsonObject) -> set[str] | None:
    """The values that it lists, as text; None where it lists none."""
    if "const" in schema:
        return {canonical_json(schema["const"])}
    listed = schema.get("enum")
    return {canonical_json(value) for value in listed} if isinstance(listed, list) else None
