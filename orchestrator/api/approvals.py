"""`POST /api/v1/responses/{id}/approvals`: decide about calls that wait, and follow the run that goes on. An extension.

Source: section 9 of the contract.
"""

from typing import Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, UnsetType

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import answer_with_run
from orchestrator.api.chat_request import integration_requests
from orchestrator.api.decode import decode_body
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.limits import limits_of
from orchestrator.api.wire_approvals import ApprovalEntry, ApprovalsBody
from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service.approvals import ApprovalService, DecisionRequest

APPROVALS_PATH: Final = "/api/v1/responses/{response_id:str}/approvals"


def approval_route(
    approvals: ApprovalService, authenticator: Authenticator, *, max_body_bytes: int, keep_alive_seconds: float
) -> HTTPRouteHandler:
    """The route; `keep_alive_seconds` is how long a stream may be silent."""

    @post(APPROVALS_PATH, status_code=OK)
    async def approve(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ApprovalsBody, limits_of(request.scope))
        decisions = [(entry.call_id, _decision(entry, place)) for place, entry in enumerate(body.approvals)]
        given = [] if isinstance(body.integrations, UnsetType) else body.integrations
        integrations = integration_requests(given)
        run = await approvals.decide(DecisionRequest(response_id, decisions, integrations), caller)
        return await answer_with_run(run, request, stream=body.stream, keep_alive_seconds=keep_alive_seconds)

    return approve


def _decision(entry: ApprovalEntry, place: int) -> Decision:
    if entry.decision == "approve":
        if entry.reason is not UNSET:
            raise _misplaced(place, "reason", "an approval has no reason")
        return Approve(None if isinstance(entry.arguments, UnsetType) else entry.arguments)
    if entry.arguments is not UNSET:
        raise _misplaced(place, "arguments", "a call that is denied has no arguments")
    return Deny(None if isinstance(entry.reason, UnsetType) else entry.reason)


def _misplaced(place: int, field: str, why: str) -> OrchestratorError:
    param = f"approvals.{place}.{field}"
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{param}" must be left out: {why}.', param=param)
