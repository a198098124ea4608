"""Tools of a request: functions of the client's, servers of MCP, and which of them may be called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from msgspec import UnsetType

from orchestrator.api.anthropic_messages.wire_requests import (
    McpServerParam,
    McpToolsetParam,
    Prompting,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
    ToolParam,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import canonical_json
from orchestrator.core.request import EphemeralRequest, NamedTool, ToolChoice
from orchestrator.core.tools import ToolDefinition, schema_problem

SHOWN: Final = 64
"""Of a name of the client's, in a path."""


@dataclass(frozen=True, slots=True)
class AskedTools:
    """The tools of a request. The inputs of the `eager` functions are streamed as they are written.

    `allowed` are the paths of the names that the toolset of a server, by its place among the `servers`, allows.
    """

    functions: tuple[ToolDefinition, ...]
    servers: tuple[EphemeralRequest, ...]
    choice: ToolChoice
    parallel: bool
    eager: frozenset[str]
    allowed: Mapping[int, Sequence[str]]


def asked_tools(body: Prompting, *, others: bool) -> AskedTools:
    """The tools of `body`; `others` says that there are integrations beside them.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    entries = [] if isinstance(body.tools, UnsetType) else body.tools
    own = [(place, tool) for place, tool in enumerate(entries) if isinstance(tool, ToolParam)]
    functions = _functions(own)
    sets = [(place, one) for place, one in enumerate(entries) if isinstance(one, McpToolsetParam)]
    wanted = [] if isinstance(body.mcp_servers, UnsetType) else body.mcp_servers
    toolsets = _toolsets(wanted, sets)
    servers = _servers(wanted, toolsets)
    choice = _choice(body)
    if choice not in ("auto", "none") and not (functions or servers or others):
        raise _wrong("tool_choice", "demands a call, and there are no tools")
    parallel = isinstance(body.tool_choice, ToolChoiceNone) or not body.tool_choice.disable_parallel_tool_use
    eager = frozenset(tool.name for _, tool in own if tool.eager_input_streaming)
    allowed = {
        index: [f"tools.{toolsets[server.name][0]}.configs.{name[:SHOWN]}" for name in integration.allowed_tools or ()]
        for index, (server, integration) in enumerate(zip(wanted, servers, strict=True))
        if server.name in toolsets
    }
    return AskedTools(functions, servers, choice, parallel, eager, allowed)


def _choice(body: Prompting) -> ToolChoice:
    match body.tool_choice:
        case ToolChoiceAuto():
            return "auto"
        case ToolChoiceAny():
            return "required"
        case ToolChoiceTool(name):
            return NamedTool(name)
        case ToolChoiceNone():
            return "none"
        case _:
            assert_never(body.tool_choice)


def _functions(tools: Sequence[tuple[int, ToolParam]]) -> tuple[ToolDefinition, ...]:
    found: dict[str, ToolDefinition] = {}
    for place, tool in tools:
        problem = schema_problem(tool.input_schema)
        if tool.name in found:
            raise _wrong(f"tools.{place}.name", f"is the name of another tool, '{tool.name}', too")
        if problem is not None:
            raise _wrong(f"tools.{place}.input_schema", f"is not a JSON schema that can be used: {problem}")
        described = "" if isinstance(tool.description, UnsetType) else tool.description
        for example in [] if isinstance(tool.input_examples, UnsetType) else tool.input_examples:
            described += f"\n\nExample of its input: {canonical_json(example)}"
        found[tool.name] = ToolDefinition(tool.name, described.strip(), tool.input_schema)
    return tuple(found.values())


def _toolsets(
    servers: Sequence[McpServerParam], sets: Sequence[tuple[int, McpToolsetParam]]
) -> dict[str, tuple[int, McpToolsetParam]]:
    """Each toolset with its place among the tools, by the name of its server."""
    named: dict[str, tuple[int, McpToolsetParam]] = {}
    names = [server.name for server in servers]
    for place, toolset in sets:
        if toolset.mcp_server_name not in names:
            raise _wrong(f"tools.{place}.mcp_server_name", "names no server in 'mcp_servers'")
        if toolset.mcp_server_name in named:
            raise _wrong(f"tools.{place}.mcp_server_name", "names a server that has another toolset already")
        named[toolset.mcp_server_name] = (place, toolset)
    return named


def _servers(
    servers: Sequence[McpServerParam], named: Mapping[str, tuple[int, McpToolsetParam]]
) -> tuple[EphemeralRequest, ...]:
    names = [server.name for server in servers]
    found: list[EphemeralRequest] = []
    for index, server in enumerate(servers):
        if server.name in names[:index]:
            raise _wrong(f"mcp_servers.{index}.name", f"is the name of another server, '{server.name}', too")
        token = server.authorization_token
        found.append(
            EphemeralRequest(
                server.name,
                server.url,
                _allowed(server, index, named.get(server.name)),
                {} if isinstance(token, UnsetType) else {"Authorization": f"Bearer {token}"},
                excluded=_excluded(named.get(server.name)),
            )
        )
    return tuple(found)


def _allowed(server: McpServerParam, index: int, toolset: tuple[int, McpToolsetParam] | None) -> tuple[str, ...] | None:
    config = server.tool_configuration
    listed = None if isinstance(config.allowed_tools, UnsetType) else tuple(config.allowed_tools)
    allowed = listed if config.enabled else ()
    if toolset is None:
        return allowed
    place, wanted = toolset
    if allowed is not None:
        raise _wrong(f"mcp_servers.{index}.tool_configuration", f"is said by 'tools.{place}' already: leave one out")
    configs = {} if isinstance(wanted.configs, UnsetType) else wanted.configs
    if not wanted.default_config.enabled:
        return tuple(name for name, one in configs.items() if one.enabled is True)
    return None


def _excluded(toolset: tuple[int, McpToolsetParam] | None) -> tuple[str, ...]:
    """What is switched off where the rest is on."""
    if toolset is None or not toolset[1].default_config.enabled or isinstance(toolset[1].configs, UnsetType):
        return ()
    return tuple(name for name, one in toolset[1].configs.items() if one.enabled is False)


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
