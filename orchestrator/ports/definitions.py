"""What the services need of the pins: which definitions of a plugin's tools were seen first, approved, changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from orchestrator.core.drift import DriftKind, DriftPolicy, DriftVerdict
from orchestrator.core.json_types import JsonObject
from orchestrator.core.tools import ToolDefinition

ChangeOutcome: TypeAlias = Literal["approved", "allowed", "superseded"]
"""`allowed` was pinned by policy, `superseded` gave way to another approval before it had one."""


@dataclass(frozen=True, slots=True)
class PinnedDefinition:
    """The definition of a tool that its plugin may show; `approved_by` None: pinned at first sight, or by policy."""

    tool: str
    digest: str
    pinned_at: datetime
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """A change that was seen, with both definitions as JSON; without an `outcome` it waits for an approval."""

    tool: str
    kind: DriftKind
    old_digest: str | None
    new_digest: str | None
    old: JsonObject | None
    new: JsonObject | None
    policy: DriftPolicy
    seen_at: datetime
    outcome: ChangeOutcome | None = None
    settled_at: datetime | None = None
    settled_by: str | None = None


class DefinitionStore(Protocol):
    """Pins by plugin and tool, and the history of their changes. Every method is one durable unit of work."""

    async def load_pins(self, plugin_id: str) -> Mapping[str, str]:
        """The pinned digests by the server's own names of its tools."""
        ...

    async def record_sight(
        self,
        plugin_id: str,
        tools: Sequence[ToolDefinition],
        verdict: DriftVerdict,
        policy: DriftPolicy,
        at: datetime,
    ) -> None:
        """Write down what follows from a sight of `tools`: pins, and changes that are not written down already.

        Safe when several processes do it at once: of two first sights of a tool, one counts.
        """
        ...

    async def list_pins(self, plugin_id: str) -> Sequence[PinnedDefinition]:
        """The pins, by tool."""
        ...

    async def list_changes(self, plugin_id: str, limit: int) -> Sequence[DefinitionChange]:
        """The newest changes, the newest first."""
        ...

    async def approve(self, plugin_id: str, digests: Mapping[str, str | None], by: str, at: datetime) -> None:
        """Pin these definitions, by tool, and settle what was open of those tools; None unpins a tool that is gone.

        Raises:
            OrchestratorError: `store_error`: a definition was never seen.
        """
        ...


class DefinitionGuard(Protocol):
    """Is shown the tools of a plugin whenever a request opens it."""

    async def judge(self, plugin_id: str, tools: Sequence[ToolDefinition], policy: DriftPolicy | None) -> DriftVerdict:
        """What has drifted, which of it must not be offered and which needs a warning; `policy` None is the service's default.

        Raises:
            OrchestratorError: `store_error`: what is pinned cannot be known.
        """
        ...
