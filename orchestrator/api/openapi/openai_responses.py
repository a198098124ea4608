"""OpenAI's Responses, in the OpenAPI document."""

from collections.abc import Sequence
from typing import Any, Final, cast

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.errors import openai_envelope
from orchestrator.api.openai_responses.conversations import CONVERSATIONS_PATH
from orchestrator.api.openai_responses.pages import PAGE
from orchestrator.api.openai_responses.routes import RESPONSES_PATH
from orchestrator.api.openai_responses.wire_conversations import (
    Conversation,
    ConversationCreateBody,
    ConversationItemsBody,
    ConversationUpdateBody,
    DeletedConversation,
)
from orchestrator.api.openai_responses.wire_events import ResponseEvent
from orchestrator.api.openai_responses.wire_requests import CompactBody, InputTokensBody, ResponseCreateBody
from orchestrator.api.openai_responses.wire_response import (
    CompactedResponse,
    DeletedResponse,
    InputTokens,
    ItemList,
    ResponseObject,
)
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import (
    WITH_BODY,
    WITH_TOKEN,
    Section,
    body,
    errors,
    path_parameter,
    query_parameter,
    reference,
    success,
)
from orchestrator.api.replies import TOKEN_COUNT_HEADER
from orchestrator.api.wire_openai_errors import OpenAIErrorEnvelope
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

_CREATE: Final = """\
A response, as OpenAI's clients and those of the Open Responses specification ask for it. What is made here can be
continued, read and audited in every other dialect, by the same id.

* `tools` of the type `function` are the client's: a call of one is a `function_call` in the output, its result a
  `function_call_output` in a later input. Those of the type `mcp` run here: a server that the request brings along, or,
  without `server_url`, the server of `mcp.json` with that label. Calls wait for an `mcp_approval_response` unless
  `require_approval` says otherwise. The answer makes a new response, which begins with the call; a chat that goes on
  without one goes on without the call.
* `previous_response_id`, `conversation` and a history in `input` all go on from what is stored. A history that is sent
  again is found by what was said in it.
* The reasoning of a model is told whole, as `content` of its item; with `reasoning.summary` as its summary, too.
* With `background` the response goes on without its client: `GET` reads it, with `stream=true` and `starting_after` its
  stream goes on where it was left.

A stream has the events of OpenAI's reference, numbered by `sequence_number`, and ends with `data: [DONE]`:
`response.created`, `response.queued`, `response.in_progress`, `response.output_item.added`,
`response.content_part.added`, `response.output_text.delta`, `response.output_text.done`, `response.content_part.done`,
`response.reasoning_text.delta`, `response.reasoning_text.done`, `response.reasoning_summary_part.added`,
`response.reasoning_summary_text.delta`, `response.reasoning_summary_text.done`,
`response.reasoning_summary_part.done`, `response.function_call_arguments.delta`,
`response.function_call_arguments.done`, `response.mcp_list_tools.in_progress`, `response.mcp_list_tools.completed`,
`response.mcp_call.in_progress`, `response.mcp_call_arguments.delta`, `response.mcp_call_arguments.done`,
`response.mcp_call.completed`, `response.mcp_call.failed`, `response.output_item.done`, and at the end
`response.completed`, `response.incomplete` or `response.failed`. A request with the header `OpenResponses-Version` gets
`response.reasoning.delta` and `response.reasoning.done` in the place of `response.reasoning_text.…`: that specification
and OpenAI's clients call them so."""

_EXAMPLES: Final[JsonObject] = {
    "A question": {"model": "publisher/model", "input": "What is the Model Context Protocol?"},
    "A server and a function": {
        "model": "publisher/model",
        "input": [{"type": "message", "role": "user", "content": "What time is it in Tokyo?"}],
        "tools": [
            {"type": "mcp", "server_label": "clock", "require_approval": "never"},
            {
                "type": "function",
                "name": "show",
                "description": "Shows a text to the user.",
                "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            },
        ],
        "stream": True,
    },
}

_OF_ONE: Final = (
    ErrorKind.RESPONSE_NOT_FOUND,
    ErrorKind.INVALID_VALUE,
    ErrorKind.UNRECOGNIZED_KEYS,
    ErrorKind.STORE_ERROR,
    *WITH_TOKEN,
)
_ONE: Final = RESPONSES_PATH + "/{response_id}"
_ID: Final = path_parameter("response_id", "The id of a stored response, whatever dialect it was made in.")
_SUBTREE: Final = query_parameter("subtree", "Delete what continues it, too.", {"type": "boolean", "default": False})
_TEXT: Final[JsonObject] = {"type": "string"}


def _operation(name: str, summary: str, description: str, **more: JsonValue) -> JsonObject:
    return {"operationId": name, "tags": ["OpenAI Responses"], "summary": summary, "description": description, **more}


def _create() -> JsonObject:
    reply = success("The response, or its stream.", "ResponseObject", headers=[RESPONSE_ID_HEADER])
    _streams(reply)
    refused = (
        *(ErrorKind.APPROVAL_CONFLICT, ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED, ErrorKind.RESPONSE_NOT_FOUND),
        *(ErrorKind.UNSUPPORTED_PARAMETER, ErrorKind.PREVIOUS_RESPONSE_NOT_FOUND, ErrorKind.THREAD_NOT_FOUND),
    )
    return _operation(
        "createOpenAIResponse",
        "Ask for a response",
        _CREATE,
        requestBody=body("ResponseCreateBody", _EXAMPLES),
        responses={"200": reply, **errors((*IN_CHAT, *refused), openai_envelope)},
    )


def _streams(reply: JsonObject) -> None:
    events: list[JsonValue] = [reference(event.__name__) for event in _events()]
    cast(JsonObject, reply["content"])["text/event-stream"] = {"schema": {"oneOf": events}}


def _events() -> tuple[type, ...]:
    return cast(Any, ResponseEvent).__args__


def _read() -> JsonObject:
    reply = success("The response.", "ResponseObject")
    _streams(reply)
    parameters: list[JsonValue] = [
        _ID,
        query_parameter("stream", "Its stream again.", {"type": "boolean", "default": False}),
        query_parameter("starting_after", "The number of the last event that is not wanted.", {"type": "integer"}),
        query_parameter("include", "Accepted.", _TEXT),
        query_parameter("include[]", "Accepted.", _TEXT),
        query_parameter("include_obfuscation", "Accepted; nothing is obfuscated.", {"type": "boolean"}),
    ]
    told = (
        "The response as it is now. A process remembers the stream of a response of the background until five minutes "
        "after its end. After that the stream is told with every text in one piece; behind an event only its end."
    )
    answers: JsonObject = {"200": reply, **errors(_OF_ONE, openai_envelope)}
    return _operation("getOpenAIResponse", "A response", told, parameters=parameters, responses=answers)


def _delete() -> JsonObject:
    refused = (ErrorKind.INVALID_VALUE, ErrorKind.RESPONSE_NOT_FINISHED)
    answers: JsonObject = {
        "200": success("It is deleted.", "DeletedResponse"),
        **errors((*_OF_ONE, *refused), openai_envelope),
    }
    parameters: list[JsonValue] = [_ID, _SUBTREE]
    told = (
        "Overwrites its content. That its tools were called stays in the journal. One that others continue cannot go alone: "
        "that is a 400."
    )
    return _operation("deleteOpenAIResponse", "Delete a response", told, parameters=parameters, responses=answers)


def _cancel() -> JsonObject:
    answers: JsonObject = {
        "200": success("The response.", "ResponseObject"),
        **errors(_OF_ONE, openai_envelope),
    }
    told = "Ends it, whichever process runs it, in the background or not; what was generated by then is kept."
    return _operation("cancelOpenAIResponse", "Cancel a response", told, parameters=[_ID], responses=answers)


def page_parameters() -> list[JsonValue]:
    """How lists of items are paged."""
    usual, most = PAGE
    return [
        query_parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": most, "default": usual}),
        query_parameter("order", "The newest first, or the oldest.", {"type": "string", "enum": ["desc", "asc"]}),
        query_parameter("after", "The id of the last item of the page before.", _TEXT),
        query_parameter("include", "Accepted.", _TEXT),
        query_parameter("include[]", "Accepted.", _TEXT),
    ]


def _input_items() -> JsonObject:
    answers: JsonObject = {"200": success("A page.", "ItemList"), **errors(_OF_ONE, openai_envelope)}
    told = "What the response was asked: the items of its own request, not those before it."
    parameters: list[JsonValue] = [_ID, *page_parameters()]
    return _operation("listInputItems", "What a response was asked", told, parameters=parameters, responses=answers)


def _of_compaction() -> dict[str, JsonObject]:
    example: JsonObject = {"model": "publisher/model", "input": "What is the Model Context Protocol?"}
    count = (
        "The tokens of the prompt that a request would begin with, template and tools included: as the engine of its model "
        "counts it where it can and the model is loaded (`X-Token-Count: exact`), else `estimated` from its size. Servers among "
        "the tools are asked what they offer; pictures are estimated."
    )
    compact = (
        "The chat in short, written by the model: a `compaction` item that a later `input` can begin with. The writing is a "
        "response like any other, under the id of the reply, and is stored."
    )
    return {
        RESPONSES_PATH + "/input_tokens": {
            "post": _operation(
                "countInputTokens",
                "Count a prompt",
                count,
                requestBody=body("InputTokensBody", {"A question": example}),
                responses={
                    "200": success("How many.", "InputTokens", headers=(TOKEN_COUNT_HEADER,)),
                    **errors(IN_CHAT, openai_envelope),
                },
            )
        },
        RESPONSES_PATH + "/compact": {
            "post": _operation(
                "compactResponse",
                "Put a chat in short",
                compact,
                requestBody=body("CompactBody", {"A chat": example}),
                responses={
                    "200": success("The chat in short.", "CompactedResponse", headers=[RESPONSE_ID_HEADER]),
                    **errors(IN_CHAT, openai_envelope),
                },
            )
        },
    }


def _of_conversations() -> dict[str, JsonObject]:
    one = path_parameter("conversation_id", "The id of a conversation; every thread is one, with the same digits.")
    item = path_parameter("item_id", "The id of an item.")
    missing = (ErrorKind.THREAD_NOT_FOUND, *WITH_BODY, ErrorKind.STORE_ERROR)
    moved = (*missing, ErrorKind.THREAD_CONFLICT, ErrorKind.RESPONSE_NOT_FINISHED, ErrorKind.INVALID_UNION)

    def operation(
        name: str,
        summary: str,
        reply: str,
        kinds: Sequence[ErrorKind],
        parameters: list[JsonValue],
        sent: tuple[str, JsonObject] | None = None,
    ) -> JsonObject:
        given: JsonObject = {} if sent is None else {"requestBody": body(sent[0], {"For example": sent[1]})}
        answers: JsonObject = {"200": success(f"{summary}.", reply), **errors(kinds, openai_envelope)}
        told = f"{summary}. A conversation is a thread; what is put into it without a model is a response of its own."
        return _operation(name, summary, told, parameters=parameters, responses=answers, **given)

    said: JsonObject = {"type": "message", "role": "user", "content": "Hello."}
    path = CONVERSATIONS_PATH + "/{conversation_id}"
    create: tuple[str, JsonObject] = ("ConversationCreateBody", {"metadata": {"topic": "demo"}, "items": [said]})
    update: tuple[str, JsonObject] = ("ConversationUpdateBody", {"metadata": {"topic": "demo"}})
    add: tuple[str, JsonObject] = ("ConversationItemsBody", {"items": [said]})
    gone = (ErrorKind.METHOD_NOT_ALLOWED, *missing)
    unknown = (ErrorKind.ITEM_NOT_FOUND, *missing)
    return {
        CONVERSATIONS_PATH: {"post": operation("createConversation", "Begin one", "Conversation", moved, [], create)},
        path: {
            "delete": operation("deleteConversation", "Delete one", "DeletedConversation", moved, [one, _SUBTREE]),
            "get": operation("getConversation", "Read one", "Conversation", missing, [one]),
            "post": operation("updateConversation", "Change its metadata", "Conversation", moved, [one], update),
        },
        path + "/items": {
            "get": operation("listItems", "List its items", "ItemList", missing, [one, *page_parameters()]),
            "post": operation("addItems", "Add items", "ItemList", moved, [one], add),
        },
        path + "/items/{item_id}": {
            "delete": operation("deleteItem", "Refused: delete a response", "DeletedConversation", gone, [one, item]),
            "get": operation("getItem", "Read an item", "MessageItem", unknown, [one, item]),
        },
    }


SECTION: Final = Section(
    "OpenAI Responses",
    "OpenAI's Responses, and those of the Open Responses specification.",
    {
        RESPONSES_PATH: {"post": _create()},
        _ONE: {"delete": _delete(), "get": _read()},
        _ONE + "/cancel": {"post": _cancel()},
        _ONE + "/input_items": {"get": _input_items()},
        **_of_compaction(),
        **_of_conversations(),
    },
    (
        InputTokensBody,
        InputTokens,
        CompactBody,
        CompactedResponse,
        ConversationCreateBody,
        ConversationUpdateBody,
        ConversationItemsBody,
        Conversation,
        DeletedConversation,
        ResponseCreateBody,
        ResponseObject,
        DeletedResponse,
        ItemList,
        OpenAIErrorEnvelope,
        *_events(),
    ),
)
