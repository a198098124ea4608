"""What is known to be secret because a configuration or a request has it: it reaches no row, whoever repeats it.

A server may send its caller's own credentials back, in a result or a definition. Values of headers, the query of
an address and tokens of logins are secrets. Of an environment only what is named or looks like one is
(`secret_values.py`): `TZ=Europe/Berlin` is none, and a journal without the word Berlin would say less than happened.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.core.redaction_rules import literal_rule
from orchestrator.integrations.mcp_json import HttpServer, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.server_url import parse_server_url

MARKER_NAME: Final = "credential"
_SHORTEST: Final = 6
_COMMON: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+|(?:true|false)|\d{1,12}", re.IGNORECASE)


def redaction_of(values: Iterable[str]) -> Redaction:
    """Rules for these values and every long word of them; what is too short or too common stays readable."""
    words: set[str] = set()
    for value in values:
        words |= {word for word in (value, *value.split()) if len(word) >= _SHORTEST and not _COMMON.fullmatch(word)}
    return _rules(frozenset(words))


def secrets_of(plugin: PluginConfig) -> frozenset[str]:
    """What the entry holds that must reach no row."""
    match plugin.server:
        case StdioServer(secrets=secrets):
            return secrets
        case HttpServer(url=url, secrets=secrets):
            return secrets | parse_server_url(url).secrets
        case UnusableServer():
            return frozenset()


@lru_cache(maxsize=512)
def _rules(words: frozenset[str]) -> Redaction:
    return Redaction((literal_rule(MARKER_NAME, words),)) if words else NOTHING
