"""What a server logs by MCP's own notifications: kept in a bounded ring, secrets masked."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

import structlog

from orchestrator.core.json_types import JsonValue
from orchestrator.core.server_requests import clipped
from orchestrator.integrations.results import json_text

log = structlog.stdlib.get_logger(__name__)

KEPT_LINES: Final = 200
LONGEST_LINE: Final = 4000


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A line of a server's log; `level` is one of syslog's words."""

    at: datetime
    level: str
    logger: str | None
    text: str


LogRing: TypeAlias = deque[LoggedLine]
"""The newest lines, oldest first."""


def log_ring() -> LogRing:
    """An empty one."""
    return deque(maxlen=KEPT_LINES)


class ServerLog:
    """Keeps what one server logs in `ring`, which may outlive it."""

    def __init__(self, server: str, redact: Callable[[str], str], ring: LogRing) -> None:
        self._server = server
        self._redact = redact
        self._lines = ring

    def add(self, level: str, logger: str | None, data: JsonValue) -> None:
        """Keep a line; `data` is any JSON value."""
        # Masked before it is cut: half of a secret would not be found.
        text = clipped(self._redact(data if isinstance(data, str) else json_text(data)), LONGEST_LINE)
        name = None if logger is None else clipped(self._redact(logger), 200)
        self._lines.append(LoggedLine(datetime.now(UTC), level, name, text))
        log.debug("an MCP server logs", server=self._server, level_of_server=level, logger_of_server=name, text=text)
