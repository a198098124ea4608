"""A server with a login on loopback, a browser whose user agrees to everything, and what is kept of both."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.credential import Credential, credential_key, decode, encode
from orchestrator.ports import OAuthCredentialStore
from orchestrator.testing_oauth import MemoryOAuthCredentialStore
from tests.integrations.harness import SCOPE, catalog_of, plugin, serving
from tests.integrations.programs.oauth_app import OAuthApp


@dataclass
class Browser:
    """A person who agrees to everything; `changes` is what the redirect brings instead of what was sent."""

    redirect_uri: str = "http://127.0.0.1:9/callback"
    changes: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    shown: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def show(self, url: str) -> None:
        self.shown.append({name: values[0] for name, values in parse_qs(urlsplit(url).query).items()})
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            self._location = (await client.get(url)).headers["location"]

    async def answer(self) -> AuthorizationCodeResult:
        found = {name: values[0] for name, values in parse_qs(urlsplit(self._location).query).items()}
        if "error" in found:
            raise AuthorizationError(f"the login was refused ({found['error']})")
        answer = {"code": found["code"], "state": found["state"], "iss": found.get("iss"), **self.changes}
        return AuthorizationCodeResult.model_validate(answer)


@dataclass
class House:
    """A server with a login, what is stored about it, and the clock of those who use it."""

    app: OAuthApp
    origin: str
    folder: Path
    store: OAuthCredentialStore
    now: float = 1_000_000.0

    @property
    def entry(self) -> dict[str, Any]:
        return {"url": f"{self.origin}/mcp"}

    @asynccontextmanager
    async def catalog(self, browser: Browser | None = None, oauth: object = None) -> AsyncGenerator[McpCatalog, None]:
        entry = self.entry if oauth is None else {**self.entry, "oauth": oauth}
        async with catalog_of(
            self.folder, {"x": entry}, credentials=self.store, interaction=browser, clock=lambda: self.now
        ) as catalog:
            yield catalog

    async def log_in(self, browser: Browser | None = None, oauth: object = None) -> None:
        async with self.catalog(browser or Browser(), oauth) as catalog, catalog.open([plugin()], SCOPE):
            pass

    async def kept(self) -> Credential:
        stored = await self.store.read_credential(credential_key("mcp/x", f"{self.origin}/mcp"))
        assert stored is not None
        credential = decode(stored.content)
        assert credential is not None
        return credential

    async def keep(self, credential: Credential) -> None:
        key = credential_key("mcp/x", f"{self.origin}/mcp")
        await self.store.write_credential(key, "mcp/x", encode(credential), datetime.now(UTC), replaces=None)

    def names_authority(self, address: str) -> None:
        """Have the server say that `address` is its authorization server."""
        path = "/.well-known/oauth-protected-resource/mcp"
        self.app.answers[path] = (200, {"resource": f"{self.origin}/mcp", "authorization_servers": [address]})

    def tokens_seen(self) -> list[str]:
        return [request.headers.get("authorization", "") for request in self.app.seen]


@asynccontextmanager
async def house_of(folder: Path, app: OAuthApp, store: OAuthCredentialStore | None = None) -> AsyncGenerator[House]:
    async with serving(app) as origin:
        app.configure(origin)
        yield House(app, origin, folder, store or MemoryOAuthCredentialStore())
