"""Running a stored response again: the model's turns from the store and the tools live, or the other way round."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

from orchestrator.core.calls import executed_arguments
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import Message
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.placed import PlacedCall, PlacedItem, PlacedText
from orchestrator.core.request import IntegrationRequest, Resumed
from orchestrator.core.tools import provider_label
from orchestrator.ports import IntegrationCatalog, ResponseStore, StoredResponse, StoredRun
from orchestrator.service.branches import REPLAY
from orchestrator.service.callers import Caller
from orchestrator.service.chat_parameters import stored_chat, stored_integrations
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService, Replayed, TakenUp
from orchestrator.service.ids import new_response_id
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.recorded_answers import RecordedAnswers
from orchestrator.service.recorded_turns import (
    RecordedCall,
    RecordedPart,
    RecordedReasoning,
    RecordedText,
    RecordedTurn,
    recorded_choice,
)
from orchestrator.service.replay_sessions import LiveToolsCatalog, ReplayRules, StoredToolsCatalog

LiveOrStored: TypeAlias = Literal["live", "stored"]


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Which response is run again, and what of it anew.

    With `tools` live the model's turns come from the store, with `tools` stored the model writes anew, be
    it another `model`. `allow_tools`, each `<label>/<tool>`, run live though they are not annotated
    read-only. `integrations` are those whose header values or query the store does not have. The replay
    continues `previous_response_id`, or where that is None what the original continued.
    """

    response_id: str
    tools: LiveOrStored = "live"
    allow_tools: tuple[str, ...] = ()
    model: str | None = None
    integrations: tuple[IntegrationRequest, ...] = ()
    previous_response_id: str | None = None


class ReplayService:
    """Starts replays."""

    def __init__(self, chats: ChatService, store: ResponseStore, catalog: IntegrationCatalog) -> None:
        self._chats = chats
        self._store = store
        self._catalog = catalog

    async def start(self, request: ReplayRequest, caller: Caller) -> LiveRun:
        """Start the replay: a response of its own beside the original, which stays as it is.

        Raises:
            OrchestratorError: `response_not_found`, `response_not_finished`, `invalid_value` on `allow_tools`
                or `model`, `integration_credentials_required`, or as `ChatService.start`.
        """
        caller.require("chat", "The API token has no permission to chat.")
        stored = await self._store.get_response(request.response_id, caller.owner)
        run = await self._store.read_run(request.response_id, caller.owner)
        if stored is None or run is None:
            message = "There is no such response, or it is not stored, or it is somebody else's."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        if stored.status in ("in_progress", "awaiting_approval"):
            message = f"The response is {stored.status}: only one that is over can be run again."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="response_id")
        _check_allowed(request, run)
        taken_up = TakenUp(
            new_response_id(),
            # What was checked when the original began is not refused now: what is gone shows in the report.
            Resumed(ends_after=_last_turn(stored, run)),
            run.tool_names,
            stored.root_id,
        )
        if request.tools == "live":
            return await self._with_live_tools(request, caller, stored, run, taken_up)
        return await self._with_live_model(request, caller, stored, run, taken_up)

    async def _with_live_tools(
        self, request: ReplayRequest, caller: Caller, stored: StoredResponse, run: StoredRun, taken_up: TakenUp
    ) -> LiveRun:
        if request.model is not None:
            raise _wrong("model", "No model writes where the tools are live: its turns come from the store.")
        chat = _chat(request, stored, stored_integrations(stored, request.integrations))
        rules = ReplayRules(frozenset(request.allow_tools))
        policies = [integration.approval for integration in chat.integrations]
        catalog = LiveToolsCatalog(self._catalog, RecordedAnswers(run.items), rules, policies)
        cut = stored.incomplete_reason == "max_output_tokens"
        taken_up = replace(
            taken_up,
            written=recorded_choice(
                recorded_turns(run.items), stored.model_key, cut=cut, stop_sequence=stored.stop_sequence
            ),
            replayed=Replayed(stored.id, catalog, _parameters(request, stored)),
        )
        return await self._chats.start(chat, caller, taken_up)

    async def _with_live_model(
        self, request: ReplayRequest, caller: Caller, stored: StoredResponse, run: StoredRun, taken_up: TakenUp
    ) -> LiveRun:
        if request.integrations:
            raise _wrong("integrations", "No server is connected where the tools' answers come from the store.")
        chat = _chat(request, stored, ())
        chat = replace(chat, model=request.model or chat.model)
        if not chat.model:
            message = "No model wrote this response: name one in 'model'."
            raise OrchestratorError(ErrorKind.MISSING_REQUIRED_PARAMETER, message, param="model")
        catalog = StoredToolsCatalog(run.offered, RecordedAnswers(run.items))
        parameters = {**_parameters(request, stored), "model": chat.model}
        replayed = Replayed(stored.id, catalog, parameters, catalog.requests())
        return await self._chats.start(chat, caller, replace(taken_up, replayed=replayed))


def _chat(request: ReplayRequest, stored: StoredResponse, integrations: Sequence[IntegrationRequest]) -> ChatRequest:
    chat = stored_chat(stored, integrations)
    return replace(chat, previous_response_id=request.previous_response_id or chat.previous_response_id)


def _last_turn(stored: StoredResponse, run: StoredRun) -> int | None:
    """The turn whose calls were only settled, where the response ended with that: what came next is another response's."""
    last = max((item.turn for item in run.items), default=0)
    calls = [item for item in run.items if item.turn == last and isinstance(item, PlacedCall)]
    # What no model began, a direct call, ends behind its call in any case; a client's function ends each turn that calls it.
    if not calls or stored.status != "completed" or "model" not in stored.parameters:
        return None
    return None if any(call.is_handed_over for call in calls) else last


def recorded_turns(items: Sequence[PlacedItem]) -> list[RecordedTurn]:
    """What the model wrote, turn by turn; its calls with the arguments that they ran with."""
    turns: list[list[RecordedPart]] = [[] for _ in range(max((item.turn for item in items), default=0))]
    for item in items:
        turns[item.turn - 1].append(_part(item))
    return [*turns]


def _part(item: PlacedItem) -> RecordedPart:
    match item:
        case PlacedText(item=said):
            return RecordedText(said.content) if isinstance(said, Message) else RecordedReasoning(said.content)
        case PlacedCall():
            arguments = item.arguments_text if item.edited is None else canonical_json(executed_arguments(item))
            if item.tool is None:
                return RecordedCall(item.model_name, arguments, call_id=item.call_id)
            return RecordedCall(item.tool, arguments, item.provider, item.call_id)
        case _:
            assert_never(item)


def _parameters(request: ReplayRequest, stored: StoredResponse) -> JsonObject:
    return {**stored.parameters, REPLAY: {"tools": request.tools, "allow_tools": [*request.allow_tools]}}


def _check_allowed(request: ReplayRequest, run: StoredRun) -> None:
    if request.allow_tools and request.tools == "stored":
        raise _wrong("allow_tools", "No tool is called where the tools' answers come from the store.")
    offered = {f"{provider_label(tool.provider)}/{tool.definition.name}": None for tool in run.offered}
    for place, name in enumerate(request.allow_tools):
        if name not in offered:
            message = f"The response was offered no tool '{name}'. Its tools: {', '.join(offered) or 'none'}."
            raise _wrong(f"allow_tools.{place}", message)


def _wrong(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
