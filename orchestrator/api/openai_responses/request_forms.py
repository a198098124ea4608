"""The forms in which clients write one and the same request, made into one.

OpenAI's clients send `null` for what they leave out, messages and references without their `type`, and settings that
only say what is so anyhow.
"""

from collections.abc import Mapping
from typing import Final

from orchestrator.api.openai_responses.elsewhere import check_what_is_here
from orchestrator.core.json_types import JsonObject, JsonValue

_VERBATIM: Final = frozenset({"parameters", "schema", "metadata", "headers"})
"""What stands below these keys is the client's own, nulls and all."""

_IDLE: Final[Mapping[str, JsonValue]] = {"top_logprobs": 0}
_IDLE_OF_TOOLS: Final[Mapping[str, JsonValue]] = {"defer_loading": False, "allowed_callers": ["direct"]}
"""Values that ask for what happens anyway."""


def plain_request(body: JsonValue) -> JsonValue:
    """`body` as the decoder takes it.

    Raises:
        OrchestratorError: it asks for something that only OpenAI's platform has.
    """
    if not isinstance(body, dict):
        return body
    body = _without_nulls(body)
    body = _active(body, _IDLE)
    tools = body.get("tools")
    if isinstance(tools, list):
        body["tools"] = [_active(tool, _IDLE_OF_TOOLS) if isinstance(tool, dict) else tool for tool in tools]
    for name in ("input", "items"):
        listed = body.get(name)
        if isinstance(listed, list):
            body[name] = [_typed(item) for item in listed]
    check_what_is_here(body)
    return body


def _active(value: JsonObject, idle: Mapping[str, JsonValue]) -> JsonObject:
    """`value` without what asks for nothing; `False` is no 0 there."""
    return {
        name: said
        for name, said in value.items()
        if name not in idle or type(said) is not type(idle[name]) or said != idle[name]
    }


def _without_nulls(value: JsonObject) -> JsonObject:
    return {key: item if key in _VERBATIM else _cleaned(item) for key, item in value.items() if item is not None}


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return _without_nulls(value)
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def _typed(item: JsonValue) -> JsonValue:
    if not isinstance(item, dict) or "type" in item:
        return item
    if "role" in item:
        return {"type": "message", **item}
    return {"type": "item_reference", **item} if set(item) == {"id"} else item
