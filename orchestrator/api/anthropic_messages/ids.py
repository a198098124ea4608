"""Ids as this dialect writes them; each leads back to ours, so that an auditor finds a response by either."""

from typing import Final

RESPONSE: Final = "resp_"
MESSAGE: Final = "msg_"
CALL: Final = "call_"
TOOL_USE: Final = "toolu_"
MCP_TOOL_USE: Final = "mcptoolu_"


def message_id(response_id: str) -> str:
    """`msg_…` of `resp_…`."""
    return MESSAGE + response_id.removeprefix(RESPONSE)


def response_id_of(text: str) -> str:
    """The response that `msg_…` stands for; any other text as it is."""
    return RESPONSE + text.removeprefix(MESSAGE) if text.startswith(MESSAGE) else text


def tool_use_id(call_id: str, *, mcp: bool = False) -> str:
    """`toolu_…` or `mcptoolu_…` of `call_…`; the id of a call that another service named as it is."""
    prefix = MCP_TOOL_USE if mcp else TOOL_USE
    return prefix + call_id.removeprefix(CALL) if call_id.startswith(CALL) else call_id


def call_id_of(text: str) -> str:
    """The call that a block means."""
    for prefix in (TOOL_USE, MCP_TOOL_USE):
        if text.startswith(prefix):
            return CALL + text.removeprefix(prefix)
    return text
