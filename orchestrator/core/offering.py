"""Which tools a run offers to the model: `allowed_tools` enforced, names made unique, approvals demanded."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal, assert_never

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.items import ClientProvider, ProviderInfo
from orchestrator.core.materials import material_items
from orchestrator.core.permissions import tool_is_granted
from orchestrator.core.request import IntegrationRequest, NamedTool, PluginRequest, RunRequest, ToolChoice
from orchestrator.core.tools import (
    OfferedTool,
    ToolDefinition,
    definition_digest,
    offer_tools,
    provider_label,
    tool_key,
)

DRIFTED: Final = (
    "The tool '{tool}' of '{label}' is withheld: its definition is not the one that was approved. Look at the change"
    " (orchestrator plugins show {label}) and approve it (orchestrator plugins approve {label} --tool {tool})."
)


TO_APPROVE: Final = (
    "look at the change (orchestrator plugins show {label}), and approve it (orchestrator plugins approve {label})"
)

CHANGED: Final = f"'{{label}}': {{tools}} offered, but the definition is not the one that was approved: {TO_APPROVE}"

REMOVED: Final = f"'{{label}}': {{tools}} approved, but not there any more: {TO_APPROVE}"

MOST_PROBLEMS: Final = 10
"""Of how many problems of one server a request is told; the plugin's own page has all of them."""

DUPLICATES: Final = "'{label}' lists more than one tool of the name {tools}: the first definition of each is offered"
NOT_THERE: Final = "'{label}' has no tool {tools}, which the request leaves out"
CLIENT: Final = ClientProvider()
_NO_INTEGRATION: Final = -1

WITHHELD: Final = (
    f"'{{label}}': {{tools}} withheld, because the definition is not the one that was approved: {TO_APPROVE}"
)


def offer(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[OfferedTool, ...] | ErrorInfo:
    """The tools on offer: the client's functions, then those of servers, in the order of the integrations and of each
    server's list; or why not.

    A name in `allowed_tools` that its server lacks is an `invalid_value`; one that `mcp.json` or the
    token withholds, or whose changed definition is blocked, is `permission_denied`. An empty
    `allowed_tools` offers nothing of that server; more than `max_tools` altogether are an `invalid_value`. A run that is taken up again was checked when it
    began: what is gone since is not offered. A call needs approval where the request or `mcp.json`
    wants it: neither can loosen what the other demands.
    """
    found: list[tuple[int, ProviderInfo, Sequence[ToolDefinition]]] = []
    for index, (integration, server) in enumerate(zip(request.integrations, opened, strict=True)):
        by_name = {tool.name: tool for tool in reversed(server.tools)}
        ungranted = _ungranted(integration, by_name)
        wanted = integration.allowed_tools
        if request.resumed is None:
            error = _first_unusable(integration, f"integrations.{index}", server, by_name, ungranted)
            if error is not None:
                return error
        found.append(
            (
                index,
                server.provider,
                [
                    tool
                    for tool in server.tools
                    if by_name[tool.name] is tool
                    and tool.name not in server.withheld | server.drifted | ungranted
                    and (wanted is None or tool.name in wanted)
                    and tool.name not in integration.excluded
                    and _is_as_wanted(tool, integration)
                ],
            )
        )
    if request.tool_choice == "none":
        return ()
    own = functions(request)
    names = {tool.name for tool in own}  # the client counts on them: a server's tool gives way
    given = {key: name for key, name in request.tool_names.items() if name not in names}
    offered = (
        *own,
        *(
            replace(
                tool,
                needs_approval=_needs_approval(tool, request, opened),
                server=opened[tool.integration].server,
            )
            for tool in offer_tools(found, {**given, **{tool_key(CLIENT, name): name for name in names}})
        ),
    )
    if request.resumed is None and len(offered) > request.limits.max_tools:
        return _too_many(len(offered), request.limits.max_tools)
    if request.resumed is None and chosen_tool(request.tool_choice, offered) is None:
        return _no_such_choice(request.tool_choice, offered)
    return offered


def duplicate_warnings(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[str, ...]:
    """What is to be said of tools that the request wants of a server that lists them more than once."""
    warnings: list[str] = []
    for integration, server in zip(request.integrations, opened, strict=True):
        listed = Counter(tool.name for tool in server.tools)
        names = _wanted(frozenset(name for name, times in listed.items() if times > 1), integration, server)
        if names:
            warnings.append(DUPLICATES.format(label=provider_label(server.provider), tools=", ".join(names)))
    return tuple(warnings)


def exclusion_warnings(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[str, ...]:
    """What is to be said of servers that have not what the request leaves out: it may mean another tool of theirs."""
    warnings: list[str] = []
    for integration, server in zip(request.integrations, opened, strict=True):
        listed = {tool.name for tool in server.tools}
        names = [name for name in integration.excluded if name not in listed]
        if names:
            warnings.append(NOT_THERE.format(label=provider_label(server.provider), tools=", ".join(names)))
    return tuple(warnings)


def functions(request: RunRequest) -> tuple[OfferedTool, ...]:
    """The client's own, under the client's own names."""
    return tuple(
        OfferedTool(function.name, function, CLIENT, _NO_INTEGRATION, definition_digest(function))
        for function in request.functions
    )


def drift_warnings(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[str, ...]:
    """What is to be said of the tools that the request would be offered, were their definitions the approved ones.

    Each warning is of one server: first those that are offered all the same, then those that are withheld, then
    those that are gone.
    """
    if request.tool_choice == "none":
        return ()
    return tuple(
        message.format(label=provider_label(server.provider), tools=", ".join(tools))
        for integration, server in zip(request.integrations, opened, strict=True)
        for message, tools in (
            (CHANGED, _wanted(server.changed, integration, server)),
            (WITHHELD, _wanted(server.drifted, integration, server)),
            (REMOVED, sorted(_may_want(server.removed, integration))),
        )
        if tools
    )


def problem_warnings(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[str, ...]:
    """What is to be said of servers whose list of tools, or whose configuration, is not in order."""
    if request.tool_choice == "none":
        return ()
    warnings: list[str] = []
    for server in opened:
        label = provider_label(server.provider)
        warnings += [f"'{label}': {problem}" for problem in server.problems[:MOST_PROBLEMS]]
        if len(server.problems) > MOST_PROBLEMS:
            warnings.append(f"'{label}': there are {len(server.problems) - MOST_PROBLEMS} more such problems")
    return tuple(warnings)


def _is_as_wanted(tool: ToolDefinition, integration: IntegrationRequest) -> bool:
    """Whether the entry asks for tools that say of themselves what this one says; a missing hint is MCP's default."""
    return integration.read_only is None or integration.read_only is (tool.annotations.read_only is True)


def _wanted(names: frozenset[str], integration: IntegrationRequest, server: OpenedIntegration) -> list[str]:
    """Which of `names` the entry may have and asks for, in the server's order."""
    wanted = _may_want(names, integration) - server.withheld
    return list(dict.fromkeys(tool.name for tool in server.tools if tool.name in wanted))


def _may_want(names: frozenset[str], integration: IntegrationRequest) -> frozenset[str]:
    wanted = names if integration.allowed_tools is None else names.intersection(integration.allowed_tools)
    return wanted - _ungranted(integration, names) - {*integration.excluded}


def with_materials(request: RunRequest, opened: Sequence[OpenedIntegration]) -> RunRequest:
    """`request` with what it takes of its servers before what its user says."""
    taken = [
        item for server in opened for item in material_items(server.provider, server.materials, vision=request.vision)
    ]
    return replace(request, input=(*taken, *request.input)) if taken else request


def chosen_tool(choice: ToolChoice, offered: Sequence[OfferedTool]) -> Literal["auto", "required"] | OfferedTool | None:
    """What the first turn is bound to; None where the choice cannot be met by what is offered."""
    match choice:
        case "auto" | "none":
            return "auto"
        case "required":
            return "required" if offered else None
        case NamedTool(tool, server):
            named = (one for one in offered if one.definition.name == tool and _is_of(one, server))
            return next(named, None)
        case _:
            assert_never(choice)


def _is_of(tool: OfferedTool, server: str | None) -> bool:
    label = provider_label(tool.provider)
    return server is None or server in (label, label.removeprefix("mcp/"))


def _too_many(count: int, most: int) -> ErrorInfo:
    message = (
        f"The integrations offer {count} tools, more than {most}. Name the ones that are needed in 'allowed_tools'."
    )
    return ErrorInfo(ErrorKind.INVALID_VALUE, message, "integrations")


def _no_such_choice(choice: ToolChoice, offered: Sequence[OfferedTool]) -> ErrorInfo:
    if not isinstance(choice, NamedTool):
        return ErrorInfo(ErrorKind.INVALID_VALUE, "A tool call is required, and no tools are offered.", "tool_choice")
    names = ", ".join(f"{one.definition.name} of {provider_label(one.provider)}" for one in offered) or "none"
    message = f"The tool '{choice.tool}' is not offered. Offered tools: {names}."
    return ErrorInfo(ErrorKind.INVALID_VALUE, message, "tool_choice")


def _ungranted(integration: IntegrationRequest, tools: Iterable[str]) -> frozenset[str]:
    """The tools that the caller's token does not allow; ephemeral servers are allowed whole or not at all."""
    if not isinstance(integration, PluginRequest):
        return frozenset()
    return frozenset(tool for tool in tools if not tool_is_granted(integration.granted_tools, tool))


def _first_unusable(
    integration: IntegrationRequest,
    param: str,
    server: OpenedIntegration,
    by_name: dict[str, ToolDefinition],
    ungranted: frozenset[str],
) -> ErrorInfo | None:
    """What is wrong with the first tool that the entry names and that cannot be had."""
    for place, name in enumerate(integration.allowed_tools or ()):
        error = _unusable(name, f"{param}.allowed_tools.{place}", server, by_name, ungranted)
        if error is not None:
            return error
    for path, name in _with_approval(integration):
        if name not in by_name:  # one that is only withheld is safe enough
            return _unusable(name, f"{param}.{path}", server, by_name, ungranted)
    return None


def _with_approval(integration: IntegrationRequest) -> Iterator[tuple[str, str]]:
    approval = integration.approval
    for demand, part in (("always", approval.always), ("never", approval.never)):
        for place, name in enumerate(part.tool_names):
            yield f"require_approval.{demand}.tool_names.{place}", name


def _needs_approval(tool: OfferedTool, request: RunRequest, opened: Sequence[OpenedIntegration]) -> bool:
    policies = request.integrations[tool.integration].approval, opened[tool.integration].approval
    return any(policy.demands(tool.definition) for policy in policies)


def _unusable(
    name: str, param: str, server: OpenedIntegration, by_name: dict[str, ToolDefinition], ungranted: frozenset[str]
) -> ErrorInfo | None:
    label = provider_label(server.provider)
    if name not in by_name:
        hidden = server.withheld | server.drifted | ungranted
        offers = ", ".join(tool for tool in reversed(by_name) if tool not in hidden) or "none"
        return ErrorInfo(ErrorKind.INVALID_VALUE, f"'{label}' has no tool '{name}'. Its tools: {offers}.", param)
    if name in server.withheld:
        message = f"The tool '{name}' of '{label}' is not allowed by the server's configuration."
        return ErrorInfo(ErrorKind.PERMISSION_DENIED, message, param)
    if name in ungranted:
        message = f"The tool '{name}' of '{label}' is not allowed by the API token."
        return ErrorInfo(ErrorKind.PERMISSION_DENIED, message, param)
    if name in server.drifted:
        message = DRIFTED.format(tool=name, label=label)
        return ErrorInfo(ErrorKind.PERMISSION_DENIED, message, param)
    return None
