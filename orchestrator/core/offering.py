"""Which tools a run offers to the model: `allowed_tools` enforced, names made unique."""

from collections.abc import Sequence

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.items import ProviderInfo
from orchestrator.core.request import RunRequest
from orchestrator.core.tools import OfferedTool, ToolDefinition, offer_tools, provider_label


def offer(request: RunRequest, opened: Sequence[OpenedIntegration]) -> tuple[OfferedTool, ...] | ErrorInfo:
    """The tools on offer, in the order of the integrations and of each server's list; or why not.

    A name in `allowed_tools` that its server lacks is an `invalid_value`; one that `mcp.json`
    withholds is `permission_denied`. An empty `allowed_tools` offers nothing of that server.
    """
    found: list[tuple[int, ProviderInfo, Sequence[ToolDefinition]]] = []
    for index, (integration, server) in enumerate(zip(request.integrations, opened, strict=True)):
        by_name = {tool.name: tool for tool in reversed(server.tools)}
        wanted = integration.allowed_tools
        for place, name in enumerate(wanted or ()):
            error = _unusable(name, f"integrations.{index}.allowed_tools.{place}", server, by_name)
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
                    and tool.name not in server.withheld
                    and (wanted is None or tool.name in wanted)
                ],
            )
        )
    return offer_tools(found, request.tool_names) if request.offer_tools else ()


def _unusable(name: str, param: str, server: OpenedIntegration, by_name: dict[str, ToolDefinition]) -> ErrorInfo | None:
    label = provider_label(server.provider)
    if name not in by_name:
        offers = ", ".join(tool for tool in reversed(by_name) if tool not in server.withheld) or "none"
        return ErrorInfo(ErrorKind.INVALID_VALUE, f"'{label}' has no tool '{name}'. Its tools: {offers}.", param)
    if name in server.withheld:
        message = f"The tool '{name}' of '{label}' is not allowed by the server's configuration."
        return ErrorInfo(ErrorKind.PERMISSION_DENIED, message, param)
    return None
