"""What a server tells of its own accord: that its lists changed, and what it logs."""

from typing import Any, Final

import anyio
import mcp_types as types
import structlog
from mcp.client import Client, IncomingMessage
from mcp.client.subscriptions import PromptsListChanged, ResourcesListChanged
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.core.materials import MaterialList
from orchestrator.integrations.material_lists import MaterialLists
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.server_errors import shortened, why
from orchestrator.integrations.server_log import ServerLog

log = structlog.stdlib.get_logger(__name__)

SERVER_LOG_LEVEL: Final = "info"
"""From which level on servers are to log by MCP's notifications."""


class ServerNotices:
    """Hears one connection. `lists` are the lists that nothing was said against since they were listed."""

    def __init__(self, server_log: ServerLog | None, redact: Redactor) -> None:
        self.tools_stale = False
        self.unwatched = False
        self.listening = False
        self.lists: dict[MaterialList, tuple[Any, ...]] = {}
        self._server_log = server_log
        self.materials = MaterialLists(redact)
        self._redact = redact

    @property
    def log_level(self) -> types.LoggingLevel | None:
        """From which level on a stateless server is to log; it is told with every request."""
        return None if self._server_log is None else SERVER_LOG_LEVEL

    async def watch_lists(self, client: Client) -> None:
        """Servers of the stateless protocol tell of changes only those who ask; of others, `hear` hears."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        told = client.server_capabilities
        tools = told.tools is not None and bool(told.tools.list_changed)
        resources = told.resources is not None and bool(told.resources.list_changed)
        prompts = told.prompts is not None and bool(told.prompts.list_changed)
        if not (tools or resources or prompts):
            return
        try:
            async with client.listen(
                tools_list_changed=tools, resources_list_changed=resources, prompts_list_changed=prompts
            ) as changes:
                self.listening = True
                self.tools_stale = tools  # they may have changed since they were listed, unheard
                async for change in changes:
                    self._changed(
                        "resources"
                        if isinstance(change, ResourcesListChanged)
                        else "prompts"
                        if isinstance(change, PromptsListChanged)
                        else "tools"
                    )
        except (MCPError, RuntimeError, TimeoutError) as error:
            log.debug("a server does not tell when its lists change", reason=shortened(self._redact(why(error))))
        finally:
            self.listening = False
            self.lists.clear()
        self.unwatched = tools

    async def ask_for_log(self, client: Client, timeout: float) -> None:
        """Tell from which level on to log: servers of the handshake family choose one unless they are told."""
        logs = client.server_capabilities.logging is not None
        if self._server_log is None or not logs or client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return
        params = types.SetLevelRequestParams(level=SERVER_LOG_LEVEL)
        try:
            with anyio.fail_after(timeout):
                await client.session.send_request(types.SetLevelRequest(params=params), types.EmptyResult)
        except (MCPError, ValueError, RuntimeError, TimeoutError) as error:
            log.debug("a server does not take a log level", reason=shortened(self._redact(why(error))))

    async def log_line(self, params: types.LoggingMessageNotificationParams) -> None:
        """The server logs."""
        if self._server_log is not None:
            self._server_log.add(params.level, params.logger, params.data)

    async def hear(self, message: IncomingMessage) -> None:
        """The server tells something of its own accord."""
        match message:
            case types.ToolListChangedNotification():
                self._changed("tools")
            case types.ResourceListChangedNotification():
                self._changed("resources")
            case types.PromptListChangedNotification():
                self._changed("prompts")
            case _:
                pass

    def _changed(self, what: MaterialList) -> None:
        if what == "tools":
            self.tools_stale = True
        else:
            self.materials.outdated()
        self.lists.pop(what, None)
