"""What the sections of the OpenAPI document are put together from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.errors import ERROR_TABLE, Envelope, native_envelope
from orchestrator.api.replies import TOKEN_COUNT_HEADER
from orchestrator.api.request_ids import REQUEST_ID_HEADER
from orchestrator.api.wire_openai_errors import OpenAIErrorEnvelope
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.json_types import JsonObject

SCHEMAS: Final = "#/components/schemas/{name}"
JSON: Final = "application/json"

ANYWHERE: Final = (
    ErrorKind.INVALID_HTTP,
    ErrorKind.FORBIDDEN_ORIGIN,
    ErrorKind.URL_TOO_LONG,
    ErrorKind.HEADERS_TOO_LARGE,
    ErrorKind.RATE_LIMITED,
    ErrorKind.INTERNAL_ERROR,
)
WITH_TOKEN: Final = (ErrorKind.INVALID_API_KEY, ErrorKind.PERMISSION_DENIED, *ANYWHERE)
WITH_BODY: Final = (
    ErrorKind.INVALID_JSON,
    ErrorKind.MISSING_REQUIRED_PARAMETER,
    ErrorKind.INVALID_TYPE,
    ErrorKind.INVALID_VALUE,
    ErrorKind.UNRECOGNIZED_KEYS,
    ErrorKind.REQUEST_TIMEOUT,
    ErrorKind.REQUEST_TOO_LARGE,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE,
    *WITH_TOKEN,
)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the document: its paths as the framework writes them, and the wire types that they refer to."""

    tag: str
    description: str
    paths: Mapping[str, JsonObject]
    schemas: tuple[Any, ...] = ()


def path_parameter(name: str, description: str) -> JsonObject:
    """A parameter that stands in the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def query_parameter(name: str, description: str, schema: JsonObject) -> JsonObject:
    """A parameter of the query, which may be left out."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def body(schema: str, examples: JsonObject) -> JsonObject:
    """A request body with examples by their names."""
    shown: JsonObject = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {"required": True, "content": {JSON: {"schema": reference(schema), "examples": shown}}}


def reference(name: str) -> JsonObject:
    """A reference to the schema of a wire type."""
    return {"$ref": SCHEMAS.format(name=name)}


def success(description: str, schema: str, *, headers: Iterable[str] = ()) -> JsonObject:
    """An answer that is no error."""
    texts: dict[str, str] = {
        REQUEST_ID_HEADER: "The id of the request: the client's own where it sent one, and that of every log line.",
        RESPONSE_ID_HEADER: "The id of the stored response; absent where nothing is stored.",
        TOKEN_COUNT_HEADER: "`exact` where the engine of the model counted, `estimated` where nobody did.",
    }
    told = {name: {"description": texts[name], "schema": {"type": "string"}} for name in (REQUEST_ID_HEADER, *headers)}
    content: JsonObject = {JSON: {"schema": reference(schema)}}
    return {"description": description, "headers": cast(JsonObject, told), "content": content}


def errors(kinds: Sequence[ErrorKind], envelope: Envelope = native_envelope) -> JsonObject:
    """One response for each status, which lists what it can mean, in the words of a dialect."""
    meanings: dict[int, list[str]] = {}
    examples: dict[int, Struct] = {}
    for kind in kinds:
        row = ERROR_TABLE[kind]
        told = envelope(ErrorInfo(kind, "What went wrong, in words."), "req_…")
        code = told.error.code if isinstance(told, OpenAIErrorEnvelope) else row.code
        meanings.setdefault(row.status, []).append(code or row.type)
        examples.setdefault(row.status, told)
    answers: JsonObject = {}
    for status in sorted(meanings):
        codes = "\n".join(f"* `{code}`" for code in meanings[status])
        answer: JsonObject = {
            "description": f"{HTTPStatus(status).phrase}. Code, or type where there is no code:\n\n{codes}",
            "content": {
                JSON: {
                    "schema": reference(type(examples[status]).__name__),
                    "example": cast(JsonObject, msgspec.to_builtins(examples[status])),
                }
            },
        }
        if status in _HEADERS:
            answer["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
        answers[str(status)] = answer
    return answers


_HEADERS: Final = {
    ERROR_TABLE[ErrorKind.INVALID_API_KEY].status: "WWW-Authenticate",
    ERROR_TABLE[ErrorKind.RATE_LIMITED].status: "Retry-After",
}
