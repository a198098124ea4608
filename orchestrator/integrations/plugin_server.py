"""A server of a plugin, and what is remembered of those that were."""

from datetime import UTC, datetime
from typing import TypeAlias

import anyio

from orchestrator.integrations.mcp_json import PluginConfig
from orchestrator.integrations.mcp_transport import Failure, ServerTransport
from orchestrator.integrations.server_log import log_ring
from orchestrator.integrations.stderr_ring import StderrRing
from orchestrator.integrations.stdio_transport import StdioServerTransport
from orchestrator.integrations.supervised import SupervisedServer
from orchestrator.ports import PluginFailure

ChainKey: TypeAlias = tuple[str, str, str]
"""Plugin id, owner, and chain, digest of the caller's token or nothing: no session is found by another owner."""


class PluginRecord:
    """What is remembered of a plugin over all of its connections; `last` is the server that was used last."""

    def __init__(self) -> None:
        self.stderr = StderrRing()
        self.log = log_ring()
        self.last: PluginServer | None = None
        self.restarts = 0
        self.was_started = False
        self.failure: PluginFailure | None = None

    def failed(self, failure: Failure) -> None:
        """Remember why a connection ended that nobody had ended."""
        self.failure = PluginFailure(str(failure.stage), failure.why, datetime.now(UTC))


class PluginServer:
    """One server of a plugin, and who uses it. `chain` says whose it is where it ends by itself.

    `owner` None says that everybody shares it.
    """

    def __init__(self, plugin: PluginConfig, record: PluginRecord, chain: ChainKey | None, owner: str | None) -> None:
        self.plugin = plugin
        self.record = record
        self.chain = chain
        self.owner = owner
        self.users = 0
        self.retired = False
        self.used_at = 0.0
        self.started_at: datetime | None = None
        self.waiting = anyio.CancelScope()
        """Of the task that keeps it open, or that ends it once it was unused for long enough."""
        self._transport: ServerTransport | None = None
        self._server: SupervisedServer | None = None

    @property
    def server(self) -> SupervisedServer:
        assert self._server is not None  # given right after it was made
        return self._server

    @property
    def pid(self) -> int | None:
        """The child process, if there is one."""
        return self._transport.pid if isinstance(self._transport, StdioServerTransport) else None

    def supervise(self, server: SupervisedServer) -> None:
        """Say what does the work."""
        self._server = server

    def starts(self, transport: ServerTransport, *, second_try: bool = False) -> ServerTransport:
        """Take note of a connection that is about to be made; a `second_try` only goes on with the first."""
        # What is one's own takes nobody's place when it begins.
        shared = self.chain is None and self.plugin.scope != "request"
        again = self.record.was_started if shared else self._transport is not None
        self.record.restarts += again and not second_try
        self.record.was_started = True
        self.started_at = datetime.now(UTC)
        self._transport = transport
        return transport
