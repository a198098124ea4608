"""The key `oauth` of `mcp.json`: what may stand in it, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.integrations.mcp_json import HttpServer, McpConfig, UnusableServer, parse_mcp_json
from orchestrator.integrations.oauth.config import OAuthConfig

FILE = Path("mcp.json")
ENVIRON = {"SECRET": "hunter22", "KEY": "-----BEGIN PRIVATE KEY-----"}


def read(**entry: Any) -> McpConfig:
    text = json.dumps({"mcpServers": {"x": {"url": "https://mcp.example/mcp", **entry}}})
    return parse_mcp_json(text, file=FILE, environ=ENVIRON)


def login(**entry: Any) -> OAuthConfig | None:
    server = read(**entry).plugins[0].server
    assert isinstance(server, HttpServer), server
    return server.oauth


READ: list[tuple[dict[str, Any], OAuthConfig | None]] = [
    ({}, OAuthConfig()),
    ({"oauth": True}, OAuthConfig()),
    ({"oauth": {}}, OAuthConfig()),
    ({"oauth": False}, None),
    ({"headers": {"authorization": "Bearer x"}}, None),
    ({"headers": {"authorization": "Bearer x"}, "oauth": False}, None),
    ({"headers": {"X-Key": "x"}}, OAuthConfig()),
    (
        {"oauth": {"client_id": "me", "client_secret": "${SECRET}", "issuer": "https://auth.example"}},
        OAuthConfig(client_id="me", client_secret="hunter22", issuer="https://auth.example"),
    ),
    ({"oauth": {"clientId": "me", "callbackPort": 8090}}, OAuthConfig(client_id="me", redirect_uri="http://127.0.0.1:8090/callback")),
    ({"auth": {"CLIENT_ID": "me", "CLIENT_SECRET": "${SECRET}", "scopes": ["a", "b"]}}, OAuthConfig(client_id="me", client_secret="hunter22", scopes=("a", "b"))),
    ({"oauth": {"scopes": "a b:c"}}, OAuthConfig(scopes=("a", "b:c"))),
    ({"oauth": {"redirectUri": "http://localhost:9000/back"}}, OAuthConfig(redirect_uri="http://localhost:9000/back")),
    ({"oauth": {"client_metadata_url": "https://me.example/client.json"}}, OAuthConfig(client_metadata_url="https://me.example/client.json")),
    (
        {"oauth": {"grant": "client_credentials", "client_id": "me", "private_key": "${KEY}", "signing_algorithm": "ES256"}},
        OAuthConfig(grant="client_credentials", client_id="me", private_key=ENVIRON["KEY"], signing_algorithm="ES256"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "expected"), READ)
def test_a_login_is_read_in_every_usual_spelling(entry: dict[str, Any], expected: OAuthConfig | None) -> None:
    assert login(**entry) == expected
    assert read(**entry).warnings == ()


REFUSED: list[tuple[Any, str, str]] = [
    ("yes", "oauth", "must be an object, true or false"),
    ({"client_id": ""}, "oauth.client_id", "must be a string that is not empty"),
    ({"client_id": "me", "clientId": "me"}, "oauth.clientId", "is there twice"),
    ({"client_secret": "hunter22"}, "oauth.client_secret", "needs a client_id"),
    ({"client_id": "me", "client_secret": "${NOTHING}"}, "oauth.client_secret", "the environment variable NOTHING is not set"),
    ({"grant": "password"}, "oauth.grant", "must be one of authorization_code, client_credentials"),
    ({"grant": "client_credentials"}, "oauth.grant", "needs a client_id, and a client_secret or a private_key"),
    ({"grant": "client_credentials", "client_id": "me", "client_secret": "a", "private_key": "b"}, "oauth.grant", "needs a client_id, and"),
    ({"client_id": "me", "private_key": "b"}, "oauth.private_key", "is only used with the grant client_credentials"),
    ({"client_id": "me", "token_endpoint_auth_method": "private_key_jwt"}, "oauth.token_endpoint_auth_method", "needs a private_key"),
    ({"scopes": ['a"b']}, "oauth.scopes", "must be a list of scopes"),
    ({"scopes": 5}, "oauth.scopes", "must be a list of strings"),
    ({"issuer": "auth.example"}, "oauth.issuer", "must begin with http:// or https://"),
    ({"issuer": "https://u:p@auth.example"}, "oauth.issuer", "must not hold a user name"),
    ({"redirect_port": 0}, "oauth.redirect_port", "must be a port"),
    ({"redirect_port": "80"}, "oauth.redirect_port", "must be a port"),
    ({"redirect_uri": "https://me.example/back"}, "oauth.redirect_uri", "must be http://127.0.0.1:PORT/"),
    ({"redirect_uri": "http://127.0.0.1/back"}, "oauth.redirect_uri", "must be http://127.0.0.1:PORT/"),
    ({"redirect_uri": "http://127.0.0.1:x/"}, "oauth.redirect_uri", "must be http://127.0.0.1:PORT/"),
    ({"redirect_uri": "http://localhost:1/", "redirect_port": 1}, "oauth.redirect_port", "cannot stand beside redirect_uri"),
    ({"client_metadata_url": "http://me.example/c"}, "oauth.client_metadata_url", "must be an https address with a path"),
    ({"client_metadata_url": "https://me.example/c", "client_id": "me"}, "oauth.client_metadata_url", "cannot stand beside client_id"),
]  # fmt: skip


@pytest.mark.parametrize(("oauth", "key", "problem"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_its_key(oauth: Any, key: str, problem: str) -> None:
    server = read(oauth=oauth).plugins[0].server
    assert isinstance(server, UnusableServer)
    assert server.error.key == key
    assert problem in server.error.problem
    assert "hunter22" not in str(server.error)


def test_a_login_stands_beside_no_token_of_ones_own_and_only_once() -> None:
    entries: list[dict[str, Any]] = [{"headers": {"Authorization": "x"}, "oauth": {}}, {"oauth": {}, "auth": {}}]
    for entry in entries:
        assert isinstance(read(**entry).plugins[0].server, UnusableServer)


def test_keys_that_are_not_known_are_warned_about_and_no_secret_is_in_a_repr() -> None:
    config = read(oauth={"client_id": "me", "client_secret": "${SECRET}", "colour": "red"})
    assert config.warnings == ("mcp.json, server 'x': key 'oauth.colour' is not known and has no effect",)
    assert "hunter22" not in repr(config)
    server = config.plugins[0].server
    assert isinstance(server, HttpServer) and "hunter22" in server.secrets


def test_a_child_process_has_no_login() -> None:
    text = json.dumps({"mcpServers": {"x": {"command": "true", "oauth": {}}}})
    assert parse_mcp_json(text, file=FILE, environ={}).warnings == (
        "mcp.json, server 'x': key 'oauth' is not known and has no effect",
    )
