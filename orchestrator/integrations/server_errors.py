"""What went wrong between a server and us, as the rest of a sentence about the server."""

import re
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    PARSE_ERROR,
    URL_ELICITATION_REQUIRED,
    ElicitationRequiredErrorData,
)
from pydantic import ValidationError

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.server_requests import UnansweredError

UNKNOWN_RESOURCE: Final = -32002
"""What servers of the handshake family answer to a URI that they do not have."""
NOT_MCP: Final = "its answer is not a valid MCP message"
TOO_DEEP: Final = "its answer is nested too deeply to be read"
_UNREAD: Final = re.compile(
    r"Failed to parse (?:JSON response|SSE message): (?:(it answered with more than \d+ bytes)$)?"
)
_NO_MESSAGE: Final = re.compile(r"Unexpected content type: (.*)")


LONGEST_REASON: Final = 2000


def shortened(reason: str) -> str:
    """`reason`, or its beginning and how long it was: for messages and logs, which are not the place for a book.

    To be cut only after secrets were masked: half of one would not be recognised.
    """
    if len(reason) <= LONGEST_REASON:
        return reason
    return f"{reason[:LONGEST_REASON]} … (cut: {len(reason)} characters in all)"


def why(error: Exception) -> str:
    """The error without what it was about."""
    match error:
        case OrchestratorError():  # of the store, which was asked for a login
            return error.info.message.rstrip(".")
        case MCPError() if error.code == CONNECTION_CLOSED:
            return f"the connection broke ({error.message.rstrip('. ')})"
        case MCPError() if error.code == URL_ELICITATION_REQUIRED:
            return f"the user has to visit {_addresses(error)} first ({error.message})"
        case MCPError() if error.code in (PARSE_ERROR, INVALID_REQUEST):
            return _unread(error) or f"it answered with the error {error.code}: {error.message}"
        case MCPError():
            return f"it answered with the error {error.code}: {error.message}"
        case ValidationError():
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return f"its answer does not follow the protocol ({where}: {first['msg']})"
        case ValueError() | RuntimeError() | UnansweredError():
            return str(error)
        case _:
            return f"it failed unexpectedly ({type(error).__name__})"


def _unread(error: MCPError) -> str | None:
    """What the client's side made an error of, rather than the server."""
    if error.message in (NOT_MCP, TOO_DEEP):
        return error.message
    unread = _UNREAD.match(error.message)
    if unread is not None:
        return unread[1] or NOT_MCP
    other = _NO_MESSAGE.fullmatch(error.message)
    return None if other is None else f"it answered with {other[1] or 'something'} instead of an MCP message"


def _addresses(error: MCPError) -> str:
    try:
        data = ElicitationRequiredErrorData.model_validate(error.error.data)
    except ValidationError:
        return "an address, which it does not tell,"
    return " and ".join(wanted.url for wanted in data.elicitations[:5]) or "an address, which it does not tell,"
