"""Wire structs, and what is made of them, as JSON text."""

import json

import msgspec


def json_bytes(value: object) -> bytes:
    """The JSON text of `value`, in UTF-8 and on one line.

    Models and tools can put lone surrogates into texts, which UTF-8 cannot carry: they go out as escapes.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"), ensure_ascii=True).encode()
