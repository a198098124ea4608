"""Which values of an environment are secrets: those that are named like one, and those that look like one. Pure.

Values of headers are always taken for secret. An environment is mostly settings: a journal, a log and an error in
which every date, path and port of it is masked say less than happened.
"""

import re
from typing import Final

_TELLING: Final = re.compile(
    r"token|secret|passw|passphrase|credential|authorization|private"
    r"|(?:key|keys|pwd|pass|auth|cred|creds|cookie|session|dsn|pat|jwt)(?![a-z])",
    re.IGNORECASE,
)
_ABOUT: Final = re.compile(r"(?:_|-|\b)(?:file|path|dir|folder|sock|mode|type|ttl|timeout)$", re.IGNORECASE)
_TOKEN: Final = re.compile(r"(?=\S*[A-Za-z])(?=\S*\d)[^\s/]\S{15,}")
_ADDRESS: Final = re.compile(r"[a-z0-9+.-]+://[^@?\s]*", re.IGNORECASE)
_PATHS: Final = re.compile(r"(?:[^\s:]*/)+[^\s:]*(?::(?:[^\s:]*/)+[^\s:]*)+")
_LOGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?P<login>[^/?#\s]*)@", re.IGNORECASE)


def named_like_a_secret(name: str) -> bool:
    """Whether a variable of that name mostly holds one: `API_KEY` does, `MAX_TIMEOUT` and `SSH_AUTH_SOCK` do not."""
    return _TELLING.search(name) is not None and _ABOUT.search(name) is None


def looks_secret(value: str) -> bool:
    """Whether it is long, without spaces, of letters and digits, and neither a path nor an address: as tokens are."""
    return (
        _TOKEN.fullmatch(value) is not None and not _ADDRESS.fullmatch(value) and not _PATHS.fullmatch(value)
    ) or _LOGIN.match(value) is not None


def secrets_in(name: str, value: str) -> frozenset[str]:
    """What of the variable must not be shown: its value, and the password of an address; mostly nothing."""
    counts = value.isdecimal() and "tokens" in name.lower()  # MAX_TOKENS
    if counts or not (named_like_a_secret(name) or looks_secret(value)):
        return frozenset()
    login = _LOGIN.match(value)
    password = None if login is None else login["login"].partition(":")[2]
    return frozenset(filter(None, (value, password)))
