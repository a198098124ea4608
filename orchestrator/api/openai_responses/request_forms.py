"""The forms in which clients write one and the same request, made into one.

OpenAI's clients send `null` for what they leave out, messages and references without their `type`, and settings that
only say what is so anyhow.
"""

from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue

_VERBATIM: Final = frozenset({"parameters", "schema", "metadata", "headers"})
"""What stands below these keys is the client's own, nulls and all."""

_ELSEWHERE: Final = {
    "prompt": "stored prompts",
    "context_management": "compaction by the server: use POST /v1/responses/compact",
    "moderation": "moderation",
    "image": "making pictures",
    "access_programs": "access programs",
    "background_options": "windows for background work",
    "prompt_cache_options": "settings of the prompt cache, which needs none",
}


def plain_request(body: JsonValue) -> JsonValue:
    """`body` as the decoder takes it.

    Raises:
        OrchestratorError: `not_implemented` for a field of OpenAI's that means something which is not here.
    """
    if not isinstance(body, dict):
        return body
    body = _without_nulls(body)
    for name, what in _ELSEWHERE.items():
        if name in body:
            message = f'"{name}" is of OpenAI\'s platform, and is not supported here: {what}.'
            raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param=name)
    for name, idle in (("presence_penalty", 0), ("frequency_penalty", 0), ("top_logprobs", 0)):
        if body.get(name) == idle and body.get(name) is not False:
            del body[name]
    for name in ("input", "items"):
        listed = body.get(name)
        if isinstance(listed, list):
            body[name] = [_typed(item) for item in listed]
    return body


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
