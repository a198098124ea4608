"""`GET /api/v1/responses/{id}`: a stored response, whole. An extension."""

from typing import Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.encode import stored_reply
from orchestrator.api.errors import HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service.chats import ChatService

RESPONSE_PATH: Final = "/api/v1/responses/{response_id:str}"


def response_route(chats: ChatService, authenticator: Authenticator) -> HTTPRouteHandler:
    """The route."""

    @get(RESPONSE_PATH)
    async def response(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("chat", "The API token has no permission to read responses.")
        stored = await chats.get(response_id, caller)
        if stored is None:
            message = "There is no such response, or it is not stored, or it is somebody else's."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        return json_reply(stored_reply(stored), headers={RESPONSE_ID_HEADER: stored.id})

    return response
