"""MCP's results and tool definitions as the core has them. Pure: JSON in, values out.

A result is read from the JSON that the server sent, not from a model of it: what the protocol does
not know yet is kept, and nothing is added.
"""

import json
import math
from collections.abc import Mapping

from mcp_types import Tool

from orchestrator.core.content import described
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.tools import ToolAnnotations, ToolDefinition, ToolResult
from orchestrator.integrations.unknown_content import as_sent

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def tool_result(raw: JsonObject) -> ToolResult:
    """The result of `tools/call` as the journal, the wire and the model have it.

    https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-result
    """
    content = raw.get("content")
    parts = [as_sent(part) for part in content] if isinstance(content, list) else []
    structured = raw.get("structuredContent")
    structured_text = None if structured is None else json_text(structured)
    text = "\n".join(described(part) for part in parts) if parts else structured_text or ""
    return ToolResult(json_text(parts), storable_text(text), raw.get("isError") is True, structured_text)


def tool_definition(tool: Tool) -> ToolDefinition:
    """A listed tool as the core has it; the title is the tool's, or else its annotations'."""
    hints = tool.annotations
    return ToolDefinition(
        name=tool.name,
        description=storable_text(tool.description or ""),
        input_schema=_clean_object(tool.input_schema),
        title=tool.title or (hints.title if hints is not None else None),
        output_schema=None if tool.output_schema is None else _clean_object(tool.output_schema),
        annotations=ToolAnnotations()
        if hints is None
        else ToolAnnotations(
            read_only=hints.read_only_hint,
            destructive=hints.destructive_hint,
            idempotent=hints.idempotent_hint,
            open_world=hints.open_world_hint,
        ),
    )


def json_text(value: JsonValue) -> str:
    """The JSON text of `value`, keys in their order; always UTF-8 and always JSON.

    Halves of surrogate pairs become U+FFFD, and what is no JSON number becomes null.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except ValueError:  # UnicodeEncodeError is one
        return json.dumps(clean(value), ensure_ascii=False, separators=(",", ":"))
    return text


def storable_text(text: str) -> str:
    """`text` without NUL characters and halves of surrogate pairs, which databases and UTF-8 refuse."""
    return text.replace("\0", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean(value: JsonValue) -> JsonValue:
    """`value` with every text in UTF-8's reach and every number in JSON's."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [clean(item) for item in value]
        case dict():
            return _clean_object(value)
        case _:
            return value


def _clean_object(value: Mapping[str, JsonValue]) -> JsonObject:
    return {
        key.encode("utf-16", "surrogatepass").decode("utf-16", "replace"): clean(item) for key, item in value.items()
    }
