"""Items of a run in OpenAI's words."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from orchestrator.api.openai_responses.item_ids import call_item_id, item_id
from orchestrator.api.openai_responses.wire_response import (
    LikelyTokenTold,
    ListedTool,
    McpApprovalRequestItem,
    McpCallItem,
    McpExecutionError,
    McpListToolsItem,
    McpProtocolError,
    WrittenTokenTold,
)
from orchestrator.core.approvals import PendingApproval
from orchestrator.core.items import ClientProvider, InvalidKind, ProviderInfo, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.permissions import normal_label
from orchestrator.core.tools import OfferedTool, ToolAnnotations, provider_label

NO_SERVER: Final = "unknown"
"""The label of the server that has a tool which nobody has."""
OWN_LABEL: Final = "orchestrator"
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
"""JSON-RPC's codes for what is wrong with a call."""


def label_of(provider: ProviderInfo | None) -> str:
    """What a server is called: a plugin by its label in `mcp.json`."""
    return NO_SERVER if provider is None else provider_label(provider).removeprefix("mcp/")


def listed_tools(
    response_id: str, offered: Iterable[OfferedTool], labels: Iterable[str] = ()
) -> list[McpListToolsItem]:
    """What each server offers, in the order of the offer; then those of `labels` that offer nothing.

    The service's own tool is not listed: it is nobody's server.
    """
    servers: dict[str, list[ListedTool]] = {}
    for tool in offered:
        label = label_of(tool.provider)
        if label != OWN_LABEL and not isinstance(tool.provider, ClientProvider):
            servers.setdefault(label, []).append(_listed(tool))
    listed = {normal_label(label) for label in servers}
    servers |= {label: [] for label in labels if normal_label(label) not in listed}
    return [
        McpListToolsItem(item_id("mcpl", response_id, place), label, tools)
        for place, (label, tools) in enumerate(servers.items())
    ]


def _listed(tool: OfferedTool) -> ListedTool:
    definition = tool.definition
    return ListedTool(
        definition.name, definition.description, dict(definition.input_schema), _hints(definition.annotations)
    )


def _hints(annotations: ToolAnnotations) -> dict[str, bool]:
    said = {
        "readOnlyHint": annotations.read_only,
        "destructiveHint": annotations.destructive,
        "idempotentHint": annotations.idempotent,
        "openWorldHint": annotations.open_world,
    }
    return {name: value for name, value in said.items() if value is not None}


def begun_call(response_id: str, call_id: str, provider: ProviderInfo | None, tool: str) -> McpCallItem:
    """A call as it begins."""
    return McpCallItem(call_item_id("mcp", response_id, call_id), label_of(provider), tool, "", "in_progress")


def settled_call(begun: McpCallItem, call: ToolCall) -> McpCallItem:
    """A call with what came of it."""
    content = content_of(call.output)
    return msgspec.structs.replace(
        begun,
        arguments=json_text(call.arguments),
        status="failed" if call.is_error else "completed",
        output=None if call.is_error else text_of(content),
        error=McpExecutionError(content) if call.is_error else None,
    )


def refused_call(begun: McpCallItem, kind: InvalidKind, reason: str, arguments: JsonObject | None) -> McpCallItem:
    """A call that could not be made."""
    code = METHOD_NOT_FOUND if kind == "invalid_name" else INVALID_PARAMS
    return msgspec.structs.replace(
        begun,
        arguments="" if arguments is None else json_text(arguments),
        status="failed",
        error=McpProtocolError(code, reason),
    )


def approval_request(response_id: str, pending: PendingApproval) -> McpApprovalRequestItem:
    """A call that waits for somebody."""
    return McpApprovalRequestItem(
        call_item_id("mcpr", response_id, pending.call_id),
        label_of(pending.provider),
        pending.tool,
        json_text(pending.arguments),
    )


def json_text(value: JsonObject) -> str:
    """`value` as its client reads it."""
    return msgspec.json.encode(value).decode()


def content_of(output: str) -> list[Any]:
    """The content array of a result; empty where it is not kept."""
    return msgspec.json.decode(output, type=list[Any]) if output else []


def text_of(content: Sequence[Any]) -> str:
    """What a text can hold of a content array: its texts, and everything else as JSON."""
    return "\n".join(
        part["text"] if part.get("type") == "text" and isinstance(part.get("text"), str) else json_text(part)
        for part in content
    )


def told_logprobs(tokens: Sequence[TokenLogprob]) -> list[WrittenTokenTold]:
    """How likely the tokens of a message were."""
    return [
        WrittenTokenTold(
            one.chosen.token,
            one.chosen.logprob,
            _bytes(one.chosen),
            [LikelyTokenTold(each.token, each.logprob, _bytes(each)) for each in one.likeliest],
        )
        for one in tokens
    ]


def _bytes(token: LikelyToken) -> list[int]:
    return list(token.token.encode("utf-8", "surrogatepass") if token.raw is None else token.raw)


def sealed(text: str) -> str:
    """`text` as clients carry it without looking: opaque, not secret."""
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def unsealed(text: str) -> str | None:
    """What `sealed` made `text` of, None where it did not."""
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        return None
