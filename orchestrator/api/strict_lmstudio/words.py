"""Errors of a chat in LM Studio's words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from orchestrator.api.chat_request import RESPONSE_PREFIX
from orchestrator.api.strict_lmstudio.shaping import registered
from orchestrator.api.wire_requests import ChatBody, EphemeralIntegration, PluginIntegration
from orchestrator.core.errors import INSTALLED, ONLY_PUBLIC_ADDRESSES, ErrorInfo, ErrorKind
from orchestrator.core.models import NO_REASONING
from orchestrator.service.callers import Caller

NOT_PUBLIC: Final = "URL resolves to a non-public address."
_MOST_EXAMPLES: Final = 3


def plugin_ids(body: ChatBody) -> list[str]:
    """The plugins that the request asks for."""
    entries = body.integrations if isinstance(body.integrations, list) else []
    named = [entry.id if isinstance(entry, PluginIntegration) else entry for entry in entries]
    return [entry for entry in named if isinstance(entry, str)]


def in_chat(info: ErrorInfo, body: ChatBody, caller: Caller, installed: Sequence[str] = ()) -> ErrorInfo:
    """`info` as LM Studio says it of this request; `installed` are keys of models."""
    match info.kind:
        case ErrorKind.UNKNOWN_MODEL:
            examples = ", ".join(installed[:_MOST_EXAMPLES])
            hint = f" (e.g., {examples})" if examples else ""
            message = f'Invalid model identifier "{body.model}". Please specify a valid downloaded model{hint}.'
            return replace(info, message=message)
        case ErrorKind.INVALID_VALUE if info.param == "previous_response_id":
            return _unknown_previous(info, body)
        case ErrorKind.INVALID_VALUE if info.param == "reasoning":
            head, found, _ = info.message.partition(NO_REASONING)
            return replace(info, message=head + found)
        case ErrorKind.PERMISSION_DENIED:
            return _denied(info, plugin_ids(body), caller)
        case ErrorKind.PLUGIN_CONNECTION_ERROR:
            wanted = _meant(plugin_ids(body), info.message)
            head, listed, ids = info.message.partition(INSTALLED)
            message = (
                f"Unable to get plugin tools for '{wanted}'. {head}{listed}{registered(ids)} "
                f"Cannot find plugin handle for plugin: {wanted}"
            )
            return replace(info, message=message, param="integrations")
        case ErrorKind.MCP_CONNECTION_ERROR:
            return _no_server(info, body)
        case _:
            return info


def _unknown_previous(info: ErrorInfo, body: ChatBody) -> ErrorInfo:
    previous = body.previous_response_id
    if not isinstance(previous, str) or not previous.startswith(RESPONSE_PREFIX):
        return info
    message = (
        f"Could not find stored response for previous_response_id '{previous}'. Please ensure the ID is correct. "
        "Current previous response auto-deletion policy: Responses older than 30 days are automatically deleted."
    )
    return replace(info, message=message)


def _denied(info: ErrorInfo, wanted: Sequence[str], caller: Caller) -> ErrorInfo:
    if info.param is None or info.param.partition(".")[0] != "integrations":
        return info
    if not wanted:
        return replace(info, param="integrations")
    plugin_id = next((each for each in wanted if not caller.may_use(each)), wanted[0])
    message = (
        f"Permission denied to use plugin '{plugin_id}'. Ensure that the server configuration allows plugin usage "
        "and, if using an API token, it has the necessary permissions."
    )
    return replace(info, message=message, param="integrations")


def _meant(wanted: Sequence[str], message: str) -> str:
    """Which of the plugins an error speaks of."""
    said = registered(message)
    return next((each for each in wanted if f"'{registered(each)}'" in said), wanted[0] if wanted else "")


def _no_server(info: ErrorInfo, body: ChatBody) -> ErrorInfo:
    entries = body.integrations if isinstance(body.integrations, list) else []
    servers = [entry for entry in entries if isinstance(entry, EphemeralIntegration)]
    server = next(
        (each for each in servers if f"'{each.server_label}'" in info.message), servers[0] if servers else None
    )
    if server is None:
        return info
    why = f"{NOT_PUBLIC} " if ONLY_PUBLIC_ADDRESSES in info.message else ""
    message = (
        f"Unable to connect to remote MCP server '{server.server_label}' at url '{_origin(server.server_url)}'. "
        f"{why}{info.message}"
    )
    return replace(info, message=message, param="integrations")


def _origin(url: str) -> str:
    """Scheme and host: what else a URL has may be secret."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        return ""
