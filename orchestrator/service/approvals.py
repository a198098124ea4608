"""Decisions about calls that wait for somebody's approval, and the runs that go on after them."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import anyio
import structlog

from orchestrator.core.approvals import Approve, Decision
from orchestrator.core.calls import executed_arguments
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.placed import PlacedCall
from orchestrator.core.redacted_run import restored_input, restored_opening
from orchestrator.core.redaction import holds_marker
from orchestrator.core.request import IntegrationRequest, Resumed
from orchestrator.core.response import ChatResult, Suspended
from orchestrator.core.stream import ChatEnd, ChatStart, StreamEvent
from orchestrator.core.tools import argument_problems
from orchestrator.ports import CallDecision, ResponseStore, StoredResponse, StoredRun
from orchestrator.service.callers import Caller
from orchestrator.service.chat_parameters import stored_chat, stored_integrations
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService, TakenUp
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.recorded_turns import recorded_choice
from orchestrator.service.runs import RunService

LOOK_SECONDS: Final = 5.0
EXPIRED: Final = "The call was not run: nobody approved it in time."

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """What somebody decides about calls of one response, in the order given.

    `integrations` bring what the store does not keep: header values and queries of addresses.
    Where another response goes on with the `next_chat`, this one ends when its calls are run or refused.
    """

    response_id: str
    decisions: Sequence[tuple[str, Decision]]
    integrations: tuple[IntegrationRequest, ...] = ()
    next_chat: ChatRequest | None = None


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """A response that goes on waiting, to be read as a run is."""

    chat: ChatResult

    @property
    def response_id(self) -> str | None:
        return self.chat.response_id

    async def started(self) -> None:
        """It is there already."""

    async def events(self, after: int = 0) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """Its beginning and its end."""
        start = ChatStart(self.chat.model_instance_id, self.chat.response_id)
        for number, event in enumerate((start, ChatEnd(self.chat)), 1):
            if number > after:
                yield number, event

    async def result(self) -> ChatResult:
        """How it is."""
        return self.chat

    def disconnect(self) -> None:
        """Nothing runs that could end."""


class ApprovalService:
    """Takes decisions; the last one about a response sets its run going again.

    `keep` ends what nobody decided about in time, and belongs into the lifespan's task group.
    """

    def __init__(self, chats: ChatService, runs: RunService, store: ResponseStore) -> None:
        self._chats = chats
        self._runs = runs
        self._store = store

    async def decide(self, request: DecisionRequest, caller: Caller) -> LiveRun | StillWaiting:
        """Take these decisions down. Where none is left to make, the response goes on; the run is returned.

        Of several who decide about the same call one is heard. The decisions that set the run going
        are written down when its integrations are connected and its response is taken up, all at
        once: where that fails, or the next chat would be refused, nothing was decided.

        Raises:
            OrchestratorError: `response_not_found`; `approval_conflict` where the response does not wait, or a
                call was decided about; `invalid_value` for an unknown call or arguments that do not fit;
                `integration_credentials_required`; or as `ChatService.start`.
        """
        caller.require("chat", "The API token has no permission to chat.")
        await self._runs.put_away(request.response_id, caller.owner)
        stored, run = await self._waiting(request.response_id, caller)
        _check(request.decisions, stored, run)
        decisions = dict(request.decisions)
        waits_on = bool({call.call_id for call in stored.pending} - decisions.keys())
        if request.next_chat is not None:  # results of functions may come with the last of the decisions
            demands = request.next_chat.demands_results and not waits_on
            await self._chats.check(replace(request.next_chat, demands_results=demands), caller, stored)
        if waits_on:
            made = [self._made(call_id, decision, caller) for call_id, decision in decisions.items()]
            if not await self._store.record_decisions(stored.id, made):
                return StillWaiting(_result(stored, run, decisions.keys()))
            stored, run = await self._waiting(stored.id, caller)  # somebody else decided about the rest meanwhile
            decisions = {}
        return await self._go_on(stored, run, decisions, request, caller)

    async def expire(self) -> None:
        """End what nobody decided about in time."""
        for response_id in await self._store.end_expired(datetime.now(UTC), EXPIRED):
            log.warning("nobody decided in time: the response is incomplete now", response_id=response_id)

    async def keep(self) -> None:
        """Look every few seconds for what has expired; runs until cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            try:
                await self.expire()
            except OrchestratorError as error:
                log.error("expired approvals could not be looked after", reason=error.info.message)

    async def _waiting(self, response_id: str, caller: Caller) -> tuple[StoredResponse, StoredRun]:
        stored = await self._store.get_response(response_id, caller.owner)
        run = await self._store.read_run(response_id, caller.owner)
        if stored is None or run is None:
            message = "There is no such response, or it is not stored, or it is somebody else's."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        if stored.status != "awaiting_approval" or run.suspension is None:
            message = f"The response is {stored.status}: no call of it waits for approval."
            raise OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message, param="response_id")
        return stored, run

    async def _go_on(
        self,
        stored: StoredResponse,
        run: StoredRun,
        decisions: Mapping[str, Decision],
        request: DecisionRequest,
        caller: Caller,
    ) -> LiveRun:
        assert run.suspension is not None
        recorded = {made.call_id: made.decision for made in run.decisions}
        _check_whole(run, {**recorded, **decisions})
        stored = _as_it_began(stored, run.suspension.withheld)
        resumed = Resumed(
            items=run.items,
            reopens=True,
            decisions={**recorded, **decisions},
            counters=run.suspension.counters,
            load_seconds=run.suspension.load_seconds,
            warnings=run.suspension.warnings,
            ends_after=max(item.turn for item in run.items) if request.next_chat is not None else None,
        )
        chat = stored_chat(stored, stored_integrations(stored, request.integrations))
        taken_up = TakenUp(
            stored.id,
            resumed,
            run.tool_names,
            stored.root_id,
            run.suspension.elapsed_seconds,
            frozenset(recorded),
            # What no model began no model goes on with: a call that was made directly ends with its result.
            written=None if chat.model else recorded_choice((), stored.model_key),
        )
        return await self._chats.start(chat, caller, taken_up)

    def _made(self, call_id: str, decision: Decision, caller: Caller) -> CallDecision:
        return CallDecision(call_id, decision, caller.owner, caller.token_id, datetime.now(UTC))


def _check(decisions: Sequence[tuple[str, Decision]], stored: StoredResponse, run: StoredRun) -> None:
    waiting = [call.call_id for call in stored.pending]
    calls = {item.call_id: item for item in run.items if isinstance(item, PlacedCall)}
    schemas = {tool.digest: tool.definition.input_schema for tool in run.offered}
    for place, (call_id, decision) in enumerate(decisions):
        if call_id in [earlier for earlier, _ in decisions[:place]]:
            raise _wrong(place, "call_id", f"There are two decisions about the call '{call_id}'.")
        if call_id not in calls:
            listed = ", ".join(waiting) or "none"
            raise _wrong(place, "call_id", f"The response has no such call. Calls that wait for approval: {listed}.")
        if call_id not in waiting:
            message = f"The call '{call_id}' does not wait for approval: it needed none, or somebody has decided."
            raise OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message, param=f"approvals.{place}.call_id")
        if isinstance(decision, Approve) and decision.arguments is not None:
            problems = argument_problems(schemas.get(calls[call_id].digest or "", {}), decision.arguments)
            if problems is not None:
                raise _wrong(place, "arguments", f"The arguments do not match the tool's input schema: {problems}")


def _check_whole(run: StoredRun, decisions: Mapping[str, Decision]) -> None:
    """No call runs with a marker of redaction in the place of what its model wrote."""
    calls = {item.call_id: item for item in run.items if isinstance(item, PlacedCall)}
    for call_id, decision in decisions.items():
        if isinstance(decision, Approve):
            call = calls[call_id]
            if holds_marker(executed_arguments(call) if decision.arguments is None else decision.arguments):
                message = (
                    f"The true arguments of the call '{call_id}' were redacted and cannot be read any more: the "
                    "encryption key that they were kept with is not here. Approve it with 'arguments', or deny it."
                )
                raise OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message, param="approvals")


def _as_it_began(stored: StoredResponse, withheld: JsonObject | None) -> StoredResponse:
    """The response with what redaction took out of its beginning, as far as that was kept."""
    if withheld is None:
        return stored
    prompt, parameters = restored_opening(withheld)
    return replace(
        stored,
        input=restored_input(stored.input, withheld),
        system_prompt=stored.system_prompt if prompt is None else prompt,
        parameters=stored.parameters if parameters is None else parameters,
    )


def _wrong(place: int, field: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"approvals.{place}.{field}")


def _result(stored: StoredResponse, run: StoredRun, decided: Collection[str]) -> ChatResult:
    assert run.suspension is not None
    return ChatResult(
        stored.model_instance_id,
        tuple(entry.item for entry in stored.output),
        stored.stats,
        Suspended(tuple(call for call in stored.pending if call.call_id not in decided), run.suspension.expires_at),
        stored.id,
        stored.warnings,
    )
