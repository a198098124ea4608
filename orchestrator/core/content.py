"""What a text model reads of the content that MCP servers send. Pure: JSON in, text out."""

import json
import re
from typing import Final, cast

from orchestrator.core.json_types import JsonObject, JsonValue

_IMAGE_TYPE: Final = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,63}", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


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


def content_images(content: str) -> tuple[str, ...]:
    """The pictures in `content`, the JSON text of a content array, as `data:` URLs; what is none is left out."""
    if '"image' not in content:  # most results have none, and may be long
        return ()
    found: list[str] = []
    for part in cast("list[JsonValue]", json.loads(content)):
        match part:
            case {"type": "image", "data": str(data), "mimeType": str(kind)}:
                found.append(data_url(kind, data))
            case {"type": "resource", "resource": {"blob": str(data), "mimeType": str(kind)}}:
                found.append(data_url(kind, data))
            case _:
                pass
    return tuple(url for url in found if url)


def data_url(kind: str, data: str) -> str:
    """The `data:` URL of a picture of the MIME type `kind`; empty where that is none, or `data` no base64."""
    fits = _IMAGE_TYPE.fullmatch(kind) and _BASE64.fullmatch(data)
    return f"data:{kind.lower()};base64,{data}" if fits else ""


def _word(part: JsonObject, key: str, default: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) and value else default


def _decoded_size(data: str) -> int:
    """The number of bytes that base64 `data` stands for."""
    return len(data.rstrip("=")) * 3 // 4
