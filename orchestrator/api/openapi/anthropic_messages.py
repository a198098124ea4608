"""Anthropic's dialect, in the OpenAPI document."""

from typing import Final, get_args

from orchestrator.api.anthropic_messages.routes import COUNT_TOKENS_PATH, MESSAGES_PATH
from orchestrator.api.anthropic_messages.wire_reply import (
    AnthropicEvent,
    MessageReply,
    TokenCountReply,
)
from orchestrator.api.anthropic_messages.wire_requests import CountTokensBody, MessagesBody
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.errors import anthropic_envelope
from orchestrator.api.openapi.parts import WITH_BODY, Section, body, errors, reference, success
from orchestrator.api.replies import TOKEN_COUNT_HEADER
from orchestrator.api.wire_anthropic_errors import AnthropicErrorEnvelope
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

CREATE: Final = """\
A message of the model's, as Anthropic's clients ask for it. Its servers of MCP (`mcp_servers`, and our extension
`integrations`) are called here: `mcp_tool_use` and `mcp_tool_result` blocks tell of it. A call of a function in `tools`
ends the message with `tool_use`; the next request brings its `tool_result`.

A request is a whole history. What is stored of it is found again and continued, so that the responses are one graph with
those of every other dialect. `pause_turn` says that a limit of the service, an approval that is due, or somebody ended
the message before the model did. A history whose last message is such a one, of the assistant, is gone on with.

With `stream` the events are `message_start`, `ping`, `content_block_start`, `content_block_delta`, `content_block_stop`,
`message_delta` and `message_stop`, or `error`. `anthropic-version` and `anthropic-beta` are accepted whatever they say."""

COUNT: Final = """\
How many tokens a prompt is, with template and tools: as the engine of its model counts it where it can and the model is
loaded (`X-Token-Count: exact`), else `estimated` from its size; pictures are estimated always. Nothing is loaded for it;
servers are asked what they offer."""

_ASK: Final[JsonObject] = {
    "model": "publisher/model",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "What time is it?"}],
}
EXAMPLES: Final[JsonObject] = {
    "A question": _ASK,
    "A server of MCP": {
        **_ASK,
        "mcp_servers": [{"type": "url", "name": "clock", "url": "https://clock.example/mcp"}],
    },
    "A plugin of mcp.json": {**_ASK, "integrations": ["mcp/clock"]},
}

_IN_MESSAGES: Final = (
    *WITH_BODY,
    ErrorKind.INVALID_UNION,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.RESPONSE_NOT_FOUND,
    ErrorKind.RESPONSE_NOT_FINISHED,
    ErrorKind.EXCEED_CONTEXT_SIZE,
    ErrorKind.INSUFFICIENT_RESOURCES,
    ErrorKind.PLUGIN_CONNECTION_ERROR,
    ErrorKind.MCP_CONNECTION_ERROR,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.STORE_ERROR,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
)
_IN_COUNT: Final = (
    *WITH_BODY,
    ErrorKind.INVALID_UNION,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.MCP_CONNECTION_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
)


def _create() -> JsonObject:
    told = success("The message, or with `stream` the events of it.", "MessageReply", headers=(RESPONSE_ID_HEADER,))
    content = told["content"]
    assert isinstance(content, dict)
    content["text/event-stream"] = {
        "schema": {"oneOf": [reference(event.__name__) for event in get_args(AnthropicEvent)]}
    }
    return {
        "operationId": "createMessage",
        "tags": ["Messages"],
        "summary": "Create a message",
        "description": CREATE,
        "requestBody": body("MessagesBody", EXAMPLES),
        "responses": {"200": told, **errors(_IN_MESSAGES, anthropic_envelope)},
    }


def _count() -> JsonObject:
    example: JsonObject = {"A question": {key: value for key, value in _ASK.items() if key != "max_tokens"}}
    return {
        "operationId": "countMessageTokens",
        "tags": ["Messages"],
        "summary": "Count the tokens of a message",
        "description": COUNT,
        "requestBody": body("CountTokensBody", example),
        "responses": {
            "200": success("The count.", "TokenCountReply", headers=(TOKEN_COUNT_HEADER,)),
            **errors(_IN_COUNT, anthropic_envelope),
        },
    }


SECTION: Final = Section(
    "Messages",
    "Anthropic's dialect.",
    {MESSAGES_PATH: {"post": _create()}, COUNT_TOKENS_PATH: {"post": _count()}},
    (MessagesBody, MessageReply, CountTokensBody, TokenCountReply, AnthropicErrorEnvelope, AnthropicEvent),
)
