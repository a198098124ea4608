"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from typing import Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from orchestrator.api.anthropic_messages.continuing import MessageOpener
from orchestrator.api.anthropic_messages.counting import counted_tokens
from orchestrator.api.anthropic_messages.decode import Asked, in_anthropic_words
from orchestrator.api.anthropic_messages.encode import message_reply
from orchestrator.api.anthropic_messages.forms import plain_request
from orchestrator.api.anthropic_messages.stream import MessageEncoder, frame, frames, retold_message
from orchestrator.api.anthropic_messages.wire_reply import MessageReply, Ping, TokenCountReply
from orchestrator.api.anthropic_messages.wire_requests import CountTokensBody, MessagesBody
from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import OK, HttpRequest, answer_of
from orchestrator.api.limits import check_counts, limits_of
from orchestrator.api.replies import json_reply, token_count
from orchestrator.api.request_ids import ANTHROPIC_PATH, request_id_of
from orchestrator.api.sse import RunStream
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.response import Failed
from orchestrator.service.chats import ChatService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.prompt_costs import PromptCostService

MESSAGES_PATH: Final = ANTHROPIC_PATH
COUNT_TOKENS_PATH: Final = MESSAGES_PATH + "/count_tokens"


def message_routes(
    chats: ChatService,
    costs: PromptCostService,
    opener: MessageOpener,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> list[HTTPRouteHandler]:
    """The routes; `keep_alive_seconds` is how long a stream may be silent."""

    @post(MESSAGES_PATH, status_code=OK)
    async def create_message(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        value = plain_request(parse_json(await read_json_body(request, max_body_bytes)))
        check_counts(value, limits_of(request.scope))
        body = decode_value(value, MessagesBody)
        asked = await while_connected(request.receive, lambda: opener.opened(body, caller))
        if isinstance(asked, MessageReply):
            return _retold(asked, stream=body.stream)
        try:
            run = await chats.start(asked.chat, caller)
            return await _answer(run, asked, request, costs if body.stream else None, keep_alive_seconds)
        except OrchestratorError as error:
            raise in_anthropic_words(error, asked.places) from None

    @post(COUNT_TOKENS_PATH, status_code=OK)
    async def count_tokens(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        value = plain_request(parse_json(await read_json_body(request, max_body_bytes)))
        check_counts(value, limits_of(request.scope))
        body = decode_value(value, CountTokensBody)
        cost = await while_connected(request.receive, lambda: counted_tokens(body, costs, caller))
        return json_reply(TokenCountReply(cost.tokens), headers=token_count(estimated=cost.estimated))

    return [create_message, count_tokens]


def _retold(reply: MessageReply, *, stream: bool) -> ASGIResponse:
    if not stream:
        return json_reply(reply)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return ASGIResponse(body=retold_message(reply), media_type="text/event-stream", headers=headers)


async def _answer(
    run: LiveRun, asked: Asked, request: HttpRequest, costs: PromptCostService | None, keep_alive_seconds: float
) -> ASGIResponse:
    """The stream of `run`, which begins with what its prompt costs, or the fold of it; the run ends with its client."""
    headers = {} if run.response_id is None else {RESPONSE_ID_HEADER: run.response_id}
    response_id, model = run.request.response_id, run.request.model_key
    try:
        await while_connected(request.receive, run.started)
        if costs is not None:
            counted = await costs.of_run(run.request, run.offered)
            encoder = MessageEncoder(response_id, model, request_id_of(request.scope), asked.view, counted)
            return RunStream(run, headers, keep_alive_seconds, frames(run, encoder), sign_of_life=frame(Ping()))
        result = await while_connected(request.receive, run.result)
        if isinstance(result.ending, Failed):
            return answer_of(request, result.ending.error, headers=headers).as_asgi()
        return json_reply(message_reply(result, response_id, model, asked.view), headers=headers)
    except BaseException:
        run.disconnect()
        raise
