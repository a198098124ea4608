"""`OLLAMA_HOST` as Ollama's own tools read it: https://docs.ollama.com/faq#how-can-i-allow-additional-web-origins."""

from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORT: Final = 11434
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses to listen on are no addresses to connect to, yet `OLLAMA_HOST` often holds one."""


def base_url(host: str) -> str:
    """The URL that `host` stands for: `127.0.0.1`, `:8080`, `gpu-box:11434` or a whole URL.

    Without a scheme it is http at Ollama's own port; with one, at the scheme's.

    Raises:
        ValueError: it is no such thing; the message does not repeat it, as it may hold a password.
    """
    text = host.strip().rstrip("/")
    has_scheme = "://" in text
    if not has_scheme and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # a bare IPv6 address
    try:
        parts = urlsplit(text if has_scheme else f"http://{text}")
        port = parts.port or (_PORTS.get(parts.scheme, 0) if has_scheme else DEFAULT_PORT)
    except ValueError:
        raise ValueError("the address of Ollama is not a host, host:port or URL") from None
    if parts.scheme not in _PORTS or parts.query or parts.fragment:
        raise ValueError("the address of Ollama is not a host, host:port or http(s) URL")
    name = _LOOPBACK.get(parts.hostname or "", parts.hostname or "")
    credentials, at, _ = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{credentials}{at}{f'[{name}]' if ':' in name else name}:{port}{parts.path}"


def shown_address(url: str) -> str:
    """`url` without credentials, fit for messages and logs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
