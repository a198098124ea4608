"""The forms in which clients write one and the same request, made into one; and what is Anthropic's platform's alone.

Clients send `null` for what they leave out, and tools without their `type`.
"""

from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue

_VERBATIM: Final = frozenset({"input_schema", "schema", "input", "input_examples", "headers"})
"""What stands below these keys is the client's own, nulls and all."""

_ELSEWHERE: Final = {
    "container": "containers of Anthropic's code execution",
    "context_management": "context that the server edits",
    "compaction": "compaction by the server",
    "diagnostics": "diagnostics of Anthropic's cache",
    "fallbacks": "fallback models",
    "fallback_credit_token": "fallback credits",
    "billing_policy": "billing",
    "inference_geo": "a choice of regions: the model runs where this service is",
    "user_profile_id": "user profiles",
    "workspace_id": "workspaces",
}
_BLOCKS: Final = frozenset(
    {
        *("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"),
        *("mcp_tool_use", "mcp_tool_result"),
    }
)
_TOOLS: Final = frozenset({"custom", "mcp_toolset"})
_SHOWN: Final = 64


def plain_request(body: JsonValue) -> JsonValue:
    """`body` as the decoder takes it.

    Raises:
        OrchestratorError: `invalid_value` for what is offered by Anthropic's own platform alone.
    """
    if not isinstance(body, dict):
        return body
    body = _without_nulls(body)
    for name, what in _ELSEWHERE.items():
        if name in body:
            raise _elsewhere(name, what)
    tools = body.get("tools")
    if isinstance(tools, list):
        body["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    messages = body.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            _check_blocks(message.get("content"), f"messages.{index}.content")
    wanted = body.pop("output_format", None)  # what `output_config.format` was called in its beta
    config = body.get("output_config", {})
    if wanted is not None and isinstance(config, dict):
        body["output_config"] = {"format": wanted, **config}
    return body


def _tool(tool: JsonValue, path: str) -> JsonValue:
    if not isinstance(tool, dict):
        return tool
    kind = tool.get("type", "custom")
    if isinstance(kind, str) and kind not in _TOOLS:
        raise _elsewhere(f"{path}.type", f"'{kind[:_SHOWN]}', a tool of Anthropic's own. MCP servers bring tools here")
    return {**_undeferred(tool, path), "type": kind}


def _undeferred(tool: JsonObject, path: str) -> JsonObject:
    """`tool` without its `defer_loading`, which may only be false."""
    kept = {name: value for name, value in tool.items() if name != "defer_loading"}
    if tool.get("defer_loading", False) is not False:
        raise _elsewhere(f"{path}.defer_loading", "tools that are searched for: all that is sent is offered at once")
    for name in ("default_config", "configs"):
        below = kept.get(name)
        if isinstance(below, dict) and tool.get("type") == "mcp_toolset":
            kept[name] = (
                _undeferred(below, f"{path}.{name}")
                if name == "default_config"
                else {
                    key: _undeferred(item, f"{path}.configs.{key[:_SHOWN]}") if isinstance(item, dict) else item
                    for key, item in below.items()
                }
            )
    return kept


def _check_blocks(content: JsonValue, path: str) -> None:
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        if isinstance(kind, str) and kind not in _BLOCKS:
            raise _elsewhere(f"{path}.{index}.type", f"blocks of the type '{kind[:_SHOWN]}'")
        if kind == "tool_result":
            _check_blocks(block.get("content"), f"{path}.{index}.content")


def _elsewhere(path: str, what: str) -> OrchestratorError:
    message = f'"{path}" is not supported here: {what}.'
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=path)


def _without_nulls(value: JsonObject) -> JsonObject:
    return {key: item if key in _VERBATIM else _cleaned(item) for key, item in value.items() if item is not None}


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return _without_nulls(value)
    return [_cleaned(item) for item in value] if isinstance(value, list) else value
