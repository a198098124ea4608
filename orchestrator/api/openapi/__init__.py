"""The OpenAPI 3.1 document, made from what the code itself uses: wire structs and the error table.

A module here for each group of routes; a new route is described in the section that it belongs to.
"""

from functools import lru_cache
from importlib.metadata import version
from typing import Final, cast

import msgspec

from orchestrator.api.openapi import (
    anthropic_messages,
    audit,
    branches,
    chat,
    embeddings,
    models,
    openai_chat,
    openai_responses,
    plugins,
    responses,
    service,
    threads,
    tokens,
)
from orchestrator.api.openapi.parts import SCHEMAS
from orchestrator.api.wire import ErrorEnvelope
from orchestrator.api.wire_events import WireEvent
from orchestrator.core.json_types import JsonObject, JsonValue

SECTIONS: Final = (
    chat.SECTION,
    responses.SECTION,
    threads.SECTION,
    branches.SECTION,
    models.SECTION,
    openai_chat.SECTION,
    embeddings.SECTION,
    openai_responses.SECTION,
    anthropic_messages.SECTION,
    plugins.SECTION,
    audit.SECTION,
    tokens.SECTION,
    service.SECTION,
)

INTRODUCTION: Final = """\
A self-hosted agent backend with MCP at its centre. Chats can use the tools of MCP servers: plugins that
are installed in `mcp.json`, and servers that a request brings along. Every tool call is written down
before it runs.

**Errors** are always `{"error": {"type", "message", "code"?, "param"?}}`; `param` is the path of the
field, such as `integrations.0.server_url`. Below `/v1` they are told as OpenAI tells them, with `type`
`invalid_request_error`, `rate_limit_error` or `server_error`; below `/v1/messages` as Anthropic tells them. An unknown route is a 404 `unknown_endpoint`, a wrong method a
405 `method_not_allowed`.

**Origins.** Bodies must be sent as `application/json`. The `Host` has to be one that the service
listens on, and pages of other origins are refused with a 403 `forbidden_origin` unless they are
configured.

**Authentication**, where it is required: `Authorization: Bearer sk-lm-…` or `x-api-key: sk-lm-…`.

What is marked as an extension is ours; all else is spoken as LM Studio speaks it."""


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
        "tags": [{"name": section.tag, "description": section.description} for section in SECTIONS],
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "paths": {path: item for section in SECTIONS for path, item in section.paths.items()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token, `sk-lm-…:…`."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same token."},
            },
        },
    }


def _schemas() -> JsonObject:
    shapes = [shape for section in SECTIONS for shape in section.schemas if shape is not WireEvent]
    found, components = msgspec.json.schema_components([*shapes, ErrorEnvelope, WireEvent], ref_template=SCHEMAS)
    stream_event = {"title": "StreamEvent", "description": "One event of a stream, by its `type`.", **found[-1]}
    return cast(JsonObject, {**components, "StreamEvent": stream_event})


def route_paths(document: JsonObject) -> dict[str, list[str]]:
    """The documented methods of every documented path, upper-case."""
    paths = cast("dict[str, dict[str, JsonValue]]", document["paths"])
    return {path: [method.upper() for method in methods] for path, methods in paths.items()}
