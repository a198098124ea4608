"""The routes for who writes and runs plugins, in the OpenAPI document."""

from typing import Final

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.openapi.parts import WITH_BODY, WITH_TOKEN, Section, body, errors, path_parameter, success
from orchestrator.api.plugins import CHECK_PATH, PLUGINS_PATH
from orchestrator.api.wire_materials import GetPromptBody, PromptReply, ReadResourceBody, ResourceReply
from orchestrator.api.wire_plugins import (
    ApproveBody,
    ApproveReply,
    CheckBody,
    CheckReply,
    DefinitionsReply,
    DirectCallBody,
    DirectCallReply,
    PluginDetail,
    PluginList,
)
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject
from orchestrator.core.suspicions import PATTERNS

_PLUGIN: Final = f"{PLUGINS_PATH}/mcp/{{label}}"
_LABEL: Final = path_parameter(
    "label", "The label in `mcp.json`; the plugin's id is `mcp/<label>`. A slash in it is written `%2F`."
)
_TOOL: Final = path_parameter("tool", "The server's own name of the tool. A slash in it is written `%2F`.")
_PROMPT: Final = path_parameter("prompt", "The server's own name of the prompt. A slash in it is written `%2F`.")
_WITH_PLUGIN: Final = (ErrorKind.PLUGIN_NOT_FOUND, ErrorKind.STORE_ERROR, *WITH_TOKEN)

_ASKED: Final = (
    *WITH_BODY,
    ErrorKind.PLUGIN_NOT_FOUND,
    ErrorKind.RESPONSE_NOT_FINISHED,
    ErrorKind.PLUGIN_CONNECTION_ERROR,
    ErrorKind.STORE_ERROR,
)

_SUSPICIONS: Final = "\n".join(f"* `{pattern.name}`: {pattern.meaning}" for pattern in PATTERNS)

DIRECT_CALL: Final = """\
Calls a tool without a model. The call is a run like a chat's, with the same permissions, limits, timeouts, drift and
approvals, and it is journaled: the reply's `response_id` is its node of the graph, which a chat can continue. A tool
that fails is a reply with `is_error`; arguments that its schema does not admit are an `invalid_value` on `arguments`.

With `stream` it answers with the events of a chat's stream, extensions included: `tool_call.progress`, and
`elicitation.requested` where `ELICITATION` is `ask`, which is answered as in a chat. Arguments that do not fit are a
`tool_call.failure` then. Sampling is refused: there is no model."""

CHECK: Final = f"""\
A dry run of a chat's `integrations`: connects each of them by itself, and says at which stage and why one would fail,
which tools would be offered under which names, what their definitions cost in tokens, and what is suspicious about
them. Nothing is generated or called. A whole chat's body is taken as it is: of `model` the tokenizer counts, where it is
loaded; `mcp_servers` of the older dialect are tried out as well; nothing else of it is looked at.

Suspicious are texts that are written for the model and not for whom they describe a tool to:

{_SUSPICIONS}

An honest text may match, and one that matches none is not thereby safe."""

DEFINITIONS: Final = """\
The definitions of a plugin's tools are pinned by digest when they are first seen. A later difference is recorded and
handled by policy (`DRIFT_POLICY`, or `drift` of the entry in `mcp.json`): `allow` pins what is shown, `warn` offers it
and says so here until it is approved, `block` withholds the tool until it is approved. A tool that is new in a plugin
with pins has drifted as well. A chat that names a blocked tool in `allowed_tools` is refused with `permission_denied`;
one that names none is not offered it."""

APPROVE: Final = """\
Pins what the plugin shows now, of one tool or of all that have drifted. With `digest` nothing but that definition is
approved: the plugin may have changed again since it was looked at. Needs the permission `admin`."""


def _list() -> JsonObject:
    return {
        "operationId": "listPlugins",
        "tags": ["Plugins"],
        "summary": "List the plugins",
        "description": "Every server that is installed in `mcp.json`, and how it is. Starts none of them.",
        "responses": {"200": success("The plugins.", "PluginList"), **errors((ErrorKind.STORE_ERROR, *WITH_TOKEN))},
    }


def _show() -> JsonObject:
    return {
        "operationId": "getPlugin",
        "tags": ["Plugins"],
        "summary": "A plugin",
        "description": "What it is, what it offers and what that costs, and how it does. Does not start it. What might "
        "hold a secret is never shown: no value of `env` or `headers`, no argument, no query of an address.",
        "parameters": [_LABEL],
        "responses": {"200": success("The plugin.", "PluginDetail"), **errors(_WITH_PLUGIN)},
    }


def _restart() -> JsonObject:
    return {
        "operationId": "restartPlugin",
        "tags": ["Plugins"],
        "summary": "Restart a plugin",
        "description": "Connects it anew, and answers when it is connected; calls under way finish on the old "
        "connection. Needs the permission `admin`.",
        "parameters": [_LABEL],
        "responses": {
            "200": success("The plugin as it is now.", "PluginDetail"),
            **errors((*_WITH_PLUGIN, ErrorKind.PLUGIN_CONNECTION_ERROR)),
        },
    }


def _call() -> JsonObject:
    kinds = (
        *WITH_BODY,
        ErrorKind.PLUGIN_NOT_FOUND,
        ErrorKind.TOOL_NOT_FOUND,
        ErrorKind.RESPONSE_NOT_FINISHED,
        ErrorKind.PLUGIN_CONNECTION_ERROR,
        ErrorKind.RATE_LIMITED,
        ErrorKind.STORE_ERROR,
    )
    return {
        "operationId": "callTool",
        "tags": ["Plugins"],
        "summary": "Call a tool without a model",
        "description": DIRECT_CALL,
        "parameters": [_LABEL, _TOOL],
        "requestBody": body("DirectCallBody", {"A call": {"arguments": {"timezone": "Asia/Tokyo"}}}),
        "responses": {
            "200": success("What became of it.", "DirectCallReply", headers=[RESPONSE_ID_HEADER]),
            **errors(kinds),
        },
    }


def _read() -> JsonObject:
    return {
        "operationId": "readResource",
        "tags": ["Plugins"],
        "summary": "Read a resource",
        "description": "What a resource of the plugin holds, as its server sent it. Needs the plugin with all of its tools, "
        "like a chat that takes resources.",
        "parameters": [_LABEL],
        "requestBody": body("ReadResourceBody", {"A resource": {"uri": "note://shopping"}}),
        "responses": {
            "200": success("The resource.", "ResourceReply"),
            **errors((*_ASKED, ErrorKind.RESOURCE_NOT_FOUND)),
        },
    }


def _prompt() -> JsonObject:
    return {
        "operationId": "getPrompt",
        "tags": ["Plugins"],
        "summary": "Fill in a prompt",
        "description": "The messages of a prompt of the plugin, with these arguments. Needs the plugin with all of its "
        "tools, like a chat that takes a prompt.",
        "parameters": [_LABEL, _PROMPT],
        "requestBody": body("GetPromptBody", {"A prompt": {"arguments": {"topic": "tea"}}}),
        "responses": {"200": success("The prompt.", "PromptReply"), **errors((*_ASKED, ErrorKind.PROMPT_NOT_FOUND))},
    }


def _definitions() -> JsonObject:
    return {
        "operationId": "listDefinitions",
        "tags": ["Plugins"],
        "summary": "Pinned definitions and their changes",
        "description": DEFINITIONS,
        "parameters": [_LABEL],
        "responses": {"200": success("Pins and history.", "DefinitionsReply"), **errors(_WITH_PLUGIN)},
    }


def _approve() -> JsonObject:
    return {
        "operationId": "approveDefinitions",
        "tags": ["Plugins"],
        "summary": "Approve changed definitions",
        "description": APPROVE,
        "parameters": [_LABEL],
        "requestBody": body("ApproveBody", {"All": {}, "One": {"tool": "add"}}),
        "responses": {
            "200": success("What was approved.", "ApproveReply"),
            **errors((*WITH_BODY, ErrorKind.PLUGIN_NOT_FOUND, ErrorKind.STORE_ERROR)),
        },
    }


def _check() -> JsonObject:
    example: JsonObject = {"integrations": ["mcp/clock", {"type": "plugin", "id": "mcp/notes", "allowed_tools": []}]}
    return {
        "operationId": "checkIntegrations",
        "tags": ["Plugins"],
        "summary": "Try integrations out",
        "description": CHECK,
        "requestBody": body("CheckBody", {"Two plugins": example}),
        "responses": {
            "200": success("What would become of them.", "CheckReply"),
            **errors((*WITH_BODY, ErrorKind.INVALID_UNION, ErrorKind.STORE_ERROR)),
        },
    }


SECTION: Final = Section(
    "Plugins",
    "The servers that are installed in `mcp.json`. Extensions.",
    {
        PLUGINS_PATH: {"get": _list()},
        _PLUGIN: {"get": _show()},
        f"{_PLUGIN}/restart": {"post": _restart()},
        f"{_PLUGIN}/tools/{{tool}}/call": {"post": _call()},
        f"{_PLUGIN}/resources/read": {"post": _read()},
        f"{_PLUGIN}/prompts/{{prompt}}/get": {"post": _prompt()},
        f"{_PLUGIN}/definitions": {"get": _definitions()},
        f"{_PLUGIN}/definitions/approve": {"post": _approve()},
        CHECK_PATH: {"post": _check()},
    },
    (
        PluginList,
        PluginDetail,
        DirectCallBody,
        DirectCallReply,
        ReadResourceBody,
        ResourceReply,
        GetPromptBody,
        PromptReply,
        CheckBody,
        CheckReply,
        DefinitionsReply,
        ApproveBody,
        ApproveReply,
    ),
)
