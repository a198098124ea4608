"""What is looked at in a body before it is parsed: how deep, how much, and no key twice.

A parser takes the last of two values of a key, and others the first: whoever checks a request in front of
this service would check another one. One walk over the tokens, in linear time; it knows JSON only as
far as it has to, because what is not JSON is refused by the parser.
"""

import re
from typing import Final

import msgspec

from orchestrator.core.errors import ErrorInfo, ErrorKind

_TOKENS: Final = re.compile(rb'"((?:[^"\\]++|\\.)*+)"?+([ \t\r\n]*+:)?|[\[\]{},]', re.DOTALL)
# A text without an end is one token all the same: to look for the next one inside of it would take quadratic time.
_SHOWN: Final = 64


def shape_problem(body: bytes, max_depth: int, max_values: int) -> ErrorInfo | None:
    """What is wrong with the shape of a JSON text, if anything.

    Of `invalid_json` for nesting beyond `max_depth` and for a key that stands twice in one object, of
    `request_too_large` for more than `max_values` items in its arrays and objects.
    """
    objects: list[set[bytes] | None] = []
    values = 0
    for token in _TOKENS.finditer(body):
        match token[0][:1]:
            case b'"':
                keys = objects[-1] if objects else None
                if token[2] is None or keys is None:
                    continue
                key = _unescaped(token[1])
                if key in keys:
                    return ErrorInfo(ErrorKind.INVALID_JSON, _twice(key))
                keys.add(key)
            case b"," | b"[" | b"{":
                values += 1
                if values > max_values:
                    message = f"The body has more than {max_values} values, the most that are taken here."
                    return ErrorInfo(ErrorKind.REQUEST_TOO_LARGE, message)
                if token[0] == b",":
                    continue
                objects.append(set() if token[0] == b"{" else None)
                if len(objects) > max_depth:
                    message = f"The body is nested more than {max_depth} deep, the most that is taken here."
                    return ErrorInfo(ErrorKind.INVALID_JSON, message)
            case _:
                if objects:
                    objects.pop()
    return None


def _unescaped(key: bytes) -> bytes:
    """The key as it is meant: two ways to write one character are one key."""
    if b"\\" not in key:
        return key
    try:
        return msgspec.json.decode(b'"' + key + b'"', type=str).encode()
    except (msgspec.DecodeError, UnicodeError):  # the parser will say so
        return key


def _twice(key: bytes) -> str:
    text = key.decode("utf-8", "replace")
    clean = "".join(character if character.isprintable() else "�" for character in text[:_SHOWN])
    return f"The body is not valid JSON: the key '{clean}' stands twice in one object."
