"""The address that a request gives for its own server, taken apart. Pure."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from httpx2 import URL, InvalidURL

from orchestrator.integrations.network_policy import Address, literal_address

LONGEST_URL: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}


class ServerUrlError(ValueError):
    """The address cannot be used; the message is for the client and does not repeat it."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A usable address. `host` is ASCII, in lower case and without brackets; `literal` where it is no name."""

    text: str
    scheme: str
    host: str
    port: int
    literal: Address | None

    @property
    def secrets(self) -> frozenset[str]:
        """What the address may hold that no message may show."""
        query = urlsplit(self.text).query
        return frozenset(value for _, value in parse_qsl(query)) | {query}

    @property
    def origin(self) -> str:
        """What messages show of it: paths and queries may hold secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def parse_server_url(text: str) -> ServerUrl:
    """Take `text` apart as the HTTP client will, without white space around it.

    Raises:
        ServerUrlError: it is no http or https URL, holds credentials, or has no usable host.
    """
    text = text.strip()
    if len(text) > LONGEST_URL:
        raise ServerUrlError(f"must not be longer than {LONGEST_URL} characters")
    try:
        url = URL(text)
    except InvalidURL:
        raise ServerUrlError("is not a valid URL") from None
    if url.scheme not in _PORTS:
        raise ServerUrlError("must begin with http:// or https://")
    # Asked of the text as well: an empty userinfo is dropped by the parser, and so is a backslash.
    authority = text.partition("//")[2].partition("/")[0]
    if url.userinfo or "@" in authority or "\\" in authority:
        raise ServerUrlError("must not hold a user name or a password; use headers")
    host = url.raw_host.decode("ascii").lower()
    if not host:
        raise ServerUrlError("has no host")
    literal = literal_address(host)
    if "%" in host or (literal is None and not _is_name(host)):
        raise ServerUrlError("has a host that is neither a name nor an address")
    port = _PORTS[url.scheme] if url.port is None else url.port
    _, colon, digits = authority.partition("?")[0].partition("#")[0].rpartition(":")
    # The parser takes the digits of every script.
    if not 0 < port < 65536 or (colon and not digits.isascii()):
        raise ServerUrlError("has a port that does not exist")
    return ServerUrl(text, url.scheme, host, port, literal)


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if len(host) > 254 or not all(0 < len(label) < 64 for label in labels):
        return False
    if not all(letter.isalnum() or letter in "-_" for label in labels for letter in label):
        return False
    # A last label that is a number makes it an address (WHATWG URL, "ends in a number"), and it was none.
    return not (labels[-1].isdigit() or labels[-1].startswith("0x"))
