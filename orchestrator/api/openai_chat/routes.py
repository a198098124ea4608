"""`POST /v1/chat/completions`, `POST /v1/completions`, `GET /v1/models`."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct

from orchestrator.api.anthropic_messages.model_entries import anthropic_model, anthropic_models, asks_as_anthropic
from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.decode import decode_body
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import OK, HttpRequest, answer_of, openai_envelope
from orchestrator.api.json_text import json_bytes
from orchestrator.api.limits import limits_of
from orchestrator.api.openai_chat import wire_replies as w
from orchestrator.api.openai_chat.decode import to_chat_request, to_text_requests
from orchestrator.api.openai_chat.encode import (
    CHAT_PREFIX,
    TEXT_PREFIX,
    ChoiceFold,
    Head,
    completion_id,
    fingerprint,
    finish_reason,
    first,
    usage_of,
)
from orchestrator.api.openai_chat.following import Runs, begun
from orchestrator.api.openai_chat.wire_requests import CompletionBody, TextCompletionBody
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import Message
from orchestrator.core.models import Model
from orchestrator.core.response import ChatResult, Failed
from orchestrator.core.stream import ChatEnd, ErrorEvent, MessageDelta
from orchestrator.service.chats import ChatService
from orchestrator.service.models import ModelService

CHAT_COMPLETIONS_PATH: Final = "/v1/chat/completions"
COMPLETIONS_PATH: Final = "/v1/completions"
MODEL_LIST_PATH: Final = "/v1/models"
MODEL_PATH: Final = "/v1/models/{model_id:path}"
DONE: Final = b"data: [DONE]\n\n"

Reply: TypeAlias = Callable[[Head, list[ChoiceFold], list[ChatResult]], Struct]


def openai_chat_routes(
    chats: ChatService,
    models: ModelService,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> list[HTTPRouteHandler]:
    """The routes; a client that leaves takes its request along."""

    @post(CHAT_COMPLETIONS_PATH, status_code=OK)
    async def complete_chat(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        sent = await read_json_body(request, max_body_bytes)
        body = decode_body(sent, CompletionBody, limits_of(request.scope))
        runs = await begun(chats, [to_chat_request(body)] * (body.n or 1), caller, request.receive)
        head = _head(CHAT_PREFIX, runs, with_usage=_wants_usage(body))
        if body.stream:
            return RunStream(runs, _headers(runs), keep_alive_seconds, _chat_frames(head, runs))
        return await _whole(request, runs, head, _chat_reply)

    @post(COMPLETIONS_PATH, status_code=OK)
    async def complete_text(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        sent = await read_json_body(request, max_body_bytes)
        body = decode_body(sent, TextCompletionBody, limits_of(request.scope))
        wanted = [chat for chat in to_text_requests(body) for _ in range(body.n or 1)]
        runs = await begun(chats, wanted, caller, request.receive)
        head = _head(TEXT_PREFIX, runs, with_usage=_wants_usage(body))
        if body.stream:
            return RunStream(runs, _headers(runs), keep_alive_seconds, _text_frames(head, runs))
        return await _whole(request, runs, head, _text_reply)

    return [complete_chat, complete_text, *_model_routes(models, authenticator)]


def _wants_usage(body: CompletionBody | TextCompletionBody) -> bool:
    return body.stream_options is not None and bool(body.stream_options.include_usage)


def _head(prefix: str, runs: Runs, *, with_usage: bool) -> Head:
    request = runs.all[0].request
    marked = fingerprint(request.model_instance_id)
    shown = completion_id(prefix, runs.all[0].response_id)
    return Head(shown, int(time.time()), request.model_key, marked, with_usage)


def _headers(runs: Runs) -> dict[str, str]:
    response_id = runs.all[0].response_id
    return {} if response_id is None else {RESPONSE_ID_HEADER: response_id}


def _data(value: Struct) -> bytes:
    return b"data: %s\n\n" % json_bytes(value)


# ---- streams ----------------------------------------------------------------------------------


async def _chat_frames(head: Head, runs: Runs) -> AsyncGenerator[bytes, None]:
    folds = [ChoiceFold(index) for index in range(len(runs.all))]
    results: list[ChatResult] = []
    for fold in folds:
        yield _data(head.chunk([first(fold.index)]))
    async with aclosing(runs.events()) as events:
        async for index, event in events:
            for choice in folds[index].hear(event):
                yield _data(head.chunk([choice]))
            if isinstance(event, ErrorEvent):
                yield _data(openai_envelope(event.error))
            elif isinstance(event, ChatEnd):
                results.append(event.result)
                yield _data(head.chunk([folds[index].last(event.result)]))
    if head.with_usage:
        yield _data(head.chunk([], usage_of([result.stats for result in results])))
    yield DONE


async def _text_frames(head: Head, runs: Runs) -> AsyncGenerator[bytes, None]:
    results: list[ChatResult] = []

    def chunk(choices: list[w.TextChoice], usage: w.Usage | None = None) -> bytes:
        counted = usage if head.with_usage else UNSET
        told = w.TextCompletion(
            head.id, "text_completion", head.created, head.model, choices, head.fingerprint, counted
        )
        return _data(told)

    async with aclosing(runs.events()) as events:
        async for index, event in events:
            if isinstance(event, MessageDelta):
                yield chunk([w.TextChoice(event.content, index, None, None)])
            elif isinstance(event, ErrorEvent):
                yield _data(openai_envelope(event.error))
            elif isinstance(event, ChatEnd):
                results.append(event.result)
                yield chunk([w.TextChoice("", index, None, finish_reason(event.result))])
    if head.with_usage:
        yield chunk([], usage_of([result.stats for result in results]))
    yield DONE


# ---- whole answers ----------------------------------------------------------------------------


async def _followed(runs: Runs) -> tuple[list[ChoiceFold], list[ChatResult]]:
    """What each run said, and how it ended."""
    folds = [ChoiceFold(index) for index in range(len(runs.all))]
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
    usage = usage_of([result.stats for result in results])
    return w.Completion(head.id, "chat.completion", head.created, head.model, choices, usage, head.fingerprint)


def _text_reply(head: Head, folds: list[ChoiceFold], results: list[ChatResult]) -> Struct:
    choices = [w.TextChoice(_said(result), index, None, finish_reason(result)) for index, result in enumerate(results)]
    usage = usage_of([result.stats for result in results])
    return w.TextCompletion(head.id, "text_completion", head.created, head.model, choices, head.fingerprint, usage)


def _said(result: ChatResult) -> str:
    return "".join(item.content for item in result.output if isinstance(item, Message))


async def _whole(request: HttpRequest, runs: Runs, head: Head, reply: Reply) -> ASGIResponse:
    try:
        folds, results = await while_connected(request.receive, lambda: _followed(runs))
    except BaseException:
        runs.disconnect()
        raise
    for result in results:
        if isinstance(result.ending, Failed):
            return answer_of(request, result.ending.error, headers=_headers(runs)).as_asgi()
    return json_reply(reply(head, folds, results), headers=_headers(runs))


# ---- models -----------------------------------------------------------------------------------


def _model_routes(models: ModelService, authenticator: Authenticator) -> list[HTTPRouteHandler]:
    async def known(request: HttpRequest) -> list[Model]:
        caller = await authenticator.caller(request)
        caller.require("models.read", "The API token has no permission to list models.")
        return await models.models()

    @get(MODEL_LIST_PATH)
    async def list_entries(request: HttpRequest) -> ASGIResponse:
        found = await known(request)
        if asks_as_anthropic(request):
            return json_reply(anthropic_models(found))
        return json_reply(w.ModelEntries("list", [_entry(model.key, model) for model in found]))

    @get(MODEL_PATH)
    async def get_entry(request: HttpRequest, model_id: FromPath[str]) -> ASGIResponse:
        wanted = model_id.removeprefix("/")
        for model in await known(request):
            instances = (instance.id for instance in model.loaded_instances)
            if wanted in (model.key, f"{model.engine}::{model.key}", *instances):
                if asks_as_anthropic(request):
                    return json_reply(anthropic_model(wanted, model))
                return json_reply(_entry(wanted, model))
        info = ErrorInfo(ErrorKind.UNKNOWN_MODEL, f"The model '{wanted[:200]}' does not exist.", "model")
        return answer_of(request, info).as_asgi()

    return [list_entries, get_entry]


def _entry(id: str, model: Model) -> w.ModelEntry:
    return w.ModelEntry(id, "model", 0, model.publisher)
