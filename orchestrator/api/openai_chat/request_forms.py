"""What OpenAI's bodies may have and is not served here: said by its name, before the body is read."""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue

_PARTS: Final[Mapping[str, str]] = {
    "file": "documents are not read here: send their text, or pictures of their pages",
    "input_audio": "sound is not heard here: send the text of what is said",
}
_ROLES: Final[Mapping[str, str]] = {
    "function": "that is the older form of calls: send a message of the role 'tool' with its 'tool_call_id'",
}
_TOOLS: Final[Mapping[str, str]] = {
    "custom": "tools that take any text are not offered here: offer a 'function' with one text as its parameter",
}
_IDLE: Final[Mapping[str, Sequence[JsonValue]]] = {
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none",),
    "functions": ([],),
    "suffix": ("",),
    "verbosity": ("medium",),
}
"""Values that ask for what happens anyway."""


def plain_request(body: JsonValue) -> JsonValue:
    """`body` without what asks for nothing.

    Raises:
        OrchestratorError: `invalid_value` for what OpenAI serves and this service does not.
    """
    if not isinstance(body, dict):
        return body
    _check_kinds(body.get("tools"), "tools", "type", _TOOLS)
    _check_kinds(body.get("messages"), "messages", "role", _ROLES)
    for at, message in enumerate(_objects(body.get("messages"))):
        _check_kinds(message.get("content"), f"messages.{at}.content", "type", _PARTS)
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise _wrong("stream_options", '"stream_options" needs "stream": true.')
    return {name: value for name, value in body.items() if not _is_idle(name, value)}


def _is_idle(name: str, value: JsonValue) -> bool:
    return any(type(value) is type(idle) and value == idle for idle in _IDLE.get(name, ()))


def _objects(entries: JsonValue) -> list[JsonObject]:
    return [entry if isinstance(entry, dict) else {} for entry in (entries if isinstance(entries, list) else ())]


def _check_kinds(entries: JsonValue, path: str, field: str, elsewhere: Mapping[str, str]) -> None:
    for at, entry in enumerate(_objects(entries)):
        kind = entry.get(field)
        if isinstance(kind, str) and kind in elsewhere:
            where = f"{path}.{at}.{field}"
            raise _wrong(where, f"\"{where}\" is '{kind}': {elsewhere[kind]}.")


def _wrong(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
