"""`POST /api/v1/chat` in the strict mode: the same run, asked for and told as LM Studio does."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeAlias

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import CHAT_PATH
from orchestrator.api.chat_request import to_chat_request
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.encode import chat_reply, wire_events
from orchestrator.api.errors import OK, HttpRequest, answer_of
from orchestrator.api.json_text import json_bytes
from orchestrator.api.limits import check_counts, limits_of
from orchestrator.api.sse import RunStream, StreamedRun
from orchestrator.api.strict_lmstudio import tables
from orchestrator.api.strict_lmstudio.errors import strict_error
from orchestrator.api.strict_lmstudio.requests import check_chat, check_spelling
from orchestrator.api.strict_lmstudio.shaping import strict_event, strict_reply
from orchestrator.api.strict_lmstudio.words import in_chat, plugin_ids
from orchestrator.api.wire_events import ChatEnd
from orchestrator.api.wire_requests import ChatBody
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import TextInput
from orchestrator.core.response import Failed
from orchestrator.core.stream import ErrorEvent
from orchestrator.service.chats import ChatRequest, ChatService
from orchestrator.service.models import ModelService

Words: TypeAlias = Callable[[ErrorInfo], ErrorInfo]
_PENALTY: Final = "presence_penalty"


class _Penalty(msgspec.Struct, frozen=True):
    presence_penalty: float | msgspec.UnsetType = msgspec.UNSET


def strict_chat_route(
    chats: ChatService,
    models: ModelService,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> HTTPRouteHandler:
    """The route; `models` are asked for examples where a model is not known."""

    @post(CHAT_PATH, status_code=OK)
    async def chat(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body, penalty = _decoded(await read_json_body(request, max_body_bytes), request)
        installed: tuple[str, ...] = ()

        def words(info: ErrorInfo) -> ErrorInfo:
            return in_chat(info, body, caller, installed)

        try:
            check_spelling(plugin_ids(body))
            run = await chats.start(_wanted(body, penalty), caller)
            try:
                await while_connected(request.receive, run.started)
                if body.stream:
                    return RunStream(run, {}, keep_alive_seconds, strict_frames(run, words))
                result = await while_connected(request.receive, run.result)
            except BaseException:
                run.disconnect()
                raise
        except OrchestratorError as error:
            if error.info.kind is ErrorKind.UNKNOWN_MODEL:
                installed = tuple(model.key for model in await models.models())
            told = words(error.info)
            if body.stream and told.kind is ErrorKind.MCP_CONNECTION_ERROR:
                return _broken_off(body.model, told)
            raise OrchestratorError.of(told) from None
        if isinstance(result.ending, Failed):
            return answer_of(request, words(result.ending.error)).as_asgi()
        return ASGIResponse(body=json_bytes(strict_reply(chat_reply(result))), headers={"Cache-Control": "no-store"})

    return chat


def _decoded(raw: bytes, request: HttpRequest) -> tuple[ChatBody, float | None]:
    value = parse_json(raw)
    check_counts(value, limits_of(request.scope))
    check_chat(value)
    penalty: float | msgspec.UnsetType = msgspec.UNSET
    if isinstance(value, dict) and _PENALTY in value:
        penalty = decode_value({_PENALTY: value[_PENALTY]}, _Penalty).presence_penalty
        value = {name: given for name, given in value.items() if name != _PENALTY}
    return decode_value(value, ChatBody), None if isinstance(penalty, msgspec.UnsetType) else penalty


def _wanted(body: ChatBody, penalty: float | None) -> ChatRequest:
    """What the request asks for; in a continued chat, a system prompt is a second system message."""
    wanted = to_chat_request(body)
    wanted = replace(wanted, sampling=replace(wanted.sampling, presence_penalty=penalty))
    if wanted.previous_response_id is None or not wanted.system_prompt:
        return wanted
    second = TextInput(wanted.system_prompt, speaker="system", begins=True)
    return replace(wanted, system_prompt=None, input=(second, *wanted.input))


def _frame(event: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), json_bytes(event))


async def strict_frames(run: StreamedRun, words: Words) -> AsyncGenerator[bytes]:
    """The stream of `run` with LM Studio's events only, without numbers."""
    async with aclosing(run.events()) as events:
        async for _, event in events:
            if isinstance(event, ErrorEvent):
                yield _frame({"type": "error", "error": strict_error(words(event.error))})
                continue
            for wire_event in wire_events(event):
                if isinstance(wire_event, ChatEnd):
                    yield _frame({"type": "chat.end", "result": strict_reply(wire_event.result)})
                elif (told := strict_event(wire_event)) is not None:
                    yield _frame(told)


def _broken_off(model: str, info: ErrorInfo) -> ASGIResponse:
    """The stream of a chat whose server could not be reached."""
    result: dict[str, Any] = {"model_instance_id": model, "output": [], "stats": tables.NO_STATS}
    events: tuple[dict[str, Any], ...] = (
        {"type": "chat.start", "model_instance_id": model},
        {"type": "error", "error": strict_error(info)},
        {"type": "chat.end", "result": result},
    )
    return ASGIResponse(
        body=b"".join(_frame(event) for event in events),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )
