"""Opens or continues a chain: everything that can be refused is refused here, before a run begins."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.core.approvals import NEVER
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import FunctionCallInput, heads_of
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import Past, PastResponse
from orchestrator.core.request import (
    IntegrationRequest,
    Limits,
    Resumed,
    RunRequest,
)
from orchestrator.core.response import Completed
from orchestrator.core.tools import ToolKey
from orchestrator.core.transcript import transcript_prefixes
from orchestrator.ports import Chain, ForkPoint, IntegrationCatalog, ResponseStore, StoredResponse
from orchestrator.service.admission import Place
from orchestrator.service.caller_catalog import as_caller
from orchestrator.service.callers import Caller
from orchestrator.service.chain_context import check_sight, prompt_in_force, without_heads_before
from orchestrator.service.chat_checks import (
    check_model,
    check_reasoning,
    check_sampling,
    check_what_waits,
    permitted_integrations,
    wished_reasoning,
    with_named_results,
)
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


@dataclass(frozen=True, slots=True)
class _Checked:
    """A chat that nothing is wrong with, what it continues, and what it is for."""

    chat: ChatRequest
    chain: Chain
    choice: ModelChoice
    instances: InstanceService


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
        checked = await self._checked(chat, caller, None if taken_up is None else taken_up.written)
        history = checked.chain.responses
        if checked.choice.model.vision:
            history = await with_pictures(history, self._store, caller.owner)
        prompt = await prompt_in_force(checked.chat, checked.chain, self._store, caller.owner)
        chat = replace(checked.chat, system_prompt=prompt)
        resumed = None if taken_up is None else taken_up.resumed
        written_before = 0 if resumed is None else sum(turn.output_tokens or 0 for turn in resumed.counters)
        async with self._quotas.admitted(caller, chat.max_output_tokens, written=written_before) as ticket:
            return self._start_admitted(
                chat, caller, taken_up, checked.chain, history, checked.choice, checked.instances, ticket
            )

    async def check(self, chat: ChatRequest, caller: Caller, behind: StoredResponse) -> None:
        """Refuse what `start` would refuse of a chat that goes on `behind` a response whose calls wait. It changes nothing.

        Raises:
            OrchestratorError: as `start`, but for what the token has used up.
        """
        chain = Chain((), None)
        if behind.previous_response_id is not None:
            chain = await self._store.load_chain(behind.previous_response_id, caller.owner)
        asked = PastResponse(behind.input, behind.output)
        checked = await self._checked(chat, caller, None, replace(chain, responses=(*chain.responses, asked)))
        checked.instances.choose(checked.choice, chat.context_length, chat.ttl_seconds).leave()

    async def _checked(
        self,
        chat: ChatRequest,
        caller: Caller,
        written: tuple[ModelChoice, InstanceService] | None,
        chain: Chain | None = None,
    ) -> _Checked:
        """The chat with all that is found out about it; the chain is the given one, or is loaded."""
        chat = replace(chat, integrations=permitted_integrations(chat, caller))
        check_what_waits(chat)
        self._catalog.check(chat.integrations)
        choice, instances = written or (await self._models.find(chat.model), self._instances)
        model = choice.model
        chat = replace(chat, reasoning=chat.reasoning or wished_reasoning(chat, model))
        if written is None:
            check_model(chat, model)
            check_reasoning(chat, model, choice.engine.traits.reasoning_hint)
        if chat.response_format is not None:
            choice.engine.check_response_format(chat.response_format)
        check_sampling(chat, choice.engine.traits, choice.engine.name)
        if chain is None:
            chat, chain = await self._placed(chat, caller.owner)
        if written is None:
            check_sight(model, chain.responses)
        chat = replace(chat, input=with_named_results(chat, chain.responses))
        return _Checked(chat, chain, choice, instances)

    async def _placed(self, chat: ChatRequest, owner: str) -> tuple[ChatRequest, Chain]:
        """The chat as what continues a chain, and that chain."""
        named = chat.previous_response_id is not None
        known_again = chat.stateless and chat.store and not named
        if known_again:
            chat = await self._known_again(chat, owner)
        if chat.previous_response_id is None:
            return chat, Chain((), None)
        chain = await self._load_chain(chat, chat.previous_response_id, owner)
        return replace(chat, input=without_heads_before(chat, chain)) if known_again else chat, chain

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

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this whether or not the client that asked for it stays; it raises nothing."""
        self._runs.keep(work)

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


def _limits(chat: ChatRequest, limits: Limits) -> Limits:
    turns = min(chat.max_turns or limits.max_turns, limits.max_turns)
    return replace(limits, max_turns=turns, max_tool_calls=chat.max_tool_calls)
