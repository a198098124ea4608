"""Stored responses, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import WITH_TOKEN, Section, body, errors, path_parameter, reference, success
from orchestrator.api.wire import StoredReply
from orchestrator.api.wire_approvals import ApprovalsBody
from orchestrator.api.wire_forks import ForkBody
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


FORK: Final = """\
An extension. Leaves a stored response for a new branch, also in the middle of it. `at.call_id` names a tool call: it is
made anew, with `arguments` in the place of its own, or it is not made and has `output` as its result; what came after
it is dropped. `at.position` keeps so many output items: none, so that the same question is answered again, or those up
to a call. Without `at` it is the end. What the branch keeps is not run again, and its calls stay where they are in the journal.

`input` takes the place of the old at the position 0; at the end it continues the response, as `previous_response_id`
does. Settings that are given replace those of the response. Where it had an ephemeral server with headers,
`integrations` have to be given again."""

FORK_EXAMPLES: Final[JsonObject] = {
    "Other arguments": {"at": {"call_id": "call_0123456789abcdef01234567"}, "arguments": {"city": "Paris"}},
    "Another result": {"at": {"call_id": "call_0123456789abcdef01234567"}, "output": {"text": "It rains."}},
    "The same question, warmer": {"at": {"position": 0}, "temperature": 0.9, "stream": True},
}


def _fork() -> JsonObject:
    reply = success("The reply, or its stream.", "ChatReply", headers=[RESPONSE_ID_HEADER])
    cast(JsonObject, reply["content"])["text/event-stream"] = {"schema": reference("StreamEvent")}
    kinds = (*IN_CHAT, ErrorKind.RESPONSE_NOT_FOUND, ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED)
    return {
        "operationId": "forkResponse",
        "tags": ["Responses"],
        "summary": "Branch off inside a response",
        "description": FORK,
        "parameters": [RESPONSE_ID],
        "requestBody": body("ForkBody", FORK_EXAMPLES),
        "responses": {"200": reply, **errors(kinds)},
    }


SECTION: Final = Section(
    "Responses",
    "What is stored.",
    {
        "/api/v1/responses/{response_id}": {"get": _stored_response()},
        "/api/v1/responses/{response_id}/approvals": {"post": _approvals()},
        "/api/v1/responses/{response_id}/fork": {"post": _fork()},
    },
    (StoredReply, ApprovalsBody, ForkBody),
)
