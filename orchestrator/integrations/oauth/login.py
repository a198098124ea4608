"""The tokens of one plugin: kept, renewed once for everybody who waits, and shared with other processes."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

import anyio
import anyio.abc
from mcp.client.auth.utils import union_scopes

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.oauth.authority import AuthorityClient, AuthorityUnavailableError
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.oauth.challenge import Challenge
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.oauth.credential import Credential, credential_key, decode, encode
from orchestrator.integrations.oauth.grants import Exchange, Interaction
from orchestrator.integrations.oauth.talk import RefusedGrantError
from orchestrator.integrations.redaction import redactor
from orchestrator.ports import OAuthCredentialStore, UnreadableCredentialError

RENEWAL_SECONDS: Final = 30.0
"""How long one renewal may take; a claim on it lasts as long, so that a dead process holds nobody up for longer."""
_LOOK_SECONDS: Final = 0.1

OpenClient: TypeAlias = Callable[[], AbstractAsyncContextManager[AuthorityClient]]


class LoginNeededError(AuthorizationError):
    """Only a person can get a token that would do."""


@dataclass(slots=True)
class _Renewal:
    """A renewal under way; once it is done, `problem` is why it came to nothing."""

    done: anyio.Event = field(default_factory=anyio.Event)
    problem: AuthorizationError | None = field(
        default_factory=lambda: AuthorizationError("its token was not renewed, because the service ends")
    )


class PluginLogin:
    """`Bearers` of one plugin. Renewals run in `task_group`, so that nobody who waits can end one half-way.

    With an `interaction` a person is at hand who can log in. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        plugin_id: str,
        server_url: str,
        config: OAuthConfig,
        *,
        store: OAuthCredentialStore,
        open_client: OpenClient,
        holder: str,
        task_group: anyio.abc.TaskGroup,
        clock: Callable[[], float],
        interaction: Interaction | None = None,
    ) -> None:
        self._plugin_id = plugin_id
        self._server_url = server_url
        self._config = config
        self._store = store
        self._open_client = open_client
        self._holder = holder
        self._task_group = task_group
        self._clock = clock
        self._interaction = interaction
        self._key = credential_key(plugin_id, server_url)
        self._credential: Credential | None = None
        self._revision: int | None = None
        self._renewal: _Renewal | None = None
        self._given_up: AuthorizationError | None = None
        self._seen: set[str] = set(config.secrets)

    @property
    def secrets(self) -> frozenset[str]:
        """Every token and client secret that was ever held here."""
        return frozenset(self._seen)

    def redact(self, text: str) -> str:
        """`text` without any token that was ever held here."""
        return redactor(self._seen)(text)

    @property
    def credential(self) -> Credential | None:
        """What was last read or got."""
        return self._credential

    # ---- Bearers ----

    async def token(self) -> str | None:
        if self._credential is None:
            await self._read()
        held = self._credential
        if held is None or held.access_token is None or not held.is_due(self._clock()):
            return None if held is None else held.access_token
        if held.refresh_token is None:
            return None if held.is_expired(self._clock()) else held.access_token
        try:
            return await self.another(Challenge(), held.access_token)
        except LoginNeededError:
            return None  # the server's own refusal says what is needed
        except AuthorizationError:
            if held.is_expired(self._clock()):
                raise
            return held.access_token

    async def another(self, challenge: Challenge, refused: str | None) -> str:
        renewal = self._renewal
        if renewal is None:
            renewal = self._renewal = _Renewal()
            self._task_group.start_soon(self._renew, renewal, challenge, refused)
        await renewal.done.wait()
        if renewal.problem is not None:
            raise type(renewal.problem)(*renewal.problem.args)
        assert self._credential is not None and self._credential.access_token is not None
        return self._credential.access_token

    # ---- beside requests ----

    async def forget_tokens(self) -> None:
        """Begin anew, with the client that is registered already."""
        await self._read(unreadable_ok=True)
        if self._credential is not None:
            self._credential = self._credential.without_tokens()

    async def log_in(self) -> None:
        """Get a token though nobody has asked for one yet.

        Raises:
            AuthorizationError
        """
        await self.another(Challenge(), None)

    async def revoke(self) -> bool:
        """Tell the authorization server that the tokens are not wanted any more; False where it cannot be told.

        Raises:
            AuthorizationError
        """
        await self._read()
        if self._credential is None:
            return False
        async with self._open_client() as client:
            return await Exchange(self._config, client, self._credential, self._clock).revoke()

    # ---- renewing ----

    async def _renew(self, renewal: _Renewal, challenge: Challenge, refused: str | None) -> None:
        try:
            # An answer that is not stored may be the only one that the server gives.
            limit = RENEWAL_SECONDS if self._interaction is None else None
            with anyio.CancelScope(shield=limit is not None), anyio.fail_after(limit):
                await self._get_another(challenge, refused)
            renewal.problem = None
        except AuthorizationError as error:
            renewal.problem = error
        except OrchestratorError as error:
            renewal.problem = AuthorizationError(error.info.message.rstrip("."))
        except TimeoutError:
            renewal.problem = AuthorityUnavailableError(f"its token could not be renewed within {RENEWAL_SECONDS:g} s")
        finally:
            self._renewal = None
            renewal.done.set()

    async def _get_another(self, challenge: Challenge, refused: str | None) -> None:
        """Somebody else's, or by the refresh token, or anew: in this order.

        Raises:
            AuthorizationError, OrchestratorError
        """
        if self._interaction is None:
            await self._read()
        if self._is_news(refused):
            return
        held = self._credential or Credential(self._server_url)
        if held.refresh_token is not None and not challenge.insufficient_scope:
            try:
                await self._refresh(refused)
                return
            except RefusedGrantError:
                held = self._credential = held.without_tokens()
        if self._config.grant == "authorization_code" and self._interaction is None:
            raise await self._login_needed(challenge, held)
        if self._given_up is not None:
            raise self._given_up  # nobody wants to be asked twice by one handshake
        try:
            async with self._open_client() as client:
                exchange = Exchange(self._config, client, held, self._clock)
                got = await exchange.authorise(challenge.wanting(held.wanted_scope), self._interaction)
        except AuthorizationError as error:
            if self._interaction is not None:
                self._given_up = error
            raise
        self._revision = await self._write(got, None)
        self._hold(got)

    async def _refresh(self, refused: str | None) -> None:
        """Renew by the refresh token, in this process or another: servers may take a second use of one for theft.

        Raises:
            RefusedGrantError: the refresh token does not do; it is forgotten.
            AuthorizationError, OrchestratorError
        """
        while not await self._claim():
            await anyio.sleep(_LOOK_SECONDS)
            await self._read()
            if self._is_news(refused) or self._credential is None or self._credential.refresh_token is None:
                break
        else:
            try:
                await self._read()
                if not self._is_news(refused):
                    await self._refresh_claimed()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._store.release_credential(self._key, self._holder)
        if not self._is_news(refused):
            raise RefusedGrantError("somebody has logged out")

    async def _refresh_claimed(self) -> None:
        held = self._credential
        if held is None:
            return
        try:
            async with self._open_client() as client:
                got = await Exchange(self._config, client, held, self._clock).refresh()
        except RefusedGrantError:
            await self._write(held.without_tokens(), self._revision)
            raise
        revision = await self._write(got, self._revision)
        if revision is None:
            await self._read()  # somebody has logged in meanwhile: that counts
        else:
            self._revision = revision
            self._hold(got)

    async def _login_needed(self, challenge: Challenge, held: Credential) -> LoginNeededError:
        command = f"`orchestrator plugins login {self._plugin_id}`"
        if not challenge.insufficient_scope or held.access_token is None:
            if challenge.for_bearers or held.client_id is not None:
                return LoginNeededError(f"it needs a login: run {command}")
            return LoginNeededError(f"it answered 401 Unauthorized; where it has a login, run {command}")
        wanted = union_scopes(held.scope, challenge.scope)
        if wanted != held.wanted_scope:
            asking = replace(held, wanted_scope=wanted)
            self._revision = await self._write(asking, self._revision) or self._revision
            self._credential = asking
        rights = f" (scope: {challenge.scope})" if challenge.scope and challenge.scope.isprintable() else ""
        return LoginNeededError(f"it needs a login with more rights{rights}: run {command}")

    # ---- the store ----

    async def _claim(self) -> bool:
        now = self._moment()
        until = datetime.fromtimestamp(now.timestamp() + RENEWAL_SECONDS, UTC)
        return await self._store.claim_credential(self._key, self._holder, now, until)

    async def _read(self, *, unreadable_ok: bool = False) -> None:
        try:
            stored = await self._store.read_credential(self._key)
        except UnreadableCredentialError as error:
            if unreadable_ok:
                return
            raise AuthorizationError(error.info.message.rstrip(".")) from None
        found = None if stored is None else decode(stored.content)
        usable = found is not None and found.server_url == self._server_url and found.fits(self._config)
        self._hold(found if usable else None)
        self._revision = None if stored is None else stored.revision

    def _hold(self, credential: Credential | None) -> None:
        self._credential = credential
        if credential is not None:
            self._seen.update(credential.secrets)

    async def _write(self, credential: Credential, replaces: int | None) -> int | None:
        return await self._store.write_credential(
            self._key, self._plugin_id, encode(credential), self._moment(), replaces=replaces
        )

    def _is_news(self, refused: str | None) -> bool:
        token = self._held_token()
        held = self._credential
        return token is not None and token != refused and held is not None and not held.is_due(self._clock())

    def _held_token(self) -> str | None:
        return None if self._credential is None else self._credential.access_token

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
