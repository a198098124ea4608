"""The OpenAPI 3.1 document, made from what the code itself uses: wire structs and the error table."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, cast

import msgspec
from msgspec import UNSET

from orchestrator.api.chat import CHAT_PATH, RESPONSE_ID_HEADER
from orchestrator.api.downloads import DOWNLOAD_ACTIONS, DOWNLOAD_PATH
from orchestrator.api.errors import ERROR_TABLE, WireError
from orchestrator.api.health import HEALTH_PATH
from orchestrator.api.loading import LOAD_PATH, UNLOAD_PATH
from orchestrator.api.metrics import METRICS_PATH
from orchestrator.api.models import MODELS_PATH
from orchestrator.api.openapi_texts import (
    CHAT,
    DOWNLOAD,
    DOWNLOAD_EXAMPLES,
    EXAMPLES,
    INTRODUCTION,
    JOB_ACTIONS,
    LOAD,
    LOAD_EXAMPLES,
    METRICS,
    REPLY_EXAMPLE,
    STREAM,
    UNLOAD,
)
from orchestrator.api.request_ids import REQUEST_ID_HEADER
from orchestrator.api.wire import (
    ChatReply,
    ErrorBody,
    ErrorEnvelope,
    Health,
    LoadReply,
    ModelList,
    StoredReply,
    UnloadReply,
)
from orchestrator.api.wire_downloads import DownloadBody, DownloadReply, DownloadStatusReply
from orchestrator.api.wire_events import WireEvent
from orchestrator.api.wire_models import LoadBody, UnloadBody
from orchestrator.api.wire_requests import ChatBody
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

_SCHEMAS: Final = "#/components/schemas/{name}"
_RESPONSE_URL: Final = "/api/v1/responses/{response_id}"
_JSON: Final = "application/json"

_ANYWHERE: Final = (ErrorKind.FORBIDDEN_ORIGIN, ErrorKind.INTERNAL_ERROR)
_WITH_TOKEN: Final = (ErrorKind.INVALID_API_KEY, ErrorKind.PERMISSION_DENIED, *_ANYWHERE)
_NOT_IN_CHAT: Final = frozenset(
    {ErrorKind.RESPONSE_NOT_FOUND, ErrorKind.UNKNOWN_ENDPOINT, ErrorKind.METHOD_NOT_ALLOWED}
    | {ErrorKind.JOB_NOT_FOUND, ErrorKind.INSUFFICIENT_STORAGE}
    | {ErrorKind.MODEL_NOT_FOUND, ErrorKind.UNKNOWN_INSTANCE}
)
_IN_CHAT: Final = tuple(kind for kind in ErrorKind if kind not in _NOT_IN_CHAT)


@lru_cache(maxsize=1)
def openapi_document() -> JsonObject:
    """The document; callers leave it as it is."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Orchestrator",
            "version": version("orchestrator"),
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "Chat", "description": "Chat with a model that calls MCP tools."},
            {"name": "Responses", "description": "What is stored."},
            {"name": "Models", "description": "What can be chatted with."},
            {"name": "Service", "description": "How the service is."},
        ],
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "paths": {
            CHAT_PATH: {"post": _chat()},
            _RESPONSE_URL: {"get": _stored_response()},
            MODELS_PATH: {"get": _models()},
            LOAD_PATH: {"post": _load()},
            UNLOAD_PATH: {"post": _unload()},
            DOWNLOAD_PATH: {"post": _download()},
            f"{DOWNLOAD_PATH}/status/{{job_id}}": {"get": _download_status()},
            **{f"{DOWNLOAD_PATH}/{{job_id}}/{name}": {"post": _download_action(name)} for name in DOWNLOAD_ACTIONS},
            METRICS_PATH: {"get": _metrics()},
            HEALTH_PATH: {"get": _health()},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token, `sk-lm-…:…`."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same token."},
            },
        },
    }


def _schemas() -> JsonObject:
    downloads = (DownloadBody, DownloadReply, DownloadStatusReply)
    loading = (LoadBody, LoadReply, UnloadBody, UnloadReply)
    shapes = (ChatBody, ChatReply, StoredReply, ModelList, *loading, *downloads, Health, ErrorEnvelope, WireEvent)
    found, components = msgspec.json.schema_components(shapes, ref_template=_SCHEMAS)
    stream_event = {"title": "StreamEvent", "description": "One event of a stream, by its `type`.", **found[-1]}
    return cast(JsonObject, {**components, "StreamEvent": stream_event})


def _chat() -> JsonObject:
    reply = _success("The reply, or its stream.", "ChatReply", headers=[RESPONSE_ID_HEADER])
    content = cast(JsonObject, reply["content"])
    cast(JsonObject, content[_JSON])["example"] = REPLY_EXAMPLE
    content["text/event-stream"] = {"schema": _reference("StreamEvent")}
    return {
        "operationId": "chat",
        "tags": ["Chat"],
        "summary": "Chat with a model",
        "description": CHAT + "\n\n" + STREAM,
        "requestBody": _body("ChatBody", EXAMPLES),
        "responses": {"200": reply, **_errors(_IN_CHAT)},
    }


def _stored_response() -> JsonObject:
    return {
        "operationId": "getResponse",
        "tags": ["Responses"],
        "summary": "A stored response",
        "description": "An extension. The response with its input, its settings and what became of it.",
        "parameters": [
            {"name": "response_id", "in": "path", "required": True, "schema": {"type": "string"}},
        ],
        "responses": {
            "200": _success("The response.", "StoredReply", headers=[RESPONSE_ID_HEADER]),
            **_errors((ErrorKind.RESPONSE_NOT_FOUND, ErrorKind.STORE_ERROR, *_WITH_TOKEN)),
        },
    }


def _models() -> JsonObject:
    return {
        "operationId": "listModels",
        "tags": ["Models"],
        "summary": "List the models",
        "description": "Every model of every engine that answers, with its loaded instances.",
        "responses": {"200": _success("The models.", "ModelList"), **_errors(_WITH_TOKEN)},
    }


def _load() -> JsonObject:
    return {
        "operationId": "loadModel",
        "tags": ["Models"],
        "summary": "Load a model",
        "description": LOAD,
        "requestBody": _body("LoadBody", LOAD_EXAMPLES),
        "responses": {"200": _success("It is loaded.", "LoadReply"), **_errors(_IN_LOAD)},
    }


def _unload() -> JsonObject:
    return {
        "operationId": "unloadModel",
        "tags": ["Models"],
        "summary": "Unload a model",
        "description": UNLOAD,
        "requestBody": _body("UnloadBody", {"An instance": {"instance_id": "publisher/model"}}),
        "responses": {"200": _success("It is unloaded.", "UnloadReply"), **_errors(_IN_UNLOAD)},
    }


def _body(schema: str, examples: JsonObject) -> JsonObject:
    shown: JsonObject = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {"required": True, "content": {_JSON: {"schema": _reference(schema), "examples": shown}}}


def _download() -> JsonObject:
    return {
        "operationId": "downloadModel",
        "tags": ["Models"],
        "summary": "Download a model",
        "description": DOWNLOAD,
        "requestBody": _body("DownloadBody", DOWNLOAD_EXAMPLES),
        "responses": {"200": _success("The job, or that there is none.", "DownloadReply"), **_errors(_IN_DOWNLOAD)},
    }


def _download_status() -> JsonObject:
    return {
        "operationId": "downloadStatus",
        "tags": ["Models"],
        "summary": "How a download is",
        "parameters": [_JOB_ID],
        "responses": {"200": _success("The job.", "DownloadStatusReply"), **_errors(_WITH_JOB)},
    }


def _download_action(name: str) -> JsonObject:
    return {
        "operationId": f"{name}Download",
        "tags": ["Models"],
        "summary": f"{name.capitalize()} a download",
        "description": f"An extension. {JOB_ACTIONS[name]}",
        "parameters": [_JOB_ID],
        "responses": {
            "200": _success("The job as it is now.", "DownloadStatusReply"),
            **_errors((ErrorKind.INVALID_VALUE, *_WITH_JOB)),
        },
    }


_JOB_ID: Final[JsonObject] = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}
_WITH_JOB: Final = (ErrorKind.JOB_NOT_FOUND, ErrorKind.STORE_ERROR, *_WITH_TOKEN)
_WITH_BODY: Final = (
    ErrorKind.INVALID_JSON,
    ErrorKind.MISSING_REQUIRED_PARAMETER,
    ErrorKind.INVALID_TYPE,
    ErrorKind.INVALID_VALUE,
    ErrorKind.UNRECOGNIZED_KEYS,
    ErrorKind.REQUEST_TOO_LARGE,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE,
    *_WITH_TOKEN,
)
_IN_UNLOAD: Final = (
    ErrorKind.UNKNOWN_INSTANCE,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    *_WITH_BODY,
)
_IN_LOAD: Final = (
    ErrorKind.MODEL_NOT_FOUND,
    ErrorKind.INSUFFICIENT_RESOURCES,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    *_WITH_BODY,
)
_IN_DOWNLOAD: Final = (
    *_WITH_BODY,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.RATE_LIMITED,
    ErrorKind.STORE_ERROR,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    ErrorKind.INSUFFICIENT_STORAGE,
)


def _health() -> JsonObject:
    not_ready = _success("Requests cannot be taken; `reason` says why.", "Health")
    return {
        "operationId": "health",
        "tags": ["Service"],
        "summary": "Whether requests can be taken",
        "security": [{}],
        "responses": {"200": _success("They can.", "Health"), "503": not_ready, **_errors(_ANYWHERE)},
    }


def _metrics() -> JsonObject:
    told: JsonObject = {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "operationId": "metrics",
        "tags": ["Service"],
        "summary": "Metrics for Prometheus",
        "description": METRICS,
        "responses": {"200": told, **_errors(_WITH_TOKEN)},
    }


def _reference(name: str) -> JsonObject:
    return {"$ref": _SCHEMAS.format(name=name)}


def _success(description: str, schema: str, *, headers: Iterable[str] = ()) -> JsonObject:
    texts: dict[str, str] = {
        REQUEST_ID_HEADER: "The id of the request: the client's own where it sent one, and that of every log line.",
        RESPONSE_ID_HEADER: "The id of the stored response; absent where nothing is stored.",
    }
    told = {name: {"description": texts[name], "schema": {"type": "string"}} for name in (REQUEST_ID_HEADER, *headers)}
    content: JsonObject = {_JSON: {"schema": _reference(schema)}}
    return {"description": description, "headers": cast(JsonObject, told), "content": content}


def _errors(kinds: Sequence[ErrorKind]) -> JsonObject:
    """One response for each status, which lists what it can mean."""
    meanings: dict[int, list[WireError]] = {}
    for kind in kinds:
        row = ERROR_TABLE[kind]
        meanings.setdefault(row.status, []).append(row)
    answers: JsonObject = {}
    for status in sorted(meanings):
        codes = "\n".join(f"* `{row.code or row.type}`" for row in meanings[status])
        answer: JsonObject = {
            "description": f"{HTTPStatus(status).phrase}. Code, or type where there is no code:\n\n{codes}",
            "content": {_JSON: {"schema": _reference("ErrorEnvelope"), "example": _error_example(meanings[status][0])}},
        }
        if status in _HEADERS:
            answer["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
        answers[str(status)] = answer
    return answers


def _error_example(row: WireError) -> JsonObject:
    error = ErrorBody(row.type, "What went wrong, in words.", row.code or UNSET)
    return cast(JsonObject, msgspec.to_builtins(ErrorEnvelope(error)))


_HEADERS: Final = {
    ERROR_TABLE[ErrorKind.INVALID_API_KEY].status: "WWW-Authenticate",
    ERROR_TABLE[ErrorKind.RATE_LIMITED].status: "Retry-After",
}


def route_paths(document: JsonObject) -> dict[str, list[str]]:
    """The documented methods of every documented path, upper-case."""
    paths = cast("dict[str, dict[str, JsonValue]]", document["paths"])
    return {path: [method.upper() for method in methods] for path, methods in paths.items()}
