"""Models as Anthropic's clients list them: they say their `anthropic-version`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from orchestrator.api.errors import HttpRequest
from orchestrator.core.models import Model

VERSION_HEADER: Final = "anthropic-version"
_UNKNOWN: Final = datetime.fromtimestamp(0, UTC)
"""What that dialect says of a model whose release nobody knows."""


class AnthropicModel(Struct, frozen=True, tag_field="type", tag="model"):
    """A model that can be asked for messages."""

    id: str
    display_name: str
    max_input_tokens: int | None
    max_tokens: int | None
    created_at: datetime = _UNKNOWN
    lifecycle: Literal["active"] = "active"


class AnthropicModels(Struct, frozen=True):
    """All of them, on one page."""

    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: Literal[False] = False


def asks_as_anthropic(request: HttpRequest) -> bool:
    """Whether the client is one of Anthropic's."""
    return VERSION_HEADER in request.headers


def anthropic_model(id: str, model: Model) -> AnthropicModel:
    """The entry of `model`, by the id that it was asked for with."""
    return AnthropicModel(id, model.display_name, model.max_context_length, model.max_context_length)


def anthropic_models(models: Sequence[Model]) -> AnthropicModels:
    """The list of them; embedding models make no messages."""
    found = [anthropic_model(model.key, model) for model in models if model.type == "llm"]
    ids = [each.id for each in found]
    return AnthropicModels(found, ids[0] if ids else None, ids[-1] if ids else None)
