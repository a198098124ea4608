"""Which server is called, in words that may be kept for ever. Pure."""

import hashlib
import re
from typing import Final
from urllib.parse import urlsplit

from orchestrator.core.items import ServerIdentity
from orchestrator.core.redaction import Redaction
from orchestrator.integrations.mcp_json import HttpServer, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.secret_values import looks_secret
from orchestrator.integrations.server_facts import ServerFacts
from orchestrator.integrations.server_url import ServerUrl, parse_server_url

LONGEST: Final = 1024
"""Characters of an address: an index has it."""

LONGEST_NAME: Final = 256


def plugin_address(plugin: PluginConfig) -> str | None:
    """Where the plugin is: the address of its URL, or its program's name without folder and arguments."""
    match plugin.server:
        case StdioServer(command=command):
            return re.split(r"[/\\]", command)[-1]
        case HttpServer(url=url):
            return http_address(parse_server_url(url))
        case UnusableServer():
            return None


def http_address(url: ServerUrl) -> str:
    """Origin and path. A part of the path that looks like a key has a digest in its place: it still tells two apart."""
    return url.origin + "/".join(_shown(part) for part in urlsplit(url.text).path.split("/"))


def server_identity(address: str | None, facts: ServerFacts | None, rules: Redaction) -> ServerIdentity:
    """The identity, without what `rules` know to be secret."""
    name, version = (None, None) if facts is None else (facts.name, facts.version)
    return ServerIdentity(
        _kept(address, rules, LONGEST), _kept(name, rules, LONGEST_NAME), _kept(version, rules, LONGEST_NAME)
    )


def _shown(part: str) -> str:
    return f"~{hashlib.sha256(part.encode()).hexdigest()[:8]}" if looks_secret(part) else part


def _kept(text: str | None, rules: Redaction, longest: int) -> str | None:
    return None if text is None else rules.text(text)[:longest]
