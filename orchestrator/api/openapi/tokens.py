"""API tokens, in the OpenAPI document."""

from typing import Final

from orchestrator.api.openapi.parts import WITH_BODY, WITH_TOKEN, Section, body, errors, path_parameter, success
from orchestrator.api.tokens import TOKENS_PATH
from orchestrator.api.wire_tokens import RotateBody, TokenBody, TokenList, TokenReply
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

EXAMPLES: Final[JsonObject] = {
    "For a web application": {
        "name": "shop",
        "permissions": ["chat", "plugins:mcp/notes/read_*"],
        "limits": {"requests_per_minute": 60, "concurrent_runs": 4, "output_tokens_per_day": 200000},
    },
    "For an auditor, until the end of the year": {
        "name": "auditor",
        "permissions": ["audit.read_all"],
        "expires_at": "2030-12-31T23:59:59Z",
    },
}

_TOKEN_ID: Final = path_parameter("token_id", "The 8 characters after `sk-lm-`.")
_ONE: Final = (ErrorKind.TOKEN_NOT_FOUND, ErrorKind.STORE_ERROR)


def _list() -> JsonObject:
    return {
        "operationId": "listTokens",
        "tags": ["Tokens"],
        "summary": "List the tokens",
        "description": "Every token that there ever was, without its secret.",
        "responses": {"200": success("The tokens.", "TokenList"), **errors((ErrorKind.STORE_ERROR, *WITH_TOKEN))},
    }


def _create() -> JsonObject:
    return {
        "operationId": "createToken",
        "tags": ["Tokens"],
        "summary": "Make a token",
        "description": "The reply holds the token itself, `sk-lm-…:…`, which is never shown again.",
        "requestBody": body("TokenBody", EXAMPLES),
        "responses": {
            "200": success("The token.", "TokenReply"),
            **errors((ErrorKind.TOKEN_CONFLICT, ErrorKind.STORE_ERROR, *WITH_BODY)),
        },
    }


def _rotate() -> JsonObject:
    return {
        "operationId": "rotateToken",
        "tags": ["Tokens"],
        "summary": "Put a new token in the place of one",
        "description": "Same name, owner, permissions, limits and end. The old one goes on for `grace_seconds`.",
        "parameters": [_TOKEN_ID],
        "requestBody": body("RotateBody", {"With an hour to change over": {"grace_seconds": 3600}}),
        "responses": {
            "200": success("The new token.", "TokenReply"),
            **errors((ErrorKind.TOKEN_CONFLICT, *_ONE, *WITH_BODY)),
        },
    }


def _revoke() -> JsonObject:
    return {
        "operationId": "revokeToken",
        "tags": ["Tokens"],
        "summary": "Revoke a token",
        "description": "It lets nobody in from now on, in any process that works on the same database.",
        "parameters": [_TOKEN_ID],
        "responses": {"200": success("The token as it is now.", "TokenReply"), **errors((*_ONE, *WITH_TOKEN))},
    }


SECTION: Final = Section(
    "Tokens",
    "Who may use the service, and for what. An extension; the permission `admin` is needed.",
    {
        TOKENS_PATH: {"get": _list(), "post": _create()},
        f"{TOKENS_PATH}/{{token_id}}": {"delete": _revoke()},
        f"{TOKENS_PATH}/{{token_id}}/rotate": {"post": _rotate()},
    },
    (TokenBody, RotateBody, TokenReply, TokenList),
)
