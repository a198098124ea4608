"""Whether a request may come in at all, by where it was sent to and where it was sent from.

A web page must not be able to drive somebody's local tools: neither by asking our address from a
foreign origin, nor by making its own name resolve to our address (DNS rebinding). Pure decisions.
Source: section 9 of the contract, "From the first version on".
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """`host` is the address that the service listens on, `cors_origins` are exact, such as `https://app.example`."""

    host: str
    allowed_hosts: frozenset[str] = frozenset()
    cors_origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request may come in; `cors_origin` may read the reply though it is another origin."""

    cors_origin: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The request may not come in."""

    why: str


Decision: TypeAlias = Admitted | Refused


def admit(
    policy: OriginPolicy, *, scheme: str, hosts: Sequence[str], origins: Sequence[str], fetch_site: str | None
) -> Decision:
    """Decide by the `Host` and `Origin` headers, all of each, and by `Sec-Fetch-Site`."""
    if len(hosts) != 1:
        return Refused("The request must have exactly one Host header.")
    host = hosts[0].lower()
    parts = _HOST.fullmatch(host)
    if parts is None or not _is_ours(policy, parts["v6"] or parts["name"]):
        return Refused("This Host is not served here. Names can be added by the setting ALLOWED_HOSTS.")
    if len(origins) > 1:
        return Refused("The request must have at most one Origin header.")
    origin = origins[0].lower() if origins else None
    if origin is not None and origin in policy.cors_origins:
        return Admitted(origins[0])
    if origin is not None and not _is_same(origin, scheme, host, fetch_site):
        return Refused("This Origin is not allowed. Origins can be added by the setting CORS_ORIGINS.")
    if fetch_site is not None and fetch_site.lower() == "cross-site":
        return Refused("Requests from other sites are not allowed. Origins can be added by the setting CORS_ORIGINS.")
    return Admitted()


def _is_ours(policy: OriginPolicy, name: str) -> bool:
    name = name.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost") or name in policy.allowed_hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == policy.host.lower()
    listening = _address(policy.host)
    beyond_loopback = policy.host.lower() != "localhost" and (listening is None or not listening.is_loopback)
    return address.is_loopback or address == listening or beyond_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_same(origin: str, scheme: str, host: str, fetch_site: str | None) -> bool:
    """Whether a page of `origin` is one of ours.

    Behind a proxy that ends TLS the schemes differ; then the browser's own word is asked for.
    """
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in _DEFAULT_PORTS or origin != f"{parts.scheme}://{parts.netloc}":
        return False
    told_so = fetch_site is not None and fetch_site.lower() == "same-origin"
    ours = parts.scheme if told_so else scheme
    return ours == parts.scheme and _authority(parts.netloc, ours) == _authority(host, ours)


def _authority(host: str, scheme: str) -> str:
    return host.removesuffix(f":{_DEFAULT_PORTS.get(scheme, '')}")
