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
   A call of a function of the client's is journaled and handed over: the run ends with its turn.
6. A call that needs approval is journaled and not run. Once no other call is under way the run is put
   away; a run that is taken up again (`request.Resumed`) is another `Run` of the same response, and
   runs what was approved if its tool is still the one that was called.
7. A stop (`Cancel`, `Disconnect`, `Deadline`) ends the run once, from whatever state it is in; what
   the stopped work still says is heard and has no effect.

States: `Idle → Resolving → Opening → Loading → Generating ⇄ CallingTools → Saving → Ended`, and
`CallingTools → AwaitingApproval → Ended` for a run that is put away (`states.TRANSITIONS`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias, assert_never

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.briefing import Briefing
from orchestrator.core.calls import broke, pending_approval, refuse_all, refuse_what_cannot_be, returned
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.guards import Guards
from orchestrator.core.ledger import Ledger
from orchestrator.core.request import Resumed, RunRequest
from orchestrator.core.response import (
    Cancelled,
    ChatResult,
    Close,
    Completed,
    Ending,
    Failed,
    Incomplete,
    Stats,
    Suspended,
    sum_stats,
)
from orchestrator.core.resumption import begun, carry_out_decisions, coming_call
from orchestrator.core.server_news import server_news
from orchestrator.core.states import (
    AwaitingApproval,
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
from orchestrator.core.turn import TurnAssembly, TurnChunk

Emission: TypeAlias = c.Command | s.StreamEvent


class Run:
    """One request in flight. See the rules at the top of this file."""

    def __init__(self, request: RunRequest) -> None:
        self.state: RunState = Idle()
        self._resumed = resumed = request.resumed or Resumed()
        self._ledger = Ledger(resumed.items)
        self._briefing = Briefing(request, self._ledger)
        self.offered = self._briefing.offered
        self._guards = Guards(request, resumed.counters, self._ledger.calls())
        self._load_seconds = resumed.load_seconds
        self._stopped = False

    @property
    def request(self) -> RunRequest:
        """What is run, with what it took of its servers as soon as they are connected."""
        return self._briefing.request

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
            case AwaitingApproval():
                return self._awaiting_approval(event)
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
                opening = self._briefing.take(opened)
                failed = isinstance(opening, ErrorInfo)
                self.state = Ended(Failed(opening), announced=False) if failed else Opening()
                return [] if failed else [opening]
            case i.IntegrationsFailed(error):
                self.state = Ended(Failed(error), announced=False)
                return []
            case _:
                raise self._illegal(event)

    def _opening(self, event: i.RunInput) -> list[Emission]:
        match event:
            case i.ResponseOpened():
                self.state = Loading()
                self._briefing.begin()
                return [*self._briefing.opening_events(), c.LoadModel()]
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
                if seconds is not None:
                    self._load_seconds = seconds + (self._load_seconds or 0.0)
                loaded: list[Emission] = [] if seconds is None else [s.ModelLoadEnd(instance, seconds)]
                return loaded + self._go_on()
            case i.EngineFailed(error):
                return self._save(Failed(error))
            case _:
                raise self._illegal(event)

    def _generating(self, turn: TurnAssembly, event: i.RunInput) -> list[Emission]:
        match event:
            case i.QueueMoved(position):
                return [s.QueuePosition(position)]
            case (
                i.PromptProgressed()
                | i.ReasoningArrived()
                | i.TextArrived()
                | i.CallOpened()
                | i.CallArgumentsArrived()
            ):
                return self._hear(turn, event)
            case i.GenerationFinished():
                return self._finish_turn(turn, event)
            case i.EngineFailed(error):
                return [*self._break_off(turn), *self._save(Failed(error))]
            case _:
                raise self._illegal(event)

    def _hear(self, turn: TurnAssembly, chunk: TurnChunk) -> list[Emission]:
        """What the model writes; where the turn is over and it writes on, it is stopped, once."""
        was_over = turn.is_over
        events = turn.hear(chunk)
        return [*events] if turn.is_over is was_over else [*events, c.StopWriting(), *self._briefing.stopped_short()]

    def _calling_tools(self, state: CallingTools, event: i.RunInput) -> list[Emission]:
        match event:
            case i.CallsJournaled() if not state.journaled:
                self._ledger.journaled()
                self.state = replace(state, journaled=True, pending=())
                return [*state.pending, *self._begin_calls(state)]
            case i.CallReturned(call_id, result, duration_ms) if (call := self._running(state, call_id)) is not None:
                settled = returned(call, result, self.request.limits, duration_ms, self._briefing.reader.name)
                return [*self._settle(settled), *self._briefing.doubts(call, result)]
            case i.CallBroke(call_id, message, duration_ms) if (call := self._running(state, call_id)) is not None:
                return self._settle(broke(call, message, self.request.limits, duration_ms, self._briefing.reader.name))
            case i.OutputRead(call_id, output) if (call := self._running(state, call_id)) is not None:
                if not self._briefing.is_reading(call):
                    raise self._illegal(event)
                return self._settle(self._briefing.read(call, output))
            case i.CallProgressed() | i.UserAsked() | i.UserAnswered() | i.ModelSampled() if state.journaled:
                return [*server_news(event, lambda call_id: self._running(state, call_id) is not None)]
            case i.OfferExtended() if state.journaled and not state.open and not state.waiting:
                return self._next_turn()
            case i.OutcomeRecorded(call_id) if call_id in state.open and self._ledger.find_unsettled(call_id) is None:
                self._ledger.recorded(call_id)
                self.state = state = replace(state, open=state.open - {call_id})
                success = self._ledger.announcement(call_id)
                return [success] if state.open else [success, *self._after_calls(state)]
            case i.StoreFailed(error):
                return [c.StopWork("the store failed"), *self._save(Failed(error))]
            case _:
                raise self._illegal(event)

    def _awaiting_approval(self, event: i.RunInput) -> list[Emission]:
        match event:
            case i.ResponseSuspended(expires_at):
                ending = Suspended(tuple(pending_approval(call) for call in self._ledger.unsettled()), expires_at)
                self.state = Ended(ending, announced=True)
                return [s.ChatEnd(self._result(ending, self.request.response_id))]
            case i.StoreFailed(error):
                return self._save(Failed(error))
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

    def _go_on(self) -> list[Emission]:
        """The model is ready: settle what a resumed run has open, else write the next turn."""
        resumed = self._resumed
        coming = coming_call(resumed, self._briefing.offered)
        if coming is not None:
            announced = [] if coming.outcome is None else [coming.call_id]
            return [*begun(coming, None), *self._journal([coming], announced)]
        waiting = {call.call_id for call in self._ledger.unsettled()}
        if not waiting:
            return self._next_turn()
        open_calls = waiting & resumed.decisions.keys()
        state = self.state = CallingTools(True, frozenset(open_calls), frozenset(waiting - open_calls))
        refusals = carry_out_decisions(resumed, self._ledger, self._briefing.offered)
        return [*self._begin_calls(state), *refusals]

    def _next_turn(self) -> list[Emission]:
        turn, generate = self._briefing.next_turn(self._guards)
        self.state = Generating(turn)
        return [s.PromptProcessingStart(), generate]

    def _finish_turn(self, turn: TurnAssembly, end: i.GenerationFinished) -> list[Emission]:
        self._guards.counters.append(end.counters)
        cut = end.reason in ("length", "content_filter")
        events, items = turn.finish(cut=cut)
        calls = [item for item in items if isinstance(item, c.PlacedCall)]
        ended = self._guards.ending_after(calls, end)
        told = [call.call_id for call in calls if call.is_handed_over]
        if ended is not None:
            ending, why = ended
            items, refused = refuse_all(items, why)
            self._ledger.add(items)
            return [*events, *self._save(ending, self._announcements([*told, *refused]))]
        items, refused = refuse_what_cannot_be(items, self._ledger.calls(), self.request)
        return [*events, *self._journal(items, [*told, *refused])]

    def _journal(self, items: Sequence[c.PlacedItem], announced: Sequence[str]) -> list[Emission]:
        """Write `items` down; the calls in `announced` are settled, and are told of once they are written."""
        self._ledger.add(items)
        unsettled = self._ledger.unsettled()
        self.state = CallingTools(
            journaled=False,
            open=frozenset(call.call_id for call in unsettled if not call.awaits_approval),
            waiting=frozenset(call.call_id for call in unsettled if call.awaits_approval),
            pending=self._announcements(announced),
        )
        return [c.JournalCalls(tuple(items))]

    def _after_turn(self) -> list[Emission]:
        self._briefing.turn_done()
        if self._briefing.is_over():
            return self._save(Completed())
        if self._guards.out_of_turns():
            return self._save(Incomplete("max_turns"))
        extension = self._briefing.extension()
        return self._next_turn() if extension is None else [extension]

    def _break_off(self, turn: TurnAssembly) -> list[s.StreamEvent]:
        self._guards.counters.append(turn.heard())
        events, items = turn.finish(cut=False, broken_off=True)
        self._ledger.add(items)
        return events

    # ---- calls --------------------------------------------------------------------------------

    def _begin_calls(self, state: CallingTools) -> list[Emission]:
        """What becomes of calls that the journal has."""
        emissions = [emission for call in self._ledger.unsettled() for emission in self._begin_call(state, call)]
        return emissions if state.open else [*emissions, *self._after_calls(state)]

    def _after_calls(self, state: CallingTools) -> list[Emission]:
        """Every call that may run has its outcome."""
        if not state.waiting:
            return self._after_turn()
        self.state = AwaitingApproval()
        counters, warnings = tuple(self._guards.counters), self._briefing.warnings
        return [c.SuspendResponse(self._stats(), counters, self._load_seconds, warnings)]

    def _running(self, state: CallingTools, call_id: str) -> c.PlacedCall | None:
        """The call of that id, where it is under way."""
        return self._ledger.find_unsettled(call_id) if state.journaled and call_id in state.open else None

    def _begin_call(self, state: CallingTools, call: c.PlacedCall) -> list[Emission]:
        if call.call_id in state.waiting:
            return [s.ToolCallApprovalRequired(pending_approval(call))]
        begun = self._briefing.begin_call(call)
        return self._settle(begun) if isinstance(begun, c.PlacedCall) else [begun]

    def _settle(self, call: c.PlacedCall) -> list[Emission]:
        assert call.outcome is not None
        self._ledger.put(call)
        return [c.RecordOutcome(call.call_id, call.outcome)]

    def _announcements(self, call_ids: Sequence[str]) -> tuple[s.StreamEvent, ...]:
        return tuple(self._ledger.announcement(call_id) for call_id in call_ids)

    # ---- ends ---------------------------------------------------------------------------------

    def _stop(self, ending: Ending, why: str) -> list[Emission]:
        state = self.state
        match state:
            case AwaitingApproval() | Saving() | Ended():
                return []
            case Idle() | Resolving():
                self._stopped = True
                if isinstance(ending, Incomplete) and ending.reason == "deadline":
                    message = "The run's time was over before its integrations were connected."
                    ending = Failed(ErrorInfo(ErrorKind.INTERNAL_ERROR, message))
                self.state = Ended(ending, announced=False)
                return [] if isinstance(state, Idle) else [c.StopWork(why)]
            case Opening():
                saving = self._save(ending, self._briefing.opening_events())
            case Generating(turn):
                saving = [*self._break_off(turn), *self._save(ending)]
            case Loading() | CallingTools():
                saving = self._save(ending)
            case _:
                assert_never(state)
        self._stopped = True
        return [c.StopWork(why), *saving]

    def _save(self, ending: Ending, pending: tuple[s.StreamEvent, ...] = ()) -> list[Emission]:
        """Settle what is still open and ask for the save; `pending` waits until it is done."""
        state = self.state
        untold = {call.call_id for call in self._ledger.unsettled()}
        under_way, waiting = frozenset[str](), frozenset[str]()
        if isinstance(state, CallingTools):
            pending, untold, waiting = (*pending, *state.pending), untold | state.open, state.waiting
            under_way = state.open if state.journaled else under_way
        self._ledger.settle_rest(under_way, waiting)
        announcements = self._announcements([id for call in self._ledger.calls() if (id := call.call_id) in untold])
        self.state = Saving(ending, (*pending, *announcements))
        return [c.SaveResponse(ending, self._stats(), *self._ledger.unsaved(), self._briefing.warnings)]

    def _stats(self) -> Stats:
        return sum_stats(tuple(self._guards.counters), self._load_seconds)

    def _result(self, ending: Close, stored_as: str | None) -> ChatResult:
        output, warnings = self._ledger.output(), self._briefing.warnings
        return ChatResult(self.request.model_instance_id, output, self._stats(), ending, stored_as, warnings)
