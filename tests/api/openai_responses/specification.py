"""What the Open Responses specification says of a response, an item and an event: fields, and what they may hold.

Source: https://www.openresponses.org/specification and its schema (openresponses/openresponses, `schema/*.tsp`).
"""

from typing import Any, Final

NUMBER: Final = (int, float)
NONE: Final = type(None)

RESPONSE: Final[dict[str, Any]] = {
    "id": str,
    "object": "response",
    "created_at": int,
    "completed_at": (int, NONE),
    "status": str,
    "incomplete_details": (dict, NONE),
    "model": str,
    "previous_response_id": (str, NONE),
    "instructions": (str, NONE),
    "output": list,
    "error": (dict, NONE),
    "tools": list,
    "tool_choice": (str, dict),
    "truncation": {"auto", "disabled"},
    "parallel_tool_calls": bool,
    "text": dict,
    "top_p": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "top_logprobs": int,
    "temperature": NUMBER,
    "reasoning": (dict, NONE),
    "usage": (dict, NONE),
    "max_output_tokens": (int, NONE),
    "max_tool_calls": (int, NONE),
    "store": bool,
    "background": bool,
    "service_tier": str,
    "metadata": dict,
    "safety_identifier": (str, NONE),
    "prompt_cache_key": (str, NONE),
}
STATES: Final = {"in_progress", "completed", "incomplete"}
ITEMS: Final[dict[str, dict[str, Any]]] = {
    "message": {"id": str, "status": STATES, "role": {"user", "assistant", "system", "developer"}, "content": list},
    "function_call": {"id": str, "call_id": str, "name": str, "arguments": str, "status": STATES},
    "function_call_output": {"id": str, "call_id": str, "output": (str, list), "status": STATES},
    "reasoning": {"id": str, "summary": list},
}
PARTS: Final[dict[str, dict[str, Any]]] = {
    "output_text": {"text": str, "annotations": list},
    "input_text": {"text": str},
    "summary_text": {"text": str},
    "reasoning_text": {"text": str},
    "refusal": {"refusal": str},
}
TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "name": str,
    "description": (str, NONE),
    "parameters": (dict, NONE),
    "strict": (bool, NONE),
}
_OF_PART: Final[dict[str, Any]] = {"item_id": str, "output_index": int, "content_index": int}
_OF_SUMMARY: Final[dict[str, Any]] = {"item_id": str, "output_index": int, "summary_index": int}
EVENTS: Final[dict[str, dict[str, Any]]] = {
    **{
        f"response.{name}": {"response": dict}
        for name in ("created", "queued", "in_progress", "completed", "failed", "incomplete")
    },
    **{f"response.output_item.{name}": {"output_index": int, "item": dict} for name in ("added", "done")},
    **{f"response.content_part.{name}": {**_OF_PART, "part": dict} for name in ("added", "done")},
    "response.output_text.delta": {**_OF_PART, "delta": str, "logprobs": list},
    "response.output_text.done": {**_OF_PART, "text": str, "logprobs": list},
    "response.function_call_arguments.delta": {"item_id": str, "output_index": int, "delta": str},
    "response.function_call_arguments.done": {"item_id": str, "output_index": int, "arguments": str},
    **{f"response.reasoning_summary_part.{name}": {**_OF_SUMMARY, "part": dict} for name in ("added", "done")},
    "response.reasoning_summary_text.delta": {**_OF_SUMMARY, "delta": str},
    "response.reasoning_summary_text.done": {**_OF_SUMMARY, "text": str},
    "response.reasoning.delta": {**_OF_PART, "delta": str},
    "response.reasoning.done": {**_OF_PART, "text": str},
    "error": {"error": dict},
}
USAGE: Final[dict[str, Any]] = {
    "input_tokens": int,
    "output_tokens": int,
    "total_tokens": int,
    "input_tokens_details": dict,
    "output_tokens_details": dict,
}


def _holds(value: Any, rule: Any) -> bool:
    if isinstance(rule, set):
        return value in rule
    if isinstance(rule, str):
        return value == rule
    kinds: tuple[Any, ...] = rule if isinstance(rule, tuple) else (rule,)  # pyright: ignore[reportUnknownVariableType] - rules are of many kinds
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _fields(value: Any, rules: dict[str, Any], path: str) -> list[str]:
    return [
        f"{path}.{name}: {value.get(name, 'missing')!r}"
        for name, rule in rules.items()
        if name not in value or not _holds(value[name], rule)
    ]


def _of_kind(value: Any, kinds: dict[str, dict[str, Any]], path: str) -> list[str]:
    rules = kinds.get(value.get("type"))
    return [f"{path}.type: {value.get('type')!r}"] if rules is None else _fields(value, rules, path)


def item_problems(item: Any, path: str) -> list[str]:
    """What the specification does not allow of an item."""
    problems = _of_kind(item, ITEMS, path)
    for name in ("content", "summary"):
        for place, part in enumerate(item.get(name) or ()):
            problems += _of_kind(part, PARTS, f"{path}.{name}.{place}")
    return problems


def response_problems(response: Any) -> list[str]:
    """What the specification does not allow of a response."""
    problems = _fields(response, RESPONSE, "response")
    for place, item in enumerate(response.get("output") or ()):
        problems += item_problems(item, f"output.{place}")
    for place, tool in enumerate(response.get("tools") or ()):
        problems += _fields(tool, TOOL, f"tools.{place}")
    return problems + (_fields(response["usage"], USAGE, "usage") if response.get("usage") else [])


def event_problems(event: Any) -> list[str]:
    """What the specification does not allow of an event."""
    path = f"event {event.get('sequence_number')}"
    problems = _of_kind(event, EVENTS, path) + _fields(event, {"sequence_number": int}, path)
    if "response" in event:
        problems += response_problems(event["response"])
    return problems + (item_problems(event["item"], path) if event.get("item") else [])
