"""The logins of all plugins, one for each that may need one."""

import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import anyio.abc

from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.oauth.authority import AuthorityClient, open_authority_client
from orchestrator.integrations.oauth.config import OAuthConfig
from orchestrator.integrations.oauth.grants import Interaction
from orchestrator.integrations.oauth.login import PluginLogin
from orchestrator.integrations.server_url import ServerUrl
from orchestrator.ports import OAuthCredentialStore


class OAuthLogins:
    """Makes the login of a plugin once, so that all its connections renew its tokens together."""

    def __init__(
        self,
        store: OAuthCredentialStore,
        policy: NetworkPolicy,
        task_group: anyio.abc.TaskGroup,
        *,
        interaction: Interaction | None = None,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._task_group = task_group
        self._interaction = interaction
        self._clock = clock
        self._tls = tls
        # Claims on a renewal are told apart by it, also from those of this process after a restart.
        self._holder = uuid4().hex
        self._made: dict[tuple[str, str], tuple[OAuthConfig, PluginLogin]] = {}

    def secrets(self, plugin_id: str) -> frozenset[str]:
        """Every token and client secret that was held for a plugin here."""
        return frozenset[str]().union(
            *(login.secrets for (owner, _), (_, login) in self._made.items() if owner == plugin_id)
        )

    def of(self, plugin_id: str, url: ServerUrl, config: OAuthConfig) -> PluginLogin:
        """The login of a plugin; a new one where its entry has changed."""
        made = self._made.get((plugin_id, url.text))
        if made is not None and made[0] == config:
            return made[1]

        def open_client() -> AbstractAsyncContextManager[AuthorityClient]:
            return open_authority_client(url, config, self._policy, self._tls)

        login = PluginLogin(
            plugin_id,
            url.text,
            config,
            store=self._store,
            open_client=open_client,
            holder=f"{self._holder}:{uuid4().hex}",
            task_group=self._task_group,
            clock=self._clock,
            interaction=self._interaction,
        )
        self._made[(plugin_id, url.text)] = (config, login)
        return login
