"""What is known to be secret because a configuration or a request has it: it reaches no row, whoever repeats it.

A server may send its caller's own credentials back, in a result or a definition. Values of headers, the query of
an address and tokens of logins are secrets. Of an environment only what looks like one is: `TZ=Europe/Berlin` is
none, and a journal without the word Berlin would say less than happened.
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
_TELLING: Final = re.compile(r"token|secret|passw|passphrase|key|auth|cred|cookie|session|dsn|pat$", re.IGNORECASE)
_TOKEN: Final = re.compile(r"(?=\S*[A-Za-z])(?=\S*\d)[^\s/]\S{15,}")
_ADDRESS: Final = re.compile(r"[a-z0-9+.-]+://[^@?\s]*", re.IGNORECASE)
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
        case StdioServer(env=env, secrets=secrets):
            named = {value for name, value in env.items() if _TELLING.search(name)}
            return frozenset(named | {value for value in secrets if looks_secret(value)})
        case HttpServer(url=url, secrets=secrets):
            return secrets | parse_server_url(url).secrets
        case UnusableServer():
            return frozenset()


def looks_secret(value: str) -> bool:
    """Whether it is long, without spaces, of letters and digits, and neither a path nor an address: as tokens are."""
    return _TOKEN.fullmatch(value) is not None and not _ADDRESS.fullmatch(value)


@lru_cache(maxsize=512)
def _rules(words: frozenset[str]) -> Redaction:
    return Redaction((literal_rule(MARKER_NAME, words),)) if words else NOTHING
