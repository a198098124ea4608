"""Which HTTP headers a request or `mcp.json` may send to a server (contract, sections 2 and 9)."""

import re
from typing import Final

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
LONGEST_VALUE: Final = 16 * 1024

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FRAMING: Final = frozenset(
    {"accept", "accept-encoding", "content-encoding", "content-length", "content-type", "expect", "host"}
)
_PROTOCOL: Final = frozenset({"last-event-id"})
_PROTOCOL_PREFIX: Final = "mcp-"


def header_problem(name: str, value: str) -> str | None:
    """What is wrong with a header, without its value, or None where it may be sent as it is.

    Names by RFC 9110, section 5.1; hop-by-hop headers by section 7.6.1; values are printable ASCII.
    """
    if _NAME.fullmatch(name) is None:
        return "is not a valid HTTP header name"
    lowered = name.lower()
    if lowered in _HOP_BY_HOP:
        return "belongs to a single connection and cannot be set"
    if lowered in _FRAMING:
        return "is set by the service itself"
    if lowered in _PROTOCOL or lowered.startswith(_PROTOCOL_PREFIX):
        return "belongs to the MCP protocol and is set by the service itself"
    if len(value) > LONGEST_VALUE:
        return f"has a value of more than {LONGEST_VALUE} characters"
    if _VALUE.fullmatch(value) is None:
        return "has a value with characters other than printable ASCII"
    if value != value.strip(" \t"):
        return "has a value that begins or ends with white space"
    return None


def repeated_header(names: list[str]) -> str | None:
    """The first of `names` that was there before in another spelling, or None."""
    seen: set[str] = set()
    for name in names:
        lowered = name.lower()
        if lowered in seen:
            return name
        seen.add(lowered)
    return None
