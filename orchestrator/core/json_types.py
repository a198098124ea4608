"""JSON values as the core passes them around, and one canonical text of each."""

import json
from typing import TypeAlias, cast

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]


def canonical_json(value: JsonValue) -> str:
    """The one text of `value` that equal values share: keys sorted, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_object(text: str) -> JsonObject | None:
    """`text` as a JSON object, or None where it is anything else.

    An empty text is the empty object: models write nothing for a tool without parameters.
    NaN and the infinities are not JSON.
    """
    if not text.strip():
        return {}
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return cast(JsonObject, value) if isinstance(value, dict) else None


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")
