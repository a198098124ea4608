"""What the services need of MCP servers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.core.approvals import ApprovalPolicy
from orchestrator.core.items import ProviderInfo, ServerIdentity
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece, Prompt, Resource, ResourceTemplate
from orchestrator.core.request import IntegrationRequest
from orchestrator.core.server_requests import Elicitation, ElicitationAnswer, Progress, SamplingReply, SamplingRequest
from orchestrator.core.tools import ToolDefinition, ToolResult


class RunCallbacks(Protocol):
    """What the servers of a run may ask of it, each for a call of theirs (`call_id` None: no tool call)."""

    async def elicit(self, provider: ProviderInfo, call_id: str | None, asked: Elicitation) -> ElicitationAnswer:
        """Ask the user; waits for the answer, which is checked, and for a deadline, which cancels.

        Raises:
            OrchestratorError: it is refused; the message tells the server why.
        """
        ...

    async def sample(self, provider: ProviderInfo, call_id: str | None, asked: SamplingRequest) -> SamplingReply:
        """Let the run's model write something for the server, within limits.

        Raises:
            OrchestratorError: it is refused, or it failed; the message tells the server why.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallWatch:
    """Who is told how far a call is; the id is the journal's."""

    call_id: str
    progressed: Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class RunScope:
    """For whom, and for which chain and response, integrations are opened.

    `chain_id` is the id of the chain's root response; a new chain's is the new response's own.
    `caller_token` is what the caller authenticated with; it must be in nothing that is written or shown.
    """

    owner: str
    chain_id: str
    response_id: str
    callbacks: RunCallbacks | None = field(default=None, compare=False, repr=False)
    caller_token: str | None = field(default=None, compare=False, repr=False)


class IntegrationSession(Protocol):
    """An open connection to an MCP server that offers tools."""

    @property
    def provider(self) -> ProviderInfo: ...

    @property
    def server(self) -> ServerIdentity | None:
        """Who answers, without secrets; None where nobody is connected."""
        ...

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """All tools of the server, in its own order."""
        ...

    @property
    def withheld(self) -> frozenset[str]:
        """Names of tools that the server has and that its configuration does not give out."""
        ...

    @property
    def drifted(self) -> frozenset[str]:
        """Names of tools whose definition is not the pinned one, where the policy is to withhold those."""
        ...

    @property
    def changed(self) -> frozenset[str]:
        """Names of tools whose definition is not the pinned one, where the policy is to offer those with a warning."""
        ...

    @property
    def removed(self) -> frozenset[str]:
        """Names of pinned tools that its configuration gives out and that the server does not have any more."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with its list of tools or with its configuration, each as a sentence about it: tools that
        cannot be used, names that it does not have.
        """
        ...

    @property
    def approval(self) -> ApprovalPolicy:
        """Which calls its configuration wants approved, whatever the request says."""
        ...

    async def call_tool(self, tool: str, arguments: JsonObject, watch: CallWatch | None = None) -> ToolResult:
        """Call `tool` by the server's own name, within the tool timeout. Cancelling cancels the call.

        Progress that the server reports extends the timeout up to a cap; time in which it waits for the
        run's callbacks does not count.

        Raises:
            OrchestratorError: no result came: a timeout, a dead server, a broken protocol. The message
                is fit for the model and the client.
        """
        ...

    async def list_resources(self) -> tuple[Resource, ...]:
        """What the server lists, in its order; nothing where it has no resources.

        Raises:
            OrchestratorError: no answer came.
        """
        ...

    async def list_resource_templates(self) -> tuple[ResourceTemplate, ...]:
        """As `list_resources`.

        Raises:
            OrchestratorError
        """
        ...

    async def list_prompts(self) -> tuple[Prompt, ...]:
        """As `list_resources`.

        Raises:
            OrchestratorError
        """
        ...

    async def read_resource(self, uri: str) -> tuple[Piece, ...]:
        """The contents of a resource, in the server's order.

        Raises:
            OrchestratorError: it has none, or no answer came.
        """
        ...

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> tuple[Piece, ...]:
        """The messages of a prompt, in order, each with who speaks.

        Raises:
            OrchestratorError: there is no such prompt, an argument is missing, or no answer came.
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
