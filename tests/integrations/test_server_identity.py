"""What is kept of a server's address tells servers apart and has no secret."""

from pathlib import Path

import pytest

from orchestrator.core.items import ServerIdentity
from orchestrator.core.redaction import NOTHING
from orchestrator.integrations.known_secrets import redaction_of
from orchestrator.integrations.mcp_json import parse_mcp_json
from orchestrator.integrations.server_facts import ServerFacts
from orchestrator.integrations.server_identity import (
    LONGEST,
    LONGEST_NAME,
    http_address,
    plugin_address,
    server_identity,
)
from orchestrator.integrations.server_url import parse_server_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://Example.com/mcp", "https://example.com/mcp"),
        ("https://example.com:443", "https://example.com"),
        ("http://[::1]:8080/a/b/?token=x#part", "http://[::1]:8080/a/b/"),
        ("https://hooks.example/s/Zm9vYmFyMTIzNDU2Nzg5/mcp", "https://hooks.example/s/~c64fe8d6/mcp"),
        ("https://hooks.example/s/Zm9vYmFyMTIzNDU2Nzg4/mcp", "https://hooks.example/s/~2d46cdf0/mcp"),
    ],
)
def test_an_address_is_origin_and_path_and_a_key_in_the_path_only_tells_two_apart(url: str, address: str) -> None:
    assert http_address(parse_server_url(url)) == address


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ('{"command": "/opt/tools/bin/notes", "args": ["--key", "hush"]}', "notes"),
        ('{"command": "npx", "args": ["-y", "notes"]}', "npx"),
        ('{"command": "C:\\\\tools\\\\notes.exe"}', "notes.exe"),
        ('{"url": "https://notes.example/mcp?key=hush"}', "https://notes.example/mcp"),
        ('{"url": 7}', None),
    ],
)
def test_a_plugin_is_at_its_url_or_is_its_program(entry: str, address: str | None) -> None:
    config = parse_mcp_json(f'{{"mcpServers": {{"x": {entry}}}}}', file=Path("/mcp.json"), environ={})
    assert plugin_address(config.plugins[0]) == address


def test_what_a_server_calls_itself_is_bounded_and_without_what_is_known_to_be_secret() -> None:
    facts = ServerFacts("2026-07-28", "x" * 1000, "1 hush-hush", None, None, {}, frozenset())
    rules = redaction_of(["hush-hush"])
    assert server_identity("y" * 2000, facts, rules) == ServerIdentity(
        "y" * LONGEST, "x" * LONGEST_NAME, "1 [redacted:credential]"
    )
    assert server_identity(None, None, NOTHING) == ServerIdentity()
