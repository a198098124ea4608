"""The promises of the run, over random sequences of legal and illegal inputs."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeGuard

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.approvals import ApprovalPolicy, Approve, Decision, Deny, ToolFilter
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.items import Message, OutputItem, PluginProvider, Reasoning
from orchestrator.core.request import Limits, PluginRequest, Resumed
from orchestrator.core.response import ChatResult, Counters, Suspended
from orchestrator.core.server_requests import Elicitation, Progress, SamplingReply
from orchestrator.core.states import TRANSITIONS, CallingTools, Ended, Generating, Loading
from tests.core.dialogue import ADD, PING, Dialogue, asked, opened, said

ERRORS = st.builds(ErrorInfo, st.sampled_from(ErrorKind), st.text(max_size=5))
TEXT = st.sampled_from(["a", "b c", " ", "\n\n", ""])
NAMES = st.sampled_from(["add", "ping", "nope", "read_tool_output"])
ARGUMENTS = st.sampled_from(
    ["{}", '{"a":1,"b":2}', '{"a":1', "[]", "", '{"a":"x","b":2}', '{"n":1}', '{"call_id":"call_0","offset":9}']
)
COUNTERS = st.builds(Counters, output_tokens=st.one_of(st.none(), st.integers(0, 5)))
DECISIONS: st.SearchStrategy[Decision] = st.sampled_from(
    [Approve(), Approve({"a": 5, "b": 5}), Approve({"a": "x"}), Deny(), Deny("no")]
)
LATER = datetime(2026, 3, 2, tzinfo=UTC)
STOPS: st.SearchStrategy[i.StopInput] = st.sampled_from([i.Cancel("asked"), i.Disconnect(), i.Deadline()])
ANYTHING: st.SearchStrategy[i.RunInput] = st.one_of(
    STOPS,
    st.sampled_from(
        [
            i.Start(),
            opened(ADD),
            i.ResponseOpened(),
            i.LoadStarted(),
            i.ModelReady(),
            i.CallsJournaled(),
            i.ResponseSaved(),
            i.ResponseSuspended(datetime(2026, 3, 2, tzinfo=UTC)),
            i.OfferExtended(),
            i.CallProgressed("call_0", Progress(0.5)),
            i.UserAsked("elicit_0", "call_0", PluginProvider("mcp/clock"), Elicitation("?"), 1.0),
            i.UserAnswered("elicit_0", "cancel"),
            i.ModelSampled("call_0", PluginProvider("mcp/clock"), SamplingReply("", "m", "endTurn")),
        ]
    ),
    st.builds(i.StoreFailed, ERRORS),
    st.builds(i.EngineFailed, ERRORS),
    st.builds(i.IntegrationsFailed, ERRORS),
    st.builds(i.LoadProgressed, st.floats(0, 1)),
    st.builds(i.PromptProgressed, st.floats(0, 1)),
    st.builds(i.TextArrived, TEXT),
    st.builds(i.ReasoningArrived, TEXT),
    st.builds(i.CallOpened, st.integers(0, 2), NAMES, st.just("call_never")),
    st.builds(i.CallArgumentsArrived, st.integers(0, 3), ARGUMENTS),
    st.builds(i.GenerationFinished, st.sampled_from(["stop", "tool_calls", "length"]), COUNTERS),
    st.builds(i.CallReturned, st.sampled_from(["call_0", "call_1", "call_x"]), st.just(said("x")), st.just(1)),
    st.builds(i.CallBroke, st.sampled_from(["call_0", "call_1", "call_x"]), TEXT, st.just(1)),
    st.builds(i.OutcomeRecorded, st.sampled_from(["call_0", "call_1", "call_x"])),
)


class RunMachine(RuleBasedStateMachine):
    """A world that answers the run's commands, now and then with something that it must not say."""

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(max_turns=3, max_identical_calls=2, max_tool_output_model_bytes=512)
        policy = ApprovalPolicy(always=ToolFilter(("add",)))
        clock = (PluginRequest("mcp/clock", approval=policy),)
        self.d = Dialogue(asked(integrations=clock, limits=limits, max_output_tokens=12))
        self.stored: dict[int, c.PlacedItem] = {}
        self.approved: set[str] = set()
        self.begin()

    def begin(self) -> None:
        self.fed: list[i.RunInput] = []
        self.earlier = {position for position, item in self.stored.items() if not is_waiting(item)}
        self.journaled = {item.call_id for item in self.stored.values() if isinstance(item, c.PlacedCall)}
        self.unjournaled: set[str] = set()

    def tell(self, event: i.RunInput) -> None:
        before = type(self.d.run.state).__name__
        had_ended = isinstance(self.d.run.state, Ended)
        frozen = pickle.dumps(self.d.run)
        try:
            emissions = self.d.feed(event)
        except IllegalInputError:
            assert pickle.dumps(self.d.run) == frozen
            return
        self.fed.append(event)
        assert type(self.d.run.state).__name__ in TRANSITIONS[before]
        assert not (had_ended and emissions)
        if isinstance(event, i.CallsJournaled):
            self.journaled |= self.unjournaled
        for emission in emissions:
            if isinstance(emission, c.RecordOutcome):
                [call] = [item for item in self.stored.values() if is_waiting(item, emission.call_id)]
                self.stored[call.position] = replace(call, outcome=emission.outcome)
            if isinstance(emission, c.JournalCalls):
                self.stored |= {item.position: item for item in emission.items}
                self.unjournaled |= {item.call_id for item in emission.items if isinstance(item, c.PlacedCall)}
            if isinstance(emission, c.CallTool):
                assert emission.call_id in self.journaled
                assert emission.tool.definition != ADD or emission.call_id in self.approved
            if isinstance(emission, s.ChatEnd):
                assert isinstance(event, i.ResponseSaved | i.StoreFailed | i.ResponseSuspended)
                assert (emission.result.response_id is None) == isinstance(event, i.StoreFailed)
            if isinstance(emission, s.ChatStart):
                assert any(
                    isinstance(earlier, i.ResponseOpened | i.Cancel | i.Disconnect | i.Deadline) for earlier in self.fed
                )

    def in_state(self, *names: str) -> bool:
        return type(self.d.run.state).__name__ in names

    @rule(event=ANYTHING)
    def anything_at_all(self, event: i.RunInput) -> None:
        if isinstance(event, i.CallOpened):
            event = i.CallOpened(event.index, event.name, self.new_id())
        if isinstance(event, i.Cancel | i.Disconnect | i.Deadline) and self.ids % 3:
            return  # stops would otherwise end nearly every run before it gets anywhere
        self.tell(event)

    def new_id(self) -> str:
        self.ids += 1
        return f"call_{self.ids - 1}"

    ids = 0

    @precondition(lambda self: isinstance(self.d.run.state, Ended) and isinstance(self.d.run.state.ending, Suspended))
    @rule(data=st.data())
    def somebody_decides(self, data: st.DataObject) -> None:
        """The run is taken up from what a store has of it."""
        self.an_announced_end_is_the_fold_of_its_stream()
        waiting = [item.call_id for item in self.stored.values() if is_waiting(item)]
        decisions = {call_id: data.draw(DECISIONS) for call_id in waiting if data.draw(st.sampled_from([1, 1, 1, 0]))}
        self.approved |= {call_id for call_id, decision in decisions.items() if isinstance(decision, Approve)}
        suspend = self.d.commands[-1]
        assert isinstance(suspend, c.SuspendResponse)
        items = tuple(self.stored[position] for position in sorted(self.stored))
        assert [item.position for item in items] == list(range(len(items)))
        resumed = Resumed(items, True, decisions, None, suspend.counters, suspend.load_seconds)
        self.d = Dialogue(replace(self.d.request, resumed=resumed))
        self.begin()

    @precondition(lambda self: self.in_state("Idle", "Resolving", "Opening", "AwaitingApproval", "Saving"))
    @rule(well=st.sampled_from([True, True, True, False]), error=ERRORS)
    def the_world_answers(self, well: bool, error: ErrorInfo) -> None:
        answers: dict[str, tuple[i.RunInput, i.RunInput]] = {
            "Idle": (i.Start(), i.Start()),
            "Resolving": (opened(ADD, PING), i.IntegrationsFailed(error)),
            "Opening": (i.ResponseOpened(), i.StoreFailed(error)),
            "AwaitingApproval": (i.ResponseSuspended(LATER), i.StoreFailed(error)),
            "Saving": (i.ResponseSaved(), i.StoreFailed(error)),
        }
        self.tell(answers[type(self.d.run.state).__name__][0 if well else 1])

    @precondition(lambda self: self.in_state("Loading"))
    @rule(load=st.booleans())
    def the_model_gets_ready(self, load: bool) -> None:
        state = self.d.run.state
        assert isinstance(state, Loading)
        if load and not state.announced:
            self.tell(i.LoadStarted())
            self.tell(i.LoadProgressed(1.0))
        state = self.d.run.state
        self.tell(i.ModelReady(1.0 if isinstance(state, Loading) and state.announced else None))

    @precondition(lambda self: self.in_state("Generating"))
    @rule(reasoning=TEXT, text=TEXT, calls=st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3), counters=COUNTERS)
    def the_model_writes_a_turn(
        self, reasoning: str, text: str, calls: list[tuple[str, str]], counters: Counters
    ) -> None:
        assert isinstance(self.d.run.state, Generating)
        self.tell(i.ReasoningArrived(reasoning))
        self.tell(i.TextArrived(text))
        for index, (name, arguments) in enumerate(calls):
            self.tell(i.CallOpened(index + 10, name, self.new_id()))
            self.tell(i.CallArgumentsArrived(index + 10, arguments))
        self.tell(i.GenerationFinished("tool_calls" if calls else "stop", counters))

    @precondition(lambda self: self.in_state("CallingTools"))
    @rule(data=st.data(), broke=st.booleans())
    def a_tool_answers(self, data: st.DataObject, broke: bool) -> None:
        state = self.d.run.state
        assert isinstance(state, CallingTools)
        if not state.journaled:
            self.tell(i.CallsJournaled())
            return
        if not state.open:
            self.tell(i.OfferExtended())
            return
        call_id = data.draw(st.sampled_from(sorted(state.open)))
        long = data.draw(st.sampled_from([1, 1000]))
        if [item for item in self.stored.values() if is_waiting(item, call_id)]:
            self.tell(i.CallBroke(call_id, "broke", 1) if broke else i.CallReturned(call_id, said("x" * long), 1))
        self.tell(i.OutcomeRecorded(call_id))

    @invariant()
    def the_stream_begins_with_start_and_ends_once(self) -> None:
        events = self.d.events
        assert not events or isinstance(events[0], s.ChatStart)
        assert sum(isinstance(event, s.ChatStart) for event in events) <= 1
        assert not any(isinstance(event, s.ChatEnd) for event in events[:-1])
        assert sum(isinstance(command, c.SaveResponse) for command in self.d.commands) <= 1

    @invariant()
    def an_announced_end_is_the_fold_of_its_stream(self) -> None:
        state = self.d.run.state
        if not isinstance(state, Ended):
            return
        assert bool(self.d.events) == state.announced
        if not state.announced:
            return
        fold = s.StreamFold()
        for event in self.d.events:
            fold.apply(event)
        assert fold.result is not None
        suspended = isinstance(state.ending, Suspended)
        assert fold.output() == tuple(
            item for position, item in self.placed_output(fold.result) if position not in self.earlier
        )
        assert (None in fold.items) == suspended
        waiting = {item.call_id for item in self.stored.values() if is_waiting(item)} if suspended else set[str]()
        new = [key(item) for position, item in self.placed_output(fold.result) if position not in self.earlier]
        assert new == [opened for opened in openings(self.d.events) if opened not in waiting]
        saves = [command for command in self.d.commands if isinstance(command, c.SaveResponse | c.SuspendResponse)]
        assert isinstance(saves[-1], c.SuspendResponse) == suspended

    def placed_output(self, result: ChatResult) -> list[tuple[int, OutputItem]]:
        """The items of the reply with their positions; what waits on has none there."""
        suspended = isinstance(result.ending, Suspended)
        waiting = {position for position, item in self.stored.items() if suspended and is_waiting(item)}
        free = (position for position in range(len(result.output) + len(waiting)) if position not in waiting)
        return list(zip(free, result.output, strict=True))

    def teardown(self) -> None:
        """However far it came, a cancel ends it, once."""
        if isinstance(self.d.run.state, Ended):
            return
        self.tell(i.Cancel("over"))
        if self.in_state("AwaitingApproval"):
            self.tell(i.ResponseSuspended(LATER))
        if not isinstance(self.d.run.state, Ended):
            self.tell(i.ResponseSaved())
        assert isinstance(self.d.run.state, Ended)
        self.the_stream_begins_with_start_and_ends_once()
        self.an_announced_end_is_the_fold_of_its_stream()


def is_waiting(item: c.PlacedItem, call_id: str | None = None) -> TypeGuard[c.PlacedCall]:
    """Whether it is a call, or this one, without an outcome."""
    return isinstance(item, c.PlacedCall) and item.outcome is None and call_id in (None, item.call_id)


def key(item: OutputItem) -> str:
    return type(item).__name__ if isinstance(item, Message | Reasoning) else item.call_id


def openings(events: list[s.StreamEvent]) -> list[str]:
    """The items in the order in which the model opened them, as the stream tells it."""
    seen: list[str] = []
    named: dict[type[s.StreamEvent], Callable[[s.StreamEvent], str]] = {
        s.ReasoningStart: lambda _: "Reasoning",
        s.MessageStart: lambda _: "Message",
        s.ToolCallStart: lambda event: getattr(event, "call_id", ""),
        s.ToolCallFailure: lambda event: getattr(event, "call_id", ""),
    }
    for event in events:
        name = named.get(type(event), lambda _: "")(event)
        if name in ("Reasoning", "Message") or (name and name not in seen):
            seen.append(name)
    return seen


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
