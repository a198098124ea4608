"""What a `server_url` may look like."""

from ipaddress import ip_address

import pytest

from orchestrator.integrations.server_url import ServerUrl, ServerUrlError, parse_server_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://example.org/mcp", ("http", "example.org", 80, None)),
        ("HTTPS://Example.ORG:8443/mcp?x=1", ("https", "example.org", 8443, None)),
        ("https://example.org.", ("https", "example.org.", 443, None)),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443, None)),
        ("http://127.0.0.1:9", ("http", "127.0.0.1", 9, "127.0.0.1")),
        ("http://[::1]:9/", ("http", "::1", 9, "::1")),
        ("http://2130706433/", ("http", "2130706433", 80, "127.0.0.1")),
        ("http://127。0。0。1/", ("http", "127.0.0.1", 80, "127.0.0.1")),
        ("http://a_b.internal/", ("http", "a_b.internal", 80, None)),
        ("http://foo#@bar/", None),
    ],
)
def test_an_address_is_taken_apart_as_the_client_will(
    text: str, expected: tuple[str, str, int, str | None] | None
) -> None:
    if expected is None:
        with pytest.raises(ServerUrlError):
            parse_server_url(text)
        return
    scheme, host, port, literal = expected
    address = None if literal is None else ip_address(literal)
    assert parse_server_url(text) == ServerUrl(text, scheme, host, port, address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "stdio://x",
        "javascript:alert(1)",
        "http://",
        "http://:80/",
        "http:///x",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://@example.org/",
        "http://example.org\\@evil.example/",
        "http://a b/",
        "http://a\tb/",
        "http://a\r\nb/",
        "http://127.0.0.%31/",
        "http://a%2eb/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://[v1.a]/",
        "http://a..b/",
        "http://.a/",
        "http://" + "a" * 64 + ".com/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://1.2.3.4.5/",
        "http://a.0x7f/",
        "http://256.256.256.256/",
        "http://①②⑦.0.0.1/",
        "http://example.org/" + "a" * 2048,
    ],
)
def test_what_is_no_plain_http_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ServerUrlError) as caught:
        parse_server_url(text)
    assert "secret" not in str(caught.value)


def test_white_space_around_an_address_is_no_part_of_it() -> None:
    assert parse_server_url(" https://h/mcp \n") == parse_server_url("https://h/mcp")


def test_messages_show_the_origin_and_nothing_behind_it() -> None:
    assert parse_server_url("https://Example.org:443/secret/path?key=hush").origin == "https://example.org"
    assert parse_server_url("http://[::1]:8080/x").origin == "http://[::1]:8080"
    assert "hush" in parse_server_url("https://example.org/?key=hush").secrets
