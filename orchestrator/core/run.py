"""The run: one request as a pure state machine.

The rules:

1. It never awaits, reads no clock and mints no ids. Everything comes in through `feed`, everything
   it wants goes out of it, as a list of commands and stream events in the order in which they hold.
2. An input that the state does not admit raises `IllegalInputError` and changes nothing.
3. Journal, then execute: `CallTool` is issued only after `CallsJournaled` for that call.
4. Save, then announce: `chat.start` follows `ResponseOpened`, the success of a call follows
   `OutcomeRecorded`, `chat.end` follows the answer to `SaveResponse` and is the last thing said.
5. Only an offered tool is ever called, and only with arguments that match its schema. Everything
   else becomes an `InvalidToolCall`, which the model is told of.
6. A stop (`Cancel`, `Disconnect`, `Deadline`) ends the run once, from whatever state it is in; what
   the stopped work still says is heard and has no effect.

States: `Idle → Resolving → Opening → Loading → Generating ⇄ CallingTools → Saving → Ended`. The
table of transitions is `states.TRANSITIONS`; the documentation is checked against it by a test.
"""

from collections import Counter
from dataclasses import replace
from typing import Final, TypeAlias, assert_never

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.calls import abandon, identity, output_entry, refuse
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.offering import chosen_tool, offer
from orchestrator.core.prompt import PromptMessage, opening_messages, turn_messages
from orchestrator.core.request import RunRequest
from orchestrator.core.response import (
    Cancelled,
    ChatResult,
    Completed,
    Counters,
    Ending,
    Failed,
    Incomplete,
    Stats,
    sum_stats,
)
from orchestrator.core.states import (
    CallingTools,
    Ended,
    Generating,
    Idle,
    Loading,
    Opening,
    Resolving,
    RunState,
    Saving,
)
from orchestrator.core.tools import OfferedTool, bounded_result, cut_text, text_content, tool_key
from orchestrator.core.turn import TurnAssembly

Emission: TypeAlias = c.Command | s.StreamEvent


ABANDONED: Final = "The call was cut short: whether it took effect is not known."
NOT_RUN: Final = "This call was not run: {why}."


class Run:
    """One request in flight. See the rules at the top of this file."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.state: RunState = Idle()
        self._offered: dict[str, OfferedTool] = {}
        self._messages: list[PromptMessage] = []
        self._items: list[c.PlacedItem] = []
        self._journaled = 0
        self._unrecorded: set[str] = set()
        self._counters: list[Counters] = []
        self._load_seconds: float | None = None
        self._asked: Counter[str] = Counter()
        self._stopped = False

    def feed(self, event: i.RunInput) -> list[Emission]:
        """Take one input and return what follows from it, in order.

        Raises:
            IllegalInputError: the state does not admit this input; nothing has changed.
        """
        match event:
            case i.Cancel(reason):
                return self._stop(Cancelled(reason), reason)
            case i.Disconnect():
                return self._stop(Incomplete("client_gone"), "the client went away")
            case i.Deadline():
                return self._stop(Incomplete("deadline"), "the run's time is over")
            case _:
                return self._advance(event)

    def _advance(self, event: i.RunInput) -> list[Emission]:
        state = self.state
        match state:
            case Idle():
                return self._idle(event)
            case Resolving():
                return self._resolving(event)
            case Opening():
                return self._opening(event)
            case Loading():
                return self._loading(state, event)
            case Generating(turn):
                return self._generating(turn, event)
            case CallingTools():
                return self._calling_tools(state, event)
            case Saving():
                return self._saving(state, event)
            case Ended():
                return self._ended(event)
            case _:
                assert_never(state)

    def _illegal(self, event: i.RunInput) -> IllegalInputError:
        return IllegalInputError(f"{type(event).__name__} is not admitted in {type(self.state).__name__}")

    # ---- one method a state -------------------------------------------------------------------

    def _idle(self, event: i.RunInput) -> list[Emission]:
        if not isinstance(event, i.Start):
            raise self._illegal(event)
        self.state = Resolving()
        return [c.OpenIntegrations(self.request.integrations)]

    def _resolving(self, event: i.RunInput) -> list[Emission]:
        match event:
            case i.IntegrationsOpened(opened):
                offered = offer(self.request, opened)
                if isinstance(offered, ErrorInfo):
                    self.state = Ended(Failed(offered), announced=False)
                    return []
                self._offered = {tool.name: tool for tool in offered}
                self.state = Opening()
                names = {tool_key(tool.provider, tool.definition.name): tool.name for tool in offered}
                return [c.OpenResponse(offered, {**self.request.tool_names, **names})]
            case i.IntegrationsFailed(error):
                self.state = Ended(Failed(error), announced=False)
                return []
            case _:
                raise self._illegal(event)

    def _opening(self, event: i.RunInput) -> list[Emission]:
        match event:
            case i.ResponseOpened():
                self.state = Loading()
                request = self.request
                self._messages = list(opening_messages(request.system_prompt, request.history, request.input))
                return [self._chat_start(), c.LoadModel()]
            case i.StoreFailed(error):
                self.state = Ended(Failed(error), announced=False)
                return []
            case _:
                raise self._illegal(event)

    def _loading(self, state: Loading, event: i.RunInput) -> list[Emission]:
        instance = self.request.model_instance_id
        match event:
            case i.LoadStarted() if not state.announced:
                self.state = Loading(announced=True)
                return [s.ModelLoadStart(instance)]
            case i.LoadProgressed(progress) if state.announced:
                return [s.ModelLoadProgress(instance, progress)]
            case i.ModelReady(seconds) if state.announced == (seconds is not None):
                self._load_seconds = seconds
                loaded: list[Emission] = [] if seconds is None else [s.ModelLoadEnd(instance, seconds)]
                return loaded + self._next_turn()
            case i.EngineFailed(error):
                return self._save(Failed(error))
            case _:
                raise self._illegal(event)

    def _generating(self, turn: TurnAssembly, event: i.RunInput) -> list[Emission]:
        match event:
            case i.QueueMoved(position):
                return [s.QueuePosition(position)]
            case i.PromptProgressed(progress):
                return [*turn.prompt_progressed(progress)]
            case i.ReasoningArrived(text):
                return [*turn.text_arrived("reasoning", text)]
            case i.TextArrived(text):
                return [*turn.text_arrived("message", text)]
            case i.CallOpened(index, name, call_id):
                return [*turn.call_opened(index, name, call_id)]
            case i.CallArgumentsArrived(index, text):
                return [*turn.call_arguments_arrived(index, text)]
            case i.GenerationFinished(reason, counters):
                self._counters.append(counters)
                return self._finish_turn(turn, cut=reason == "length")
            case i.EngineFailed(error):
                return [*self._break_off(turn), *self._save(Failed(error))]
            case _:
                raise self._illegal(event)

    def _calling_tools(self, state: CallingTools, event: i.RunInput) -> list[Emission]:
        match event:
            case i.CallsJournaled() if not state.journaled:
                self._journaled = len(self._items)
                if not state.open:
                    return self._after_turn()
                self._unrecorded.update(state.open)
                self.state = replace(state, journaled=True)
                return [self._call_tool(item) for item in self._open_calls()]
            case i.CallReturned(call_id, result, duration_ms) if state.journaled and self._is_running(call_id):
                limits = self.request.limits
                result = bounded_result(result, limits.max_tool_output_bytes)
                shown = cut_text(result.text, limits.max_tool_output_model_bytes, kept="the journal has the rest")
                outcome = c.Outcome("succeeded", result.content, shown, result.is_error, duration_ms, result.structured)
                return self._settle(call_id, outcome)
            case i.CallBroke(call_id, message, duration_ms) if state.journaled and self._is_running(call_id):
                return self._settle(
                    call_id, c.Outcome("failed", text_content(message), message, is_error=True, duration_ms=duration_ms)
                )
            case i.OutcomeRecorded(call_id) if call_id in state.open and not self._is_running(call_id):
                self._unrecorded.discard(call_id)
                self.state = replace(state, open=state.open - {call_id})
                success = self._success(call_id)
                return [success] if self.state.open else [success, *self._after_turn()]
            case i.StoreFailed(error):
                return [c.StopWork("the store failed"), *self._save(Failed(error))]
            case _:
                raise self._illegal(event)

    def _saving(self, state: Saving, event: i.RunInput) -> list[Emission]:
        ending = state.ending
        match event:
            case i.ResponseSaved():
                stored_as = self.request.response_id if self.request.store else None
            case i.StoreFailed(error):
                stored_as, ending = None, Failed(error)
            case i.Start():
                raise self._illegal(event)
            case _ if self._stopped:
                return []
            case _:
                raise self._illegal(event)
        self.state = Ended(ending, announced=True)
        errors = [s.ErrorEvent(ending.error)] if isinstance(ending, Failed) else []
        return [*state.pending, *errors, s.ChatEnd(self._result(ending, stored_as))]

    def _ended(self, event: i.RunInput) -> list[Emission]:
        if self._stopped and not isinstance(event, i.Start | i.ResponseSaved):
            return []
        raise self._illegal(event)

    # ---- turns --------------------------------------------------------------------------------

    def _next_turn(self) -> list[Emission]:
        number = len(self._counters) + 1
        self.state = Generating(TurnAssembly(number, len(self._items), self._offered))
        request = self.request
        generate = c.Generate(
            number,
            tuple(self._messages),
            tuple(self._offered.values()),
            request.sampling,
            request.reasoning,
            self._budget(),
            # A choice binds the first turn only: a model that must always call never answers.
            chosen_tool(request.tool_choice, tuple(self._offered.values())) or "auto" if number == 1 else "auto",
            request.response_format,
        )
        return [s.PromptProcessingStart(), generate]

    def _finish_turn(self, turn: TurnAssembly, *, cut: bool) -> list[Emission]:
        events, items = turn.finish(cut=cut)
        calls = [item for item in items if isinstance(item, c.PlacedCall)]
        budget = self._budget()
        ending: Ending | None = None
        if cut or (calls and budget is not None and budget <= 0):
            ending = Incomplete("max_output_tokens")
        elif not calls:
            ending = Completed()
        elif self._repeats(calls):
            ending = Incomplete("identical_calls")
        if ending is not None:
            limit = ending == Incomplete("max_output_tokens")
            why = NOT_RUN.format(
                why="the limit of output tokens was reached" if limit else "the same call was made too often"
            )
            self._items += [
                refuse(item, why) if isinstance(item, c.PlacedCall) and item.outcome is None else item for item in items
            ]
            refused = [item.call_id for item in calls if item.outcome is None]
            return [*events, *self._save(ending, tuple(self._success(call_id) for call_id in refused))]
        self._items += items
        self.state = CallingTools(
            journaled=False, open=frozenset(call.call_id for call in calls if call.outcome is None)
        )
        return [*events, c.JournalCalls(tuple(items))]

    def _after_turn(self) -> list[Emission]:
        number = len(self._counters)
        self._messages += turn_messages(output_entry(item) for item in self._items if item.turn == number)
        if number >= self.request.limits.max_turns:
            return self._save(Incomplete("max_turns"))
        return self._next_turn()

    def _break_off(self, turn: TurnAssembly) -> list[s.StreamEvent]:
        self._counters.append(Counters())
        events, items = turn.finish(cut=False, broken_off=True)
        self._items += items
        return events

    def _budget(self) -> int | None:
        limit = self.request.max_output_tokens
        return None if limit is None else limit - sum(turn.output_tokens or 0 for turn in self._counters)

    def _repeats(self, calls: list[c.PlacedCall]) -> bool:
        self._asked.update(identity(call) for call in calls)
        return any(self._asked[identity(call)] > self.request.limits.max_identical_calls for call in calls)

    # ---- calls --------------------------------------------------------------------------------

    def _open_calls(self) -> list[c.PlacedCall]:
        return [item for item in self._items if isinstance(item, c.PlacedCall) and item.outcome is None]

    def _is_running(self, call_id: str) -> bool:
        return any(call.call_id == call_id for call in self._open_calls())

    def _call_tool(self, call: c.PlacedCall) -> c.CallTool:
        return c.CallTool(call.call_id, self._offered[call.model_name], call.arguments or {})

    def _settle(self, call_id: str, outcome: c.Outcome) -> list[Emission]:
        position = next(call.position for call in self._open_calls() if call.call_id == call_id)
        self._replace_call(position, outcome)
        return [c.RecordOutcome(call_id, outcome)]

    def _replace_call(self, position: int, outcome: c.Outcome) -> None:
        call = self._items[position]
        assert isinstance(call, c.PlacedCall)
        self._items[position] = replace(call, outcome=outcome)

    def _success(self, call_id: str) -> s.ToolCallSuccess:
        call = next(item for item in self._items if isinstance(item, c.PlacedCall) and item.call_id == call_id)
        item = output_entry(call).item
        assert not isinstance(item, s.Message | s.Reasoning | s.InvalidToolCall)
        return s.ToolCallSuccess(item)

    # ---- ends ---------------------------------------------------------------------------------

    def _stop(self, ending: Ending, why: str) -> list[Emission]:
        state = self.state
        match state:
            case Saving() | Ended():
                return []
            case Idle() | Resolving():
                self._stopped = True
                if isinstance(ending, Incomplete) and ending.reason == "deadline":
                    message = "The run's time was over before its integrations were connected."
                    ending = Failed(ErrorInfo(ErrorKind.INTERNAL_ERROR, message))
                self.state = Ended(ending, announced=False)
                return [] if isinstance(state, Idle) else [c.StopWork(why)]
            case Opening():
                self._stopped = True
                return [c.StopWork(why), *self._save(ending, (self._chat_start(),))]
            case Loading():
                self._stopped = True
                return [c.StopWork(why), *self._save(ending)]
            case Generating(turn):
                self._stopped = True
                return [c.StopWork(why), *self._break_off(turn), *self._save(ending)]
            case CallingTools():
                self._stopped = True
                return [c.StopWork(why), *self._save(ending)]
            case _:
                assert_never(state)

    def _save(self, ending: Ending, pending: tuple[s.StreamEvent, ...] = ()) -> list[Emission]:
        """Settle what is still open and ask for the save; `pending` waits until it is done."""
        open_calls = self.state.open if isinstance(self.state, CallingTools) else frozenset[str]()
        for call in self._open_calls():
            journaled = call.position < self._journaled
            self._items[call.position] = (
                abandon(call, ABANDONED) if journaled else refuse(call, NOT_RUN.format(why="the run ended"))
            )
        announcements = [
            self._success(item.call_id)
            for item in self._items
            if isinstance(item, c.PlacedCall) and item.call_id in open_calls
        ]
        outcomes = [
            (item.call_id, item.outcome)
            for item in self._items
            if isinstance(item, c.PlacedCall) and item.call_id in self._unrecorded and item.outcome is not None
        ]
        self.state = Saving(ending, (*pending, *announcements))
        return [c.SaveResponse(ending, self._stats(), tuple(self._items[self._journaled :]), tuple(outcomes))]

    def _chat_start(self) -> s.ChatStart:
        request = self.request
        return s.ChatStart(request.model_instance_id, request.response_id if request.store else None)

    def _stats(self) -> Stats:
        return sum_stats(tuple(self._counters), self._load_seconds)

    def _result(self, ending: Ending, stored_as: str | None) -> ChatResult:
        output = tuple(output_entry(item).item for item in self._items)
        return ChatResult(self.request.model_instance_id, output, self._stats(), ending, stored_as)
