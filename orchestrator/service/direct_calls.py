"""Calls of a plugin's tool without a model, for who develops the plugin.

Such a call is a run like any other, whose one turn is recorded: `allowed_tools`, drift, approvals, the
journal, timeouts and limits are those of a chat, and it is a node of the graph.
"""

from dataclasses import dataclass, replace
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InvalidToolCall, PluginProvider, TextInput, ToolCall
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.request import Limits, PluginRequest, RunRequest
from orchestrator.core.response import ChatResult, Failed
from orchestrator.ports import Chain, IntegrationCatalog, ResponseStore
from orchestrator.service.caller_catalog import as_caller
from orchestrator.service.callers import Caller
from orchestrator.service.driver import RunContext
from orchestrator.service.ids import new_response_id
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.plugins import PluginService
from orchestrator.service.quotas import Quotas
from orchestrator.service.recorded_turns import RecordedCall, recorded_choice
from orchestrator.service.runs import RunService
from orchestrator.service.server_callbacks import NO_POLICIES, ServerPolicies

DIRECT_CALL: Final = "direct-call"
"""What the store has in the place of a model."""

_INPUT: Final = "Call the tool '{tool}' of '{plugin}'."


@dataclass(frozen=True, slots=True)
class DirectCall:
    """A direct call that has begun."""

    run: LiveRun
    tool: str
    plugin_id: str

    async def started(self) -> None:
        """Wait until the plugin is connected and the call is on its way.

        Raises:
            OrchestratorError: it is not: `tool_not_found`, `permission_denied`, `plugin_connection_error` …
        """
        try:
            await self.run.started()
        except OrchestratorError as error:
            if error.info.kind is ErrorKind.INVALID_VALUE and (error.info.param or "").startswith("integrations."):
                raise OrchestratorError(ErrorKind.TOOL_NOT_FOUND, error.info.message) from None
            raise

    async def result(self) -> ChatResult:
        """The response that the call became, once it is over.

        Raises:
            OrchestratorError: `invalid_value` on `arguments` that the tool's schema does not admit, or what
                the run failed with.
        """
        await self.started()
        result = await self.run.result()
        match result.ending:
            case Failed(error):
                raise OrchestratorError(error.kind, error.message, param=error.param)
            case _:
                pass
        for item in result.output:
            if isinstance(item, InvalidToolCall):
                raise OrchestratorError(ErrorKind.INVALID_VALUE, item.reason, param="arguments")
        return result


def called(result: ChatResult) -> ToolCall | None:
    """The call in the response; None where it was not made, as when it waits for an approval."""
    return next((item for item in result.output if isinstance(item, ToolCall)), None)


class DirectCallService:
    """Calls tools of plugins."""

    def __init__(
        self,
        *,
        plugins: PluginService,
        catalog: IntegrationCatalog,
        store: ResponseStore,
        runs: RunService,
        quotas: Quotas,
        holder: str,
        limits: Limits,
        run_timeout_seconds: float,
        approval_timeout_seconds: float,
        policies: ServerPolicies = NO_POLICIES,
    ) -> None:
        self._plugins = plugins
        self._catalog = catalog
        self._store = store
        self._runs = runs
        self._quotas = quotas
        self._holder = holder
        self._limits = limits
        self._run_timeout_seconds = run_timeout_seconds
        self._approval_timeout_seconds = approval_timeout_seconds
        self._policies = replace(policies, sampling="off")  # there is no model that could write

    async def start(
        self,
        plugin_id: str,
        tool: str,
        arguments: JsonObject,
        caller: Caller,
        *,
        previous_response_id: str | None = None,
        interactive: bool = False,
    ) -> DirectCall:
        """Begin the call, in a chain of its own or after `previous_response_id`, whose plugins' state it sees.

        `interactive` says that its client hears what the server asks.

        Raises:
            OrchestratorError: `permission_denied`, `plugin_not_found`, `plugin_connection_error` where the
                plugin is disabled or its entry is broken, `rate_limited`, or as `ResponseStore.load_chain`.
        """
        plugin_id = self._plugins.status(plugin_id, caller).id
        integration = PluginRequest(plugin_id, (tool,), caller.plugin_tools(plugin_id))
        self._catalog.check([integration])
        turn = [RecordedCall(tool, canonical_json(arguments), PluginProvider(plugin_id))]
        choice, instances = recorded_choice([turn], DIRECT_CALL)
        chain = Chain((), None)
        if previous_response_id is not None:
            chain = await self._store.load_chain(previous_response_id, caller.owner)
        request = RunRequest(
            response_id=new_response_id(),
            model_key=DIRECT_CALL,
            model_instance_id=DIRECT_CALL,
            input=(TextInput(_INPUT.format(tool=tool, plugin=plugin_id)),),
            integrations=(integration,),
            limits=self._limits,
            tool_names=chain.tool_names,
        )
        context = RunContext(
            choice=choice,
            instances=instances,
            place=None,
            ttl_seconds=None,
            catalog=as_caller(self._catalog, caller),
            store=self._store,
            holder=self._holder,
            owner=caller.owner,
            chain_id=chain.root_id or request.response_id,
            token_id=caller.token_id,
            previous_response_id=previous_response_id,
            parameters={
                "direct_call": True,
                "integrations": [{"type": "plugin", "id": plugin_id, "allowed_tools": [tool]}],
            },
            metadata={},
            timeout_seconds=self._run_timeout_seconds,
            approval_timeout_seconds=self._approval_timeout_seconds,
            policies=self._policies,
            interactive=interactive,
        )
        async with self._quotas.admitted(caller, None, generates=False) as ticket:
            return DirectCall(self._runs.start(request, replace(context, ticket=ticket)), tool, plugin_id)
