"""The routes of responses."""

from typing import Final

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.openai_responses.edge import ResponsesEdge

RESPONSES_PATH: Final = "/v1/responses"
RESPONSE_PATH: Final = RESPONSES_PATH + "/{response_id:str}"


def openai_response_routes(edge: ResponsesEdge) -> list[HTTPRouteHandler]:
    """The routes."""

    @post(RESPONSES_PATH, status_code=OK)
    async def create(request: HttpRequest) -> ASGIResponse:
        return await edge.create(request)

    @get(RESPONSE_PATH)
    async def read(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        return await edge.read(request, response_id)

    @delete(RESPONSE_PATH, status_code=OK)
    async def remove(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        return await edge.delete(request, response_id)

    @post(RESPONSE_PATH + "/cancel", status_code=OK)
    async def cancel(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        return await edge.cancel(request, response_id)

    @get(RESPONSE_PATH + "/input_items")
    async def input_items(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        return await edge.input_items(request, response_id)

    return [create, read, remove, cancel, input_items]
