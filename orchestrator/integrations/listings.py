"""The lists of a server, page by page, and how much of them is taken."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mcp.client import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND, PaginatedRequestParams, PaginatedResult

from orchestrator.core.materials import Prompt, Resource, ResourceTemplate
from orchestrator.core.tools import ToolDefinition
from orchestrator.integrations.materials import prompt, resource, resource_template
from orchestrator.integrations.results import tool_definition

MAX_PAGES: Final = 100
MAX_TOOLS: Final = 2000
MAX_LISTED: Final = 10_000
"""How many resources, templates or prompts are taken of a server."""

P = TypeVar("P", bound=PaginatedResult)
T = TypeVar("T")


async def list_tools(session: ClientSession) -> tuple[ToolDefinition, ...]:
    """All tools in the server's order; none of a server without the capability.

    Raises:
        MCPError, ValueError: it does not answer, answers nonsense, or goes on without end.
    """
    return await _all(
        lambda params: session.list_tools(params=params),
        lambda page: [tool_definition(tool) for tool in page.tools],
        ("tools", MAX_TOOLS),
        unknown_is_none=not _offers(session, "tools"),
    )


async def list_resources(session: ClientSession) -> tuple[Resource, ...]:
    """All resources in the server's order; none of a server without the capability, which is not asked.

    Raises:
        MCPError, ValueError
    """
    if not _offers(session, "resources"):
        return ()
    return await _all(
        lambda params: session.list_resources(params=params),
        lambda page: [resource(one) for one in page.resources],
        ("resources", MAX_LISTED),
    )


async def list_resource_templates(session: ClientSession) -> tuple[ResourceTemplate, ...]:
    """All templates of resources in the server's order; many servers with resources do not know the method.

    Raises:
        MCPError, ValueError
    """
    if not _offers(session, "resources"):
        return ()
    return await _all(
        lambda params: session.list_resource_templates(params=params),
        lambda page: [resource_template(one) for one in page.resource_templates],
        ("resource templates", MAX_LISTED),
        unknown_is_none=True,
    )


async def list_prompts(session: ClientSession) -> tuple[Prompt, ...]:
    """All prompts in the server's order; none of a server without the capability, which is not asked.

    Raises:
        MCPError, ValueError
    """
    if not _offers(session, "prompts"):
        return ()
    return await _all(
        lambda params: session.list_prompts(params=params),
        lambda page: [prompt(one) for one in page.prompts],
        ("prompts", MAX_LISTED),
    )


def _offers(session: ClientSession, what: str) -> bool:
    """Whether the server says that it has such a list; then not to know the method is an error."""
    capabilities: Any = session.server_capabilities
    return capabilities is not None and getattr(capabilities, what) is not None


async def _all(
    page_of: Callable[[PaginatedRequestParams], Awaitable[P]],
    read: Callable[[P], list[T]],
    what: tuple[str, int],
    *,
    unknown_is_none: bool = False,
) -> tuple[T, ...]:
    name, most = what
    found: list[T] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            page = await page_of(PaginatedRequestParams(cursor=cursor))
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND and unknown_is_none:
                return ()
            raise
        found.extend(read(page))
        cursor = page.next_cursor
        if len(found) > most:
            raise ValueError(f"it lists more than {most} {name}")
        if cursor is None:
            return tuple(found)
    raise ValueError(f"it lists its {name} on more than {MAX_PAGES} pages")
