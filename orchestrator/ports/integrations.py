"""What the services need of MCP servers."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import IntegrationRequest
from orchestrator.core.tools import ToolDefinition, ToolResult


@dataclass(frozen=True, slots=True)
class RunScope:
    """For whom, and for which chain and response, integrations are opened.

    `chain_id` is the id of the chain's root response; a new chain's is the new response's own.
    """

    owner: str
    chain_id: str
    response_id: str


class IntegrationSession(Protocol):
    """An open connection to an MCP server that offers tools."""

    @property
    def provider(self) -> ProviderInfo: ...

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """All tools of the server, in its own order."""
        ...

    @property
    def withheld(self) -> frozenset[str]:
        """Names of tools that the server has and that its configuration does not give out."""
        ...

    async def call_tool(self, tool: str, arguments: JsonObject) -> ToolResult:
        """Call `tool` by the server's own name, within the tool timeout. Cancelling cancels the call.

        Raises:
            OrchestratorError: no result came: a timeout, a dead server, a broken protocol. The message
                is fit for the model and the client.
        """
        ...


class IntegrationCatalog(Protocol):
    """Knows the plugins and how to reach ephemeral servers."""

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        """Refuse, without any I/O, what cannot work: unknown plugins, twice the same one, bad addresses.

        Raises:
            OrchestratorError: with the `param` of the entry, such as `integrations.0.server_url`.
        """
        ...

    def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AbstractAsyncContextManager[Sequence[IntegrationSession]]:
        """Connect all of them at the same time, under one deadline; sessions in the request's order.

        Leaving the context closes what lives only as long as the request. What lives as long as a
        chain is found again by the owner and the chain of `scope`.

        Raises:
            OrchestratorError: `plugin_connection_error` or `mcp_connection_error` on `integrations`; the
                message says which server, at which stage, and why, and holds no header value.
        """
        ...
