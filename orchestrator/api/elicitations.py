"""`/api/v1/responses/{id}/elicitations`: what servers ask the user while a response is made. An extension."""

from typing import Final

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_body
from orchestrator.api.encode import elicitation_entry
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire import ElicitationList, ElicitationReply
from orchestrator.api.wire_requests import ElicitationAnswer
from orchestrator.core import server_requests
from orchestrator.service.chats import ChatService

ELICITATIONS_PATH: Final = "/api/v1/responses/{response_id:str}/elicitations"
_DENIED: Final = "The API token has no permission to answer what servers ask."


def elicitation_routes(
    chats: ChatService, authenticator: Authenticator, *, max_body_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes. Only the process that makes the response knows what is asked."""

    @get(ELICITATIONS_PATH)
    async def pending(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("chat", _DENIED)
        waiting = chats.running(response_id, caller).callbacks.pending
        return json_reply(ElicitationList([elicitation_entry(one) for one in waiting]))

    @post(f"{ELICITATIONS_PATH}/{{elicitation_id:str}}", status_code=OK)
    async def answer(request: HttpRequest, response_id: FromPath[str], elicitation_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("chat", _DENIED)
        body = decode_body(await read_json_body(request, max_body_bytes), ElicitationAnswer)
        content = None if body.content is UNSET else body.content
        given = server_requests.ElicitationAnswer(body.action, content)
        chats.running(response_id, caller).callbacks.answer(elicitation_id, given)
        return json_reply(ElicitationReply(elicitation_id, body.action))

    return [pending, answer]
