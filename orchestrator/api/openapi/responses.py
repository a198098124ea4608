"""Stored responses, in the OpenAPI document."""

from typing import Final

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.parts import WITH_TOKEN, Section, errors, path_parameter, success
from orchestrator.api.wire import StoredReply
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

RESPONSE_ID: Final = path_parameter("response_id", "The id of a stored response.")


def _stored_response() -> JsonObject:
    return {
        "operationId": "getResponse",
        "tags": ["Responses"],
        "summary": "A stored response",
        "description": "An extension. The response with its input, its settings and what became of it.",
        "parameters": [RESPONSE_ID],
        "responses": {
            "200": success("The response.", "StoredReply", headers=[RESPONSE_ID_HEADER]),
            **errors((ErrorKind.RESPONSE_NOT_FOUND, ErrorKind.STORE_ERROR, *WITH_TOKEN)),
        },
    }


SECTION: Final = Section(
    "Responses",
    "What is stored.",
    {"/api/v1/responses/{response_id}": {"get": _stored_response()}},
    (StoredReply,),
)
