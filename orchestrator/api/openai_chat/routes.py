"""`POST /v1/chat/completions` and `POST /v1/completions`."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Final, TypeAlias

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import OK, HttpRequest, answer_of
from orchestrator.api.limits import check_counts, limits_of
from orchestrator.api.openai_chat import wire_replies as w
from orchestrator.api.openai_chat.decode import choices_of, to_chat_request, to_text_requests
from orchestrator.api.openai_chat.encode import (
    ChoiceFold,
    Head,
    completion_id,
    fingerprint,
    text_choice,
)
from orchestrator.api.openai_chat.following import Runs, begun
from orchestrator.api.openai_chat.frames import chat_frames, text_frames
from orchestrator.api.openai_chat.request_forms import plain_request
from orchestrator.api.openai_chat.wire_requests import CompletionBody, TextCompletionBody
from orchestrator.api.openai_chat.words import CHAT, CHAT_FIELDS, TEXT, TEXT_FIELDS, in_words_of
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue
from orchestrator.core.response import ChatResult, Failed
from orchestrator.core.stream import ChatEnd
from orchestrator.service.chats import ChatService

CHAT_COMPLETIONS_PATH: Final = "/v1/chat/completions"
COMPLETIONS_PATH: Final = "/v1/completions"

Reply: TypeAlias = Callable[[Head, list[ChoiceFold], list[ChatResult]], Struct]


def openai_chat_routes(
    chats: ChatService,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> list[HTTPRouteHandler]:
    """The routes; a client that leaves takes its request along."""

    @post(CHAT_COMPLETIONS_PATH, status_code=OK)
    async def complete_chat(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        sent = await _plain_body(request, max_body_bytes)
        body = decode_value(sent, CompletionBody)
        with _in_words_of(CHAT_FIELDS):
            runs = await begun(chats, choices_of(to_chat_request(body), body), caller, request.receive)
        head = _head(runs, body)
        if body.stream:
            return RunStream(runs, _headers(runs), keep_alive_seconds, chat_frames(head, runs))
        return await _whole(request, runs, head, _chat_reply)

    @post(COMPLETIONS_PATH, status_code=OK)
    async def complete_text(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        sent = await _plain_body(request, max_body_bytes)
        body = decode_value(sent, TextCompletionBody)
        with _in_words_of(TEXT_FIELDS):
            runs = await begun(chats, to_text_requests(body), caller, request.receive)
        head = _head(runs, body)
        if body.stream:
            return RunStream(runs, _headers(runs), keep_alive_seconds, text_frames(head, runs))
        return await _whole(request, runs, head, _text_reply)

    return [complete_chat, complete_text]


async def _plain_body(request: HttpRequest, max_body_bytes: int) -> JsonValue:
    sent = parse_json(await read_json_body(request, max_body_bytes))
    check_counts(sent, limits_of(request.scope))
    return plain_request(sent)


@contextmanager
def _in_words_of(fields: Mapping[str, str]) -> Generator[None]:
    """Errors name the fields of the request as the dialect does."""
    try:
        yield
    except OrchestratorError as error:
        raise OrchestratorError.of(in_words_of(fields, error.info)) from None


def _head(runs: Runs, body: CompletionBody | TextCompletionBody) -> Head:
    request = runs.first.request
    prefix, fields = (CHAT, CHAT_FIELDS) if isinstance(body, CompletionBody) else (TEXT, TEXT_FIELDS)
    return Head(
        completion_id(prefix, runs.first.response_id),
        int(time.time()),
        request.model_key,
        fingerprint(request.model_instance_id),
        fields,
        choices=body.n or 1,
        with_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
    )


def _headers(runs: Runs) -> dict[str, str]:
    response_id = runs.first.response_id
    return {} if response_id is None else {RESPONSE_ID_HEADER: response_id}


# ---- whole answers ----------------------------------------------------------------------------


async def _followed(runs: Runs) -> tuple[list[ChoiceFold], list[ChatResult]]:
    """What each run said, and how it ended."""
    folds = [ChoiceFold(index) for index in range(runs.count)]
    results: dict[int, ChatResult] = {}
    async with aclosing(runs.events()) as events:
        async for index, event in events:
            folds[index].hear(event)
            if isinstance(event, ChatEnd):
                results[index] = event.result
    if len(results) < len(folds):
        raise OrchestratorError(ErrorKind.INTERNAL_ERROR, "The run ended without a result.")
    return folds, [results[index] for index in sorted(results)]


def _chat_reply(head: Head, folds: list[ChoiceFold], results: list[ChatResult]) -> Struct:
    choices = [fold.choice(result) for fold, result in zip(folds, results, strict=True)]
    usage = head.usage_of([result.stats for result in results])
    return w.Completion(head.id, "chat.completion", head.created, head.model, choices, usage, head.fingerprint)


def _text_reply(head: Head, folds: list[ChoiceFold], results: list[ChatResult]) -> Struct:
    choices = [text_choice(index, result) for index, result in enumerate(results)]
    usage = head.usage_of([result.stats for result in results])
    return w.TextCompletion(head.id, "text_completion", head.created, head.model, choices, head.fingerprint, usage)


async def _whole(request: HttpRequest, runs: Runs, head: Head, reply: Reply) -> ASGIResponse:
    try:
        folds, results = await while_connected(request.receive, lambda: _followed(runs))
    except BaseException:
        runs.disconnect()
        raise
    for result in results:
        if isinstance(result.ending, Failed):
            error = in_words_of(head.fields, result.ending.error)
            return answer_of(request, error, headers=_headers(runs)).as_asgi()
    return json_reply(reply(head, folds, results), headers=_headers(runs))
