"""Branches of stored responses, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import Section, body, errors, query_parameter, reference, success
from orchestrator.api.openapi.responses import OF_ONE, OWNER, RESPONSE_ID
from orchestrator.api.responses import RESPONSES_PATH
from orchestrator.api.wire_branches import (
    ChainReplayBody,
    ChainReplayReply,
    DiffReply,
    ReplayBody,
    ReplayReply,
    ReplayReportReply,
)
from orchestrator.api.wire_forks import ForkBody
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

_FORK: Final = """\
An extension. Leaves a stored response for a new branch, also in the middle of it. `at.call_id` names a tool call: it is
made anew, with `arguments` in the place of its own, or it is not made and has `output` as its result; the turns after
it are dropped. `at.position` keeps so many output items: none, so that the same question is answered again, or those up
to a call. Without `at` it is the end. A turn is kept whole: the calls beside the one at which a branch begins stay with
what they answered, so that the model goes on from the turn that it wrote. What the branch keeps is not run again, and
its calls stay where they are in the journal.

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


_DIFF: Final = """\
An extension. Two branches beside each other: their last common response, and what comes after it, response by
response and item by item. `a` and `b` are the ids of the responses in which they end. Items are aligned so that as much
as possible stands beside its like: a call beside a call of the same tool. `status` says of each whether it is
`equal`, `changed`, `added` (only `b` has it) or `removed` (only `a` has it), `changes` in what: `arguments.<path>`,
`output`, `structured_output`, `is_error`, `reason`, `status` (`edited`: a client gave the result), `content`, and of a response `model`, `system_prompt`, `parameters.<path>` and how it
ended. `tools` lists the tools whose definitions, by digest, are not the same. Ids, times and durations are not
compared. At most 100 responses a side."""

_REPLAY: Final = """\
An extension. Runs a stored response again, as a response of its own (`replay_of`) that is journaled and
streamed like any other; the original stays as it is.

With `tools: "live"` the model's turns come from the store, word for word, and the tools run: has a server changed? With
`tools: "stored"` the tools' definitions and answers come from the store, no server is connected, and the model writes: does it
still do the same, does another `model`? A call that the original never made has no stored answer; the model is told so.

Only tools that are annotated read-only (`readOnlyHint`) run again, and those that `allow_tools` names. Any other call,
one that needs somebody's approval, that was denied, whose result somebody edited, or whose arguments were redacted, is answered
from the store. Nor may a server ask its user, or the model, anything while the tools are live. `report.not_run` lists these calls with the reason, the journal has them as `replayed`. Nothing ever waits for approval.

`report.differences` says what came out otherwise: `definition`, `tool_missing`, `tool_added` of what is offered;
`arguments`, `result`, `error`, `call_added`, `call_removed` of calls; `text` of messages and reasoning; `status` of the end.
A stream is that of a chat; the report is then at `GET` of the same path, with the id of the replay."""

_REPORT: Final = """\
An extension. What a replay found, made anew from what is stored. `response_id` is the id of the replay. It is
gone when the original is deleted."""

_CHAIN_REPLAY: Final = """\
An extension. Runs a chain again, from its root, or from the response that `from` names, to this one: each response as
a replay that continues the replay of the one before it, under the rules of `POST /api/v1/responses/{response_id}/replay`.
The new chain stands beside the old one, in the same tree. With `tools: "stored"` the model so goes on from what it
wrote itself, and not from what it had written then.

`reports` says of each what came out otherwise. It stops at a replay that failed: `left` lists the responses behind it. At
most 100 responses. There is no stream."""

_CHAIN_REPORT: Final = """\
An extension. What the replay of a chain found, made anew from what is stored: of the replay `response_id`, and of those
before it in its chain."""

_REPLAY_EXAMPLES: Final[JsonObject] = {
    "The tools again": {},
    "One that writes, too": {"allow_tools": ["mcp/files/write_file"]},
    "The model again": {"tools": "stored"},
}


def _diff() -> JsonObject:
    text: JsonObject = {"type": "string"}
    a: JsonObject = {**query_parameter("a", "The end of one branch.", text), "required": True}
    b: JsonObject = {**query_parameter("b", "The end of the other.", text), "required": True}
    kinds = (ErrorKind.MISSING_REQUIRED_PARAMETER, *OF_ONE)
    return _operation(
        "diffResponses",
        "Compare two branches",
        _DIFF,
        [a, b, OWNER],
        {"200": success("The comparison.", "DiffReply"), **errors(kinds)},
    )


def _replay() -> JsonObject:
    reply = success("The reply with the report, or the stream.", "ReplayReply", headers=[RESPONSE_ID_HEADER])
    cast(JsonObject, reply["content"])["text/event-stream"] = {"schema": reference("StreamEvent")}
    kinds = (
        *IN_CHAT,
        ErrorKind.RESPONSE_NOT_FOUND,
        ErrorKind.RESPONSE_NOT_FINISHED,
        ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED,
    )
    replay = _operation(
        "replayResponse", "Run a response again", _REPLAY, [RESPONSE_ID], {"200": reply, **errors(kinds)}
    )
    return {**replay, "requestBody": body("ReplayBody", _REPLAY_EXAMPLES)}


def _report() -> JsonObject:
    answers: JsonObject = {"200": success("The report.", "ReplayReportReply"), **errors(OF_ONE)}
    return _operation("getReplayReport", "What a replay found", _REPORT, [RESPONSE_ID, OWNER], answers)


def _replay_chain() -> JsonObject:
    kinds = (
        *IN_CHAT,
        ErrorKind.RESPONSE_NOT_FOUND,
        ErrorKind.RESPONSE_NOT_FINISHED,
        ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED,
    )
    answers: JsonObject = {"200": success("The report.", "ChainReplayReply"), **errors(kinds)}
    replay = _operation("replayChain", "Run a chain again", _CHAIN_REPLAY, [RESPONSE_ID], answers)
    examples: JsonObject = {"From the root": {}, "The model again": {"tools": "stored"}}
    return {**replay, "requestBody": body("ChainReplayBody", examples)}


def _chain_report() -> JsonObject:
    answers: JsonObject = {"200": success("The report.", "ChainReplayReply"), **errors(OF_ONE)}
    return _operation(
        "getChainReplayReport", "What the replay of a chain found", _CHAIN_REPORT, [RESPONSE_ID, OWNER], answers
    )


def _operation(
    name: str, summary: str, description: str, parameters: list[JsonValue], answers: JsonObject
) -> JsonObject:
    return {
        "operationId": name,
        "tags": ["Branches"],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": answers,
    }


SECTION: Final = Section(
    "Branches",
    "Leaving a stored response inside it, comparing branches, running responses again.",
    {
        f"{RESPONSES_PATH}/{{response_id}}/fork": {"post": _fork()},
        f"{RESPONSES_PATH}/diff": {"get": _diff()},
        f"{RESPONSES_PATH}/{{response_id}}/replay": {"get": _report(), "post": _replay()},
        f"{RESPONSES_PATH}/{{response_id}}/chain/replay": {"get": _chain_report(), "post": _replay_chain()},
    },
    (ForkBody, ReplayBody, ReplayReply, ReplayReportReply, ChainReplayBody, ChainReplayReply, DiffReply),
)
