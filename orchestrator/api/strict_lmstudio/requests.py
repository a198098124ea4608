"""What LM Studio takes: everything else in a body is refused in its words."""

from typing import NoReturn, cast

from orchestrator.api.decode import MOST_SHOWN_KEYS, shown
from orchestrator.api.strict_lmstudio import tables
from orchestrator.api.strict_lmstudio.shaping import registered
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue


def check_load(value: JsonValue) -> None:
    """Refuse what a load does not have there.

    Raises:
        OrchestratorError: `unrecognized_keys`.
    """
    if isinstance(value, dict):
        _check_keys(value, tables.LOAD_KEYS, "")


def check_chat(value: JsonValue) -> None:
    """Refuse what a chat does not have there; types are checked as ever.

    Raises:
        OrchestratorError: `unrecognized_keys`, or `invalid_union` below `input`.
    """
    if not isinstance(value, dict):
        return
    _check_input(value.get("input"))
    integrations = value.get("integrations")
    for index, entry in enumerate(integrations if isinstance(integrations, list) else ()):
        if isinstance(entry, dict):
            known = tables.INTEGRATION_KEYS.get(cast(str, entry.get("type")) if _is_text(entry.get("type")) else "")
            if known is not None:
                _check_keys(entry, known, f"integrations.{index}")
    _check_keys(value, tables.CHAT_KEYS, "")


def check_spelling(plugin_ids: list[str]) -> None:
    """Refuse plugins that are not called as they are registered.

    Raises:
        OrchestratorError: `plugin_connection_error`.
    """
    for plugin_id in plugin_ids:
        if plugin_id != registered(plugin_id):
            message = f"It is registered as '{registered(plugin_id)}'."
            raise OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, message, param="integrations")


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str)


def _check_keys(value: JsonObject, known: frozenset[str], path: str) -> None:
    unknown = _unknown(value, known)
    if unknown:
        where = f"{path}.{unknown[0]}".lstrip(".")
        raise OrchestratorError(ErrorKind.UNRECOGNIZED_KEYS, _unrecognized(unknown), param=where)


def _check_input(value: JsonValue) -> None:
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(entry, dict):
            continue
        kind = entry.get("type")
        if not isinstance(kind, str) or kind not in tables.INPUT_KEYS:
            tags = " | ".join(f"'{tag}'" for tag in tables.INPUT_KEYS)
            _refuse_input(f"Invalid discriminator value. Expected {tags}")
        key = tables.INPUT_KEYS[kind]
        unknown = _unknown(entry, frozenset({"type", key}))
        problems = [] if key in entry else [f"'input.{index}.{key}' is required"]
        if unknown:
            problems.append(_unrecognized(unknown))
        if problems:
            _refuse_input(", ".join(problems))


def _refuse_input(message: str) -> NoReturn:
    raise OrchestratorError(ErrorKind.INVALID_UNION, message, param="input")


def _unknown(value: JsonObject, known: frozenset[str]) -> list[str]:
    return [shown(key) for key in value if key not in known][:MOST_SHOWN_KEYS]


def _unrecognized(keys: list[str]) -> str:
    return "Unrecognized key(s) in object: " + ", ".join(f"'{key}'" for key in keys)
