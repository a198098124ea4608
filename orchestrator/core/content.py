"""What a text model reads of the content that MCP servers send. Pure: JSON in, text out."""

import json
from typing import cast

from orchestrator.core.json_types import JsonObject, JsonValue


def content_text(content: str) -> str:
    """What a text model reads of `content`, the JSON text of a content array: its parts, joined by newlines."""
    return "\n".join(described(part) for part in cast("list[JsonValue]", json.loads(content)))


def described(part: JsonValue) -> str:
    """What a text model can read of a part of the content."""
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image" | "audio" as kind, "data": str(data)}:
            return f"[{kind}, {_word(part, 'mimeType', 'unknown type')}, {_decoded_size(data)} bytes]"
        case {"type": "resource_link", "uri": str(uri)}:
            link = f"[resource link, {_word(part, 'name', 'unnamed')}, {uri}]"
            description = part.get("description")
            return f"{link} {description}" if isinstance(description, str) and description else link
        case {"type": "resource", "resource": {"text": str(text)}}:
            return text
        case {"type": "resource", "resource": {"blob": str(data)} as resource}:
            kind = _word(resource, "mimeType", "unknown type")
            return f"[resource, {_word(resource, 'uri', 'no uri')}, {kind}, {_decoded_size(data)} bytes]"
        case {"type": str(kind)}:
            return f"[content of type {kind}]"
        case _:
            return "[content of unknown type]"


def _word(part: JsonObject, key: str, default: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) and value else default


def _decoded_size(data: str) -> int:
    """The number of bytes that base64 `data` stands for."""
    return len(data.rstrip("=")) * 3 // 4
