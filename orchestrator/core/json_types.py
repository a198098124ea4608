"""JSON values as the core passes them around, and one canonical text of each."""

import json
import math
from typing import NoReturn, TypeAlias, cast

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]


def canonical_json(value: JsonValue) -> str:
    """The one text of `value` that equal values share: keys sorted, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_object(text: str) -> JsonObject | None:
    """`text` as a JSON object, or None where it is anything else.

    An empty text is the empty object: models write nothing for a tool without parameters.
    NaN and the infinities are not JSON, nor are numbers too large to be told from them.
    """
    if not text.strip():
        return {}
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return cast(JsonObject, value) if isinstance(value, dict) else None


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
