"""`/api/v1/tokens`: API tokens, for who may do everything. An extension."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_body
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_tokens import RotateBody, TokenBody, TokenLimitsBody, TokenList, TokenReply
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.moments import in_utc
from orchestrator.ports import Token, TokenLimits
from orchestrator.service.tokens import TokenService

TOKENS_PATH: Final = "/api/v1/tokens"
TOKEN_PATH: Final = TOKENS_PATH + "/{token_id:str}"
_DENIED: Final = "The API token has no permission to manage tokens."


def token_routes(tokens: TokenService, authenticator: Authenticator, *, max_body_bytes: int) -> list[HTTPRouteHandler]:
    """The routes. All of them need the permission `admin`."""

    async def admit(request: HttpRequest) -> None:
        (await authenticator.caller(request)).require("admin", _DENIED)

    @get(TOKENS_PATH)
    async def list_tokens(request: HttpRequest) -> ASGIResponse:
        await admit(request)
        return json_reply(TokenList([token_reply(token) for token in await tokens.list_tokens()]))

    @post(TOKENS_PATH, status_code=OK)
    async def create(request: HttpRequest) -> ASGIResponse:
        await admit(request)
        body = decode_body(await read_json_body(request, max_body_bytes), TokenBody)
        token, text = await tokens.create_token(
            body.name,
            body.permissions,
            owner=None if body.owner is UNSET else body.owner,
            expires_at=None if body.expires_at is UNSET else _moment(body.expires_at, "expires_at"),
            limits=_limits(body.limits),
        )
        return json_reply(token_reply(token, text))

    @post(f"{TOKEN_PATH}/rotate", status_code=OK)
    async def rotate(request: HttpRequest, token_id: FromPath[str]) -> ASGIResponse:
        await admit(request)
        body = decode_body(await read_json_body(request, max_body_bytes), RotateBody)
        token, text = await tokens.rotate(token_id, grace=timedelta(seconds=body.grace_seconds))
        return json_reply(token_reply(token, text))

    @delete(TOKEN_PATH, status_code=OK)
    async def revoke(request: HttpRequest, token_id: FromPath[str]) -> ASGIResponse:
        await admit(request)
        return json_reply(token_reply(await tokens.revoke(token_id)))

    return [list_tokens, create, rotate, revoke]


def token_reply(token: Token, text: str | None = None) -> TokenReply:
    """The token on the wire; `text` only for who has just made it."""
    limits = {name: limit for name, limit in asdict(token.limits).items() if limit is not None}
    return TokenReply(
        id=token.id,
        name=token.name,
        owner=token.owner,
        permissions=sorted(token.permissions),
        created_at=token.created_at,
        limits=TokenLimitsBody(**limits),
        valid=token.is_valid(datetime.now(UTC)),
        expires_at=token.expires_at or UNSET,
        revoked_at=token.revoked_at or UNSET,
        token=text or UNSET,
    )


def _moment(moment: datetime, param: str) -> datetime:
    try:
        return in_utc(moment)
    except ValueError as error:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"This cannot be kept: {error}.", param=param) from None


def _limits(body: TokenLimitsBody | object) -> TokenLimits:
    if not isinstance(body, TokenLimitsBody):
        return TokenLimits()
    return TokenLimits(
        requests_per_minute=None if body.requests_per_minute is UNSET else body.requests_per_minute,
        concurrent_runs=None if body.concurrent_runs is UNSET else body.concurrent_runs,
        output_tokens_per_day=None if body.output_tokens_per_day is UNSET else body.output_tokens_per_day,
    )
