"""Where an ephemeral server may be. Pure: an address in, a verdict out (contract, section 9).

The default is public addresses, and loopback while the service serves its own machine only.
ALLOW adds to the default, DENY beats both. An address that carries another one (IPv4-mapped,
NAT64, 6to4) is judged by the one it carries too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from orchestrator.core.errors import ONLY_PUBLIC_ADDRESSES, ErrorKind, OrchestratorError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast (224/4).
_SPECIAL_V4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

# https://www.iana.org/assignments/iana-ipv6-special-registry. Beyond these, only 2000::/3 is public.
_SPECIAL_V6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),
        ("100::/64", "reserved"),
        ("2001::/23", "reserved"),  # Teredo and ORCHID among them
        ("2001:db8::/32", "reserved for documentation"),
        ("3fff::/20", "reserved for documentation"),
        ("5f00::/16", "reserved"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")

# Where an IPv4 address stands in an IPv6 address: the network, and how far its last bit is from the end.
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
    (IPv6Network("::/96"), 0),  # IPv4-compatible, RFC 4291, deprecated
)

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")


@dataclass(frozen=True, slots=True)
class HostRules:
    """Names (`example.org`, `*.example.org`) and networks of one list."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str], *, setting: str) -> "HostRules":
        """Read hosts, addresses and CIDRs.

        Raises:
            OrchestratorError: `invalid_value`, naming `setting` and the entry.
        """
        names: set[str] = set()
        networks: list[Network] = []
        for entry in filter(None, (entry.strip() for entry in entries)):
            try:
                networks.append(ip_network(entry.strip("[]")))
                continue
            except ValueError:
                name = normal_host(entry)
            # A name of digits alone is a mistyped address: read as a name, it would match nothing.
            if "/" in entry or _HOST.fullmatch(name) is None or re.fullmatch(r"[0-9.]+", name):
                message = f"{setting}: '{entry}' is neither a host name nor an address nor a network such as 10.0.0.0/8"
                raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=setting)
            names.add(name)
        return cls(frozenset(names), tuple(networks))

    def has_host(self, host: str) -> bool:
        """Whether the name `host` is in the list; `*.` stands for one label or more."""
        if host in self.names:
            return True
        labels = host.split(".")
        return any("*." + ".".join(labels[count:]) in self.names for count in range(1, len(labels)))

    def has_address(self, forms: Sequence[Address]) -> bool:
        """Whether the list has the address in any of its `forms`."""
        return any(form in network for network in self.networks for form in forms)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The policy of one service; `allow_loopback` while it serves its own machine only."""

    allow: HostRules = HostRules()
    deny: HostRules = HostRules()
    allow_loopback: bool = False

    def refusal_of_host(self, host: str) -> str | None:
        """Why the name `host` is refused whatever it resolves to, or None."""
        return "the host is on the list of denied hosts" if self.deny.has_host(normal_host(host)) else None

    def refusal(self, host: str, address: Address) -> str | None:
        """Why a connection to `address`, found under the name `host`, is refused; None where it is allowed."""
        forms = address_forms(address)
        if self.refusal_of_host(host) is not None or self.deny.has_address(forms):
            return "the address is on the list of denied hosts"
        if self.allow.has_host(normal_host(host)) or self.allow.has_address(forms):
            return None
        kind = address_kind(address)
        if kind is None or (kind == "loopback" and self.allow_loopback):
            return None
        return f"the address is {kind}, and {ONLY_PUBLIC_ADDRESSES}"


def normal_host(host: str) -> str:
    """The one spelling of a host that all its spellings share: lower case, ASCII, no trailing dot."""
    host = host.lower().removesuffix(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def address_forms(address: Address) -> tuple[Address, ...]:
    """The address and the one it carries, if it carries one."""
    if isinstance(address, IPv4Address):
        return (address,)
    for network, distance in _CARRIERS:
        if address in network:
            return address, IPv4Address((int(address) >> distance) & 0xFFFFFFFF)
    return (address,)


def address_kind(address: Address) -> str | None:
    """What keeps the address from being public, in a word or two; None where it is public."""
    if isinstance(address, IPv4Address):
        return next((what for network, what in _SPECIAL_V4 if address in network), None)
    special = next((what for network, what in _SPECIAL_V6 if address in network), None)
    if special is not None:
        return special
    forms = address_forms(address)
    if len(forms) == 2:
        return address_kind(forms[1])
    return None if address in _PUBLIC_V6 else "reserved"


def literal_address(host: str) -> Address | None:
    """The address that `host` is a spelling of, as resolvers read it; None for a name.

    Beside the usual forms: `2130706433`, `0x7f.1`, `0177.0.0.1`, `127.1`, and a trailing dot.
    """
    host = host.strip("[]").removesuffix(".")
    try:
        return ip_address(host)
    except ValueError:
        return _loose_ipv4(host)


def _loose_ipv4(host: str) -> IPv4Address | None:
    """The forms that inet_aton(3) reads: one to four parts, each decimal, octal or hexadecimal."""
    parts = host.split(".")
    if len(parts) > 4:
        return None
    numbers: list[int] = []
    for part in parts:
        if re.fullmatch(r"0[xX][0-9a-fA-F]+", part):
            numbers.append(int(part, 16))
        elif re.fullmatch(r"0[0-7]*", part):
            numbers.append(int(part, 8))
        elif re.fullmatch(r"[1-9][0-9]*", part):
            numbers.append(int(part))
        else:
            return None
    *front, last = numbers
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        return None
    value = last
    for place, number in enumerate(front):
        value |= number << (8 * (3 - place))
    return IPv4Address(value)
