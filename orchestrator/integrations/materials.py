"""MCP's resources and prompts as the core has them. Pure: JSON in, values out."""

import mcp_types as types

from orchestrator.core.content import described
from orchestrator.core.items import PromptSpeaker
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.materials import Piece, Prompt, PromptArgument, Resource, ResourceTemplate
from orchestrator.integrations.results import clean, storable_text
from orchestrator.integrations.unknown_content import as_sent


def resource(listed: types.Resource) -> Resource:
    """A listed resource."""
    return Resource(
        storable_text(listed.uri),
        storable_text(listed.name),
        _text(listed.title),
        _text(listed.description),
        _text(listed.mime_type),
        listed.size,
    )


def resource_template(listed: types.ResourceTemplate) -> ResourceTemplate:
    """A listed template of resources."""
    return ResourceTemplate(
        storable_text(listed.uri_template),
        storable_text(listed.name),
        _text(listed.title),
        _text(listed.description),
        _text(listed.mime_type),
    )


def prompt(listed: types.Prompt) -> Prompt:
    """A listed prompt."""
    arguments = tuple(
        PromptArgument(storable_text(one.name), _text(one.description), bool(one.required))
        for one in listed.arguments or ()
    )
    return Prompt(storable_text(listed.name), _text(listed.title), _text(listed.description), arguments)


def resource_pieces(raw: JsonObject) -> tuple[Piece, ...]:
    """The result of `resources/read`.

    https://modelcontextprotocol.io/specification/2025-11-25/server/resources#reading-resources
    """
    contents = raw.get("contents")
    parts = contents if isinstance(contents, list) else []
    return tuple(_piece({"type": "resource", "resource": part}, part=part) for part in parts)


def prompt_pieces(raw: JsonObject) -> tuple[Piece, ...]:
    """The result of `prompts/get`, each piece with who speaks.

    https://modelcontextprotocol.io/specification/2025-11-25/server/prompts#getting-a-prompt
    """
    messages = raw.get("messages")
    pieces: list[Piece] = []
    for message in messages if isinstance(messages, list) else []:
        match message:
            case {"content": content, "role": role}:
                content = as_sent(content)
                speaker: PromptSpeaker = "assistant" if role == "assistant" else "user"
                pieces.append(_piece(content, speaker, part=content))
            case _:
                pass
    return tuple(pieces)


def _piece(shown: JsonValue, speaker: PromptSpeaker = "user", *, part: JsonValue) -> Piece:
    sent = clean(part)
    return Piece(storable_text(described(shown)), _picture(shown), speaker, sent if isinstance(sent, dict) else None)


def _picture(part: JsonValue) -> str | None:
    """The picture that a part is, as a `data:` URL."""
    match part:
        case {"type": "image", "data": str(data), "mimeType": str(kind)}:
            pass
        case {"type": "resource", "resource": {"blob": str(data), "mimeType": str(kind)}}:
            pass
        case _:
            return None
    kind = kind.partition(";")[0].strip().lower()
    return f"data:{kind};base64,{data}" if kind.startswith("image/") and data.isascii() else None


def _text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
