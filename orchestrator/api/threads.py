"""`/api/v1/threads`: the caller's threads. All of it is an extension."""

from datetime import UTC, datetime, timedelta
from typing import Final

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.cursors import cursor_place, cursor_text
from orchestrator.api.decode import decode_body
from orchestrator.api.encode_threads import thread_detail_reply, thread_entry, thread_list_reply
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.api.responses import CHAIN_PAGE, LIST_PAGE
from orchestrator.api.thread_dialect import THREAD_PREFIX
from orchestrator.api.wire_threads import ThreadBody, ThreadDeletionReply
from orchestrator.ports import Thread
from orchestrator.service.threads import ThreadService

THREADS_PATH: Final = "/api/v1/threads"
THREAD_PATH: Final = THREADS_PATH + "/{thread_id:str}"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PIECE: Final = 12
"""Hex digits of an id that one number of a cursor holds."""
_PIECES: Final = 4


def thread_routes(
    threads: ThreadService, authenticator: Authenticator, *, max_body_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes."""

    @post(THREADS_PATH, status_code=OK)
    async def create_thread(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ThreadBody)
        return json_reply(thread_entry(await threads.create(body.response_id, caller)))

    @get(THREADS_PATH)
    async def list_threads(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("limit", "cursor", "response_id"))
        place = cursor_place(query.text("cursor"), 1 + _PIECES)
        limit = query.number("limit", *LIST_PAGE)
        after = None if place is None else _after(place)
        found = await threads.list(caller, after, limit + 1, through=query.text("response_id"))
        following = cursor_text(*_place(found[limit - 1])) if len(found) > limit else None
        return json_reply(thread_list_reply(found[:limit], following))

    @get(THREAD_PATH)
    async def thread(request: HttpRequest, thread_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("limit", "cursor"))
        first = cursor_place(query.text("cursor"), 1)
        limit = query.number("limit", *CHAIN_PAGE)
        found, page = await threads.read(thread_id, caller, 0 if first is None else first[0], limit)
        return json_reply(thread_detail_reply(found, page, None if page.next is None else cursor_text(page.next)))

    @delete(THREAD_PATH, status_code=OK)
    async def delete_thread(request: HttpRequest, thread_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        subtree = Query(request, ("subtree",)).boolean("subtree")
        deleted, kept = await threads.delete(thread_id, caller, subtree=subtree)
        return json_reply(
            ThreadDeletionReply(
                thread_id=thread_id,
                deleted=True,
                deleted_responses=list(deleted.deleted),
                kept_responses=list(kept),
                kept_by=list(deleted.kept_by),
            )
        )

    return [create_thread, list_threads, thread, delete_thread]


def _place(thread: Thread) -> list[int]:
    digits = thread.id.removeprefix(THREAD_PREFIX)
    pieces = [digits[start : start + _PIECE] for start in range(0, _PIECE * _PIECES, _PIECE)]
    return [(thread.updated_at - _EPOCH) // timedelta(microseconds=1), *(int(piece, 16) for piece in pieces)]


def _after(place: tuple[int, ...]) -> tuple[datetime, str]:
    moved, *pieces = place
    return _EPOCH + timedelta(microseconds=moved), THREAD_PREFIX + "".join(f"{piece:012x}" for piece in pieces)
