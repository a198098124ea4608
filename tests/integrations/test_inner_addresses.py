"""Every way that is known to us of leading the service inside by an address: one table, asked of the catalog itself.

Nothing here may reach a connection: what would be sent fails the test.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.network_policy import HostRules, NetworkPolicy
from tests.integrations.harness import LOOPBACK, SCOPE, catalog_of, ephemeral, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp, Message, Receive, Send

pytestmark = pytest.mark.anyio

MALFORMED = "malformed"
"""A 400 on `server_url`: it is no plain http address. Anything else is why a 424 says that it is not allowed."""

ADDRESSES: list[tuple[str, str]] = [
    # loopback, plainly and with what programs make of a dot or a port
    ("http://127.0.0.1/", "loopback"),
    ("http://127.0.0.1:8080/mcp", "loopback"),
    ("https://127.0.0.1/", "loopback"),
    ("http://127.0.0.1./", "loopback"),
    ("http://127.255.255.254/", "loopback"),
    # short, decimal, octal, hexadecimal, mixed: what inet_aton(3) reads
    ("http://127.1/", "loopback"),
    ("http://127.0.1/", "loopback"),
    ("http://2130706433/", "loopback"),
    ("http://017700000001/", "loopback"),
    ("http://0x7f000001/", "loopback"),
    ("http://0X7F000001/", "loopback"),
    ("http://0x7f.1/", "loopback"),
    ("http://0x7f.0x0.0x0.0x1/", "loopback"),
    ("http://127.0.0.0x1/", "loopback"),
    ("http://0x7F.0.01/", "loopback"),
    ("http://0177.0.0.1/", MALFORMED),
    ("http://0177.0.0.01/", MALFORMED),
    ("http://10.1/", "private"),
    ("http://0x0a.0.0.1/", "private"),
    ("http://167772161/", "private"),
    ("http://3232235521/", "private"),
    ("http://192.168.257/", "private"),
    ("http://0300.0250.0.1/", MALFORMED),
    ("http://0xa9fea9fe/", "link-local"),
    ("http://2852039166/", "link-local"),
    ("http://169.254.43518/", "link-local"),
    ("http://0251.0376.0251.0376/", MALFORMED),
    # numbers that fit nowhere
    ("http://256.256.256.256/", MALFORMED),
    ("http://1.2.3.4.5/", MALFORMED),
    ("http://0x100000000/", MALFORMED),
    ("http://999999999999/", MALFORMED),
    ("http://08.0.0.1/", MALFORMED),
    # other letters for the same digits and dots, and escapes
    ("http://127。0。0。1/", "loopback"),
    ("http://127\uff0e0\uff0e0\uff0e1/", "loopback"),
    ("http://127｡0｡0｡1/", "loopback"),
    ("http://①②⑦.⓪.⓪.①/", MALFORMED),
    ("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", MALFORMED),
    ("http://\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1/", MALFORMED),
    ("http://٠١٢٧.0.0.1/", MALFORMED),
    ("http://127.0.0.%31/", MALFORMED),
    ("http://%31%32%37.0.0.1/", MALFORMED),
    ("http://127.0.0.1%00/", MALFORMED),
    ("http://127.0.0.1%20/", MALFORMED),
    ("http://8.8.8.8%40127.0.0.1/", MALFORMED),
    # this machine, by name
    ("http://localhost/", "loopback"),
    ("http://LOCALHOST:8080/", "loopback"),
    ("http://localhost./", "loopback"),
    ("http://app.localhost/", "loopback"),
    ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", MALFORMED),
    ("http://loc\u00adalhost/", MALFORMED),
    # IPv6, and IPv4 within it: mapped, compatible, translated, NAT64, 6to4, Teredo
    ("http://[::1]/", "loopback"),
    ("http://[0:0:0:0:0:0:0:1]/", "loopback"),
    ("http://[::0001]:8080/", "loopback"),
    ("http://[::ffff:127.0.0.1]/", "loopback"),
    ("http://[::ffff:7f00:1]/", "loopback"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]/", "loopback"),
    ("http://[::127.0.0.1]/", "loopback"),
    ("http://[::ffff:0:127.0.0.1]/", "loopback"),
    ("http://[64:ff9b::127.0.0.1]/", "loopback"),
    ("http://[2002:7f00:1::]/", "loopback"),
    ("http://[::ffff:10.0.0.1]/", "private"),
    ("http://[2002:c0a8:101::1]/", "private"),
    ("http://[64:ff9b:1::8.8.8.8]/", "private"),
    ("http://[::ffff:169.254.169.254]/", "link-local"),
    ("http://[2002:a9fe:a9fe::]/", "link-local"),
    ("http://[2001:0:808:808::80ff:fffe]/", "reserved"),
    ("http://[fe80::1]/", "link-local"),
    ("http://[fc00::1]/", "private"),
    ("http://[fd00:ec2::254]/", "private"),
    ("http://[fec0::1]/", "private"),
    ("http://[ff02::1]/", "multicast"),
    ("http://[::]/", "unspecified"),
    ("http://[::ffff:0.0.0.0]/", "unspecified"),
    ("http://[2001:db8::1]/", "reserved for documentation"),
    ("http://[100::1]/", "reserved"),
    ("http://[fe80::1%eth0]/", MALFORMED),
    ("http://[fe80::1%25eth0]/", MALFORMED),
    ("http://[::1%25lo]/", MALFORMED),
    ("http://[::1/", MALFORMED),
    ("http://::1/", MALFORMED),
    ("http://[::1]x/", MALFORMED),
    ("http://[v1.fe80]/", MALFORMED),
    ("http://[127.0.0.1]/", MALFORMED),
    ("http://[]/", MALFORMED),
    # networks that are nobody's public ones
    ("http://0.0.0.0/", "unspecified"),
    ("http://0/", "unspecified"),
    ("http://0x0/", "unspecified"),
    ("http://0.1.2.3/", "unspecified"),
    ("http://10.0.0.1/", "private"),
    ("http://172.16.0.1/", "private"),
    ("http://172.31.255.254/", "private"),
    ("http://192.168.0.1/", "private"),
    ("http://169.254.169.254/latest/meta-data/", "link-local"),
    ("http://169.254.170.2/v2/credentials", "link-local"),
    ("http://100.64.0.1/", "shared by carriers"),
    ("http://100.100.100.200/latest/meta-data/", "shared by carriers"),
    ("http://192.0.0.192/", "reserved"),
    ("http://192.0.2.1/", "reserved for documentation"),
    ("http://198.18.0.1/", "reserved for benchmarks"),
    ("http://198.19.255.254/", "reserved for benchmarks"),
    ("http://224.0.0.1/", "multicast"),
    ("http://239.255.255.250:1900/", "multicast"),
    ("http://240.0.0.1/", "reserved"),
    ("http://255.255.255.255/", "reserved"),
    ("http://4294967295/", "reserved"),
    # names that lead inside, alone or beside a public address, with punycode and with scopes in the answer
    ("http://inner.example/", "private"),
    ("http://inner.example./", "private"),
    ("http://xn--nner-4pa.example/", "private"),
    ("http://ïnner.example/", "private"),
    ("http://metadata.google.internal/computeMetadata/v1/", "link-local"),
    ("http://127.0.0.1.wildcard.example/", "loopback"),
    ("http://public-then-inner.example/", "private"),
    ("http://inner-then-public.example/", "private"),
    ("http://scoped.example/", "link-local"),
    ("http://mapped.example/", "loopback"),
    ("http://unspecified.example/", "unspecified"),
    # who an address says it is for
    ("http://user@127.0.0.1/", MALFORMED),
    ("http://user:pw@8.8.8.8/", MALFORMED),
    ("http://8.8.8.8@127.0.0.1/", MALFORMED),
    ("http://8.8.8.8\\@127.0.0.1/", MALFORMED),
    ("http://8.8.8.8#@127.0.0.1/", MALFORMED),
    ("http://@8.8.8.8/", MALFORMED),
    ("http://8.8.8.8,127.0.0.1/", MALFORMED),
    ("http://8.8.8.8;127.0.0.1/", MALFORMED),
    # ports that are none
    ("http://8.8.8.8:0/", MALFORMED),
    ("http://8.8.8.8:65536/", MALFORMED),
    ("http://8.8.8.8:-1/", MALFORMED),
    ("http://8.8.8.8:٨٠/", MALFORMED),
    ("http://8.8.8.8:80:80/", MALFORMED),
    # other schemes, and none
    ("ftp://8.8.8.8/", MALFORMED),
    ("file:///etc/passwd", MALFORMED),
    ("gopher://8.8.8.8/", MALFORMED),
    ("unix:///var/run/docker.sock", MALFORMED),
    ("data:text/plain,x", MALFORMED),
    ("javascript:alert(1)", MALFORMED),
    ("stdio://x", MALFORMED),
    ("ws://8.8.8.8/", MALFORMED),
    ("//8.8.8.8/", MALFORMED),
    ("8.8.8.8", MALFORMED),
    ("http:8.8.8.8", MALFORMED),
    ("http:///8.8.8.8/", MALFORMED),
    ("http://", MALFORMED),
    # spaces and line ends
    (" http://127.0.0.1/ ", "loopback"),
    ("http:// 127.0.0.1/", MALFORMED),
    ("http://127.0.0.1 /", MALFORMED),
    ("http://8.8.8.8\t/", MALFORMED),
    ("http://8.8.8.8\r\nHost: inner/", MALFORMED),
    ("http://8.8.8.8/\r\nX-Injected: y", MALFORMED),
    ("http://8.8.8.8/\nx", MALFORMED),
    ("http://8.8.8.8/\x00", MALFORMED),
]

ANSWERS: Mapping[str, Sequence[str]] = {
    "localhost": ["127.0.0.1"],
    "app.localhost": ["::1"],
    "inner.example": ["10.0.0.1"],
    "xn--nner-4pa.example": ["10.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "127.0.0.1.wildcard.example": ["127.0.0.1"],
    "public-then-inner.example": ["8.8.8.8", "2606:4700:4700::1111", "10.0.0.1"],
    "inner-then-public.example": ["10.0.0.1", "8.8.8.8"],
    "scoped.example": ["fe80::1%2"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "unspecified.example": ["0.0.0.0"],
    "public.example": ["8.8.8.8"],
    "tools.internal": ["10.1.2.3"],
    "denied.internal": ["10.1.2.3"],
}
"""What the names of this file resolve to."""


class Net:
    """The network as the service sees it: which names it looked up, and which requests it was about to send."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in ANSWERS[host.removesuffix(".")]]

    async def send(self, transport: object, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(str(request.url))
        raise httpx2.ConnectError("nobody is there")


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    net = Net()

    async def send(transport: object, request: httpx2.Request) -> httpx2.Response:
        return await net.send(transport, request)

    monkeypatch.setattr(anyio, "getaddrinfo", net.getaddrinfo)
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", send)
    return net


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncGenerator[McpCatalog]:
    """A catalog of a service that listens beyond this machine."""
    async with catalog_of(tmp_path, policy=NetworkPolicy(), connect_timeout=5) as catalog:
        yield catalog


@pytest.mark.parametrize(("address", "reason"), ADDRESSES)
async def test_an_address_inside_is_refused_before_anything_is_sent(
    address: str, reason: str, strict: McpCatalog, net: Net
) -> None:
    refused = await refusal_to_open(strict, ephemeral(address))
    if reason == MALFORMED:
        assert (refused.kind, refused.param) == (ErrorKind.INVALID_VALUE, "integrations.0.server_url")
        assert refused.message.startswith("'server_url' ")
        assert net.asked == []
    else:
        assert (refused.kind, refused.param) == (ErrorKind.MCP_CONNECTION_ERROR, "integrations")
        assert f"the address is {reason}, and only public addresses are allowed." in refused.message
    assert net.sent == []


async def test_the_table_has_as_many_forms_as_it_promises() -> None:
    assert len({address for address, _ in ADDRESSES}) == len(ADDRESSES) > 140


ALLOW = ("tools.internal", "*.lab.internal", "10.20.0.0/16", "192.168.7.7", "fd00:1::/32")
DENY = ("denied.internal", "10.20.30.0/24", "8.8.4.4", "*.bad.lab.internal")
ADMITTED: list[tuple[str, str | None]] = [
    ("http://tools.internal/", None),
    ("http://TOOLS.internal.:8080/", None),
    ("http://10.20.1.1/", None),
    ("http://0x0a140101/", None),
    ("http://[::ffff:10.20.1.1]/", None),
    ("http://192.168.7.7/", None),
    ("http://[fd00:1::5]/", None),
    ("http://8.8.8.8/", None),
    ("http://public.example/", None),
    ("http://tools.internal.evil.example/", "private"),
    ("http://eviltools.internal/", "private"),
    ("http://lab.internal/", "private"),
    ("http://10.21.0.1/", "private"),
    ("http://192.168.7.8/", "private"),
    ("http://[fd00:2::5]/", "private"),
    ("http://127.0.0.1/", "loopback"),
    ("http://denied.internal/", "denied"),
    ("http://Denied.Internal./", "denied"),
    ("http://10.20.30.1/", "denied"),
    ("http://[::ffff:10.20.30.1]/", "denied"),
    ("http://[64:ff9b::8.8.4.4]/", "denied"),
    ("http://8.8.4.4/", "denied"),
    ("http://134743044/", "denied"),
    ("http://a.bad.lab.internal/", "denied"),
]
"""What two lists make of an address: None is let through, `denied` is refused though the other list has it."""


@pytest.mark.parametrize(("address", "reason"), ADMITTED)
async def test_the_lists_admit_exactly_what_they_name_and_deny_beats_allow(
    address: str, reason: str | None, tmp_path: Path, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = {name: ["10.1.2.3"] for name in ("tools.internal.evil.example", "eviltools.internal", "lab.internal")}
    monkeypatch.setitem(globals(), "ANSWERS", {**ANSWERS, **inner, "a.bad.lab.internal": ["10.1.2.3"]})
    policy = NetworkPolicy(HostRules.parse(ALLOW, setting="ALLOW"), HostRules.parse(DENY, setting="DENY"))
    async with catalog_of(tmp_path, policy=policy, connect_timeout=5) as catalog:
        refused = await refusal_to_open(catalog, ephemeral(address))
    assert refused.kind is ErrorKind.MCP_CONNECTION_ERROR
    assert (net.sent != []) == (reason is None)
    if reason == "denied":
        assert "is on the list of denied hosts" in refused.message
    elif reason is not None:
        assert f"the address is {reason}" in refused.message


def elsewhere_of(origin: str, other: str) -> list[str]:
    """Where a server may point that was asked at `origin`: `other` listens, and waits to be asked."""
    port, there = origin.rpartition(":")[2], other.rpartition(":")[2]
    return [
        f"{other}/fine",
        f"//127.0.0.1:{there}/fine",
        f"http://localhost:{there}/fine",
        f"http://2130706433:{there}/fine",
        f"http://[::ffff:127.0.0.1]:{there}/fine",
        f"https://127.0.0.1:{port}/fine",
        f"http://127.0.0.2:{port}/fine",
        f"http://user@127.0.0.1:{there}/fine",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_away_is_not_followed_whatever_its_status_and_its_scheme(status: int, tmp_path: Path) -> None:
    other, targets = FaultyApp(), list[str]()

    async def points(scope: Message, receive: Receive, send: Send) -> None:
        location = targets[int(scope["path"].strip("/"))]
        headers = [(b"location", location.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with serving(points) as origin, serving(other) as elsewhere, catalog_of(tmp_path) as catalog:
        targets += elsewhere_of(origin, elsewhere)
        for place, target in enumerate(targets):
            refused = await refusal_to_open(catalog, ephemeral(f"{origin}/{place}", Authorization="Bearer x"))
            assert refused.kind is ErrorKind.MCP_CONNECTION_ERROR
            assert f"it redirects ({status}) to " in refused.message or "unsupported" in refused.message.lower(), target
    assert other.seen == []


@asynccontextmanager
async def rebinding(
    monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]
) -> AsyncGenerator[tuple[FaultyApp, str, list[str]]]:
    """A server that listens, a name for it whose n-th lookup has the n-th of `answers`, and the lookups."""
    app, asked = FaultyApp(), list[str]()

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in answers[min(len(asked), len(answers)) - 1]]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    async with serving(app) as origin:
        yield app, origin.replace("127.0.0.1", "rebind.example") + "/fine", asked


async def test_a_name_is_looked_up_once_and_the_connection_goes_where_it_led_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rebinding(monkeypatch, ["127.0.0.1"], ["10.0.0.1"]) as (app, url, asked):
        async with catalog_of(tmp_path) as catalog, catalog.open([ephemeral(url)], SCOPE) as (session,):
            for _ in range(2):
                assert (await session.call_tool("first", {})).text == "fine"
    assert asked == ["rebind.example"]
    assert {request.headers["host"] for request in app.seen} == {url.split("/")[2]}


async def test_a_name_that_led_outside_when_it_was_checked_is_not_followed_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public address is none that answers: what matters is that the second answer is asked of nobody."""
    sent: list[str] = []

    async def send(transport: object, request: httpx2.Request) -> httpx2.Response:
        sent.append(f"{request.url.host} for {request.headers['host']}")
        raise httpx2.ConnectError("nobody is there")

    async with rebinding(monkeypatch, ["192.88.98.1"], ["127.0.0.1"]) as (app, url, asked):
        monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", send)
        async with catalog_of(tmp_path, policy=NetworkPolicy(), connect_timeout=5) as catalog:
            await refusal_to_open(catalog, ephemeral(url))
    assert asked == ["rebind.example"]
    assert set(sent) == {f"192.88.98.1 for {url.split('/')[2]}"}
    assert app.seen == []


async def test_a_refusal_shows_the_origin_and_nothing_else_of_an_address(strict: McpCatalog, net: Net) -> None:
    refused = await refusal_to_open(strict, ephemeral("http://10.0.0.1:81/secret/path?key=hush", "tiny"))
    assert refused == ErrorInfo(
        ErrorKind.MCP_CONNECTION_ERROR,
        "The MCP server 'tiny' at http://10.0.0.1:81 is not allowed: "
        "the address is private, and only public addresses are allowed.",
        "integrations",
    )
    for secret in ("http://user:hush@10.0.0.1/", "http://10.0.0.1\r\nhush: 1/", "http://hu sh/"):
        assert "hu" not in (await refusal_to_open(strict, ephemeral(secret))).message


async def test_this_machine_is_open_to_requests_only_while_nobody_else_can_send_any(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin:
        async with catalog_of(tmp_path, policy=LOOPBACK) as catalog, catalog.open([ephemeral(f"{origin}/fine")], SCOPE):
            pass
        async with catalog_of(tmp_path, policy=NetworkPolicy()) as catalog:
            assert "loopback" in (await refusal_to_open(catalog, ephemeral(f"{origin}/fine"))).message
