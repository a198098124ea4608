"""The links by which web pages offer an MCP server: LM Studio's, Cursor's and VS Code's. Pure."""

import base64
import binascii
import json
from typing import Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from orchestrator.core.json_types import JsonObject

_PAIRS: Final = {
    ("lmstudio", "add_mcp"),
    ("cursor", "anysphere.cursor-deeplink/mcp/install"),
    ("https", "lmstudio.ai/install-mcp"),
    ("https", "cursor.com/install-mcp"),
    ("https", "cursor.com/en/install-mcp"),
    ("https", "insiders.vscode.dev/redirect/mcp/install"),
    ("https", "vscode.dev/redirect/mcp/install"),
}
"""Those with a name and a configuration of their own in the query."""

_VS_CODE: Final = frozenset({"vscode", "vscode-insiders", "vscodium"})


class LinkProblem(Exception):
    """The link cannot be used; the message holds nothing of its configuration."""


def is_link(text: str) -> bool:
    """Whether it is a link and not a label."""
    return "://" in text or text.partition(":")[0] in _VS_CODE


def read_link(link: str) -> tuple[str, JsonObject]:
    """The label and the entry that the link offers.

    Raises:
        LinkProblem: it is of no kind that is known, or its configuration cannot be read.
    """
    try:
        parts = urlsplit(link.strip())
    except ValueError:
        raise LinkProblem("it is not a link") from None
    where = f"{parts.netloc.removeprefix('www.')}{parts.path}".strip("/")
    if parts.scheme in _VS_CODE and where == "mcp/install":
        return _named(_object(unquote(parts.query)), None)
    if (parts.scheme, where) not in _PAIRS:
        raise LinkProblem("it is not a link of LM Studio, Cursor or VS Code that adds an MCP server")
    # A '+' of base64 stands for itself here, whatever forms make of it.
    query = parse_qs(parts.query.replace("+", "%2B"))
    name, config = query.get("name", [""])[0], query.get("config", [""])[0]
    if not config:
        raise LinkProblem("it has no 'config'")
    return _named(_object(config if config.lstrip().startswith("{") else _decoded(config)), name or None)


def _named(found: JsonObject, name: str | None) -> tuple[str, JsonObject]:
    """Some wrap the entry in its label, or in a whole `mcp.json`, and some write the name beside its keys."""
    for wrapper in ("mcpServers", "servers"):
        if isinstance(found.get(wrapper), dict):
            found = cast(JsonObject, found[wrapper])
    if not {"command", "url", "serverUrl", "httpUrl"} & found.keys():
        entries = {label: entry for label, entry in found.items() if isinstance(entry, dict)}
        label = name if name in entries else next(iter(entries)) if len(entries) == 1 else None
        if label is None:
            raise LinkProblem("its configuration has neither 'command' nor 'url'")
        return name or label, entries[label]
    label = name or found.get("name")
    if not isinstance(label, str) or not label.strip():
        raise LinkProblem("it does not say what the server is called")
    return label, {key: value for key, value in found.items() if key != "name"}


def _decoded(config: str) -> str:
    text = unquote(config).strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise LinkProblem("its configuration is not base64") from None


def _object(text: str) -> JsonObject:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise LinkProblem("its configuration is not JSON") from None
    if not isinstance(found, dict):
        raise LinkProblem("its configuration is not a JSON object")
    return cast(JsonObject, found)
