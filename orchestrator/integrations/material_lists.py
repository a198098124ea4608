"""What a plugin has beside tools, listed when it is connected and again when it says that this changed."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import structlog
from mcp.client import ClientSession
from mcp.shared.exceptions import MCPError

from orchestrator.core.materials import Prompt, Resource, ResourceTemplate
from orchestrator.integrations.listings import list_prompts, list_resource_templates, list_resources
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.server_errors import shortened, why

log = structlog.stdlib.get_logger(__name__)


class MaterialLists:
    """The lists as they were last; None is what was never listed. For those who look at a plugin, not for requests."""

    def __init__(self, redact: Redactor) -> None:
        self.resources: tuple[Resource, ...] | None = None
        self.templates: tuple[ResourceTemplate, ...] | None = None
        self.prompts: tuple[Prompt, ...] | None = None
        self._redact = redact
        self._changed = anyio.Event()
        self._changed.set()
        self.settled = anyio.Event()
        """They were listed, or will not be any more."""

    def outdated(self) -> None:
        """They may be others now."""
        self._changed.set()

    async def keep(self, session: ClientSession, timeout: float) -> None:
        """List them, each within `timeout` seconds, whenever they are outdated; runs until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                self.resources = await self._list(list_resources, session, timeout)
                self.templates = await self._list(list_resource_templates, session, timeout)
                self.prompts = await self._list(list_prompts, session, timeout)
                self.settled.set()
        finally:
            self.settled.set()

    async def _list(
        self, ask: Callable[[ClientSession], Awaitable[tuple[Any, ...]]], session: ClientSession, timeout: float
    ) -> tuple[Any, ...] | None:
        try:
            with anyio.fail_after(timeout):
                return await ask(session)
        except (MCPError, ValueError, RuntimeError, TimeoutError) as error:
            log.debug("a server does not list what it has", reason=shortened(self._redact(why(error))))
            return None
