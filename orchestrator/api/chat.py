"""`POST /api/v1/chat`: decode, start a run, answer with its stream or with the fold of it.

Source: sections 1, 3 and 9 of the contract.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat_request import to_chat_request
from orchestrator.api.decode import decode_body
from orchestrator.api.departures import while_connected
from orchestrator.api.encode_threads import RESPONSES, Encoding, thread_encoding
from orchestrator.api.errors import ACCEPTED, OK, HttpRequest, answer_of
from orchestrator.api.limits import limits_of
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import EXTENSIONS_HEADER, RunStream, StreamedRun, frames
from orchestrator.api.thread_dialect import Dialect, dialect_of, in_older_words, thread_id_of
from orchestrator.api.wire_requests import ChatBody
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.response import ChatResult, Failed
from orchestrator.service.chats import ChatService
from orchestrator.service.threads import ThreadService

CHAT_PATH: Final = "/api/v1/chat"
RESPONSE_ID_HEADER: Final = "X-Response-Id"


def chat_route(
    chats: ChatService,
    threads: ThreadService,
    authenticator: Authenticator,
    *,
    usual_dialect: Dialect,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> HTTPRouteHandler:
    """The route; `keep_alive_seconds` is how long a stream may be silent.

    `usual_dialect` is that of a request whose fields are of neither.
    """

    @post(CHAT_PATH, status_code=OK)
    async def chat(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ChatBody, limits_of(request.scope))
        interactive = body.stream and wants_extensions(request)
        dialect = dialect_of(body, usual_dialect)
        wanted, encoding = to_chat_request(body, interactive=interactive), RESPONSES
        if dialect == "thread":
            place = await threads.place(thread_id_of(body), caller)
            wanted = replace(wanted, previous_response_id=place.newest, thread=place)
            encoding = thread_encoding(place.thread_id if body.store else None, begins=place.newest is None)
        try:
            run = await chats.start(wanted, caller)
            return await answer_with_run(
                run,
                request,
                stream=body.stream,
                keep_alive_seconds=keep_alive_seconds,
                encoding=encoding,
                lasting=wanted.background,
            )
        except OrchestratorError as error:
            raise (in_older_words(error) if dialect == "thread" else error) from None

    return chat


class FollowedRun(StreamedRun, Protocol):
    """A run as its answer needs it."""

    @property
    def response_id(self) -> str | None: ...

    async def started(self) -> None: ...

    async def result(self) -> ChatResult: ...


def wants_extensions(request: HttpRequest) -> bool:
    """Whether the client asks for the events that LM Studio's clients do not know."""
    return request.headers.get(EXTENSIONS_HEADER, "").strip().lower() == "true"


async def answer_with_run(
    run: FollowedRun,
    request: HttpRequest,
    *,
    stream: bool,
    keep_alive_seconds: float,
    reply: Callable[[ChatResult], Awaitable[Struct]] | None = None,
    encoding: Encoding = RESPONSES,
    lasting: bool = False,
) -> ASGIResponse:
    """The stream of `run`, or the fold of it as `reply` says it; the run ends with its client.

    A `lasting` one, once it has begun, does not; where no stream is asked for, its client is told only where it is.

    Raises:
        OrchestratorError: the run failed before it began.
    """
    try:
        await while_connected(request.receive, run.started)
        if stream:
            extensions = wants_extensions(request)
            headers = _response_id(run.response_id)
            told = frames(run, encoding.events, extensions=extensions)
            return RunStream(run, headers, keep_alive_seconds, told, lasting=lasting)
        if lasting:
            return json_reply(
                encoding.begun(run.response_id or ""), status=ACCEPTED, headers=_response_id(run.response_id)
            )
        result = await while_connected(request.receive, run.result)
        if isinstance(result.ending, Failed):
            headers = _response_id(result.response_id)
            return answer_of(request, result.ending.error, headers=headers).as_asgi()
        body = encoding.reply(result) if reply is None else await reply(result)
        return json_reply(body, headers=_response_id(result.response_id))
    except BaseException:
        run.disconnect()
        raise


def _response_id(response_id: str | None) -> dict[str, str]:
    return {} if response_id is None else {RESPONSE_ID_HEADER: response_id}
