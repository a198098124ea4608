"""Opens or continues a chain: everything that can be refused is refused here, before a run begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, InputItem
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.models import Model
from orchestrator.core.request import (
    EphemeralRequest,
    IntegrationRequest,
    Limits,
    NamedTool,
    PluginRequest,
    ReasoningSetting,
    ResponseFormat,
    RunRequest,
    Sampling,
    ToolChoice,
)
from orchestrator.ports import Chain, IntegrationCatalog, ResponseStore, StoredResponse
from orchestrator.service.callers import Caller
from orchestrator.service.driver import RunContext
from orchestrator.service.ids import new_response_id
from orchestrator.service.instances import InstanceService
from orchestrator.service.models import ModelService
from orchestrator.service.quotas import Quotas
from orchestrator.service.runs import LiveRun, RunService


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat as any dialect asks for it. `system_prompt` None inherits, empty clears."""

    model: str
    input: tuple[InputItem, ...]
    system_prompt: str | None = None
    integrations: tuple[IntegrationRequest, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    reasoning: ReasoningSetting | None = None
    max_output_tokens: int | None = None
    context_length: int | None = None
    store: bool = True
    previous_response_id: str | None = None
    ttl_seconds: float | None = None
    tool_choice: ToolChoice = "auto"
    response_format: ResponseFormat | None = None
    max_turns: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


class ChatService:
    """The one way into a run, for every dialect."""

    def __init__(
        self,
        *,
        models: ModelService,
        instances: InstanceService,
        catalog: IntegrationCatalog,
        store: ResponseStore,
        runs: RunService,
        quotas: Quotas,
        holder: str,
        limits: Limits,
        run_timeout_seconds: float,
    ) -> None:
        self._models = models
        self._instances = instances
        self._catalog = catalog
        self._store = store
        self._runs = runs
        self._quotas = quotas
        self._holder = holder
        self._limits = limits
        self._run_timeout_seconds = run_timeout_seconds

    async def start(self, chat: ChatRequest, caller: Caller) -> LiveRun:
        """Check the request and start its run; `LiveRun.started` says whether it got off the ground.

        Raises:
            OrchestratorError: the first thing that is wrong, in the order: permission and policy,
                model, chain.
        """
        chat = replace(chat, integrations=permitted_integrations(chat, caller))
        self._catalog.check(chat.integrations)
        choice = await self._models.find(chat.model)
        model = choice.model
        _check_model(chat, model)
        if chat.response_format is not None:
            choice.engine.check_response_format(chat.response_format)
        instance_id = self._instances.choose(choice, chat.context_length)
        chain = Chain((), None)
        if chat.previous_response_id is not None:
            chain = await self._store.load_chain(chat.previous_response_id, caller.owner)
        budget = await self._quotas.output_budget(caller, chat.max_output_tokens)
        inherited = chain.system_prompt if chat.system_prompt is None else chat.system_prompt
        limits = self._limits
        request = RunRequest(
            response_id=new_response_id(),
            model_key=model.key,
            model_instance_id=instance_id,
            input=chat.input,
            history=chain.responses,
            system_prompt=inherited or None,
            integrations=chat.integrations,
            store=chat.store,
            sampling=chat.sampling,
            reasoning=chat.reasoning,
            max_output_tokens=budget,
            context_length=chat.context_length,
            tool_choice=chat.tool_choice,
            response_format=chat.response_format,
            limits=Limits(
                max_turns=min(chat.max_turns or limits.max_turns, limits.max_turns),
                max_identical_calls=limits.max_identical_calls,
                max_tool_output_bytes=limits.max_tool_output_bytes,
                max_tool_output_model_bytes=limits.max_tool_output_model_bytes,
            ),
            tool_names=chain.tool_names,
        )
        context = RunContext(
            choice=choice,
            instances=self._instances,
            ttl_seconds=chat.ttl_seconds,
            catalog=self._catalog,
            store=self._store,
            holder=self._holder,
            owner=caller.owner,
            chain_id=chain.root_id or request.response_id,
            token_id=caller.token_id,
            token_runs=caller.limits.concurrent_runs,
            previous_response_id=chat.previous_response_id if chat.store else None,
            parameters=_parameters(chat),
            metadata=chat.metadata,
            timeout_seconds=self._run_timeout_seconds,
        )
        return self._runs.start(request, context)

    async def get(self, response_id: str, caller: Caller) -> StoredResponse | None:
        """A stored response of the caller's, or None."""
        return await self._store.get_response(response_id, caller.owner)


def permitted_integrations(chat: ChatRequest, caller: Caller) -> tuple[IntegrationRequest, ...]:
    """The integrations of `chat`, each with what the caller's token allows of it.

    Raises:
        OrchestratorError: `permission_denied`.
    """
    caller.require("chat", "The API token has no permission to chat.")
    return granted_integrations(chat.integrations, caller)


def granted_integrations(integrations: Sequence[IntegrationRequest], caller: Caller) -> tuple[IntegrationRequest, ...]:
    """Each with what the caller's token allows of it.

    Raises:
        OrchestratorError: `permission_denied` on `integrations`.
    """
    permitted: list[IntegrationRequest] = []
    for integration in integrations:
        match integration:
            case PluginRequest():
                granted = caller.plugin_tools(integration.id, param="integrations")
                permitted.append(replace(integration, granted_tools=granted))
            case EphemeralRequest():
                message = "Permission denied: the API token does not allow ephemeral MCP servers."
                caller.require("ephemeral_mcp", message, param="integrations")
                permitted.append(integration)
            case _:
                assert_never(integration)
    return tuple(permitted)


def _check_model(chat: ChatRequest, model: Model) -> None:
    if model.type != "llm":
        message = f"'{model.key}' is an embedding model and cannot chat."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
    if not model.vision and any(isinstance(item, ImageInput) for item in chat.input):
        message = f"'{model.key}' does not see images."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
    longest = model.max_context_length
    if chat.context_length is not None and longest is not None and chat.context_length > longest:
        message = f"'{model.key}' has a context of at most {longest} tokens."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")
    if chat.reasoning is None:
        return
    if model.reasoning is None:
        message = f"Model '{model.key}' does not expose reasoning configuration."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")
    if chat.reasoning not in model.reasoning.allowed_options:
        options = ", ".join(f"'{option}'" for option in model.reasoning.allowed_options)
        message = f"Reasoning setting '{chat.reasoning}' is not supported by model '{model.key}'. Supported settings: {options}."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")


def _tool_choice(choice: ToolChoice) -> JsonValue:
    if isinstance(choice, NamedTool):
        return {"tool": choice.tool, "server": choice.server}
    return None if choice == "auto" else choice


def _parameters(chat: ChatRequest) -> JsonObject:
    """What the store keeps of the settings: those that were given. No content, no header, no secret."""
    sampling = chat.sampling
    integrations: list[JsonValue] = []
    for integration in chat.integrations:
        allowed: JsonValue = None if integration.allowed_tools is None else list(integration.allowed_tools)
        match integration:
            case PluginRequest(plugin_id):
                integrations.append({"type": "plugin", "id": plugin_id, "allowed_tools": allowed})
            case EphemeralRequest(server_label, server_url):
                integrations.append(
                    {
                        "type": "ephemeral_mcp",
                        "server_label": server_label,
                        "server_url": server_url.partition("?")[0],  # a query may carry a key
                        "allowed_tools": allowed,
                    }
                )
    given: JsonObject = {
        "model": chat.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repeat_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "reasoning": chat.reasoning,
        "max_output_tokens": chat.max_output_tokens,
        "context_length": chat.context_length,
        "ttl": chat.ttl_seconds,
        "tool_choice": _tool_choice(chat.tool_choice),
        "response_format": None if chat.response_format is None else chat.response_format.schema,
        "max_turns": chat.max_turns,
        "integrations": integrations or None,
    }
    return {name: value for name, value in given.items() if value is not None}
