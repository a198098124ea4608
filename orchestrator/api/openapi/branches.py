"""Branches of stored responses, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import Section, body, errors, reference, success
from orchestrator.api.openapi.responses import RESPONSE_ID
from orchestrator.api.responses import RESPONSES_PATH
from orchestrator.api.wire_forks import ForkBody
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

_FORK: Final = """\
An extension. Leaves a stored response for a new branch, also in the middle of it. `at.call_id` names a tool call: it is
made anew, with `arguments` in the place of its own, or it is not made and has `output` as its result; what came after
it is dropped. `at.position` keeps so many output items: none, so that the same question is answered again, or those up
to a call. Without `at` it is the end. What the branch keeps is not run again, and its calls stay where they are in the journal.

`input` takes the place of the old at the position 0; at the end it continues the response, as `previous_response_id`
does. Settings that are given replace those of the response. Where it had an ephemeral server with headers,
`integrations` have to be given again."""

_FORK_EXAMPLES: Final[JsonObject] = {
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
        "tags": ["Branches"],
        "summary": "Branch off inside a response",
        "description": _FORK,
        "parameters": [RESPONSE_ID],
        "requestBody": body("ForkBody", _FORK_EXAMPLES),
        "responses": {"200": reply, **errors(kinds)},
    }


SECTION: Final = Section(
    "Branches",
    "Leaving a stored response inside it.",
    {f"{RESPONSES_PATH}/{{response_id}}/fork": {"post": _fork()}},
    (ForkBody,),
)
