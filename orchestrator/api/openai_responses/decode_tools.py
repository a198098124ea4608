"""Tools of a request: functions of the client's, servers of MCP, and which of them may be called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import UNSET, UnsetType

from orchestrator.api.openai_responses.wire_requests import (
    AllowedTools,
    FunctionToCall,
    FunctionToolParam,
    McpApprovalFilter,
    McpToolFilter,
    McpToolParam,
    McpToolToCall,
    Prompted,
    ToolParam,
)
from orchestrator.core.approvals import ApprovalPolicy, ToolFilter
from orchestrator.core.errors import INSTALLED, ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import CLIENT_LABEL
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import (
    EphemeralRequest,
    IntegrationRequest,
    NamedTool,
    PluginRequest,
    ToolChoice,
    requested_provider,
)
from orchestrator.core.tools import ToolDefinition, provider_label, schema_problem

ANY_OBJECT: Final[JsonObject] = {"type": "object", "properties": {}}
PLUGIN_PREFIX: Final = "mcp/"


@dataclass(frozen=True, slots=True)
class AskedTools:
    """The tools of a request. `integration_places` say where in `tools` each integration stands."""

    functions: tuple[ToolDefinition, ...] = ()
    integrations: tuple[IntegrationRequest, ...] = ()
    choice: ToolChoice = "auto"
    integration_places: tuple[int, ...] = ()


def asked_tools(body: Prompted) -> AskedTools:
    """The tools of `body`, and which of them has to be called.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    entries = [] if isinstance(body.tools, UnsetType) else body.tools
    functions: list[ToolDefinition] = []
    integrations: list[IntegrationRequest] = []
    places: list[int] = []
    for place, entry in enumerate(entries):
        if isinstance(entry, FunctionToolParam):
            if any(entry.name == other.name for other in functions):
                raise _wrong(f"tools.{place}.name", f"is the name of another function, '{entry.name}', too")
            functions.append(_function(entry, f"tools.{place}"))
        else:
            integrations.append(_integration(entry, f"tools.{place}"))
            places.append(place)
    tools = AskedTools(tuple(functions), tuple(integrations), "auto", tuple(places))
    return _chosen(tools, body)


def _function(entry: FunctionToolParam, path: str) -> ToolDefinition:
    schema: JsonObject = ANY_OBJECT if isinstance(entry.parameters, UnsetType) else entry.parameters
    problem = schema_problem(schema)
    if problem is not None:
        raise _wrong(f"{path}.parameters", f"is not a JSON schema that can be used: {problem}")
    if schema.get("type", "object") != "object":
        raise _wrong(f"{path}.parameters", "must be the schema of an object: its 'type' must be 'object'")
    return ToolDefinition(entry.name, "" if isinstance(entry.description, UnsetType) else entry.description, schema)


def _integration(entry: McpToolParam, path: str) -> IntegrationRequest:
    names, read_only = _allowed(entry.allowed_tools)
    approval = _approval(entry.require_approval)
    if isinstance(entry.server_url, UnsetType):
        for name in ("headers", "authorization"):
            if not isinstance(getattr(entry, name), UnsetType):
                raise _wrong(
                    f"{path}.{name}", "belongs to a 'server_url'; what a server of mcp.json is sent stands there"
                )
        plugin = PLUGIN_PREFIX + entry.server_label.removeprefix(PLUGIN_PREFIX)
        return PluginRequest(plugin, names, approval=approval, read_only=read_only)
    headers: dict[str, str] = {} if isinstance(entry.headers, UnsetType) else dict(entry.headers)
    if not isinstance(entry.authorization, UnsetType):
        if any(name.lower() == "authorization" for name in headers):
            raise _wrong(f"{path}.authorization", "and an 'Authorization' among the headers say the same: send one")
        headers["Authorization"] = f"Bearer {entry.authorization}"
    return EphemeralRequest(
        entry.server_label, entry.server_url, names, headers, approval=approval, read_only=read_only
    )


def _allowed(allowed: Sequence[str] | McpToolFilter | UnsetType) -> tuple[tuple[str, ...] | None, bool | None]:
    if isinstance(allowed, UnsetType):
        return None, None
    if isinstance(allowed, McpToolFilter):
        names = None if isinstance(allowed.tool_names, UnsetType) else tuple(allowed.tool_names)
        return names, None if isinstance(allowed.read_only, UnsetType) else allowed.read_only
    return tuple(allowed), None


def _approval(wanted: str | McpApprovalFilter | UnsetType) -> ApprovalPolicy:
    """OpenAI asks about every call unless it is told otherwise."""
    if isinstance(wanted, McpApprovalFilter):
        return ApprovalPolicy("always", _filter(wanted.always), _filter(wanted.never))
    return ApprovalPolicy("never" if wanted == "never" else "always")


def _filter(part: McpToolFilter | UnsetType) -> ToolFilter:
    if isinstance(part, UnsetType):
        return ToolFilter()
    names = () if isinstance(part.tool_names, UnsetType) else tuple(part.tool_names)
    return ToolFilter(names, None if isinstance(part.read_only, UnsetType) else part.read_only)


def _chosen(tools: AskedTools, body: Prompted) -> AskedTools:
    choice = body.tool_choice
    match choice:
        case UnsetType() | "auto":
            return tools
        case "none":
            return replace(tools, choice="none")
        case "required":
            wanted: ToolChoice = "required"
        case FunctionToCall(name):
            if all(name != function.name for function in tools.functions):
                raise _wrong("tool_choice.name", f"'{name}' is no function among the tools")
            wanted = NamedTool(name, CLIENT_LABEL)
        case McpToolToCall(server_label=label, name=name):
            _check_server(label, tools, "tool_choice.server_label")
            if isinstance(name, UnsetType):  # any tool of it: then there are no others
                return _only(replace(tools, choice="required"), [choice])
            wanted = NamedTool(name, label)
        case AllowedTools(listed, mode):
            return _only(replace(tools, choice=mode), listed)
    if not (tools.functions or tools.integrations):
        message = '"tool_choice" demands a tool call, and there are no tools.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="tool_choice")
    return replace(tools, choice=wanted)


def _only(tools: AskedTools, listed: Sequence[FunctionToCall | McpToolToCall]) -> AskedTools:
    """`tools` without those that are not `listed`; a server of which nothing is stays, with nothing to call."""
    wanted = {entry.name for entry in listed if isinstance(entry, FunctionToCall)}
    for place, entry in enumerate(listed):
        if isinstance(entry, McpToolToCall):
            _check_server(entry.server_label, tools, f"tool_choice.tools.{place}.server_label")
        elif all(entry.name != function.name for function in tools.functions):
            raise _wrong(f"tool_choice.tools.{place}.name", f"'{entry.name}' is no function among the tools")
    narrowed = [_narrowed(integration, listed) for integration in tools.integrations]
    functions = tuple(function for function in tools.functions if function.name in wanted)
    return replace(tools, functions=functions, integrations=tuple(narrowed))


def _narrowed(integration: IntegrationRequest, listed: Sequence[FunctionToCall | McpToolToCall]) -> IntegrationRequest:
    label = _label(integration)
    mine = [entry for entry in listed if isinstance(entry, McpToolToCall) and _same(entry.server_label, label)]
    if any(isinstance(entry.name, UnsetType) for entry in mine):
        return integration
    names = tuple(str(entry.name) for entry in mine)
    allowed = integration.allowed_tools
    return replace(integration, allowed_tools=tuple(name for name in names if allowed is None or name in allowed))


def _check_server(label: str, tools: AskedTools, param: str) -> None:
    if not any(_same(label, _label(integration)) for integration in tools.integrations):
        raise _wrong(param, f"'{label}' is no server among the tools")


def _label(integration: IntegrationRequest) -> str:
    return provider_label(requested_provider(integration))


def _same(one: str, other: str) -> bool:
    return one.removeprefix(PLUGIN_PREFIX) == other.removeprefix(PLUGIN_PREFIX)


def about_server(info: ErrorInfo, tools: AskedTools) -> ErrorInfo:
    """That a plugin is not there, as the label that is in no mcp.json; any other error as it is."""
    if info.kind is not ErrorKind.PLUGIN_CONNECTION_ERROR or INSTALLED not in info.message:
        return info
    for place, integration in zip(tools.integration_places, tools.integrations, strict=True):
        if isinstance(integration, PluginRequest) and f"'{integration.id}'" in info.message:
            message = f"{info.message} A server that is not in mcp.json is brought along with its 'server_url'."
            return ErrorInfo(ErrorKind.INVALID_VALUE, message, f"tools.{place}.server_label")
    return info


def told_tools(entries: Sequence[ToolParam]) -> list[JsonObject]:
    """The tools as a response says them again: without what is secret, or may be."""
    return [_told_function(entry) if isinstance(entry, FunctionToolParam) else _told_server(entry) for entry in entries]


def _told_function(entry: FunctionToolParam) -> JsonObject:
    said = cast("Mapping[str, Any]", msgspec.to_builtins(entry))
    return {"type": "function", "description": None, "parameters": None, "strict": False, **said}


def _told_server(entry: McpToolParam) -> JsonObject:
    said = cast("dict[str, Any]", msgspec.to_builtins(entry))
    for secret in ("headers", "authorization"):
        said.pop(secret, None)
    if entry.server_url is not UNSET:
        said["server_url"] = _plain_url(str(entry.server_url))
    return {"require_approval": "always", "allowed_tools": None, **said, "headers": None}


def _plain_url(url: str) -> str:
    """`url` without its user, its password and its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
