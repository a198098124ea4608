"""Executes the commands of one run and feeds it the answers: the only place where a run meets the world."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, assert_never

import anyio
import anyio.abc
import structlog

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import IntegrationRequest, RunRequest
from orchestrator.core.response import Counters
from orchestrator.core.run import Run
from orchestrator.core.server_requests import Progress, SamplingReply, SamplingRequest
from orchestrator.core.states import Ended
from orchestrator.core.stream import StreamEvent, Warned
from orchestrator.ports import (
    CallBegun,
    CallDecision,
    CallWatch,
    ForkPoint,
    IntegrationCatalog,
    IntegrationSession,
    NewResponse,
    ResponseStore,
    RunScope,
    Suspension,
    ThreadMove,
)
from orchestrator.service.admission import Place
from orchestrator.service.ids import new_call_id
from orchestrator.service.instances import Instance, InstanceService
from orchestrator.service.leases import LEASE_SECONDS
from orchestrator.service.materials import opened_integration, take_materials
from orchestrator.service.models import ModelChoice
from orchestrator.service.quotas import NO_TICKET, Ticket
from orchestrator.service.sampling import sample
from orchestrator.service.server_callbacks import NO_POLICIES, ServerCallbacks, ServerPolicies

log = structlog.stdlib.get_logger(__name__)

_Tagged: TypeAlias = tuple[int | None, i.RunInput]
_StorageCommand: TypeAlias = (
    c.OpenResponse
    | c.ReopenResponse
    | c.JournalCalls
    | c.RecordOutcome
    | c.ReadOutput
    | c.ExtendOffer
    | c.SuspendResponse
    | c.SaveResponse
)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run needs of the world, and what the store is told of it beside its content.

    `timeout_seconds` is for the whole run: of one that is taken up, `elapsed_seconds` are used up
    already, and the store has the `recorded_decisions`. A `lasting` run outlives its client. `created_at` None is when
    the response is opened.
    """

    choice: ModelChoice
    instances: InstanceService
    place: Place | None
    ttl_seconds: float | None
    catalog: IntegrationCatalog
    store: ResponseStore
    holder: str
    owner: str
    chain_id: str
    token_id: str | None
    previous_response_id: str | None
    parameters: JsonObject
    metadata: Mapping[str, str]
    timeout_seconds: float
    approval_timeout_seconds: float
    elapsed_seconds: float = 0.0
    created_at: datetime | None = None
    recorded_decisions: frozenset[str] = frozenset()
    forked_from: ForkPoint | None = None
    replay_of: str | None = None
    thread: ThreadMove | None = None
    policies: ServerPolicies = NO_POLICIES
    interactive: bool = False
    lasting: bool = False
    ticket: Ticket = NO_TICKET


class RunDriver:
    """Drives one run from its start to its end, in the task that calls `drive`.

    Storage commands are carried out in place, before the next input is taken; connecting,
    generating and calling run beside, and report through one queue. `publish` gets the stream,
    `settle` the tokens generated, before anybody can hear of the end.
    """

    def __init__(
        self,
        request: RunRequest,
        context: RunContext,
        publish: Callable[[StreamEvent], None],
        settle: Callable[[int], Awaitable[None]],
    ) -> None:
        self.run = Run(request)
        self._request = request
        self.context = context
        self._publish = publish
        self._settle = settle
        self._inbox: deque[_Tagged] = deque()
        self._wake = anyio.Event()
        self._epoch = 0
        self._work: list[anyio.CancelScope] = []
        self._writing = anyio.CancelScope()
        self._sessions: Sequence[IntegrationSession] = ()
        self._instance: Instance | None = None
        self._done = anyio.Event()
        self._started = 0.0
        self.ended_at: datetime | None = None
        self.callbacks = ServerCallbacks(
            context.policies,
            lambda event: self._report(self._epoch, event),
            self._sample,
            # Who does not know the id of the response cannot answer.
            interactive=context.interactive and request.store,
        )

    def tell(self, event: i.StopInput) -> None:
        """Hand in a stop from outside; heard before the work's next report."""
        self._inbox.appendleft((None, event))
        self._wake.set()

    async def drive(self) -> Ended:
        """Run to the end and return it; connections of the request are closed when this returns."""
        self._started = anyio.current_time()
        async with anyio.create_task_group() as workers:
            workers.start_soon(self._deadline)
            try:
                await self._carry_out(i.Start(), workers)
                while not isinstance(self.run.state, Ended):
                    await self._carry_out(await self._next_input(), workers)
            finally:
                self._done.set()
                if self.context.place is not None:
                    self.context.place.leave()
        state = self.run.state
        assert isinstance(state, Ended)
        return state

    async def _next_input(self) -> i.RunInput:
        while True:
            while self._inbox:
                epoch, event = self._inbox.popleft()
                if epoch is None or epoch == self._epoch:
                    return event
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _carry_out(self, event: i.RunInput, workers: anyio.abc.TaskGroup) -> None:
        """Feed one input and do all that follows from it."""
        emissions = deque(self.run.feed(event))
        while emissions:
            emission = emissions.popleft()
            match emission:
                case c.OpenIntegrations(integrations):
                    if integrations:
                        workers.start_soon(self._work_on, self._integrations(integrations), self._epoch)
                    else:
                        emissions += self.run.feed(i.IntegrationsOpened(()))
                case c.LoadModel():
                    workers.start_soon(self._work_on, self._hold_instance, self._epoch)
                case c.Generate():
                    workers.start_soon(self._work_on, self._generation(emission), self._epoch)
                case c.CallTool():
                    workers.start_soon(self._work_on, self._call(emission), self._epoch)
                case c.StopWriting():
                    self._writing.cancel()
                case c.StopWork():
                    self._stop_work()
                case (
                    c.OpenResponse()
                    | c.ReopenResponse()
                    | c.JournalCalls()
                    | c.RecordOutcome()
                    | c.SuspendResponse()
                    | c.ReadOutput()
                    | c.ExtendOffer()
                    | c.SaveResponse()
                ):
                    emissions += self.run.feed(await self._store(emission))
                case _:
                    if isinstance(emission, Warned):
                        log.warning("a request is worth a look", reason=emission.message)
                    self._publish(emission)

    # ---- storage, in place --------------------------------------------------------------------

    async def _store(self, command: _StorageCommand) -> i.RunInput:
        store, response_id, now = self.context.store, self._request.response_id, datetime.now(UTC)
        try:
            match command:
                case c.OpenResponse():
                    await store.open_response(self._new_response(command, now))
                    return i.ResponseOpened()
                case c.ReopenResponse(offered, tool_names, decisions):
                    made = [
                        CallDecision(call_id, decision, self.context.owner, self.context.token_id, now)
                        for call_id, decision in decisions.items()
                        if call_id not in self.context.recorded_decisions
                    ]
                    lease = now + timedelta(seconds=LEASE_SECONDS)
                    holder = self.context.holder
                    await store.resume_response(response_id, made, offered, tool_names, holder, now, lease)
                    return i.ResponseOpened()
                case c.JournalCalls(items):
                    await store.journal_calls(response_id, items, now)
                    return i.CallsJournaled()
                case c.RecordOutcome(call_id, outcome):
                    await store.record_outcome(response_id, call_id, outcome, now)
                    return i.OutcomeRecorded(call_id)
                case c.ReadOutput(call_id, wanted):
                    found = await store.read_outputs([wanted], self.context.owner)
                    return i.OutputRead(call_id, found.get(wanted))
                case c.ExtendOffer(offered, tool_names):
                    await store.extend_offer(response_id, offered, tool_names, now)
                    return i.OfferExtended()
                case c.SuspendResponse(stats, counters, load_seconds, warnings):
                    expires_at = now + timedelta(seconds=self.context.approval_timeout_seconds)
                    elapsed = self._elapsed()
                    await self._settle(stats.total_output_tokens)
                    suspension = Suspension(expires_at, counters, load_seconds, elapsed, warnings=warnings)
                    await store.suspend_response(response_id, suspension, stats, now)
                    return i.ResponseSuspended(expires_at)
                case c.SaveResponse(ending, stats, items, outcomes, warnings):
                    self.ended_at = now
                    await self._settle(stats.total_output_tokens)
                    await store.save_response(response_id, ending, stats, items, outcomes, now, warnings)
                    return i.ResponseSaved()
                case _:
                    assert_never(command)
        except OrchestratorError as error:
            log.error("the store failed", command=type(command).__name__, reason=error.info.message)
            return i.StoreFailed(error.info)

    def _new_response(self, command: c.OpenResponse, now: datetime) -> NewResponse:
        request, context = self._request, self.context
        return NewResponse(
            id=request.response_id,
            previous_response_id=context.previous_response_id,
            owner=context.owner,
            token_id=context.token_id,
            model_key=request.model_key,
            model_instance_id=request.model_instance_id,
            system_prompt=request.system_prompt,
            parameters=context.parameters,
            metadata=dict(context.metadata),
            input=self.run.request.input,  # with what it took of its servers
            stored=request.store,
            offered=command.offered,
            tool_names=dict(command.tool_names),
            holder=context.holder,
            created_at=self.context.created_at or now,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
            forked_from=context.forked_from,
            replay_of=context.replay_of,
            thread=context.thread,
            warnings=command.warnings,
        )

    def _elapsed(self) -> float:
        return self.context.elapsed_seconds + anyio.current_time() - self._started

    # ---- work, beside -------------------------------------------------------------------------

    def _report(self, epoch: int, event: i.RunInput) -> None:
        self._inbox.append((epoch, event))
        self._wake.set()

    def _stop_work(self) -> None:
        self._epoch += 1
        for scope in self._work:
            scope.cancel()

    async def _work_on(self, work: Callable[[int], Awaitable[None]], epoch: int) -> None:
        with anyio.CancelScope() as scope:
            self._work.append(scope)
            try:
                await work(epoch)
            finally:
                self._work.remove(scope)

    async def _deadline(self) -> None:
        with anyio.move_on_after(max(0.0, self.context.timeout_seconds - self.context.elapsed_seconds)):
            await self._done.wait()
        if not self._done.is_set():
            self.tell(i.Deadline())

    def _integrations(self, integrations: Sequence[IntegrationRequest]) -> Callable[[int], Awaitable[None]]:
        async def host(epoch: int) -> None:
            """Opens the sessions and closes them: both in this one task, as their transports demand."""
            connected = False
            response_id = self._request.response_id
            scope = RunScope(self.context.owner, self.context.chain_id, response_id, self.callbacks)
            try:
                async with self.context.catalog.open(integrations, scope) as sessions:
                    self._sessions = sessions
                    materials = await take_materials(integrations, sessions, self._request.limits)
                    opened = (
                        opened_integration(session, taken) for session, taken in zip(sessions, materials, strict=True)
                    )
                    self._report(epoch, i.IntegrationsOpened(tuple(opened)))
                    connected = True
                    await self._done.wait()
            except OrchestratorError as error:
                if connected:
                    log.warning("a connection did not close well", reason=error.info.message)
                else:
                    self._report(epoch, i.IntegrationsFailed(error.info))
            except Exception:
                log.exception("integrations failed unexpectedly")
                if not connected:
                    self._report(epoch, i.IntegrationsFailed(_unexpected("connecting the integrations")))

        return host

    async def _hold_instance(self, epoch: int) -> None:
        """Has the model ready, and keeps it from being unloaded until the run is over."""
        context, request = self.context, self._request
        try:
            async with context.instances.use(
                context.choice,
                request.model_instance_id,
                request.context_length,
                context.ttl_seconds,
                lambda step: self._report(epoch, step),
            ) as (instance, ready):
                self._instance = instance
                self._report(epoch, ready)
                await self._done.wait()
        except OrchestratorError as error:
            self._report(epoch, i.EngineFailed(error.info))
        except Exception:
            log.exception("loading failed unexpectedly")
            self._report(epoch, i.EngineFailed(_unexpected("loading the model")))

    def _generation(self, command: c.Generate) -> Callable[[int], Awaitable[None]]:
        async def generate(epoch: int) -> None:
            try:
                await self._generate(command, epoch)
            except OrchestratorError as error:
                self._report(epoch, i.EngineFailed(error.info))
            except Exception:
                log.exception("generating failed unexpectedly")
                self._report(epoch, i.EngineFailed(_unexpected("generating")))

        return generate

    async def _generate(self, command: c.Generate, epoch: int) -> None:
        context, instance = self.context, self._instance
        assert instance is not None  # a turn follows `ModelReady`, which follows it

        def moved(position: int) -> None:
            self._report(epoch, i.QueueMoved(position))

        finished = False
        with anyio.CancelScope() as self._writing:
            async with context.instances.slot(instance, context.owner, moved, context.place):
                chunks = instance.engine.generate(instance.model, instance.id, command)
                async with aclosing(chunks):
                    async for chunk in chunks:
                        finished = isinstance(chunk, i.GenerationFinished)
                        if isinstance(chunk, CallBegun):
                            self._report(epoch, i.CallOpened(chunk.index, chunk.name, new_call_id()))
                        else:
                            self._report(epoch, chunk)
        if self._writing.cancelled_caught and not finished:
            self._report(epoch, i.GenerationFinished("tool_calls", Counters()))

    async def _sample(self, asked: SamplingRequest) -> SamplingReply:
        context, instance = self.context, self._instance
        assert instance is not None  # calls follow a turn of the model
        async with context.instances.slot(instance, context.owner, lambda position: None):
            return await sample(instance, asked, context.policies.sampling_max_tokens)

    def _call(self, command: c.CallTool) -> Callable[[int], Awaitable[None]]:
        async def call(epoch: int) -> None:
            session = self._sessions[command.tool.integration]
            started = anyio.current_time()

            def progressed(progress: Progress) -> None:
                self._report(epoch, i.CallProgressed(command.call_id, progress))

            watch = CallWatch(command.call_id, progressed)
            try:
                result = await session.call_tool(command.tool.definition.name, command.arguments, watch)
            except OrchestratorError as error:
                self._report(epoch, i.CallBroke(command.call_id, error.info.message, _since(started)))
            except Exception:
                log.exception("a tool call failed unexpectedly", call_id=command.call_id)
                message = "The call failed inside the service."
                self._report(epoch, i.CallBroke(command.call_id, message, _since(started)))
            else:
                self._report(epoch, i.CallReturned(command.call_id, result, _since(started)))

        return call


def _since(started: float) -> int:
    return round((anyio.current_time() - started) * 1000)


def _unexpected(doing: str) -> ErrorInfo:
    return ErrorInfo(ErrorKind.INTERNAL_ERROR, f"Something unexpected happened while {doing}; the log has the details.")
