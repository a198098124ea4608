"""`/api/v1/plugins` and `/api/v1/integrations/check`: for who writes plugins, and for who runs them. Extensions.

A plugin's id has a slash, `mcp/<label>`; `mcp%2F<label>` is the same path. A slash within a label or the name of
a tool or prompt is written `%2F` (see `paths.py`).
"""

from typing import Final

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, UnsetType

from orchestrator.api.absent import given
from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.chat_request import integration_requests
from orchestrator.api.decode import decode_body
from orchestrator.api.departures import while_connected
from orchestrator.api.encode_plugins import (
    check_reply,
    definitions_reply,
    direct_call_reply,
    drift_infos,
    plugin_detail,
    plugin_list,
    prompt_reply,
    resource_reply,
)
from orchestrator.api.encode_threads import RESPONSES
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.limits import limits_of
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream, frames
from orchestrator.api.thread_dialect import server_requests
from orchestrator.api.wire_materials import GetPromptBody, ReadResourceBody
from orchestrator.api.wire_plugins import (
    ApproveBody,
    ApproveReply,
    CheckBody,
    DirectCallBody,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service.direct_calls import DirectCallService
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.plugin_materials import PluginMaterialService
from orchestrator.service.plugins import PluginService

PLUGINS_PATH: Final = "/api/v1/plugins"
PLUGIN_PATH: Final = f"{PLUGINS_PATH}/mcp/{{label:str}}"
CHECK_PATH: Final = "/api/v1/integrations/check"


def plugin_routes(plugins: PluginService, authenticator: Authenticator) -> list[HTTPRouteHandler]:
    """The routes that look at plugins, and the one that restarts them."""

    @get(PLUGINS_PATH)
    async def list_plugins(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        return json_reply(plugin_list(await plugins.plugins(caller), plugins.files(), admin=caller.is_admin))

    @get(PLUGIN_PATH)
    async def show_plugin(request: HttpRequest, label: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        return json_reply(plugin_detail(await plugins.plugin(_id(label), caller), admin=caller.is_admin))

    @post(f"{PLUGIN_PATH}/restart", status_code=OK)
    async def restart(request: HttpRequest, label: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        view = await while_connected(request.receive, lambda: plugins.restart(_id(label), caller))
        return json_reply(plugin_detail(view, admin=caller.is_admin))

    return [list_plugins, show_plugin, restart]


def definition_routes(
    plugins: PluginService, authenticator: Authenticator, *, max_body_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes of pins and their approval."""

    @get(f"{PLUGIN_PATH}/definitions")
    async def definitions(request: HttpRequest, label: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        return json_reply(definitions_reply(await plugins.definitions(_id(label), caller)))

    @post(f"{PLUGIN_PATH}/definitions/approve", status_code=OK)
    async def approve(request: HttpRequest, label: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ApproveBody)
        tool, digest = (None if value is UNSET else value for value in (body.tool, body.digest))
        plugin_id = plugins.status(_id(label), caller).id
        approved = await plugins.approve(plugin_id, caller, tool=tool, digest=digest)
        return json_reply(ApproveReply(plugin_id, drift_infos(approved)))

    return [definitions, approve]


def direct_call_route(
    calls: DirectCallService, authenticator: Authenticator, *, max_body_bytes: int, keep_alive_seconds: float
) -> HTTPRouteHandler:
    """The route that calls a tool without a model; `keep_alive_seconds` is how long a stream may be silent."""

    @post(f"{PLUGIN_PATH}/tools/{{tool:str}}/call", status_code=OK)
    async def call_tool(request: HttpRequest, label: FromPath[str], tool: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), DirectCallBody)
        previous = None if body.previous_response_id is UNSET else body.previous_response_id
        call = await calls.start(
            _id(label),
            _unescaped(tool),
            body.arguments,
            caller,
            previous_response_id=previous,
            interactive=body.stream,
        )
        try:
            if body.stream:
                await while_connected(request.receive, call.started)
                told = frames(call.run, RESPONSES.events, extensions=True)
                headers = {RESPONSE_ID_HEADER: call.run.request.response_id}
                return RunStream(call.run, headers, keep_alive_seconds, told)
            result = await while_connected(request.receive, call.result)
        except BaseException:
            call.run.disconnect()
            raise
        reply = direct_call_reply(call, result)
        return json_reply(reply, headers={RESPONSE_ID_HEADER: reply.response_id})

    return call_tool


def material_routes(
    materials: PluginMaterialService, authenticator: Authenticator, *, max_body_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes that read a resource and fill in a prompt, without a chat."""

    @post(f"{PLUGIN_PATH}/resources/read", status_code=OK)
    async def read_resource(request: HttpRequest, label: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), ReadResourceBody)
        chain = given(body.previous_response_id)
        found = await while_connected(
            request.receive, lambda: materials.read(_id(label), body.uri, caller, previous_response_id=chain)
        )
        return json_reply(resource_reply(found, body.uri))

    @post(f"{PLUGIN_PATH}/prompts/{{prompt:str}}/get", status_code=OK)
    async def get_prompt(request: HttpRequest, label: FromPath[str], prompt: FromPath[str]) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), GetPromptBody)
        name, chain = _unescaped(prompt), given(body.previous_response_id)
        found = await while_connected(
            request.receive,
            lambda: materials.prompt(_id(label), name, body.arguments, caller, previous_response_id=chain),
        )
        return json_reply(prompt_reply(found, name))

    return [read_resource, get_prompt]


def check_route(
    checks: IntegrationCheckService, authenticator: Authenticator, *, max_body_bytes: int
) -> HTTPRouteHandler:
    """The route of the dry run."""

    @post(CHECK_PATH, status_code=OK)
    async def check(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        body = decode_body(await read_json_body(request, max_body_bytes), CheckBody, limits_of(request.scope))
        if body.integrations is UNSET and body.mcp_servers is UNSET:
            message = '"integrations" is required.'
            raise OrchestratorError(ErrorKind.MISSING_REQUIRED_PARAMETER, message, param="integrations")
        entries = [] if isinstance(body.integrations, UnsetType) else body.integrations
        integrations = (*integration_requests(entries), *server_requests(body.mcp_servers))
        model = given(body.model)
        return json_reply(
            check_reply(await while_connected(request.receive, lambda: checks.check(integrations, caller, model=model)))
        )

    return check


def _id(label: str) -> str:
    return f"mcp/{_unescaped(label)}"


def _unescaped(name: str) -> str:
    """`%2F` comes as it is, and `%252F` as that."""
    return name.replace("%2F", "/").replace("%2f", "/")
