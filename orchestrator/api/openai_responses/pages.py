"""Lists of items, a page at a time, as OpenAI pages."""

from collections.abc import Sequence
from typing import Final, get_args

from orchestrator.api.decode import shown
from orchestrator.api.errors import HttpRequest
from orchestrator.api.openai_responses.wire_requests import Include
from orchestrator.api.openai_responses.wire_response import ItemList, ResponseItem
from orchestrator.api.query import Query
from orchestrator.core.errors import ErrorKind, OrchestratorError

PAGE: Final = (20, 100)
"""How many to a page where nobody says, and at most."""
INCLUDABLE: Final[tuple[str, ...]] = get_args(Include)
PARAMETERS: Final = ("limit", "order", "after", "include", "include[]")


def check_included(query: Query) -> None:
    """That what a reader wants included is something that can be.

    Raises:
        OrchestratorError: `invalid_value`, which lists what there is.
    """
    for value in query.listed("include"):
        if value not in INCLUDABLE:
            message = f"'include' has '{shown(value)}'; there are {', '.join(INCLUDABLE)}."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="include")


def page_of(items: Sequence[ResponseItem], request: HttpRequest) -> ItemList:
    """The page of `items`, which stand oldest first, that the query asks for; the newest come first unless it says so.

    Raises:
        OrchestratorError: `invalid_value` on a parameter.
    """
    query = Query(request, PARAMETERS)
    check_included(query)
    limit = query.number("limit", *PAGE)
    ordered = list(items) if query.choice("order", ("desc", "asc")) == "asc" else list(reversed(items))
    after = query.text("after")
    if after is not None:
        place = next((place for place, item in enumerate(ordered) if item.id == after), None)
        if place is None:
            message = f"There is no item '{after[:300]}' in this list."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="after")
        ordered = ordered[place + 1 :]
    page = ordered[:limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return ItemList(page, first, last, has_more=len(ordered) > limit)
