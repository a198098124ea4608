"""Stored responses, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import (
    WITH_BODY,
    WITH_TOKEN,
    Section,
    body,
    errors,
    path_parameter,
    reference,
    success,
)
from orchestrator.api.wire import ElicitationList, ElicitationReply, StoredReply
from orchestrator.api.wire_approvals import ApprovalsBody
from orchestrator.api.wire_requests import ElicitationAnswer
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


APPROVALS: Final = """\
An extension. A tool call that needs approval (`require_approval` of an integration, or of its entry in
`mcp.json`) is written down and not run. Calls of the same turn that need none run meanwhile; then the chat
ends with `status: "awaiting_approval"` and `pending_approvals`, and waits, for days if need be and whatever
process dies.

Here each of them is approved, approved with other arguments, or denied; the model is told of a denial and its
reason, and of arguments that are not its own. When nothing is left to decide the response goes on under the
same id, and the reply, or its stream, is that of the chat, with the whole output. Before that the reply says what still waits.

Of several who decide about the same call one is heard, the others get a 409 `approval_conflict`. Where the chat
had an ephemeral server with headers, its entry must come along in `integrations` once more, for header values
are not kept: a 409 `integration_credentials_required` says so. A call whose tool has changed since is not run; the
model is told. Who does not decide within `APPROVAL_TIMEOUT` has denied: the response ends as `incomplete`
(`deadline`)."""

APPROVAL_EXAMPLES: Final[JsonObject] = {
    "Approve": {"approvals": [{"call_id": "call_0123456789abcdef01234567", "decision": "approve"}]},
    "Approve with other arguments": {
        "approvals": [
            {"call_id": "call_0123456789abcdef01234567", "decision": "approve", "arguments": {"path": "/tmp/x"}}
        ],
        "stream": True,
    },
    "Deny": {
        "approvals": [{"call_id": "call_0123456789abcdef01234567", "decision": "deny", "reason": "Not on a Friday."}]
    },
}


def _approvals() -> JsonObject:
    reply = success("The reply, or its stream.", "ChatReply", headers=[RESPONSE_ID_HEADER])
    cast(JsonObject, reply["content"])["text/event-stream"] = {"schema": reference("StreamEvent")}
    kinds = (
        *IN_CHAT,
        ErrorKind.RESPONSE_NOT_FOUND,
        ErrorKind.APPROVAL_CONFLICT,
        ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED,
    )
    return {
        "operationId": "decideApprovals",
        "tags": ["Responses"],
        "summary": "Approve or deny tool calls",
        "description": APPROVALS,
        "parameters": [RESPONSE_ID],
        "requestBody": body("ApprovalsBody", APPROVAL_EXAMPLES),
        "responses": {"200": reply, **errors(kinds)},
    }


def _elicitations() -> JsonObject:
    return {
        "operationId": "listElicitations",
        "tags": ["Responses"],
        "summary": "What servers ask the user",
        "description": "An extension. The questions of MCP servers that wait for an answer while the response is made. "
        "They come as the event `elicitation.requested` to a stream that asks for extensions; without such a stream "
        "nobody is asked, and the server is told that there is no answer.",
        "parameters": [RESPONSE_ID],
        "responses": {
            "200": success("The questions.", "ElicitationList"),
            **errors((ErrorKind.RESPONSE_NOT_FOUND, *WITH_TOKEN)),
        },
    }


def _answer_elicitation() -> JsonObject:
    examples: JsonObject = {
        "A filled-in form": {"action": "accept", "content": {"name": "Ada"}},
        "No": {"action": "decline"},
    }
    return {
        "operationId": "answerElicitation",
        "tags": ["Responses"],
        "summary": "Answer a server",
        "description": "An extension. The server that asked gets the answer, and its tool call goes on.",
        "parameters": [RESPONSE_ID, path_parameter("elicitation_id", "The id that the question came with.")],
        "requestBody": body("ElicitationAnswer", examples),
        "responses": {
            "200": success("The server has the answer.", "ElicitationReply"),
            **errors((ErrorKind.RESPONSE_NOT_FOUND, ErrorKind.ELICITATION_NOT_FOUND, *WITH_BODY)),
        },
    }


SECTION: Final = Section(
    "Responses",
    "What is stored.",
    {
        "/api/v1/responses/{response_id}": {"get": _stored_response()},
        "/api/v1/responses/{response_id}/approvals": {"post": _approvals()},
        "/api/v1/responses/{response_id}/elicitations": {"get": _elicitations()},
        "/api/v1/responses/{response_id}/elicitations/{elicitation_id}": {"post": _answer_elicitation()},
    },
    (StoredReply, ApprovalsBody, ElicitationList, ElicitationReply, ElicitationAnswer),
)
