"""OpenAI's older dialect, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.anthropic_messages.model_entries import PAGE, AnthropicModels
from orchestrator.api.errors import openai_envelope
from orchestrator.api.openai_chat.model_entries import MODEL_LIST_PATH, MODEL_PATH
from orchestrator.api.openai_chat.routes import CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH
from orchestrator.api.openai_chat.wire_replies import Chunk, Completion, ModelEntries, ModelEntry, TextCompletion
from orchestrator.api.openai_chat.wire_requests import CompletionBody, TextCompletionBody
from orchestrator.api.openapi.chat import IN_CHAT
from orchestrator.api.openapi.parts import (
    WITH_TOKEN,
    Section,
    body,
    errors,
    path_parameter,
    query_parameter,
    reference,
    success,
)
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

CHAT: Final = """\
A chat as OpenAI's clients hold it: the whole history in every request. What is stored of it is known again by what was
said, and continued: one graph with every other dialect, each answer a response that `X-Response-Id` names. `tools` of
type `function` are handed over to the client (`finish_reason` `tool_calls`); `integrations`, an extension, are MCP servers whose
tools run on the server, and what they answer is in the journal. With `n` each choice is a response of its own.

With `"stream": true` the reply is `text/event-stream`: a `Chunk` in each `data:`, `[DONE]` in the last; a failure after
the beginning is an `error`, which is the last then. A client that goes away ends the request."""

TEXT: Final = """\
A text for each prompt, which the model goes on with as it is, without its chat template."""

EXAMPLES: Final[JsonObject] = {
    "A question": {"model": "publisher/model", "messages": [{"role": "user", "content": "When is it noon in Oslo?"}]},
    "With a server's tools": {
        "model": "publisher/model",
        "messages": [{"role": "user", "content": "What time is it?"}],
        "integrations": ["mcp/clock"],
    },
    "With a function of the client's": {
        "model": "publisher/model",
        "messages": [{"role": "user", "content": "What is the weather?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    },
}
TEXT_EXAMPLES: Final[JsonObject] = {"A prompt": {"model": "publisher/model", "prompt": "Once upon a time"}}


def _streamed(answer: JsonObject, schema: str) -> JsonObject:
    content: JsonObject = {**_content(answer), "text/event-stream": {"schema": reference(schema)}}
    return {**answer, "content": content}


def _content(answer: JsonObject) -> JsonObject:
    content: JsonValue = answer["content"]
    assert isinstance(content, dict)
    return content


def _chat() -> JsonObject:
    return {
        "operationId": "createChatCompletion",
        "tags": ["OpenAI"],
        "summary": "Complete a chat",
        "description": CHAT,
        "requestBody": body("CompletionBody", EXAMPLES),
        "responses": {
            "200": _streamed(success("The answer.", "Completion", headers=("X-Response-Id",)), "Chunk"),
            **errors(IN_CHAT, openai_envelope),
        },
    }


def _text() -> JsonObject:
    return {
        "operationId": "createCompletion",
        "tags": ["OpenAI"],
        "summary": "Complete texts",
        "description": TEXT,
        "requestBody": body("TextCompletionBody", TEXT_EXAMPLES),
        "responses": {
            "200": _streamed(success("The texts.", "TextCompletion", headers=("X-Response-Id",)), "TextCompletion"),
            **errors(IN_CHAT, openai_envelope),
        },
    }


def _either(told: JsonObject, other: str) -> JsonObject:
    """A success that may be told in another shape as well."""
    told["content"] = {
        kind: {"schema": {"oneOf": [content["schema"], reference(other)]}}
        for kind, content in cast("dict[str, JsonObject]", told["content"]).items()
    }
    return told


def _list() -> JsonObject:
    return {
        "operationId": "listModelEntries",
        "tags": ["OpenAI"],
        "summary": "List models",
        "description": "Every model of every engine that answers. Where the request has an `anthropic-version`, the reply "
        "is a page in Anthropic's shape, and so are errors. A token needs the permission `models.read`.",
        "parameters": [
            query_parameter(
                "limit", "Anthropic's.", {"type": "integer", "minimum": 1, "maximum": PAGE[1], "default": PAGE[0]}
            ),
            query_parameter("after_id", "Anthropic's: the page after this model.", {"type": "string"}),
            query_parameter("before_id", "Anthropic's: the page before this model.", {"type": "string"}),
        ],
        "responses": {
            "200": _either(success("The models.", "ModelEntries"), "AnthropicModels"),
            **errors(WITH_TOKEN, openai_envelope),
        },
    }


def _get() -> JsonObject:
    return {
        "operationId": "getModelEntry",
        "tags": ["OpenAI"],
        "summary": "Show a model",
        "description": "By its key, `engine::key`, or the id of a loaded instance; in Anthropic's shape as the list.",
        "parameters": [path_parameter("model_id", "May have slashes.")],
        "responses": {
            "200": _either(success("The model.", "ModelEntry"), "AnthropicModel"),
            **errors((*WITH_TOKEN, ErrorKind.UNKNOWN_MODEL), openai_envelope),
        },
    }


SECTION: Final = Section(
    "OpenAI",
    "Chats, texts and models in OpenAI's shape.",
    {
        CHAT_COMPLETIONS_PATH: {"post": _chat()},
        COMPLETIONS_PATH: {"post": _text()},
        MODEL_LIST_PATH: {"get": _list()},
        MODEL_PATH.replace(":path", ""): {"get": _get()},
    },
    (CompletionBody, Completion, Chunk, TextCompletionBody, TextCompletion, ModelEntries, ModelEntry, AnthropicModels),
)
