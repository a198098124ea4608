"""The audit of tool calls, in the OpenAPI document."""

from typing import Final

from orchestrator.api.audit_query import DEFAULT_PAGE, LARGEST_PAGE, STATUSES
from orchestrator.api.openapi.parts import (
    WITH_TOKEN,
    Section,
    errors,
    path_parameter,
    query_parameter,
    success,
)
from orchestrator.api.tool_calls import (
    DEFINITIONS_PATH,
    EVENTS_PATH,
    EXPORT_ID_HEADER,
    EXPORT_PATH,
    STATS_PATH,
    TOOL_CALLS_PATH,
)
from orchestrator.api.wire_audit import AuditedCallList, AuditedCallWhole, AuditEventList, ToolStatisticsList
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.service.audit_export import DEFINITIONS_MEDIA_TYPE, EXPORT_FORMATS, MEDIA_TYPES

LIST: Final = """\
An extension. The journal of tool calls, the newest first, also of those that were refused or invalid.

A token with `audit.read` sees its owner's calls; one with `audit.read_all` sees everybody's, or those of the `owner`
that it names. An administrator asks for everybody's with `owner=*`. Every look at other owners' calls is itself
recorded (`/api/v1/tool-calls/events`).

`next_cursor` begins the next page; the order never changes, and no call is listed twice. A request looks at a bounded
number of calls, so where several filters leave little over, a page can be short, even empty, and still have a
`next_cursor`."""

ARGUMENTS: Final = """\
Calls with such an argument: `arguments.path=/etc/*`. `*` is any text, `?` any character, a backslash before them takes
that away. Names are separated by dots (`arguments.options.depth=3`), `[]` is any element of an array
(`arguments.files[].name=*.py`). Numbers, `true`, `false` and `null` are compared as JSON writes them. Values
are compared whole, however long they are, and however many a call has. Most are found by an index; calls of which
it has not all values are read, so that among many of them a page can be short."""

STATS: Final = """\
An extension. How many calls there were, how many were errors, and the percentiles of how long they took, exact, by
server and tool, and by stretches of time where `bucket` says how long they are."""

EXPORT: Final = """\
An extension. Every call that is asked for, whole, the oldest first, as a stream: JSON Lines, CSV or Parquet (where
the optional library `pyarrow` is installed). Each has its links of the audit chain and the salts of its digests:
`orchestrator audit verify --file` proves the file without the database.

`X-Export-Id` names the export. Once all of it was written, and before its end is sent, its manifest is an event of the
service's own chain (`export`): how many calls it has, the first and the last, its SHA-256, and the heads of the chains
when it began. An export without such an event is not whole.

The definitions that the calls were made with are at `/api/v1/tool-calls/export/definitions`: saved beside the export,
under its name with `.definitions.jsonl` behind it, they are proved with it.

In CSV a cell that a spreadsheet would take for a formula has an apostrophe in front of it."""

DEFINITIONS: Final = """\
An extension. The definitions that go with an export by the same filters, as JSON Lines: each once, an object with its
`digest` and the `definition` as it was offered, redacted, by digest. A call names its own by `definition_digest`, which
its link of the audit chain commits to; the digest is the SHA-256 of the canonical JSON of the definition. Where
arguments are asked for, there may be definitions of other calls among them."""

EVENTS: Final = """\
An extension. The service's own chain, the newest first: who looked at other owners' calls and what was asked for
(`reading`), what was deleted (`deletion`) and which calls and responses lost their content by it (`erasure`), the manifests of
exports (`export`), and the heads of the owners' chains (`checkpoint`). A token needs `audit.read_all`."""


def _text(name: str, description: str) -> JsonObject:
    return query_parameter(name, description, {"type": "string"})


def _choice(name: str, description: str, *options: str) -> JsonObject:
    return query_parameter(name, description, {"type": "string", "enum": list[JsonValue](options)})


def _number(name: str, description: str) -> JsonObject:
    return query_parameter(name, description, {"type": "integer", "minimum": 0})


_FILTERS: Final[list[JsonValue]] = [
    _text("tool", "The server's own name of the tool."),
    _text("plugin", "A plugin, such as `mcp/clock` or `clock`; in any case, with `_` or `-`."),
    _text("server_label", "The label of a server that a request brought along."),
    _text("server", "The address of the server that was called, as `server.address` has it."),
    _choice("status", "What became of the call.", *STATUSES),
    _choice("is_error", "Whether it ended as an error.", "true", "false"),
    _text("owner", "Whose calls; `*` is everybody's."),
    _text("response_id", "Calls of one response, by its id."),
    _text("model", "The key of the model that asked for the call."),
    _text("definition_digest", "The whole digest of the definition that was offered, `sha256:` and 64 digits."),
    _text("from", "Journaled at this moment or later, such as `2026-03-01T12:00:00Z`."),
    _text("to", "Journaled before this moment."),
    _number("duration_min", "At least so many milliseconds."),
    _number("duration_max", "At most so many milliseconds."),
    _text("arguments.PATH", ARGUMENTS),
]
_PAGE: Final[list[JsonValue]] = [
    query_parameter(
        "limit",
        "How many entries a page has.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": DEFAULT_PAGE},
    ),
    _text("cursor", "The `next_cursor` of the page before."),
]
_WRONG: Final = (ErrorKind.INVALID_VALUE, ErrorKind.UNRECOGNIZED_KEYS, ErrorKind.STORE_ERROR, *WITH_TOKEN)


def _operation(id: str, summary: str, description: str, parameters: list[JsonValue], answers: JsonObject) -> JsonObject:
    return {
        "get": {
            "operationId": id,
            "tags": ["Audit"],
            "summary": summary,
            "description": description,
            "parameters": parameters,
            "responses": answers,
        }
    }


def _export() -> JsonObject:
    content: JsonObject = {media.partition(";")[0]: {"schema": {"type": "string"}} for media in MEDIA_TYPES.values()}
    header: JsonObject = {"description": "By which its manifest names it.", "schema": {"type": "string"}}
    told: JsonObject = {"description": "The export.", "headers": {EXPORT_ID_HEADER: header}, "content": content}
    form = _choice("format", "How it is written; `jsonl` by default.", *EXPORT_FORMATS)
    answers: JsonObject = {"200": told, **errors((ErrorKind.NOT_IMPLEMENTED, *_WRONG))}
    return _operation("exportToolCalls", "Export tool calls", EXPORT, [*_FILTERS, form], answers)


def _export_definitions() -> JsonObject:
    content: JsonObject = {DEFINITIONS_MEDIA_TYPE: {"schema": {"type": "string"}}}
    told: JsonObject = {"description": "The definitions.", "content": content}
    answers: JsonObject = {"200": told, **errors(_WRONG)}
    return _operation("exportDefinitions", "The definitions of an export", DEFINITIONS, _FILTERS, answers)


_ORDER: Final = _choice("order", "`desc` is the newest first, which is the default.", "asc", "desc")
_BUCKET: Final = _text("bucket", "How long a stretch is, such as `15m`, `1h` or `1d`; without it there is one.")

SECTION: Final = Section(
    "Audit",
    "Which tool was called with what, by whom, and what came back.",
    {
        TOOL_CALLS_PATH: _operation(
            "listToolCalls",
            "List tool calls",
            LIST,
            [*_FILTERS, _ORDER, *_PAGE],
            {"200": success("The calls.", "AuditedCallList"), **errors(_WRONG)},
        ),
        STATS_PATH: _operation(
            "toolCallStats",
            "How tools do",
            STATS,
            [*_FILTERS, _BUCKET],
            {"200": success("The statistics.", "ToolStatisticsList"), **errors(_WRONG)},
        ),
        EXPORT_PATH: _export(),
        DEFINITIONS_PATH: _export_definitions(),
        EVENTS_PATH: _operation(
            "auditEvents",
            "What happened to the journal",
            EVENTS,
            _PAGE,
            {"200": success("The events.", "AuditEventList"), **errors(_WRONG)},
        ),
        TOOL_CALLS_PATH + "/{call_id}": _operation(
            "getToolCall",
            "A tool call, whole",
            "An extension. With its arguments, its output, the definition as it was offered, and its links of the chain.",
            [path_parameter("call_id", "The id of a tool call.")],
            {
                "200": success("The call.", "AuditedCallWhole"),
                **errors((ErrorKind.CALL_NOT_FOUND, ErrorKind.STORE_ERROR, *WITH_TOKEN)),
            },
        ),
    },
    (AuditedCallList, AuditedCallWhole, ToolStatisticsList, AuditEventList),
)
