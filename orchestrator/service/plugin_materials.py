"""Resources and prompts of installed plugins, without a chat: for who develops the plugin, and for clients of their own."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.materials import Piece
from orchestrator.core.request import Limits, PluginRequest, WantedPrompt
from orchestrator.ports import IntegrationCatalog, IntegrationSession, ResponseStore, RunScope
from orchestrator.service.callers import Caller
from orchestrator.service.chat_checks import granted_integrations
from orchestrator.service.ids import new_response_id
from orchestrator.service.materials import get_prompt, read_resource
from orchestrator.service.plugins import PluginService


@dataclass(frozen=True, slots=True)
class PluginMaterial:
    """What a plugin gave: the contents of a resource, or the messages of a prompt, in order."""

    plugin_id: str
    pieces: tuple[Piece, ...]


class PluginMaterialService:
    """Reads resources and fills in prompts, with the permissions and the limits of a chat that takes them."""

    def __init__(
        self, *, plugins: PluginService, catalog: IntegrationCatalog, store: ResponseStore, limits: Limits
    ) -> None:
        self._plugins = plugins
        self._catalog = catalog
        self._store = store
        self._limits = limits

    async def read(
        self, plugin_id: str, uri: str, caller: Caller, *, previous_response_id: str | None = None
    ) -> PluginMaterial:
        """The contents of a resource, of the plugin's state in the chain of `previous_response_id` where it is given.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`, `plugin_connection_error`,
                `resource_not_found`, `invalid_value` on `uri`, or as `ResponseStore.load_chain`.
        """
        wanted = PluginRequest(plugin_id, (), resources=(uri,))
        async with self._session(wanted, caller, previous_response_id) as (found, session):
            try:
                return PluginMaterial(found, await read_resource(session, uri, self._limits))
            except OrchestratorError as error:
                raise _about(error, "uri") from None

    async def prompt(
        self,
        plugin_id: str,
        name: str,
        arguments: Mapping[str, str],
        caller: Caller,
        *,
        previous_response_id: str | None = None,
    ) -> PluginMaterial:
        """The messages of a prompt, filled in.

        Raises:
            OrchestratorError: as `read`, but `prompt_not_found`, and `invalid_value` on `arguments`.
        """
        prompt = WantedPrompt(name, dict(arguments))
        wanted = PluginRequest(plugin_id, (), prompt=prompt)
        async with self._session(wanted, caller, previous_response_id) as (found, session):
            try:
                return PluginMaterial(found, await get_prompt(session, prompt, self._limits))
            except OrchestratorError as error:
                raise _about(error, "arguments") from None

    @asynccontextmanager
    async def _session(
        self, wanted: PluginRequest, caller: Caller, previous_response_id: str | None
    ) -> AsyncGenerator[tuple[str, IntegrationSession]]:
        plugin_id = self._plugins.status(wanted.id, caller).id
        integrations = granted_integrations([wanted], caller)
        self._catalog.check(integrations)
        response_id = new_response_id()
        chain_id: str | None = None
        if previous_response_id is not None:
            chain_id = (await self._store.load_chain(previous_response_id, caller.owner)).root_id
        scope = RunScope(caller.owner, chain_id or response_id, response_id, caller_token=caller.token)
        async with self._catalog.open(integrations, scope) as (session,):
            yield plugin_id, session


def _about(error: OrchestratorError, param: str) -> OrchestratorError:
    """`error` with the field that it is about, where that is the client's."""
    info = error.info
    if info.param is not None or info.kind is not ErrorKind.INVALID_VALUE:
        return error
    return OrchestratorError(info.kind, info.message, param=param)
