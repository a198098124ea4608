"""`/api/v1/responses`: the graph of stored responses. All of it is an extension."""

from collections.abc import Sequence
from typing import Final, get_args

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.chat import RESPONSE_ID_HEADER, wants_extensions
from orchestrator.api.cursors import cursor_place, cursor_text
from orchestrator.api.encode import wire_events
from orchestrator.api.encode_graph import chain_reply, detail_reply, list_reply
from orchestrator.api.errors import ACCEPTED, OK, HttpRequest
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream, frames, last_frame
from orchestrator.api.wire_graph import CancellationReply, DeletionReply
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import ResponseStatus
from orchestrator.core.search import parse_query
from orchestrator.ports import ResponseFilter
from orchestrator.ports.audit import plugin_of
from orchestrator.service.callers import Caller
from orchestrator.service.graph import GraphService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.retelling import TellingService

RESPONSES_PATH: Final = "/api/v1/responses"
RESPONSE_PATH: Final = RESPONSES_PATH + "/{response_id:str}"

CHAIN_PAGE: Final = (100, 500)
TREE_PAGE: Final = (500, 2_000)
LIST_PAGE: Final = (20, 100)
"""How many to a page where nobody says, and at most."""

FILTERS: Final = (
    *("owner", "model", "status", "metadata.", "plugin", "server_label", "tool", "from", "to", "text"),
    *("order", "limit", "cursor"),
)
STATUSES: Final[Sequence[ResponseStatus]] = get_args(ResponseStatus)


def response_routes(
    graph: GraphService, tellings: TellingService, authenticator: Authenticator, *, keep_alive_seconds: float
) -> list[HTTPRouteHandler]:
    """The routes; `keep_alive_seconds` is how long a stream may be silent."""

    @get(RESPONSES_PATH)
    async def list_responses(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, FILTERS)
        oldest_first = query.choice("order", ("desc", "asc")) == "asc"
        after = cursor_place(query.text("cursor"), 1)
        page = await graph.list(
            _filter(query),
            query.text("owner"),
            caller,
            None if after is None else after[0],
            query.number("limit", *LIST_PAGE),
            oldest_first=oldest_first,
        )
        return json_reply(list_reply(page.items, None if page.next is None else cursor_text(page.next)))

    @get(RESPONSE_PATH)
    async def response(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("owner", "stream"))
        if query.boolean("stream"):
            return await _stream(tellings, response_id, request, caller, keep_alive_seconds)
        detail = await graph.detail(response_id, query.text("owner"), caller)
        return json_reply(detail_reply(detail), headers={RESPONSE_ID_HEADER: detail.response.id})

    @get(RESPONSE_PATH + "/chain")
    async def chain(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("owner", "limit", "cursor"))
        first = cursor_place(query.text("cursor"), 1)
        limit = query.number("limit", *CHAIN_PAGE)
        start = 0 if first is None else first[0]
        page = await graph.chain(response_id, query.text("owner"), caller, start, limit)
        return json_reply(chain_reply(page.items, None if page.next is None else cursor_text(page.next)))

    @get(RESPONSE_PATH + "/tree")
    async def tree(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("owner", "limit", "cursor"))
        place = cursor_place(query.text("cursor"), 2)
        after = None if place is None else (place[0], place[1])
        limit = query.number("limit", *TREE_PAGE)
        nodes, following = await graph.tree(response_id, query.text("owner"), caller, after, limit)
        return json_reply(list_reply(nodes, None if following is None else cursor_text(*following)))

    @delete(RESPONSE_PATH, status_code=OK)
    async def delete_response(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        subtree = Query(request, ("subtree",)).boolean("subtree")
        deleted = await graph.delete(response_id, caller, subtree=subtree)
        return json_reply(
            DeletionReply(
                response_id=response_id,
                deleted=True,
                deleted_responses=list(deleted.deleted),
                kept_by=list(deleted.kept_by),
            )
        )

    @post(RESPONSE_PATH + "/cancel")
    async def cancel(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        Query(request, ())
        status = await graph.cancel(response_id, caller)
        reply = CancellationReply(response_id=response_id, status=status)
        return json_reply(reply, status=ACCEPTED if status == "in_progress" else OK)

    return [list_responses, response, chain, tree, delete_response, cancel]


async def _stream(
    tellings: TellingService, response_id: str, request: HttpRequest, caller: Caller, keep_alive_seconds: float
) -> ASGIResponse:
    """The stream of a response again, from behind the last event that its client had."""
    after = _last_event_id(request)
    run = await tellings.follow(response_id, caller)
    if isinstance(run, LiveRun) or after is None:
        told = frames(run, wire_events, extensions=wants_extensions(request), after=after or 0)
    else:
        told = last_frame(run, wire_events, after=after)
    return RunStream(run, {RESPONSE_ID_HEADER: response_id}, keep_alive_seconds, told, lasting=True)


def _last_event_id(request: HttpRequest) -> int | None:
    text = request.headers.get("last-event-id")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = "'Last-Event-ID' must be the id of an event of this stream, a whole number."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="Last-Event-ID")
    return int(text)


def _filter(query: Query) -> ResponseFilter:
    text = query.text("text")
    metadata = query.under("metadata.")
    if any(not key for key, _ in metadata):
        raise OrchestratorError(
            ErrorKind.INVALID_VALUE, "'metadata.' wants a key: metadata.<key>=<value>.", param="metadata."
        )
    plugin = query.text("plugin")
    return ResponseFilter(
        owner=None,
        model_key=query.text("model"),
        status=query.choice("status", STATUSES),
        metadata=metadata,
        plugin_id=None if plugin is None else plugin_of(plugin),
        server_label=query.text("server_label"),
        tool=query.text("tool"),
        created_from=query.moment("from"),
        created_until=query.moment("to"),
        text=() if text is None else parse_query(text, param="text"),
    )
