"""Models as Anthropic's clients list them: they say their `anthropic-version`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from orchestrator.api.errors import HttpRequest
from orchestrator.api.query import Query
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import Model

_LIFECYCLES: Final = ("lifecycle", "lifecycle[]")
QUERY: Final = ("limit", "after_id", "before_id", *_LIFECYCLES, "beta")
"""What a list may be asked for with; whether it is a client of the beta does not matter."""
PAGE: Final = (20, 1000)
"""How many are on a page, and on the largest."""
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
    """A page of them; there may be more of them behind it, or before it where that was asked for."""

    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: bool


def anthropic_model(id: str, model: Model) -> AnthropicModel:
    """The entry of `model`, by the id that it was asked for with."""
    longest = model.max_context_length
    return AnthropicModel(id, model.display_name, longest, longest, model.modified_at or _UNKNOWN)


def anthropic_models(models: Sequence[Model], request: HttpRequest) -> AnthropicModels:
    """The page of them that is asked for; embedding models make no messages.

    Raises:
        OrchestratorError: `unrecognized_keys`, and `invalid_value` for what is no page.
    """
    query = Query(request, QUERY)
    limit, after, before = query.number("limit", *PAGE), query.text("after_id"), query.text("before_id")
    if after is not None and before is not None:
        raise _wrong("before_id", "and 'after_id' exclude each other")
    stages = [value for name, value in request.query_params.multi_items() if name in _LIFECYCLES]
    found = _entries(models) if not stages or "active" in ",".join(map(str, stages)).split(",") else []
    ids = [each.id for each in found]
    if before is not None:
        rest = found[: _place(before, ids, "before_id")]
        page = rest[-limit:]
    else:
        rest = found if after is None else found[_place(after, ids, "after_id") + 1 :]
        page = rest[:limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return AnthropicModels(page, first, last, has_more=len(page) < len(rest))


def _entries(models: Sequence[Model]) -> list[AnthropicModel]:
    """One an id: what another engine has by the same key is named with its engine."""
    found: dict[str, AnthropicModel] = {}
    for model in models:
        id = f"{model.engine}::{model.key}" if model.key in found else model.key
        if model.type == "llm":
            found[id] = anthropic_model(id, model)
    return list(found.values())


def _place(wanted: str, ids: Sequence[str], name: str) -> int:
    if wanted not in ids:
        raise _wrong(name, "is the id of no model in the list")
    return ids.index(wanted)


def _wrong(name: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{name}" {problem}.', param=name)
