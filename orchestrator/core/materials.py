"""What servers have beside tools: resources and prompts, and how they become input of a request."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.core.items import ImageInput, InputItem, Origin, OriginKind, PromptSpeaker, ProviderInfo, TextInput
from orchestrator.core.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that a server lists; `size` in bytes. None is what it does not tell."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ResourceTemplate:
    """A family of resources; `uri_template` follows RFC 6570."""

    uri_template: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """What can be filled into a prompt."""

    name: str
    description: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that a server offers to its users."""

    name: str
    title: str | None = None
    description: str | None = None
    arguments: tuple[PromptArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a resource or of a prompt: what a text model reads of it, and the picture where it is one.

    `part` is it as the server sent it: an entry of MCP's `contents`, or a message's `content`.
    """

    text: str
    data_url: str | None = None
    speaker: PromptSpeaker = "user"
    part: JsonObject | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Material:
    """What a request took from a server: the resource of a URI, or the prompt of a name, whole."""

    kind: OriginKind
    name: str
    pieces: tuple[Piece, ...]


MaterialList: TypeAlias = Literal["tools", "resources", "prompts"]
"""The lists of a server that may change while it runs."""


def material_items(provider: ProviderInfo, materials: Iterable[Material], *, vision: bool) -> tuple[InputItem, ...]:
    """`materials` as input items marked by their origin; pictures are described where the model sees none."""
    items: list[InputItem] = []
    for material in materials:
        origin = Origin(provider, material.kind, material.name)
        for piece in material.pieces:
            # Whoever speaks in a picture, only users' messages hold any.
            if vision and piece.data_url is not None:
                items.append(ImageInput(piece.data_url, origin))
            else:
                items.append(TextInput(piece.text, origin, piece.speaker))
    return tuple(items)
