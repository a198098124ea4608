"""What a setting may be: each kind turns what was written, in a variable, a file or a flag, into a value."""

import base64
import binascii
import ipaddress
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from orchestrator.core.redaction_rules import (
    BUILT_IN,
    PathRule,
    PatternRule,
    RedactionProblem,
    parse_paths,
    parse_patterns,
)


class UnusableValueError(ValueError):
    """Carries a message for the user that says more than the kind's `allowed`; never the value of a secret."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read. `parse` raises ValueError for what is not `allowed`."""

    parse: Callable[[object], Any]  # what comes out has the type of the field in `Settings`
    allowed: str


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
        raise ValueError
    return raw.strip()


def _boolean(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    word = _text(raw).lower()
    if word not in words:
        raise ValueError
    return words[word]


def whole_number(least: int, most: int) -> Kind:
    """Both ends included."""

    def parse(raw: object) -> int:
        if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,18}", raw.strip(), re.ASCII):
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw <= most:
            raise ValueError
        return raw

    return Kind(parse, f"a whole number from {least} to {most}")


def seconds(most: int) -> Kind:
    """Above 0 and up to `most`; fractions are fine."""

    def parse(raw: object) -> float:
        if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", raw.strip(), re.ASCII):
            raw = float(raw)
        if not isinstance(raw, int | float) or isinstance(raw, bool) or not math.isfinite(raw) or not 0 < raw <= most:
            raise ValueError
        return float(raw)

    return Kind(parse, f"seconds, a number above 0 and up to {most}")


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MOST_BYTES = 2**40


def _size(raw: object) -> int:
    if isinstance(raw, str):
        match = re.fullmatch(r"([0-9]{1,15})\s*([A-Za-z]{0,3})", raw.strip(), re.ASCII)
        if match is None or match[2].lower() not in _UNITS:
            raise ValueError
        raw = int(match[1]) * _UNITS[match[2].lower()]
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= _MOST_BYTES:
        raise ValueError
    return raw


def choice(*options: str, later: tuple[str, ...] = ()) -> Kind:
    """One of some words; `later` are those that only a later version knows."""

    def parse(raw: object) -> str:
        word = _text(raw).lower()
        if word in later:
            raise UnusableValueError(f"{word} is not available in this version; allowed: {', '.join(options)}")
        if word not in options:
            raise ValueError
        return word

    return Kind(parse, "one of " + ", ".join(options))


def _parts(raw: object, separator: str = ",") -> list[object]:
    """A list as it is written in one string (an environment variable, a flag) or as a TOML array."""
    if isinstance(raw, str):
        return list[object](raw.split(separator)) if raw.strip() else []
    if not isinstance(raw, list):
        raise ValueError
    return list(cast("list[object]", raw))


def _several(one: Callable[[str], Any], allowed: str, separator: str = ",") -> Kind:
    def parse(raw: object) -> tuple[Any, ...]:
        return tuple(one(_text(part)) for part in _parts(raw, separator))

    return Kind(parse, allowed)


def _path(raw: object) -> Path:
    try:
        return Path(_text(raw)).expanduser()
    except RuntimeError:  # ~nobody
        raise ValueError from None


_NAME = r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?"


def _host(raw: object) -> str:
    text = _text(raw).removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not re.fullmatch(_NAME, text) or re.fullmatch(r"[0-9.]+", text):
            raise ValueError from None
        return text.lower()


def _host_or_network(text: str) -> str:
    return str(ipaddress.ip_network(text)) if "/" in text else _host(text)


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UnusableValueError("no user, password, query or fragment may stand in it; a key has its own setting")
    return text.rstrip("/")


def _ollama_address(raw: object) -> str:
    """As Ollama's own tools take it: a host, a host and a port, or a URL."""
    text = _text(raw).strip()
    _http_url(text if "://" in text else f"http://{text}")
    return text


def _program(raw: object) -> str:
    text = _text(raw).strip()
    if not text or "\0" in text:
        raise ValueError
    return text


def _origin(text: str) -> str:
    """As browsers send it: in lower case, without a default port."""
    url = _http_url(text).lower()
    if urlsplit(url).path:
        raise ValueError
    return url.removesuffix(":443" if url.startswith("https:") else ":80")


def _database_url(raw: object) -> str:
    text = _text(raw)
    parts = urlsplit(text)
    file_url = text.startswith("sqlite+aiosqlite:///") and len(text) > len("sqlite+aiosqlite:///")
    server_url = parts.scheme == "postgresql+asyncpg" and text.startswith("postgresql+asyncpg://")
    if not (file_url or (server_url and parts.path.strip("/"))):
        raise ValueError
    return text


def _api_keys(raw: object) -> tuple[str, ...]:
    keys: list[str] = []
    for part in _parts(raw):
        if not isinstance(part, str) or not part.isascii() or not part.isprintable():
            raise ValueError
        keys.append(part.strip())
    return tuple(keys)


_REASONING = ("off", "low", "medium", "high", "on")


def _reasoning(raw: object) -> tuple[tuple[str, ...], ...]:
    offers: list[tuple[str, ...]] = []
    for part in _parts(raw):
        words = tuple(word.strip() for word in _text(part).lower().split("+")) if str(part).strip() else ()
        if len(set(words)) != len(words) or not set(words) <= set(_REASONING):
            raise ValueError
        offers.append(words)
    return tuple(offers)


def _encryption_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError
    return key


def _redact_patterns(raw: object) -> tuple[PatternRule, ...]:
    """A JSON object, or names; a TOML table or array."""
    try:
        if isinstance(raw, str):
            raw = json.loads(raw) if raw.lstrip().startswith("{") else [part.strip() for part in raw.split(",") if part]
        return parse_patterns(raw)
    except RecursionError:
        raise ValueError from None
    except RedactionProblem as problem:
        raise UnusableValueError(str(problem)) from None


def _redact_paths(raw: object) -> tuple[PathRule, ...]:
    try:
        return parse_paths(_parts(raw))
    except RedactionProblem as problem:
        raise UnusableValueError(str(problem)) from None


BOOLEAN = Kind(_boolean, "true or false")
SIZE = Kind(_size, "bytes, such as 65536, 64KiB or 32MiB, up to 1024GiB")
PATH = Kind(_path, "a path")
HOSTS = _several(_host_or_network, "hosts, addresses and networks (CIDR, no host bits), separated by commas")
HOST = Kind(_host, "an IP address or a host name")
PATHS = _several(_path, "paths, separated by ':'", ":")
OLLAMA_ADDRESS = Kind(_ollama_address, "a host, host:port or URL, such as 127.0.0.1:11434")
PROGRAM = Kind(_program, "the name or the path of a program")
ENGINE = choice("auto", "ollama", "embedded", "openai_compatible")
URLS = _several(_http_url, "http or https URLs without user, password or query, separated by commas")
API_KEYS = Kind(
    _api_keys, "one for each OPENAI_COMPATIBLE_URL, separated by commas; empty for a server that needs none"
)
WHOLE_NUMBERS = _several(whole_number(1, 100_000).parse, "whole numbers from 1 to 100000, separated by commas")
REASONING = Kind(
    _reasoning,
    "one for each OPENAI_COMPATIBLE_URL, separated by commas: words of off, low, medium, high, on, joined by +",
)
ENCRYPTION_KEYS = _several(
    _encryption_key, "32 random bytes in base64 (openssl rand -base64 32); several, separated by commas"
)
DATABASE = Kind(_database_url, "sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME")
REDACT_PATTERNS = Kind(
    _redact_patterns,
    f"names of {', '.join(BUILT_IN)}, or a JSON object of name and pattern of RE2 (true: a built-in one)",
)
REDACT_PATHS = Kind(
    _redact_paths, "paths such as arguments.password, result..token or $.items[*].token, separated by commas"
)
ORIGINS = _several(_origin, "origins such as https://app.example:8443, separated by commas (* is not one)")
HOST_NAMES = _several(_host, "host names or addresses without a port, separated by commas")
