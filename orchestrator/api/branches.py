"""Comparing branches and running responses again, under `/api/v1/responses`. All of it is an extension."""

from typing import Final

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct, UnsetType

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import answer_with_run
from orchestrator.api.chat_request import integration_requests
from orchestrator.api.decode import decode_body
from orchestrator.api.departures import while_connected
from orchestrator.api.encode_branches import chain_report_reply, diff_reply, replay_reply, report_reply
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.limits import limits_of
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.api.responses import RESPONSE_PATH, RESPONSES_PATH
from orchestrator.api.wire_branches import ChainReplayBody, ReplayBody
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import ChatResult
from orchestrator.service.branches import BranchService
from orchestrator.service.chain_replays import ChainReplayService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.replays import ReplayRequest, ReplayService

DIFF_PATH: Final = RESPONSES_PATH + "/diff"
REPLAY_PATH: Final = RESPONSE_PATH + "/replay"
CHAIN_REPLAY_PATH: Final = RESPONSE_PATH + "/chain/replay"


def branch_routes(
    branches: BranchService,
    replays: ReplayService,
    chains: ChainReplayService,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    keep_alive_seconds: float,
) -> list[HTTPRouteHandler]:
    """The routes; `keep_alive_seconds` is how long a stream may be silent."""

    @get(DIFF_PATH)
    async def diff(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        query = Query(request, ("a", "b", "owner"))
        a, b = (_required(query, name) for name in ("a", "b"))
        return json_reply(diff_reply(await branches.diff(a, b, query.text("owner"), caller)))

    @post(REPLAY_PATH, status_code=OK)
    async def replay(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ReplayBody, limits_of(request.scope))
        run = await replays.start(_request(response_id, body), caller)

        async def reply(result: ChatResult) -> Struct:
            assert result.response_id is not None
            return replay_reply(result, await branches.report(result.response_id, None, caller))

        return await answer_with_run(
            run, request, stream=body.stream, keep_alive_seconds=keep_alive_seconds, reply=reply
        )

    @get(REPLAY_PATH)
    async def report(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        owner = Query(request, ("owner",)).text("owner")
        return json_reply(report_reply(await branches.report(response_id, owner, caller)))

    @post(CHAIN_REPLAY_PATH, status_code=OK)
    async def replay_chain(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ChainReplayBody)

        async def follow(run: LiveRun) -> ChatResult:
            try:
                return await while_connected(request.receive, run.result)
            except BaseException:
                run.disconnect()
                raise

        return json_reply(
            chain_report_reply(await chains.replay(_request(response_id, body), body.first, caller, follow))
        )

    @get(CHAIN_REPLAY_PATH)
    async def chain_report(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        owner = Query(request, ("owner",)).text("owner")
        return json_reply(chain_report_reply(await branches.chain_report(response_id, owner, caller)))

    return [diff, replay, report, replay_chain, chain_report]


def _required(query: Query, name: str) -> str:
    value = query.text(name)
    if not value:
        message = f'"{name}" is required: the id of the response that the branch ends in.'
        raise OrchestratorError(ErrorKind.MISSING_REQUIRED_PARAMETER, message, param=name)
    return value


def _request(response_id: str, body: ReplayBody | ChainReplayBody) -> ReplayRequest:
    return ReplayRequest(
        response_id=response_id,
        tools=body.tools,
        allow_tools=() if isinstance(body.allow_tools, UnsetType) else tuple(body.allow_tools),
        model=None if isinstance(body.model, UnsetType) else body.model,
        integrations=() if isinstance(body.integrations, UnsetType) else integration_requests(body.integrations),
    )
