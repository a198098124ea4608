"""Branches that leave a stored response at any point, also inside it, and go on from there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.placed import Outcome, PlacedCall, PlacedItem
from orchestrator.core.request import IntegrationRequest, Resumed
from orchestrator.core.tools import text_content
from orchestrator.ports import ForkPoint, ResponseStore, StoredResponse, StoredRun
from orchestrator.service.callers import Caller
from orchestrator.service.chat_parameters import stored_chat, stored_integrations
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService, TakenUp
from orchestrator.service.ids import new_call_id, new_response_id
from orchestrator.service.live_runs import LiveRun


@dataclass(frozen=True, slots=True)
class EditedResult:
    """What the branch takes a tool to have said; the tool is not called."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """Where a branch leaves a response, and what is different in it.

    `call_id` names the call that is made anew, with `arguments` in the place of its own, or that gets
    `result`, while the rest of its turn is kept; `position` counts the output items that are kept, and with them
    what is left of the turn of the last one; neither is the end. `integrations` None
    are those of the response. `changes` are fields of `ChatRequest` with their new values, `sampling`
    those of its `Sampling`.
    """

    response_id: str
    call_id: str | None = None
    position: int | None = None
    arguments: JsonObject | None = None
    result: EditedResult | None = None
    input: tuple[InputItem, ...] | None = None
    integrations: tuple[IntegrationRequest, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ForkService:
    """Starts branches."""

    def __init__(self, chats: ChatService, store: ResponseStore) -> None:
        self._chats = chats
        self._store = store

    async def fork(self, request: ForkRequest, caller: Caller) -> LiveRun:
        """Start the branch: a new response beside the old one, or after it where it leaves at the end with new input.

        Raises:
            OrchestratorError: `response_not_found`, `response_not_finished`, `invalid_value` on `at` and its
                kin, `integration_credentials_required`, or as `ChatService.start`.
        """
        caller.require("chat", "The API token has no permission to chat.")
        stored = await self._store.get_response(request.response_id, caller.owner)
        run = await self._store.read_run(request.response_id, caller.owner)
        if stored is None or run is None:
            message = "There is no such response, or it is not stored, or it is somebody else's."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        if stored.status in ("in_progress", "awaiting_approval"):
            message = f"The response is {stored.status}: only one that is over can be left for a branch."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="response_id")
        if "model" not in stored.parameters and "model" not in request.changes:
            message = "No model wrote this response: name one in 'model'."
            raise OrchestratorError(ErrorKind.MISSING_REQUIRED_PARAMETER, message, param="model")
        run = replace(run, items=_without_gap(run.items))
        chat = self._chat(request, stored)
        position = _position(request, run)
        if request.input is not None and position == len(run.items):
            after = replace(chat, input=request.input, previous_response_id=stored.id)
            return await self._chats.start(after, caller)
        if request.input is not None and (position > 0 or request.call_id is not None):
            message = "New input goes with the position 0, where it takes the place of the old, or with the end."
            raise _wrong("input", message)
        call = _call(request, run, position)
        rest = _rest_of_turn(run.items, position - (call is None))
        if call is None:
            # Half of a turn is none that the model wrote: all of its calls are kept, with what they answered.
            _check_place(run.items[:position], position, run)
            position, rest = position + rest, 0
            kept = run.items[:position]
        else:
            kept = (*run.items[:position], *run.items[position + 1 : position + 1 + rest])
        if any(isinstance(item, PlacedCall) and item.outcome is None for item in kept):
            raise _wrong("at", "A call before this point was never settled.")
        taken_up = TakenUp(
            response_id=new_response_id(),
            resumed=Resumed(kept, call=call),
            tool_names=run.tool_names,
            root_id=stored.root_id,
            forked_from=ForkPoint(stored.id, position, rest),
        )
        return await self._chats.start(replace(chat, input=request.input or chat.input), caller, taken_up)

    def _chat(self, request: ForkRequest, stored: StoredResponse) -> ChatRequest:
        given = request.integrations
        chat = stored_chat(stored, stored_integrations(stored, ()) if given is None else given)
        return replace(chat, sampling=replace(chat.sampling, **request.sampling), **request.changes)


def _position(request: ForkRequest, run: StoredRun) -> int:
    """How many items are kept."""
    if request.call_id is None:
        if request.arguments is not None or request.result is not None:
            field = "arguments" if request.arguments is not None else "output"
            raise _wrong(field, "Name the call that this is for in 'at.call_id'.")
        position = len(run.items) if request.position is None else request.position
        if position > len(run.items):
            raise _wrong("at.position", f"The response has {len(run.items)} items.")
        return position
    for item in run.items:
        if isinstance(item, PlacedCall) and item.call_id == request.call_id:
            return item.position
    raise _wrong("at.call_id", f"The response has no call '{request.call_id}'.")


def _rest_of_turn(items: Sequence[PlacedItem], position: int) -> int:
    """How many items of the same turn stand behind the item at `position`; none where there is no such item."""
    if not 0 <= position < len(items):
        return 0
    return sum(item.turn == items[position].turn for item in items[position + 1 :])


def _without_gap(items: Sequence[PlacedItem]) -> tuple[PlacedItem, ...]:
    """The items up to a place that stayed open: a branch that failed before it made its call has one."""
    return tuple(item for place, item in enumerate(items) if item.position == place)


def _call(request: ForkRequest, run: StoredRun, position: int) -> PlacedCall | None:
    """The call that the branch makes anew, as a call of its own."""
    if request.call_id is None:
        return None
    if request.arguments is not None and request.result is not None:
        raise _wrong("output", "A call either runs with other arguments or gets another result.")
    old = run.items[position]
    assert isinstance(old, PlacedCall)
    arguments = request.arguments if request.arguments is not None else _last_arguments(old)
    call = PlacedCall(
        position=position,
        turn=old.turn,
        call_id=new_call_id(),
        model_name=old.model_name,
        arguments_text=_arguments_text(old, arguments),
        arguments=arguments,
    )
    if request.result is None:
        return call
    if old.tool is None or arguments is None:
        raise _wrong("at.call_id", "This call was invalid: there is nothing that it could have as its result.")
    told = request.result
    outcome = Outcome("edited", text_content(told.text), told.text, told.is_error)
    return replace(call, tool=old.tool, provider=old.provider, digest=old.digest, server=old.server, outcome=outcome)


def _arguments_text(old: PlacedCall, arguments: JsonObject | None) -> str:
    """As the model wrote them where they are the same, so that the prompt stays as it was; else in the order given."""
    if arguments is None or (old.arguments is not None and canonical_json(arguments) == canonical_json(old.arguments)):
        return old.arguments_text
    return json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)


def _last_arguments(call: PlacedCall) -> JsonObject | None:
    return call.arguments if call.edited is None else call.edited


def _check_place(kept: tuple[PlacedItem, ...], position: int, run: StoredRun) -> None:
    """A branch goes on with a new turn: it cannot begin in the middle of what the model was saying."""
    if not kept or isinstance(kept[-1], PlacedCall):
        return
    possible = [0, *(item.position + 1 for item in run.items if isinstance(item, PlacedCall))]
    listed = ", ".join(map(str, possible))
    if position == len(run.items):
        message = f"The model had nothing more to say there: give it new 'input', or leave earlier, at {listed}."
        raise _wrong("at", message)
    raise _wrong("at.position", f"A branch can begin before everything or right after a call: at {listed}.")


def _wrong(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
