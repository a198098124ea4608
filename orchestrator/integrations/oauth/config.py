"""The key `oauth` of an entry of `mcp.json`: what is known beforehand of how a plugin logs in. Pure.

Spellings of other hosts are taken too: `clientId`, `callbackPort`, `scopes` as one text, `auth` with `CLIENT_ID`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

from orchestrator.core.json_types import JsonValue
from orchestrator.integrations.server_url import ServerUrlError, parse_server_url

Grant: TypeAlias = Literal["authorization_code", "client_credentials"]
ClientAuthentication: TypeAlias = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
Expand: TypeAlias = Callable[[str, str], str]

SIGNING_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3
_ALIASES: Final = {
    "callback_port": "redirect_port",
    "scope": "scopes",
    "client_id_metadata_url": "client_metadata_url",
    "algorithm": "signing_algorithm",
}


class OAuthConfigProblem(Exception):
    """The entry cannot be used because of `key`; `problem` holds no value of it."""

    def __init__(self, problem: str, key: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key


@dataclass(frozen=True, slots=True)
class OAuthConfig:
    """How a plugin gets its tokens; everything that is None is found out from its server.

    `issuer` names the authorization server: with it, credentials given here go to no other one.
    `redirect_uri` is on loopback; the port 0 in it stands for any free one.
    """

    grant: Grant = "authorization_code"
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_metadata_url: str | None = None
    scopes: tuple[str, ...] = ()
    issuer: str | None = None
    client_authentication: ClientAuthentication | None = None
    private_key: str | None = field(default=None, repr=False)
    signing_algorithm: str | None = None
    redirect_uri: str | None = None

    @property
    def scope(self) -> str | None:
        """The scopes as OAuth writes them."""
        return " ".join(self.scopes) or None

    @property
    def secrets(self) -> frozenset[str]:
        """What no message may show."""
        return frozenset(secret for secret in (self.client_secret, self.private_key) if secret is not None)


def read_oauth(raw: JsonValue, expand: Expand, *, key: str = "oauth") -> tuple[OAuthConfig | None, list[str]]:
    """What `raw` says, None where it says that there is no login, and the keys in it that are not known.

    Raises:
        OAuthConfigProblem: it cannot be used.
    """
    if raw is False:
        return None, []
    if raw is True or raw is None:
        return OAuthConfig(), []
    if not isinstance(raw, dict):
        raise OAuthConfigProblem("must be an object, true or false", key)
    values: dict[str, JsonValue] = {}
    unknown: list[str] = []
    for written, value in raw.items():
        name = _plain(written)
        if name in values:
            raise OAuthConfigProblem("is there twice", f"{key}.{written}")
        if name in OAUTH_KEYS:
            values[name] = value
        else:
            unknown.append(f"{key}.{written}")
    return _checked(_Reader(values, expand, key)), unknown


OAUTH_KEYS: Final = frozenset(
    {
        "grant",
        "client_id",
        "client_secret",
        "client_metadata_url",
        "scopes",
        "issuer",
        "token_endpoint_auth_method",
        "private_key",
        "signing_algorithm",
        "redirect_uri",
        "redirect_port",
    }
)


def _plain(written: str) -> str:
    name = written.lower() if written.isupper() else re.sub(r"(?<=[a-z])([A-Z])", r"_\1", written).lower()
    return _ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class _Reader:
    values: Mapping[str, JsonValue]
    expand: Expand
    key: str

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.problem("must be a string that is not empty", name)
        return self.expand(value, f"{self.key}.{name}")

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in allowed:
            raise self.problem(f"must be one of {', '.join(allowed)}", name)
        return value

    def url(self, name: str) -> str | None:
        value = self.text(name)
        if value is not None:
            try:
                parse_server_url(value)
            except ServerUrlError as error:
                raise self.problem(str(error), name) from None
        return value

    def scopes(self) -> tuple[str, ...]:
        value = self.values.get("scopes")
        if value is None:
            return ()
        parts = value.split() if isinstance(value, str) else value
        if not isinstance(parts, list):
            raise self.problem("must be a list of strings", "scopes")
        for part in parts:
            if not isinstance(part, str) or _SCOPE.fullmatch(part) is None:
                raise self.problem("must be a list of scopes", "scopes")
        return tuple(cast("list[str]", parts))

    def redirect_uri(self) -> str | None:
        uri, port = self.text("redirect_uri"), self.values.get("redirect_port")
        if port is not None:
            if uri is not None:
                raise self.problem("cannot stand beside redirect_uri", "redirect_port")
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                raise self.problem("must be a port", "redirect_port")
            return f"http://127.0.0.1:{port}/callback"
        if uri is None:
            return None
        parts = urlsplit(uri)
        try:
            usable = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS and parts.port is not None
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise self.problem(
                "must be http://127.0.0.1:PORT/… (or localhost), where the login listens", "redirect_uri"
            )
        return uri

    def problem(self, what: str, name: str) -> OAuthConfigProblem:
        return OAuthConfigProblem(what, f"{self.key}.{name}")


def _checked(read: _Reader) -> OAuthConfig:
    """Every value, and that they go together."""
    private_key = read.text("private_key")
    config = OAuthConfig(
        grant=cast("Grant", read.one_of("grant", get_args(Grant)) or "authorization_code"),
        client_id=read.text("client_id"),
        client_secret=read.text("client_secret"),
        client_metadata_url=read.url("client_metadata_url"),
        scopes=read.scopes(),
        issuer=read.url("issuer"),
        client_authentication=cast(
            "ClientAuthentication | None",
            read.one_of("token_endpoint_auth_method", get_args(ClientAuthentication)),
        ),
        private_key=private_key,
        signing_algorithm=read.one_of("signing_algorithm", SIGNING_ALGORITHMS),
        redirect_uri=read.redirect_uri(),
    )
    if config.client_secret is not None and config.client_id is None:
        raise read.problem("needs a client_id", "client_secret")
    if config.client_metadata_url is not None and config.client_id is not None:
        raise read.problem("cannot stand beside client_id", "client_metadata_url")
    if config.client_metadata_url is not None:
        parts = urlsplit(config.client_metadata_url)
        if parts.scheme != "https" or parts.path in ("", "/"):
            raise read.problem("must be an https address with a path", "client_metadata_url")
    machine = config.grant == "client_credentials"
    if machine and (config.client_id is None or (config.client_secret is None) == (config.private_key is None)):
        raise read.problem("client_credentials needs a client_id, and a client_secret or a private_key", "grant")
    if not machine and config.private_key is not None:
        raise read.problem("is only used with the grant client_credentials", "private_key")
    if config.client_authentication == "private_key_jwt" and config.private_key is None:
        raise read.problem("private_key_jwt needs a private_key", "token_endpoint_auth_method")
    return config
