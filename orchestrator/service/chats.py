"""Opens or continues a chain: everything that can be refused is refused here, before a run begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, assert_never

from orchestrator.core.approvals import NEVER
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.functions import named_results, unanswered_call
from orchestrator.core.items import FunctionCallInput, ImageInput, InputItem, heads_of
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import NO_REASONING, Model
from orchestrator.core.permissions import ALL_TOOLS
from orchestrator.core.prompt import Past
from orchestrator.core.request import (
    EphemeralRequest,
    IntegrationRequest,
    Limits,
    PluginRequest,
    ReasoningSetting,
    Resumed,
    RunRequest,
)
from orchestrator.core.response import Completed
from orchestrator.core.tools import ToolKey
from orchestrator.core.transcript import transcript_prefixes
from orchestrator.ports import Chain, EngineTraits, ForkPoint, IntegrationCatalog, ResponseStore
from orchestrator.service.admission import Place
from orchestrator.service.caller_catalog import as_caller
from orchestrator.service.callers import Caller
from orchestrator.service.chain_context import check_sight, prompt_in_force, without_heads_before
from orchestrator.service.chat_parameters import chat_parameters
from orchestrator.service.chat_request import ChatRequest as ChatRequest
from orchestrator.service.driver import RunContext
from orchestrator.service.ids import new_response_id
from orchestrator.service.instances import InstanceService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.models import ModelChoice, ModelService
from orchestrator.service.pictures import with_pictures
from orchestrator.service.quotas import Quotas, Ticket
from orchestrator.service.runs import RunService
from orchestrator.service.server_callbacks import NO_POLICIES, ServerPolicies

PASSED_OVER: Final = "The call was not run: nobody approved it before the chat went on."


@dataclass(frozen=True, slots=True)
class Replayed:
    """What makes a run the replay of another response: whose, and whom it asks in the place of the catalog.

    `integrations` None are those of the chat; nothing in them waits for approvals. `parameters` are stored.
    """

    response_id: str
    catalog: IntegrationCatalog
    parameters: JsonObject
    integrations: tuple[IntegrationRequest, ...] | None = None


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What a run brings along that does not begin at its first turn, or that is the replay of another one.

    `tool_names` are the names given so far, `elapsed_seconds` what it has used of its time,
    `recorded_decisions` the calls whose decisions the store has already, `forked_from` where a branch begins,
    `written` what writes in the place of the chat's model. `root_id` names the tree that it belongs to.
    """

    response_id: str
    resumed: Resumed | None
    tool_names: Mapping[ToolKey, str]
    root_id: str | None = None
    elapsed_seconds: float = 0.0
    recorded_decisions: frozenset[str] = frozenset()
    forked_from: ForkPoint | None = None
    written: tuple[ModelChoice, InstanceService] | None = None
    replayed: Replayed | None = None


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
        approval_timeout_seconds: float,
        policies: ServerPolicies = NO_POLICIES,
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
        self._approval_timeout_seconds = approval_timeout_seconds
        self._policies = policies

    async def start(self, chat: ChatRequest, caller: Caller, taken_up: TakenUp | None = None) -> LiveRun:
        """Check the request and start its run; `LiveRun.started` says whether it got off the ground.

        With `taken_up` it is not a run from its first turn.

        Raises:
            OrchestratorError: the first thing that is wrong, in the order: permission and policy,
                model, chain.
        """
        chat = replace(chat, integrations=permitted_integrations(chat, caller))
        _check_what_waits(chat)
        self._catalog.check(chat.integrations)
        written = None if taken_up is None else taken_up.written
        choice, instances = written or (await self._models.find(chat.model), self._instances)
        model = choice.model
        chat = replace(chat, reasoning=chat.reasoning or wished_reasoning(chat, model))
        if written is None:
            _check_model(chat, model)
            _check_reasoning(chat, model, choice.engine.traits.reasoning_hint)
        if chat.response_format is not None:
            choice.engine.check_response_format(chat.response_format)
        _check_sampling(chat, choice.engine.traits, choice.engine.name)
        named = chat.previous_response_id is not None
        if chat.stateless and chat.store and not named:
            chat = await self._known_again(chat, caller.owner)
        chain = Chain((), None)
        if chat.previous_response_id is not None:
            chain = await self._load_chain(chat, chat.previous_response_id, caller.owner)
            if chat.stateless and chat.store and not named:
                chat = replace(chat, input=without_heads_before(chat, chain))
        history = chain.responses
        if written is None:
            check_sight(model, history)
        if model.vision:
            history = await with_pictures(history, self._store, caller.owner)
        chat = replace(chat, input=_with_named_results(chat, history))
        chat = replace(chat, system_prompt=await prompt_in_force(chat, chain, self._store, caller.owner))
        resumed = None if taken_up is None else taken_up.resumed
        written_before = 0 if resumed is None else sum(turn.output_tokens or 0 for turn in resumed.counters)
        async with self._quotas.admitted(caller, chat.max_output_tokens, written=written_before) as ticket:
            return self._start_admitted(chat, caller, taken_up, chain, history, choice, instances, ticket)

    def _start_admitted(
        self,
        chat: ChatRequest,
        caller: Caller,
        taken_up: TakenUp | None,
        chain: Chain,
        history: tuple[Past, ...],
        choice: ModelChoice,
        instances: InstanceService,
        ticket: Ticket,
    ) -> LiveRun:
        replayed = None if taken_up is None else taken_up.replayed
        ttl = chat.ttl_seconds if taken_up is None else None  # what was taken up was accepted once
        place = instances.choose(choice, chat.context_length, ttl)  # from here on nothing is awaited: it is always left
        request = self._run_request(chat, taken_up, chain, history, choice, place, ticket)
        context = RunContext(
            choice=choice,
            instances=instances,
            place=place,
            ttl_seconds=chat.ttl_seconds,
            catalog=as_caller(self._catalog if replayed is None else replayed.catalog, caller),
            store=self._store,
            holder=self._holder,
            owner=caller.owner,
            chain_id=chain.root_id or (taken_up and taken_up.root_id) or request.response_id,
            token_id=caller.token_id,
            ticket=ticket,
            previous_response_id=chat.previous_response_id if chat.store else None,
            parameters=chat_parameters(chat) if replayed is None else replayed.parameters,
            metadata=chat.metadata,
            timeout_seconds=self._run_timeout_seconds,
            approval_timeout_seconds=self._approval_timeout_seconds,
            elapsed_seconds=0.0 if taken_up is None else taken_up.elapsed_seconds,
            created_at=chat.created_at,
            recorded_decisions=frozenset() if taken_up is None else taken_up.recorded_decisions,
            forked_from=None if taken_up is None else taken_up.forked_from,
            replay_of=None if replayed is None else replayed.response_id,
            thread=chat.thread if chat.store else None,
            # Recorded turns answer no question of a server, and nobody is there to be asked.
            policies=self._policies if taken_up is None or taken_up.written is None else NO_POLICIES,
            interactive=chat.interactive,
            lasting=chat.background,
        )
        try:
            return self._runs.start(request, context)
        except OrchestratorError:
            place.leave()
            raise

    def _run_request(
        self,
        chat: ChatRequest,
        taken_up: TakenUp | None,
        chain: Chain,
        history: tuple[Past, ...],
        choice: ModelChoice,
        place: Place,
        ticket: Ticket,
    ) -> RunRequest:
        model = choice.model
        replayed = None if taken_up is None else taken_up.replayed
        return RunRequest(
            response_id=chat.response_id or new_response_id() if taken_up is None else taken_up.response_id,
            model_key=model.key,
            model_instance_id=place.instance_id,
            input=chat.input,
            history=history,
            system_prompt=chat.system_prompt or None,
            integrations=chat.integrations if replayed is None else _replayed_integrations(chat, replayed),
            store=chat.store,
            sampling=chat.sampling,
            reasoning=chat.reasoning,
            max_output_tokens=ticket.output_tokens,
            context_length=chat.context_length,
            tool_choice=chat.tool_choice,
            response_format=chat.response_format,
            limits=_limits(chat, self._limits),
            tool_names=chain.tool_names if taken_up is None else taken_up.tool_names,
            resumed=None if taken_up is None else taken_up.resumed,
            vision=model.vision,
            functions=chat.functions,
            parallel_tool_calls=chat.parallel_tool_calls,
            raw=chat.raw and choice.engine.traits.raw,
        )

    async def _known_again(self, chat: ChatRequest, owner: str) -> ChatRequest:
        """`chat` as the continuation of what is stored of its history."""
        prefixes = transcript_prefixes(chat.input)
        if not prefixes:
            return chat
        calls = [item.call_id for item in chat.input if isinstance(item, FunctionCallInput) and item.of_server]
        found = await self._store.find_transcript([digest for digest, _ in prefixes], owner, calls)
        if found is None:
            return chat
        response_id, digest = found
        told = next(items for known, items in prefixes if known == digest)
        return replace(chat, previous_response_id=response_id, input=(*heads_of(chat.input), *chat.input[told:]))

    async def _load_chain(self, chat: ChatRequest, response_id: str, owner: str) -> Chain:
        try:
            return await self._store.load_chain(response_id, owner)
        except OrchestratorError as error:
            waits = error.info.kind is ErrorKind.RESPONSE_NOT_FINISHED
            if waits and chat.passes_over and await self.pass_over(response_id, owner):
                return await self._store.load_chain(response_id, owner)
            if chat.thread is None or error.info.param is None:
                raise
            message = "The newest response of this thread has not ended yet."
            if error.info.kind is not ErrorKind.RESPONSE_NOT_FINISHED:
                message = "The newest response of this thread was deleted meanwhile. Ask again."
            raise OrchestratorError(error.info.kind, message, param="thread_id") from None

    async def pass_over(self, response_id: str, owner: str) -> bool:
        """End a response that waits for approvals, its calls not run; False for one that does not wait."""
        await self._runs.put_away(response_id, owner)
        return await self._store.end_suspended(response_id, owner, Completed(), PASSED_OVER, datetime.now(UTC))

    def running(self, response_id: str, caller: Caller) -> LiveRun:
        """A run of the caller's that is under way in this process.

        Raises:
            OrchestratorError: `response_not_found`.
        """
        live = self._runs.find(response_id)
        if live is None or live.owner != caller.owner or live.response_id is None:
            message = "There is no such response that is being made here, or it is somebody else's."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        return live


def _replayed_integrations(chat: ChatRequest, replayed: Replayed) -> tuple[IntegrationRequest, ...]:
    integrations = chat.integrations if replayed.integrations is None else replayed.integrations
    return tuple(replace(integration, approval=NEVER) for integration in integrations)


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
                if granted != ALL_TOOLS and (integration.resources or integration.prompt is not None):
                    message = "The API token allows only some tools of this plugin, not its resources and prompts."
                    raise OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param="integrations")
                permitted.append(replace(integration, granted_tools=granted))
            case EphemeralRequest():
                message = "Permission denied: the API token does not allow ephemeral MCP servers."
                caller.require("ephemeral_mcp", message, param="integrations")
                permitted.append(integration)
            case _:
                assert_never(integration)
    return tuple(permitted)


def _with_named_results(chat: ChatRequest, history: Sequence[Past]) -> tuple[InputItem, ...]:
    named = named_results(chat.input, history)
    lacking = unanswered_call(chat.input, history) if chat.demands_results else None
    if lacking is not None:
        message = f"No tool output found for function call {lacking}."
        named = ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")
    if isinstance(named, ErrorInfo):
        raise OrchestratorError(named.kind, named.message, param=named.param)
    return named


def _limits(chat: ChatRequest, limits: Limits) -> Limits:
    turns = min(chat.max_turns or limits.max_turns, limits.max_turns)
    return replace(limits, max_turns=turns, max_tool_calls=chat.max_tool_calls)


def _check_sampling(chat: ChatRequest, traits: EngineTraits, engine: str) -> None:
    """What the engine has no word for is refused, not left out."""
    sampling = chat.sampling
    lacking = {
        "logit_bias": bool(sampling.logit_bias) and not traits.logit_bias,
        "logprobs": sampling.logprobs is not None and not traits.logprobs,
    }
    for name, missing in lacking.items():
        if missing:
            message = f"The engine '{engine}' of this model cannot do that: leave \"{name}\" out."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=name)


def _check_what_waits(chat: ChatRequest) -> None:
    if chat.store:
        return
    if chat.background:
        message = "Nobody could ask for a response that is not stored: leave 'store' at true, or 'background' out."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="background")
    for index, integration in enumerate(chat.integrations):
        if integration.approval.can_demand:
            message = "A response that is not stored cannot wait for approvals: leave 'store' at true."
            param = f"integrations.{index}.require_approval"
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)


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


def wished_reasoning(chat: ChatRequest, model: Model) -> ReasoningSetting | None:
    """The first of the wishes that the model offers; one that it does not where the chat demands one of them."""
    offered = () if model.reasoning is None else model.reasoning.allowed_options
    found: ReasoningSetting | None = next((wish for wish in chat.reasoning_wishes if wish in offered), None)
    if found is not None or not (chat.demands_reasoning and chat.reasoning_wishes):
        return found
    wished = chat.reasoning_wishes[0]
    return None if wished == "off" and model.reasoning is None else wished  # what is refused next


def _check_reasoning(chat: ChatRequest, model: Model, hint: str) -> None:
    if chat.reasoning is None:
        return
    if model.reasoning is None:
        message = f"Model '{model.key}' {NO_REASONING} {hint}".rstrip()
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")
    if chat.reasoning not in model.reasoning.allowed_options:
        options = ", ".join(f"'{option}'" for option in model.reasoning.allowed_options)
        message = f"Reasoning setting '{chat.reasoning}' is not supported by model '{model.key}'. Supported settings: {options}."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")
