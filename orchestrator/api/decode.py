"""From the bytes of a body to a request struct, or to the one error that says precisely what is wrong.

The rules are the structs' own (`wire_requests.py`), read through msgspec's type information. This walk
exists because msgspec's own errors name neither the path of an unknown key nor the tags of a union.
Source: section 4 of the contract. The first problem in the order of the fields is the one reported;
unknown keys come after the fields of their object.
"""

import codecs
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Annotated, Final, NoReturn, TypeAlias, TypeVar, cast

import msgspec
import structlog
from msgspec import inspect as mi

from orchestrator.api.limits import RequestLimits, check_counts
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue

T = TypeVar("T", bound=msgspec.Struct)
Path: TypeAlias = tuple[str, ...]

LONGEST_SHOWN_KEY: Final = 64
MOST_SHOWN_KEYS: Final = 8
_WORDS: Final = {
    "null": "null",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
}

NO_LIMITS: Final = RequestLimits(input_items=sys.maxsize, integrations=sys.maxsize, metadata_keys=sys.maxsize)
"""Only those of the structs."""

_MOMENT: Final = Annotated[datetime, msgspec.Meta(tz=True)]

_BOM: Final = "it begins with a byte order mark, which is to be left out"

log = structlog.stdlib.get_logger(__name__)


def decode_body(body: bytes, shape: type[T], limits: RequestLimits = NO_LIMITS) -> T:
    """The body as a `shape`, with no more in it than `limits` admit.

    Raises:
        OrchestratorError: the first thing that is wrong, with its path in `param`.
    """
    value = parse_json(body)
    check_counts(value, limits)
    return decode_value(value, shape)


def parse_json(body: bytes) -> JsonValue:
    """The JSON value of a body; NaN, bad UTF-8, lone surrogates and bottomless nesting are not JSON.

    Raises:
        OrchestratorError: `invalid_json`.
    """
    try:
        return cast(JsonValue, msgspec.json.decode(body))
    except RecursionError:
        why = "it is nested too deeply"
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except msgspec.DecodeError as error:
        if body.startswith(codecs.BOM_UTF8):
            raise OrchestratorError(ErrorKind.INVALID_JSON, f"The body is not valid JSON: {_BOM}.") from None
        said = str(error).removeprefix("JSON is malformed: ").partition(" - at ")[0]
        why = said[:1].lower() + said[1:] if body.strip() else "it is empty"
    raise OrchestratorError(ErrorKind.INVALID_JSON, f"The body is not valid JSON: {why}.")


def decode_value(value: JsonValue, shape: type[T]) -> T:
    """A parsed body as a `shape`.

    Raises:
        OrchestratorError: the first thing that is wrong.
    """
    if not isinstance(value, dict):
        raise OrchestratorError(ErrorKind.INVALID_TYPE, f"The body must be an object, not {_WORDS[_kind(value)]}.")
    _check(value, _rules(shape), ())
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        log.warning("a body passed our checks and failed msgspec's", shape=shape.__name__, reason=str(error))
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"The body is not valid: {error}.") from error


def shown(key: str) -> str:
    """A key as error messages and paths show it: printable, and not at any length."""
    clean = "".join(character if character.isprintable() else "�" for character in key[: LONGEST_SHOWN_KEY + 1])
    return clean if len(clean) <= LONGEST_SHOWN_KEY else clean[:LONGEST_SHOWN_KEY] + "…"


@lru_cache
def _rules(shape: type[msgspec.Struct]) -> mi.Type:
    return mi.type_info(shape)


def _fail(kind: ErrorKind, path: Path, problem: str) -> NoReturn:
    param = ".".join(path)
    raise OrchestratorError(kind, f'"{param}" {problem}', param=param)


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"


def _accepts(rule: mi.Type) -> tuple[str, ...]:
    """The kinds of JSON value that `rule` looks at; none for any value at all."""
    match rule:
        case mi.Metadata(type=inner):
            return _accepts(inner)
        case mi.UnionType(types=types):
            return tuple(dict.fromkeys(kind for member in types for kind in _accepts(member)))
        case mi.StrType() | mi.DateTimeType() | mi.LiteralType():  # every literal of ours is a text
            return ("string",)
        case mi.NoneType():
            return ("null",)
        case mi.BoolType():
            return ("boolean",)
        case mi.IntType():
            return ("integer",)
        case mi.FloatType():
            return ("number",)
        case mi.ListType():
            return ("array",)
        case mi.StructType() | mi.DictType():
            return ("object",)
        case mi.AnyType():
            return ()
        case _:
            raise NotImplementedError(f"no rule for {rule}")


def _check(value: JsonValue, rule: mi.Type, path: Path, says: str | None = None) -> None:
    kind, accepted = _kind(value), _accepts(rule)
    if accepted and kind not in accepted and not (kind == "integer" and "number" in accepted):
        wanted = " or ".join(_WORDS[one] for one in accepted)
        _fail(ErrorKind.INVALID_TYPE, path, f"must be {wanted}, not {_WORDS[kind]}.")
    match rule:
        case mi.Metadata(type=inner):
            _check(value, inner, path, cast("dict[str, str]", rule.extra or {}).get("says", says))
        case mi.UnionType(types=types):
            _check_union(value, types, path)
        case mi.StrType():
            _check_text(cast(str, value), rule, path, says)
        case mi.DateTimeType():
            _check_moment(cast(str, value), path)
        case mi.LiteralType(values=values):
            if value not in values:
                _fail(ErrorKind.INVALID_VALUE, path, f"must be one of {_quoted(cast('tuple[str, ...]', values))}.")
        case mi.IntType() | mi.FloatType():
            _check_range(cast(float, value), rule, path)
        case mi.ListType(item_type=item_rule):
            items = cast("list[JsonValue]", value)
            _check_length(len(items), rule.min_length, rule.max_length, "items", path)
            for index, item in enumerate(items):
                _check(item, item_rule, (*path, str(index)))
        case mi.DictType(key_type=key_rule, value_type=value_rule):
            pairs = cast(JsonObject, value)
            _check_length(len(pairs), rule.min_length, rule.max_length, "keys", path)
            for key, item in pairs.items():
                _check(key, key_rule, (*path, shown(key)))
                _check(item, value_rule, (*path, shown(key)))
        case mi.StructType():
            _check_struct(cast(JsonObject, value), rule, path)
        case _:  # null, a boolean, or any value: its kind is all there is to check
            pass


def _check_union(value: JsonValue, types: Sequence[mi.Type], path: Path) -> None:
    kind = _kind(value)
    kinds = (kind, "number") if kind == "integer" else (kind,)
    fitting = [member for wanted in kinds for member in types if wanted in _accepts(member)]
    tagged = [member for member in fitting if isinstance(member, mi.StructType) and member.tag_field is not None]
    if tagged and isinstance(value, dict):
        _check_struct(value, _by_tag(value, tagged, path), path)
    elif isinstance(literal := fitting[0], mi.LiteralType) and value not in literal.values:
        words = _quoted(cast("tuple[str, ...]", literal.values))
        form = ", or an object" if any(isinstance(member, mi.StructType) for member in types) else ""
        _fail(ErrorKind.INVALID_VALUE, path, f"must be one of {words}{form}.")
    else:
        _check(value, fitting[0], path)


def _by_tag(value: JsonObject, members: Sequence[mi.StructType], path: Path) -> mi.StructType:
    field = cast(str, members[0].tag_field)
    tags = [cast(str, member.tag) for member in members]
    if field not in value:
        where = (*path, field)
        _fail(ErrorKind.MISSING_REQUIRED_PARAMETER, where, f"is required. Expected {_alternatives(tags)}")
    for member in members:
        if member.tag == value[field]:
            return member
    message = f"Invalid discriminator value. Expected {_alternatives(tags)}"
    raise OrchestratorError(ErrorKind.INVALID_UNION, message, param=".".join(path))


def _check_struct(value: JsonObject, rule: mi.StructType, path: Path) -> None:
    known: set[str] = set()
    if rule.tag_field is not None:
        _by_tag(value, [rule], path)
        known.add(rule.tag_field)
    for field in rule.fields:
        name = field.encode_name
        known.add(name)
        if name in value:
            _check(value[name], field.type, (*path, name))
        elif field.required:
            _fail(ErrorKind.MISSING_REQUIRED_PARAMETER, (*path, name), "is required")
    unknown = [shown(key) for key in islice((key for key in value if key not in known), MOST_SHOWN_KEYS)]
    if unknown:
        message = f"Unrecognized key(s) in object: {_quoted(unknown)}"
        raise OrchestratorError(ErrorKind.UNRECOGNIZED_KEYS, message, param=".".join((*path, unknown[0])))


def _check_text(value: str, rule: mi.StrType, path: Path, says: str | None) -> None:
    _check_length(len(value), rule.min_length, rule.max_length, "characters", path)
    if rule.pattern is not None and re.fullmatch(rule.pattern, value) is None:
        _fail(ErrorKind.INVALID_VALUE, path, f"must be {says or f'a text that matches {rule.pattern}'}.")


def _check_moment(value: str, path: Path) -> None:
    try:
        msgspec.convert(value, _MOMENT)
    except msgspec.ValidationError:
        _fail(ErrorKind.INVALID_VALUE, path, "must be a time with its offset, such as 2030-12-31T23:59:59Z.")


def _check_length(length: int, least: int | None, most: int | None, of_what: str, path: Path) -> None:
    if least is not None and length < least:
        problem = "must not be empty." if least == 1 else f"must have at least {least} {of_what}."
        _fail(ErrorKind.INVALID_VALUE, path, problem)
    if most is not None and length > most:
        _fail(ErrorKind.INVALID_VALUE, path, f"must have at most {most} {of_what}.")


def _check_range(value: float, rule: mi.IntType | mi.FloatType, path: Path) -> None:
    too_small = (rule.ge is not None and value < rule.ge) or (rule.gt is not None and value <= rule.gt)
    if too_small or (rule.le is not None and value > rule.le):
        least = f"at least {rule.ge}" if rule.gt is None else f"greater than {rule.gt}"
        both = f"between {rule.ge} and {rule.le}" if rule.gt is None else f"{least} and at most {rule.le}"
        _fail(ErrorKind.INVALID_VALUE, path, f"must be {least if rule.le is None else both}.")


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _alternatives(words: Sequence[str]) -> str:
    return " | ".join(f"'{word}'" for word in words)
