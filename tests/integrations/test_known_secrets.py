"""What is known to be secret of a server is found wherever it repeats it; what is only in its environment mostly is none."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.items import EphemeralProvider, PluginProvider
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.integrations.known_secrets import redaction_of, secrets_of
from orchestrator.integrations.mcp_json import parse_mcp_json
from orchestrator.integrations.secret_values import looks_secret, secrets_in
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, serving
from tests.integrations.programs.faulty_app import FaultyApp

PUT = "[redacted:credential]"


def rules_of(entry: str, **environ: str) -> Redaction:
    config = parse_mcp_json(f'{{"mcpServers": {{"x": {entry}}}}}', file=Path("/mcp.json"), environ=environ)
    return redaction_of(secrets_of(config.plugins[0]))


def test_values_and_their_long_words_are_found_in_any_form() -> None:
    rules = redaction_of(["Bearer tok-\"quoted'", "short", "application/json", "123456789"])
    assert rules.text("tok-\"quoted' and tok-\\\"quoted' of Bearer") == f"{PUT} and {PUT} of {PUT}"
    assert rules.text("short application/json 123456789") == "short application/json 123456789"
    assert (redaction_of([]), redaction_of(["x"])) == (NOTHING, NOTHING)
    assert "tok-" not in repr(rules) + str(rules.patterns[0])


def test_headers_and_queries_of_a_server_are_secret() -> None:
    rules = rules_of('{"url": "https://a.example/mcp?key=query-value", "headers": {"X-Key": "header-value"}}')
    assert rules.text("header-value query-value a.example") == f"{PUT} {PUT} a.example"


def test_of_an_environment_only_what_looks_secret_is() -> None:
    entry = """{"command": "x", "args": ["${TOKEN}"], "env": {"TZ": "Europe/Berlin", "API_KEY": "letters",
        "ANY": "abcdefgh12345678ij", "HOME": "/home/ada/some/folder/1"}}"""
    rules = rules_of(entry, TOKEN="0123456789abcdefg")
    text = "Europe/Berlin letters abcdefgh12345678ij /home/ada/some/folder/1 0123456789abcdefg"
    assert rules.text(text) == f"Europe/Berlin {PUT} {PUT} /home/ada/some/folder/1 {PUT}"


def test_an_entry_that_cannot_be_used_has_no_secrets() -> None:
    assert rules_of('{"command": ""}') == NOTHING


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("ghp_abcdefghijklmnop1", True),
        ("correct horse battery staple 1", False),
        ("production", False),
        ("https://a.example/1/2/3/4", False),
        ("postgresql://user:pw1@host/name", True),
        ("/usr/lib/python3.11/site", False),
        ("12345678901234567890", False),
        ("/usr/local/bin:/usr/bin:/opt/python3.11/bin", False),
        ("lib/python3.11/site:other/python3.12/site", False),
        ("postgresql://user:password@host/name", True),
    ],
)
def test_a_token_is_long_of_letters_and_digits_and_neither_a_path_nor_an_address(value: str, secret: bool) -> None:
    assert looks_secret(value) is secret


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("API_KEY", "letters", ["letters"]),
        ("OPENAIKEY", "letters", ["letters"]),
        ("authToken", "letters", ["letters"]),
        ("DB_PASSWORD", "1999-01-01", ["1999-01-01"]),
        ("ANY", "abcdefgh12345678ij", ["abcdefgh12345678ij"]),
        ("DATABASE", "postgresql://ada:pass word@h/n", []),
        ("DATABASE", "postgresql://ada:opensesame@h/n", ["opensesame", "postgresql://ada:opensesame@h/n"]),
        ("DATABASE", "postgresql://ada@h/n", ["postgresql://ada@h/n"]),
        ("SINCE", "1999-01-01", []),
        ("DEBUG", "true", []),
        ("PORT", "3000", []),
        ("MAX_TOKENS", "200000", []),
        ("API_TOKENS", "one,two", ["one,two"]),
        ("BIN", "/usr/bin", []),
        ("KEYBOARD", "german-layout", []),
        ("AUTHOR", "Ada Lovelace", []),
        ("PATH", "/home/ada/bin:/usr/bin", []),
        ("SSH_AUTH_SOCK", "/tmp/agent.1", []),
        ("KEY_FILE", "/etc/ssl/key.pem", []),
        ("AUTH_MODE", "production", []),
        ("API_URL", "https://a.example/v1/2", []),
    ],
)
def test_of_a_variable_is_secret_what_is_named_or_looks_so(name: str, value: str, secret: list[str]) -> None:
    assert sorted(secrets_in(name, value)) == secret


@pytest.mark.anyio
async def test_what_a_request_lends_counts_as_long_as_it_is_open(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        lent = ephemeral(f"{origin}/fine?key=query-value", **{"X-Key": "header-value"})
        provider = EphemeralProvider(lent.server_label)
        async with catalog.open([lent], SCOPE):
            for whose in (provider, None):
                assert catalog.redaction(whose).text("header-value query-value") == f"{PUT} {PUT}"
            assert catalog.redaction(PluginProvider("mcp/x")).text("header-value") == "header-value"
        assert catalog.redaction(provider) == NOTHING


@pytest.mark.anyio
async def test_the_callers_own_token_is_hidden_while_a_request_may_pass_it_on(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/fine")], replace(SCOPE, caller_token="sk-lm-caller:token")):
            assert catalog.redaction(PluginProvider("mcp/x")).text("it is sk-lm-caller:token") == f"it is {PUT}"
        assert catalog.redaction(PluginProvider("mcp/x")) == NOTHING
