"""`POST /v1/embeddings`, in OpenAI's shape."""

import base64
import struct
from typing import Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_embeddings import EmbeddingObject, EmbeddingsBody, EmbeddingsReply, EmbeddingUsage
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonValue
from orchestrator.core.models import Model
from orchestrator.ports import Embeddings
from orchestrator.service.embeddings import EmbeddingService

EMBEDDINGS_PATH: Final = "/v1/embeddings"


def embeddings_route(
    embeddings: EmbeddingService, authenticator: Authenticator, *, max_body_bytes: int
) -> HTTPRouteHandler:
    """The route. A client that leaves takes its request along."""

    @post(EMBEDDINGS_PATH, status_code=OK)
    async def embed(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        value = parse_json(await read_json_body(request, max_body_bytes))
        _refuse_tokens(value)
        body = decode_value(value, EmbeddingsBody)
        texts = [body.input] if isinstance(body.input, str) else body.input
        model, made = await while_connected(request.receive, lambda: embeddings.embed(body.model, texts, caller))
        if body.dimensions is not None:
            _check_dimensions(body.dimensions, made)
        return json_reply(_reply(model, made, as_text=body.encoding_format == "base64"))

    return embed


def _refuse_tokens(body: JsonValue) -> None:
    """OpenAI takes arrays of token ids, and arrays of those."""
    given = body.get("input") if isinstance(body, dict) else None
    if isinstance(given, list) and given and isinstance(given[0], int | list):
        message = '"input" holds tokens, and only texts are taken: send the text that they stand for.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")


def _check_dimensions(asked: int, made: Embeddings) -> None:
    there = len(made.vectors[0])
    if asked != there:
        message = (
            f'"dimensions" is {asked}, and the vectors of this model have {there} numbers; they are not shortened.'
        )
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="dimensions")


def _reply(model: Model, made: Embeddings, *, as_text: bool) -> EmbeddingsReply:
    tokens = made.input_tokens or 0
    data = [
        EmbeddingObject("embedding", index, _base64(vector) if as_text else list(vector))
        for index, vector in enumerate(made.vectors)
    ]
    return EmbeddingsReply("list", data, model.key, EmbeddingUsage(tokens, tokens))


def _base64(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
