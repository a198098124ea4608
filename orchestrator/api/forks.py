"""`POST /api/v1/responses/{id}/fork`: leave a response for a branch of its own, and follow that. An extension."""

from typing import Any, Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, UnsetType

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import answer_with_run
from orchestrator.api.chat_request import input_items, integration_requests
from orchestrator.api.decode import decode_body
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.limits import limits_of
from orchestrator.api.wire_forks import ForkAt, ForkBody, ForkOutput
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service.forks import EditedResult, ForkRequest, ForkService

FORK_PATH: Final = "/api/v1/responses/{response_id:str}/fork"
_CHANGES: Final = ("model", "system_prompt", "max_output_tokens", "max_turns", "reasoning")
_SAMPLING: Final = ("temperature", "top_p", "min_p", "top_k", "repeat_penalty", "seed")


def fork_route(
    forks: ForkService, authenticator: Authenticator, *, max_body_bytes: int, keep_alive_seconds: float
) -> HTTPRouteHandler:
    """The route; `keep_alive_seconds` is how long a stream may be silent."""

    @post(FORK_PATH, status_code=OK)
    async def fork(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ForkBody, limits_of(request.scope))
        run = await forks.fork(_request(response_id, body), caller)
        return await answer_with_run(run, request, stream=body.stream, keep_alive_seconds=keep_alive_seconds)

    return fork


def _request(response_id: str, body: ForkBody) -> ForkRequest:
    at = ForkAt() if isinstance(body.at, UnsetType) else body.at
    if at.call_id is not UNSET and at.position is not UNSET:
        message = '"at" takes a "call_id" or a "position", not both.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="at")
    output = body.output
    return ForkRequest(
        response_id=response_id,
        call_id=None if isinstance(at.call_id, UnsetType) else at.call_id,
        position=None if isinstance(at.position, UnsetType) else at.position,
        arguments=None if isinstance(body.arguments, UnsetType) else body.arguments,
        result=EditedResult(output.text, output.is_error) if isinstance(output, ForkOutput) else None,
        input=None if isinstance(body.input, UnsetType) else input_items(body.input),
        integrations=None if isinstance(body.integrations, UnsetType) else integration_requests(body.integrations),
        changes=_given(body, _CHANGES),
        sampling=_given(body, _SAMPLING),
    )


def _given(body: ForkBody, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(body, name) for name in names}
    return {name: value for name, value in values.items() if value is not UNSET}
