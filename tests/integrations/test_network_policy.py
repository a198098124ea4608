"""Where an ephemeral server may be: a table of spellings, and what each list does to it."""

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.integrations.network_policy import (
    HostRules,
    NetworkPolicy,
    address_kind,
    literal_address,
    normal_host,
)

ONLY_PUBLIC = NetworkPolicy()

FORMS: list[tuple[str, str, str | None]] = [
    # spelling, the address it means, what keeps it from being public
    ("8.8.8.8", "8.8.8.8", None),
    ("1.1.1.1.", "1.1.1.1", None),
    ("134744072", "8.8.8.8", None),
    ("2606:4700:4700::1111", "2606:4700:4700::1111", None),
    ("::ffff:8.8.8.8", "::ffff:808:808", None),
    ("64:ff9b::8.8.8.8", "64:ff9b::808:808", None),
    ("2002:808:808::1", "2002:808:808::1", None),
    ("127.0.0.1", "127.0.0.1", "loopback"),
    ("127.255.255.254", "127.255.255.254", "loopback"),
    ("127.0.0.1.", "127.0.0.1", "loopback"),
    ("127.1", "127.0.0.1", "loopback"),
    ("127.0.1", "127.0.0.1", "loopback"),
    ("2130706433", "127.0.0.1", "loopback"),
    ("017700000001", "127.0.0.1", "loopback"),
    ("0x7f000001", "127.0.0.1", "loopback"),
    ("0X7F.1", "127.0.0.1", "loopback"),
    ("0x7f.0x0.0x0.0x1", "127.0.0.1", "loopback"),
    ("0177.0.0.1", "127.0.0.1", "loopback"),
    ("0177.0.0.01", "127.0.0.1", "loopback"),
    ("00000177.1", "127.0.0.1", "loopback"),
    ("::1", "::1", "loopback"),
    ("[::1]", "::1", "loopback"),
    ("0:0:0:0:0:0:0:1", "::1", "loopback"),
    ("::ffff:127.0.0.1", "::ffff:7f00:1", "loopback"),
    ("::ffff:7f00:1", "::ffff:7f00:1", "loopback"),
    ("::127.0.0.1", "::7f00:1", "loopback"),
    ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "loopback"),
    ("2002:7f00:1::", "2002:7f00:1::", "loopback"),
    ("::ffff:0:127.0.0.1", "::ffff:0:7f00:1", "loopback"),
    ("0.0.0.0", "0.0.0.0", "unspecified"),
    ("0", "0.0.0.0", "unspecified"),
    ("0x0", "0.0.0.0", "unspecified"),
    ("0.1.2.3", "0.1.2.3", "unspecified"),
    ("::", "::", "unspecified"),
    ("10.0.0.1", "10.0.0.1", "private"),
    ("0x0a000001", "10.0.0.1", "private"),
    ("012.1", "10.0.0.1", "private"),
    ("172.16.0.1", "172.16.0.1", "private"),
    ("172.31.255.255", "172.31.255.255", "private"),
    ("172.32.0.1", "172.32.0.1", None),
    ("192.168.1.1", "192.168.1.1", "private"),
    ("::ffff:192.168.1.1", "::ffff:c0a8:101", "private"),
    ("64:ff9b::10.0.0.1", "64:ff9b::a00:1", "private"),
    ("64:ff9b:1::808:808", "64:ff9b:1::808:808", "private"),
    ("2002:a00:1::1", "2002:a00:1::1", "private"),
    ("fc00::1", "fc00::1", "private"),
    ("fd12:3456::1", "fd12:3456::1", "private"),
    ("fec0::1", "fec0::1", "private"),
    ("169.254.169.254", "169.254.169.254", "link-local"),
    ("0xa9fea9fe", "169.254.169.254", "link-local"),
    ("2852039166", "169.254.169.254", "link-local"),
    ("::ffff:a9fe:a9fe", "::ffff:a9fe:a9fe", "link-local"),
    ("fd00:ec2::254", "fd00:ec2::254", "private"),
    ("fe80::1", "fe80::1", "link-local"),
    ("fe80::1%eth0", "fe80::1%eth0", "link-local"),
    ("100.64.0.1", "100.64.0.1", "shared by carriers"),
    ("100.127.255.255", "100.127.255.255", "shared by carriers"),
    ("100.128.0.1", "100.128.0.1", None),
    ("192.0.0.192", "192.0.0.192", "reserved"),
    ("192.0.2.1", "192.0.2.1", "reserved for documentation"),
    ("198.18.0.1", "198.18.0.1", "reserved for benchmarks"),
    ("224.0.0.1", "224.0.0.1", "multicast"),
    ("239.255.255.250", "239.255.255.250", "multicast"),
    ("240.0.0.1", "240.0.0.1", "reserved"),
    ("255.255.255.255", "255.255.255.255", "reserved"),
    ("ff02::1", "ff02::1", "multicast"),
    ("2001::1", "2001::1", "reserved"),
    ("2001:db8::1", "2001:db8::1", "reserved for documentation"),
    ("100::1", "100::1", "reserved"),
    ("4000::1", "4000::1", "reserved"),
    ("abcd::1", "abcd::1", "reserved"),
]


@pytest.mark.parametrize(("spelling", "meant", "kind"), FORMS)
def test_every_spelling_of_an_address_is_understood_and_judged(spelling: str, meant: str, kind: str | None) -> None:
    address = literal_address(spelling)
    assert address is not None and address == ip_address(meant)
    assert address_kind(address) == kind
    refusal = ONLY_PUBLIC.refusal(spelling, address)
    assert (refusal is None) is (kind is None)
    assert kind is None or (refusal is not None and kind in refusal)


@pytest.mark.parametrize(
    "name", ["example.org", "localhost", "a1", "0xg", "1.2.3.4.5", "256.1.1.1.1", "09.1.1.1", "1..2", "0x", "", "."]
)
def test_what_no_resolver_reads_as_an_address_is_a_name(name: str) -> None:
    assert literal_address(name) is None


@pytest.mark.parametrize("spelling", ["300.1.1.1", "1.2.3.256", "1.2.65536", "4294967296", "1.16777216", "0x1ffffffff"])
def test_numbers_that_do_not_fit_are_no_address(spelling: str) -> None:
    assert literal_address(spelling) is None


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4), st.data())
def test_loose_ipv4_spellings_are_read_as_the_c_library_reads_them(numbers: list[int], data: st.DataObject) -> None:
    spelled = ".".join(data.draw(st.sampled_from([str, hex, lambda n: f"0{n:o}"]))(number) for number in numbers)
    try:
        expected = ip_address(socket.inet_aton(spelled))
    except OSError:
        expected = None
    assert literal_address(spelled) == expected


def test_loopback_is_open_only_while_the_service_listens_there_itself() -> None:
    policy = NetworkPolicy(allow_loopback=True)
    for spelling in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"):
        assert policy.refusal(spelling, ip_address(spelling)) is None
    for spelling in ("0.0.0.0", "::", "10.0.0.1", "169.254.169.254"):
        assert policy.refusal(spelling, ip_address(spelling)) is not None


def test_allow_adds_to_the_default() -> None:
    policy = NetworkPolicy(allow=HostRules.parse(["10.1.0.0/16", "tools.internal", "*.lab.internal"], setting="ALLOW"))
    inside, outside = ip_address("10.1.2.3"), ip_address("10.2.0.1")
    assert policy.refusal("x.example", inside) is None
    assert policy.refusal("::ffff:10.1.2.3", ip_address("::ffff:10.1.2.3")) is None
    assert policy.refusal("x.example", outside) is not None
    assert policy.refusal("Tools.Internal.", outside) is None
    assert policy.refusal("a.b.lab.internal", outside) is None
    assert policy.refusal("lab.internal", outside) is not None
    assert policy.refusal("evil-lab.internal", outside) is not None
    assert policy.refusal("public.example", ip_address("8.8.8.8")) is None


def test_deny_beats_allow_and_the_default() -> None:
    policy = NetworkPolicy(
        allow=HostRules.parse(["10.0.0.0/8", "a.example"], setting="ALLOW"),
        deny=HostRules.parse(["10.0.0.1", "8.8.0.0/16", "a.example", "::1"], setting="DENY"),
        allow_loopback=True,
    )
    assert policy.refusal("x", ip_address("10.0.0.2")) is None
    assert policy.refusal("x", ip_address("10.0.0.1")) is not None
    assert policy.refusal("x", ip_address("8.8.8.8")) is not None
    assert policy.refusal("x", ip_address("::ffff:8.8.8.8")) is not None
    assert policy.refusal("x", ip_address("64:ff9b::8.8.8.8")) is not None
    assert policy.refusal("A.example", ip_address("10.0.0.2")) is not None
    assert policy.refusal_of_host("a.example.") is not None
    assert policy.refusal_of_host("b.example") is None
    assert policy.refusal("x", ip_address("::1")) is not None
    assert policy.refusal("x", ip_address("127.0.0.1")) is None


def test_a_name_in_other_letters_is_the_same_name() -> None:
    assert normal_host("BÜCHER.Example.") == "xn--bcher-kva.example"
    rules = HostRules.parse(["bücher.example"], setting="ALLOW")
    assert rules.has_host("xn--bcher-kva.example")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "http://x", "a b", "300.1.1.1", "*", "a/b", "*.*.x"])
def test_an_entry_that_is_neither_host_nor_network_is_refused_by_its_setting(entry: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        HostRules.parse(["fine.example", entry], setting="EPHEMERAL_ALLOW")
    assert caught.value.info.kind is ErrorKind.INVALID_VALUE
    assert caught.value.info.param == "EPHEMERAL_ALLOW"
    assert entry in caught.value.info.message


def test_blank_entries_say_nothing() -> None:
    assert HostRules.parse(["", " ", "[::1]"], setting="S") == HostRules.parse(["::1"], setting="S")
