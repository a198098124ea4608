"""The plugins of `mcp.json`, each started on first use or at the start, and who shares what runs for them.

A server of the scope `shared` is everybody's, one of the scope `owner` (where none is written) an owner's, one of the
scope `chain` belongs to an owner's chain, one of the scope `request` ends with its request. Those of owners and chains
end when they were unused for a while; that of `local`, who is everybody where nobody has to say who they are, stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio
import anyio.abc
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import PluginProvider, ProviderInfo
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.integrations.caller_token import forwarded_token, forwards, session_of_caller
from orchestrator.integrations.child_guard import unguarded_mark
from orchestrator.integrations.http_transport import HttpServerTransport
from orchestrator.integrations.http_way import HttpWay
from orchestrator.integrations.mcp_json import HttpServer, McpConfig, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.mcp_transport import CLOSE_SECONDS, ServerTransport
from orchestrator.integrations.oauth.login import PluginLogin
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.plugin_owner import LOCAL_OWNER
from orchestrator.integrations.plugin_server import ChainKey, PluginRecord, PluginServer
from orchestrator.integrations.redaction import Redactor, redactor
from orchestrator.integrations.server_log import ServerLog
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.integrations.stdio_transport import StdioServerTransport
from orchestrator.integrations.supervised import LONGEST_PAUSE_SECONDS, SupervisedServer
from orchestrator.ports import RunScope

log = structlog.stdlib.get_logger(__name__)

MOST_RECORDS: Final = 1_000
"""Owners and plugins of whom something is remembered, so that a service of many owners does not grow for ever."""
STEADY_SECONDS: Final = 30.0
"""A server that ends by itself before it has run for so long is started again after a pause, which grows."""
END_SECONDS: Final = 4 * CLOSE_SECONDS
"""Closing input, terminating and killing take as long each."""


@dataclass(frozen=True, slots=True)
class ChainLimits:
    """How long a chain's session stays unused, in seconds, and how many there may be."""

    idle_seconds: float = 600.0
    most: int = 64


class Plugins:
    """The servers of the plugins of `config`; what is asked for runs in `task_group`.

    `one_owner` says that nobody has to authenticate, so that `local` is everybody.
    """

    def __init__(
        self,
        config: McpConfig,
        *,
        connect_timeout: float,
        task_group: anyio.abc.TaskGroup,
        chains: ChainLimits | None = None,
        features: ClientFeatures = NO_FEATURES,
        logins: OAuthLogins | None = None,
        redaction: Callable[[ProviderInfo | None], Redaction] = lambda _: NOTHING,
        new_mark: Callable[[], str] = unguarded_mark,
        one_owner: bool = True,
    ) -> None:
        self._new_mark = new_mark
        self.config = config
        self._redaction = redaction
        self._connect_timeout = connect_timeout
        self._task_group = task_group
        self._features = features
        self._logins = logins
        self._limits = chains or ChainLimits()
        self._shared: dict[str, PluginServer] = {}
        self._chains: dict[ChainKey, PluginServer] = {}
        self._all: list[PluginServer] = []
        self._records: dict[tuple[str, str | None], PluginRecord] = {}
        self._closed = False
        self._at_start = ("shared", "owner") if one_owner else ("shared",)

    # ---- requests ------------------------------------------------------------------------------

    def acquire(self, plugin: PluginConfig, scope: RunScope) -> PluginServer:
        """The server that a request for `scope` uses, until it releases it.

        Raises:
            OrchestratorError: `rate_limited`: too many chains hold a session; `plugin_connection_error`: it
                is to get the caller's token, and there is none.
        """
        token = forwarded_token(plugin, scope)
        match plugin.scope:
            case "shared" if token is None:
                held = self.shared(plugin)
            case "owner" if token is None and scope.owner == LOCAL_OWNER:
                held = self.shared(plugin)
            case "request":
                held = self._new(plugin, None, token, scope.owner)
            case "shared" | "owner" | "chain":
                chain = plugin.scope == "chain"
                whose = scope.chain_id if chain else ""
                if token is not None:
                    whose = session_of_caller(scope, token, chain=chain)
                held = self._of_chain(plugin, (plugin.id, scope.owner, whose), token)
        held.users += 1
        return held

    def release(self, held: PluginServer) -> None:
        """The request is over. What was its own, or has been replaced meanwhile, ends with its last user."""
        held.users -= 1
        held.used_at = anyio.current_time()
        if held.users > 0:
            return
        if held.retired or self._closed or held.plugin.scope == "request":
            self._retire(held)
        elif held.chain is not None:
            held.waiting = anyio.CancelScope()
            idle = held.plugin.idle_seconds or self._limits.idle_seconds
            self._task_group.start_soon(self._end_when_unused, held, held.waiting, idle)

    def shared(self, plugin: PluginConfig) -> PluginServer:
        """The server that everybody shares, or that of `local`."""
        held = self._shared.get(plugin.id)
        if held is None:
            owner = None if plugin.scope == "shared" else LOCAL_OWNER
            held = self._shared[plugin.id] = self._new(plugin, None, None, owner)
        return held

    # ---- the whole -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the plugins that are to run from the start on, and keep them running."""
        for plugin in self.config.plugins:
            everybodys = plugin.scope in self._at_start and not forwards(plugin)
            if plugin.is_usable and plugin.start == "at_start" and everybodys:
                held = self._shared.get(plugin.id)
                if held is None or held.plugin.start != "at_start":
                    held = self.shared(plugin)
                    held.plugin = plugin
                    held.waiting = anyio.CancelScope()
                    self._task_group.start_soon(self._keep_open, held, held.waiting)

    def use(self, config: McpConfig, *, start: bool = True) -> None:
        """From now on `config` counts. Only servers whose entry has changed in what concerns them are replaced:
        requests that use them finish with the old ones.
        """
        before, self.config = self.config, config
        for held in self.living():
            plugin = config.find(held.plugin.id)
            if plugin is None or not plugin.is_usable or not plugin.is_same_server(held.plugin):
                self._retire(held)
            elif plugin.start == "on_use" and held.plugin.start == "at_start":
                held.waiting.cancel()
                held.plugin = plugin
            elif plugin.start == held.plugin.start:
                held.plugin = plugin
        if start:
            self.start()
        for warning in config.warnings:
            if warning not in before.warnings:
                log.warning("mcp.json", warning=warning)
        log.info("mcp.json was read again", **_difference(before, config))

    def restart(self, plugin: PluginConfig) -> None:
        """End what runs for the plugin once its calls are done; the next use starts it anew."""
        for held in self.living():
            if held.plugin.id == plugin.id:
                if held.chain is None and held.plugin.scope != "request" and not held.retired:
                    held.server.restart()
                else:
                    self._retire(held)

    def living(self, plugin_id: str | None = None) -> Sequence[PluginServer]:
        """What runs, or could: of every plugin or of one; also what only its last requests still use."""
        self._all = [held for held in self._all if not held.server.is_over]
        return [held for held in self._all if plugin_id is None or held.plugin.id == plugin_id]

    def records(self, plugin_id: str, owner: str | None) -> Sequence[PluginRecord]:
        """What is remembered of the plugin of exactly this id for `owner`, or for all; what was used last comes last."""
        return [
            record
            for (id_, whose), record in self._records.items()
            if id_ == plugin_id and (owner is None or whose is None or whose == owner)
        ]

    def _record(self, plugin_id: str, owner: str | None) -> PluginRecord:
        record = self._records.pop((plugin_id, owner), None) or PluginRecord()
        self._records[plugin_id, owner] = record
        of_owners = [key for key in self._records if key[1] is not None]
        for key in of_owners[: max(0, len(of_owners) - MOST_RECORDS)]:
            del self._records[key]
        return record

    async def aclose(self) -> None:
        """End all of them at the same time, within limits."""
        self._closed = True
        servers = self.living()
        for held in servers:
            held.waiting.cancel()
            held.server.close()
        with anyio.move_on_after(END_SECONDS, shield=True):
            for held in servers:
                await held.server.wait_closed()

    # ---- one server ----------------------------------------------------------------------------

    def _of_chain(self, plugin: PluginConfig, key: ChainKey, token: str | None) -> PluginServer:
        held = self._chains.get(key)
        if held is not None:
            held.waiting.cancel()
            return held
        if len(self._chains) >= self._limits.most:
            unused = [other for other in self._chains.values() if other.users == 0]
            if not unused:
                each = plugin.scope if token is None else "caller"
                message = (
                    f"The plugin '{plugin.id}' has a session for each {each}, and "
                    f"{self._limits.most} such sessions are in use, "
                    "which is the limit (setting MAX_CHAIN_SESSIONS). Try again later."
                )
                raise OrchestratorError(ErrorKind.RATE_LIMITED, message, param="integrations", retry_after_seconds=5)
            self._retire(min(unused, key=lambda other: other.used_at))
        held = self._chains[key] = self._new(plugin, key, token, key[1])
        return held

    def _retire(self, held: PluginServer) -> None:
        """Nobody finds it any more; it ends once nobody uses it."""
        held.retired = True
        held.waiting.cancel()
        if self._shared.get(held.plugin.id) is held:
            del self._shared[held.plugin.id]
        if held.chain is not None and self._chains.get(held.chain) is held:
            del self._chains[held.chain]
        if held.users == 0:
            held.server.close()

    async def _end_when_unused(self, held: PluginServer, waiting: anyio.CancelScope, seconds: float) -> None:
        with waiting:
            await anyio.sleep(seconds)
            self._retire(held)

    async def _keep_open(self, held: PluginServer, waiting: anyio.CancelScope) -> None:
        """Starts it again whenever it has ended, after a pause where it did not run for long."""
        short_lives = 0
        with waiting:
            while not held.retired:
                began = anyio.current_time()
                on_purpose = await held.server.until_ended()
                steady = anyio.current_time() - began >= STEADY_SECONDS
                short_lives = 0 if on_purpose or steady else short_lives + 1
                await anyio.sleep(restart_pause(short_lives))

    def _new(self, plugin: PluginConfig, chain: ChainKey | None, token: str | None, owner: str | None) -> PluginServer:
        held = PluginServer(plugin, self._record(plugin.id, owner), chain, owner)
        held.supervise(self._supervised(plugin, held, token))
        if token is None:  # what a caller's token shows is not for everybody, and the token not to be kept
            held.record.last = held
        if self._closed:
            held.server.close()
        self._all = [*self.living(), held]
        return held

    def _supervised(self, plugin: PluginConfig, held: PluginServer, token: str | None) -> SupervisedServer:
        login: PluginLogin | None = None
        other_way: Callable[[], bool] | None = None

        def rules(text: str) -> str:
            return self._redaction(PluginProvider(plugin.id)).text(text)

        match plugin.server:
            case StdioServer() as stdio:
                secrets, roots = stdio.secrets, self._features.roots

                def transport() -> ServerTransport:
                    return held.starts(
                        StdioServerTransport(
                            stdio,
                            owner=held.owner,
                            ring=held.record.stderr,
                            redact=rules,
                            new_mark=self._new_mark,
                        )
                    )

            case HttpServer() as http:
                url = parse_server_url(http.url)
                secrets = http.secrets | url.secrets | frozenset(filter(None, [token]))
                way = HttpWay(http.transport, falls_back=http.falls_back)
                other_way = way.turn
                if self._logins is not None and http.oauth is not None:
                    login = self._logins.of(plugin.id, url, http.oauth)
                roots = ()  # folders of this machine: a server elsewhere has no use for them

                def transport() -> ServerTransport:
                    second_try = way.is_second_try
                    made = HttpServerTransport(
                        url,
                        kind=way.kind,
                        headers=http.headers,
                        policy=None,  # who writes mcp.json decides where its servers are
                        connect_timeout=self._connect_timeout,
                        bearers=login,
                        caller_token=token,
                    )
                    return held.starts(way.went(made), second_try=second_try)

            case UnusableServer(error):
                raise error
        redact = _redactor(secrets, login, rules)
        return SupervisedServer(
            plugin.id,
            transport,
            task_group=self._task_group,
            connect_timeout=self._connect_timeout,
            redact=redact,
            server_log=ServerLog(plugin.id, redact, held.record.log),
            watch_tools=True,
            features=replace(self._features, roots=roots if plugin.roots is None else plugin.roots),
            on_failure=held.record.failed,
            other_way=other_way,
        )


def _redactor(secrets: frozenset[str], login: PluginLogin | None, rules: Redactor) -> Redactor:
    """Masks what `mcp.json` has, what the rules of redaction find and, as they come, the tokens of the login."""
    known = redactor(secrets)
    return lambda text: rules(known(text) if login is None else login.redact(known(text)))


def restart_pause(short_lives: int) -> float:
    """Seconds before a plugin that is to be kept running is started again, after so many short lives in a row."""
    return 0.0 if short_lives == 0 else min(LONGEST_PAUSE_SECONDS, 2.0 ** min(short_lives - 1, 16))


def _difference(before: McpConfig, after: McpConfig) -> Mapping[str, list[str]]:
    old = {plugin.id: plugin for plugin in before.plugins}
    new = {plugin.id: plugin for plugin in after.plugins}
    return {
        "added": [id_ for id_ in new if id_ not in old],
        "changed": [id_ for id_ in new if id_ in old and not _is_as_before(old[id_], new[id_])],
        "removed": [id_ for id_ in old if id_ not in new],
    }


def _is_as_before(old: PluginConfig, new: PluginConfig) -> bool:
    if isinstance(old.server, UnusableServer) and isinstance(new.server, UnusableServer):
        return old.server.error.info == new.server.error.info
    return old == new
