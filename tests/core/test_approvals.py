"""Calls that need somebody's approval: which, and what the run does until somebody has decided."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.approvals import (
    NEVER,
    ApprovalPolicy,
    ApprovalPolicyProblem,
    Approve,
    Decision,
    Deny,
    PendingApproval,
    ToolFilter,
    approval_policy_json,
    parse_approval_policy,
)
from orchestrator.core.calls import DENIED, UNAPPROVABLE, decided, pending_approval
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.items import Message, Reasoning, ServerIdentity, TextInput, ToolCall
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.prompt import AssistantMessage, PromptToolCall, ToolMessage, UserMessage
from orchestrator.core.request import Limits, PluginRequest, Resumed, RunRequest
from orchestrator.core.response import (
    Cancelled,
    ChatResult,
    Completed,
    Failed,
    Incomplete,
    Suspended,
    sum_stats,
)
from orchestrator.core.states import Ended
from orchestrator.core.tools import (
    OfferedTool,
    ToolAnnotations,
    ToolDefinition,
    definition_digest,
    definition_from_json,
    text_content,
)
from tests.core.dialogue import ADD, CLOCK, COUNTED, PING, Dialogue, asked, opened, said, with_clock

ALWAYS = ApprovalPolicy("always")
LOST = ErrorInfo(ErrorKind.STORE_ERROR, "the disk is full")
LATER = datetime(2026, 3, 2, tzinfo=UTC)


# ---- the policy ---------------------------------------------------------------------------------


def tool(name: str, *, read_only: bool | None = None, destructive: bool | None = None) -> ToolDefinition:
    return ToolDefinition(name, "", {}, annotations=ToolAnnotations(read_only=read_only, destructive=destructive))


@pytest.mark.parametrize(
    ("written", "demanded"),
    [
        ("never", ""),
        ("always", "bare look mild wipe"),
        ({}, "bare look mild wipe"),
        ({"never": {"tool_names": ["look"]}}, "bare mild wipe"),
        ({"always": {"tool_names": ["look"]}}, "look"),
        ({"always": {"tool_names": ["look"]}, "default": "always"}, "bare look mild wipe"),
        ({"never": {"read_only": True}}, "bare mild wipe"),
        ({"never": {"read_only": True, "destructive": False}}, "bare wipe"),
        ({"always": {"destructive": True}}, "bare wipe"),
        ({"always": {"read_only": False}}, "bare mild wipe"),
        ({"always": {"destructive": True}, "never": {"tool_names": ["wipe"]}, "default": "never"}, "bare"),
        ({"always": {"tool_names": ["wipe"]}, "never": {"tool_names": ["wipe", "bare"]}}, "look mild wipe"),
    ],
)
def test_names_decide_before_hints_and_always_before_never(written: JsonValue, demanded: str) -> None:
    tools = [
        tool("bare"),
        tool("look", read_only=True, destructive=True),
        tool("mild", destructive=False),
        tool("wipe", read_only=False, destructive=True),
    ]
    policy = parse_approval_policy(written)
    assert " ".join(one.name for one in tools if policy.demands(one)) == demanded
    assert parse_approval_policy(approval_policy_json(policy)) == policy
    assert policy.can_demand == (written != "never")


@pytest.mark.parametrize(
    ("written", "path", "problem"),
    [
        ("sometimes", "", "must be 'never' or 'always', or an object of these"),
        (None, "", "must be 'never' or 'always', or an object of these"),
        ({"default": "ask"}, "default", "must be 'never' or 'always'"),
        ({"allways": {}}, "allways", "takes only always, never, default"),
        ({"always": "all"}, "always", "must be an object"),
        ({"never": {"names": []}}, "never.names", "takes only tool_names, read_only, destructive"),
        ({"never": {"tool_names": "a"}}, "never.tool_names", "must be a list of names"),
        ({"never": {"tool_names": [1]}}, "never.tool_names", "must be a list of names"),
        ({"always": {"read_only": "yes"}}, "always.read_only", "must be true or false"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_with_its_place(written: JsonValue, path: str, problem: str) -> None:
    with pytest.raises(ApprovalPolicyProblem) as caught:
        parse_approval_policy(written)
    assert (caught.value.path, caught.value.problem) == (path, problem)


def test_a_definition_comes_back_from_its_json() -> None:
    full = ToolDefinition(
        "a", "b", {"type": "object"}, "c", {"type": "object"}, ToolAnnotations(True, False, True, None)
    )
    assert definition_from_json(full.as_json()) == full


@pytest.mark.parametrize(
    ("of_request", "of_server", "needs"),
    [
        (NEVER, NEVER, [False, False]),
        (ALWAYS, NEVER, [True, True]),
        (NEVER, ALWAYS, [True, True]),
        (ApprovalPolicy(always=ToolFilter(("add",))), ApprovalPolicy(always=ToolFilter(("ping",))), [True, True]),
        (ApprovalPolicy(never=ToolFilter(("add",))), ApprovalPolicy(always=ToolFilter(("add",))), [True, False]),
    ],
)
def test_neither_the_request_nor_mcp_json_loosens_the_other(
    of_request: ApprovalPolicy, of_server: ApprovalPolicy, needs: list[bool]
) -> None:
    d = Dialogue(asked(integrations=(PluginRequest("mcp/clock", approval=of_request),)))
    found = i.IntegrationsOpened((i.OpenedIntegration(CLOCK, (ADD, PING), approval=of_server),))
    d.feed(i.Start(), found)
    command = d.commands[-1]
    assert isinstance(command, c.OpenResponse)
    assert [offered.needs_approval for offered in command.offered] == needs


def test_a_policy_that_names_a_tool_which_the_server_lacks_is_refused() -> None:
    policy = ApprovalPolicy(always=ToolFilter(("add", "ad")))
    d = Dialogue(asked(integrations=(PluginRequest("mcp/clock", approval=policy),)))
    d.feed(i.Start(), opened(ADD))
    message = "'mcp/clock' has no tool 'ad'. Its tools: add."
    error = ErrorInfo(ErrorKind.INVALID_VALUE, message, "integrations.0.require_approval.always.tool_names.1")
    assert d.run.state == Ended(Failed(error), announced=False)


# ---- being put away -----------------------------------------------------------------------------


def cautious(**changes: object) -> RunRequest:
    """A request for the clock in which `add` needs approval and `ping` does not."""
    policy = ApprovalPolicy(always=ToolFilter(("add",)))
    return asked(integrations=(PluginRequest("mcp/clock", approval=policy),), **changes)


def put_away(*calls: tuple[str, str], **changes: object) -> Dialogue:
    """A run whose first turn makes these calls, after those that may run have answered."""
    d = Dialogue(cautious(**changes))
    started = d.until_calling(*calls)
    for command in started:
        if isinstance(command, c.CallTool):
            d.feed(i.CallReturned(command.call_id, said("pong"), 2), i.OutcomeRecorded(command.call_id))
    return d


def test_calls_that_need_approval_wait_while_the_others_run_and_then_the_run_is_put_away() -> None:
    d = Dialogue(cautious())
    begun = d.until_calling(("add", '{"a":1,"b":2}'), ("ping", "{}"))
    pending = PendingApproval("call_0", "add", {"a": 1, "b": 2}, CLOCK)
    journal = d.commands[-2]
    assert isinstance(journal, c.JournalCalls)
    assert [item.awaits_approval for item in journal.items if isinstance(item, c.PlacedCall)] == [True, False]
    assert begun[0] == s.ToolCallApprovalRequired(pending)
    assert [type(each) for each in begun] == [s.ToolCallApprovalRequired, c.CallTool]
    d.feed(i.CallReturned("call_1", said("pong"), 2))
    call = ToolCall("call_1", "ping", {}, text_content("pong"), CLOCK, is_error=False, duration_ms=2)
    stats = sum_stats((COUNTED,), None)
    assert d.feed(i.OutcomeRecorded("call_1")) == [s.ToolCallSuccess(call), c.SuspendResponse(stats, (COUNTED,), None)]
    assert d.feed(i.Cancel("too late")) == []
    ending = Suspended((pending,), LATER)
    assert d.feed(i.ResponseSuspended(LATER)) == [s.ChatEnd(ChatResult("demo/m", (call,), stats, ending, "resp_1"))]
    assert d.run.state == Ended(ending, announced=True)


def test_a_run_that_is_being_put_away_refuses_an_event_that_does_not_fit() -> None:
    d = put_away(("add", '{"a":1,"b":2}'))
    with pytest.raises(IllegalInputError):
        d.feed(i.ResponseSaved())


def test_a_run_with_nothing_else_to_do_is_put_away_at_once() -> None:
    d = put_away(("add", '{"a":1,"b":2}'))
    assert [type(each) for each in d.log[-2:]] == [s.ToolCallApprovalRequired, c.SuspendResponse]


def test_a_run_that_cannot_be_put_away_fails_and_its_calls_are_refused() -> None:
    d = put_away(("add", '{"a":1,"b":2}'))
    save = d.feed(i.StoreFailed(LOST))[0]
    why = "This call was not run: the run ended."
    outcome = c.Outcome("refused", text_content(why), why, is_error=True)
    assert isinstance(save, c.SaveResponse)
    assert (save.ending, save.items, save.outcomes) == (Failed(LOST), (), (("call_0", outcome),))
    d.feed(i.ResponseSaved())
    assert [type(event) for event in d.events[-3:]] == [s.ToolCallSuccess, s.ErrorEvent, s.ChatEnd]


def test_a_stop_refuses_what_waits_and_abandons_what_runs() -> None:
    d = Dialogue(cautious())
    d.until_calling(("add", '{"a":1,"b":2}'), ("ping", "{}"))
    stop, save = d.feed(i.Cancel("enough"))
    assert stop == c.StopWork("enough")
    assert isinstance(save, c.SaveResponse)
    assert [(call_id, outcome.status, outcome.shown) for call_id, outcome in save.outcomes] == [
        ("call_0", "refused", "This call was not run: nobody had approved it when the run ended."),
        ("call_1", "abandoned", "The call was cut short: whether it took effect is not known."),
    ]
    end = d.feed(i.ResponseSaved())[-1]
    assert isinstance(end, s.ChatEnd)
    assert [type(item) for item in end.result.output] == [ToolCall, ToolCall]


def test_a_response_that_is_not_stored_cannot_wait_so_the_call_is_refused_and_the_model_told() -> None:
    d = Dialogue(cautious(store=False))
    d.until_generating(ADD, PING)
    d.write(("add", '{"a":1,"b":2}'), ("ping", "{}"))
    why = f"This call was not run: {UNAPPROVABLE}."
    refused = ToolCall("call_0", "add", {"a": 1, "b": 2}, text_content(why), CLOCK, is_error=True, duration_ms=0)
    begun = d.feed(i.CallsJournaled())
    assert begun[0] == s.ToolCallSuccess(refused)
    assert isinstance(begun[1], c.CallTool)
    d.feed(i.CallReturned("call_1", said("pong"), 2))
    generate = d.feed(i.OutcomeRecorded("call_1"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[-2] == ToolMessage("call_0", "add", why)


def test_a_refused_call_is_told_of_even_where_the_run_stops_before_the_journal_has_it() -> None:
    d = Dialogue(cautious(store=False))
    d.until_generating(ADD, PING)
    d.write(("add", '{"a":1,"b":2}'), ("ping", "{}"))
    d.feed(i.Disconnect())
    told = [event.call.call_id for event in d.feed(i.ResponseSaved()) if isinstance(event, s.ToolCallSuccess)]
    assert told == ["call_0", "call_1"]


# ---- being taken up again -----------------------------------------------------------------------


def items_of(d: Dialogue) -> tuple[c.PlacedItem, ...]:
    """What a store would give back of a run that was put away."""
    journal = next(command for command in d.commands if isinstance(command, c.JournalCalls))
    outcomes = {command.call_id: command.outcome for command in d.commands if isinstance(command, c.RecordOutcome)}
    return tuple(
        replace(item, outcome=outcomes.get(item.call_id, item.outcome)) if isinstance(item, c.PlacedCall) else item
        for item in journal.items
    )


def taken_up(d: Dialogue, **decisions: Decision) -> Dialogue:
    resumed = Resumed(items_of(d), reopens=True, decisions=decisions, counters=(COUNTED,), load_seconds=1.5)
    names = {("plugin:mcp/clock", "add"): "add", ("plugin:mcp/clock", "ping"): "ping"}
    return Dialogue(replace(d.request, resumed=resumed, tool_names=names))


def test_an_approved_call_runs_when_the_model_is_ready_and_the_next_turn_follows() -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}'), ("ping", "{}")), call_0=Approve())
    assert d.feed(i.Start()) == [c.OpenIntegrations(d.request.integrations)]
    [reopen] = d.feed(opened(ADD, PING))
    assert isinstance(reopen, c.ReopenResponse)
    assert (reopen.tool_names, reopen.decisions) == (d.request.tool_names, {"call_0": Approve()})
    assert d.feed(i.ResponseOpened()) == [
        s.ChatStart("demo/m", "resp_1"),
        s.ToolCallStart("call_0", "add", CLOCK),
        s.ToolCallArguments("call_0", "add", {"a": 1, "b": 2}, CLOCK),
        c.LoadModel(),
    ]
    assert d.feed(i.ModelReady()) == [c.CallTool("call_0", reopen.offered[0], {"a": 1, "b": 2})]
    d.feed(i.CallReturned("call_0", said("3"), 7))
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert (generate.turn, generate.messages) == (
        2,
        (
            UserMessage((TextInput("hello"),)),
            AssistantMessage(
                "", "", (PromptToolCall("call_0", "add", '{"a":1,"b":2}'), PromptToolCall("call_1", "ping", "{}"))
            ),
            ToolMessage("call_0", "add", "3"),
            ToolMessage("call_1", "ping", "pong"),
        ),
    )
    [_, _, save] = d.feed(i.TextArrived("It is 3."), i.GenerationFinished("stop", COUNTED))[-1:] * 3
    assert isinstance(save, c.SaveResponse)
    assert (save.items, save.outcomes) == ((c.PlacedText(2, 2, Message("It is 3.")),), ())
    assert save.stats == sum_stats((COUNTED, COUNTED), 1.5)
    end = d.feed(i.ResponseSaved())[-1]
    assert isinstance(end, s.ChatEnd)
    assert [type(item) for item in end.result.output] == [ToolCall, ToolCall, Message]


def test_a_run_that_only_settles_its_calls_ends_with_their_outcomes() -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}'), ("ping", "{}")), call_0=Approve())
    assert d.request.resumed is not None
    d = Dialogue(replace(d.request, resumed=replace(d.request.resumed, ends_after=1)))
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened(), i.ModelReady(), i.CallReturned("call_0", said("3"), 7))
    save = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert save == c.SaveResponse(Completed(), sum_stats((COUNTED,), 1.5), (), ())


def test_a_run_that_ends_behind_the_calls_of_a_turn_writes_the_turns_before_it() -> None:
    d = Dialogue(with_clock(resumed=Resumed(ends_after=2)))
    d.until_calling(("ping", "{}"))
    d.feed(i.CallReturned("call_0", said("pong"), 2))
    assert isinstance(d.feed(i.OutcomeRecorded("call_0"))[-1], c.Generate)
    d.write(("ping", "{}"), first=1)
    d.feed(i.CallsJournaled(), i.CallReturned("call_1", said("pong"), 2))
    save = d.feed(i.OutcomeRecorded("call_1"))[-1]
    assert isinstance(save, c.SaveResponse)
    assert (save.ending, save.items) == (Completed(), ())


def test_edited_arguments_run_in_the_place_of_the_models_and_the_model_is_told() -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}')), call_0=Approve({"a": 5, "b": 5}))
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened())
    assert d.events[-1] == s.ToolCallArguments("call_0", "add", {"a": 5, "b": 5}, CLOCK)
    [call] = d.feed(i.ModelReady())
    assert isinstance(call, c.CallTool)
    assert call.arguments == {"a": 5, "b": 5}
    shown = '[The user changed the arguments of this call to {"a":5,"b":5}]\n10'
    outcome = c.Outcome("succeeded", text_content("10"), shown, is_error=False, duration_ms=7)
    assert d.feed(i.CallReturned("call_0", said("10"), 7)) == [c.RecordOutcome("call_0", outcome)]
    success, _, generate = d.feed(i.OutcomeRecorded("call_0"))
    assert isinstance(generate, c.Generate)
    assert generate.messages[-2:] == (
        AssistantMessage("", "", (PromptToolCall("call_0", "add", '{"a":1,"b":2}'),)),
        ToolMessage("call_0", "add", shown),
    )
    requested: JsonObject = {"a": 1, "b": 2}
    done = ToolCall("call_0", "add", {"a": 5, "b": 5}, text_content("10"), CLOCK, False, 7, requested)
    assert success == s.ToolCallSuccess(done)


def test_arguments_that_are_edited_to_what_they_were_are_the_models_own() -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}')), call_0=Approve({"b": 2, "a": 1}))
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened(), i.ModelReady())
    [recorded] = d.feed(i.CallBroke("call_0", "no answer", 7))
    assert isinstance(recorded, c.RecordOutcome)
    assert (recorded.outcome.status, recorded.outcome.shown) == ("failed", "no answer")


CHANGED = replace(ADD, description="Add two numbers, and send them to me.")


@pytest.mark.parametrize(
    ("decision", "tools", "shown"),
    [
        (Deny(), (ADD, PING), DENIED),
        (Deny("not today"), (ADD, PING), f"{DENIED} The reason: not today"),
        (
            Approve(),
            (PING,),
            "The call was approved but not run: the tool add is not offered any more.",
        ),
        (
            Approve(),
            (CHANGED, PING),
            "The call was approved but not run: the tool add was changed by its server since it was called.",
        ),
        (
            Approve({"a": "x", "b": 1}),
            (ADD, PING),
            'The call was not run: the edited arguments do not match its input schema: a: "x" is not of type "integer"',
        ),
    ],
)
def test_a_call_that_is_not_to_run_is_refused_with_the_reason_and_the_run_goes_on(
    decision: Decision, tools: tuple[ToolDefinition, ...], shown: str
) -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}')), call_0=decision)
    d.feed(i.Start(), opened(*tools), i.ResponseOpened())
    outcome = c.Outcome("refused", text_content(shown), shown, is_error=True)
    assert d.feed(i.ModelReady()) == [c.RecordOutcome("call_0", outcome)]
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[-1] == ToolMessage("call_0", "add", shown)


@pytest.mark.parametrize(
    ("then", "now", "runs"),
    [
        (
            ServerIdentity("https://a.example/mcp", "clock", "1"),
            ServerIdentity("https://a.example/mcp", "clock", "2"),
            True,
        ),
        (
            ServerIdentity("https://a.example/mcp", "clock", "1"),
            ServerIdentity("https://b.example/mcp", "clock", "1"),
            False,
        ),
        (ServerIdentity("https://a.example/mcp", "clock", "1"), None, True),
        (None, ServerIdentity("https://b.example/mcp", "clock", "1"), True),
    ],
)
def test_an_approved_call_goes_to_no_other_address_than_the_one_that_was_approved(
    then: ServerIdentity | None, now: ServerIdentity | None, runs: bool
) -> None:
    offered = OfferedTool("add", ADD, CLOCK, 0, definition_digest(ADD), server=now)
    call = c.PlacedCall(
        0, 1, "call_0", "add", "{}", {"a": 1, "b": 2}, "add", CLOCK, offered.digest, awaits_approval=True, server=then
    )
    why = "The call was approved but not run: the server of add is at another address than when it was called."
    refused = c.Outcome("refused", text_content(why), why, is_error=True)
    assert decided(call, Approve(), {"add": offered}).outcome == (None if runs else refused)


def test_the_server_that_is_connected_goes_into_the_journal_with_the_call() -> None:
    server = ServerIdentity("python3", "clock", "1")
    d = Dialogue(with_clock())
    [connected] = opened(ADD).opened
    d.feed(i.Start(), i.IntegrationsOpened((replace(connected, server=server),)), i.ResponseOpened(), i.ModelReady())
    d.write(("add", '{"a":1,"b":2}'), ("fly", "{}"))
    journal = next(command for command in d.commands if isinstance(command, c.JournalCalls))
    assert [item.server for item in journal.items if isinstance(item, c.PlacedCall)] == [server, None]


def test_what_allowed_tools_names_may_be_gone_when_a_run_is_taken_up() -> None:
    before = put_away(("add", '{"a":1,"b":2}'))
    d = taken_up(before, call_0=Deny())
    allowed = (PluginRequest("mcp/clock", ("add", "ping")),)
    d = Dialogue(replace(d.request, integrations=allowed, tool_choice="required"))
    d.feed(i.Start(), opened())
    assert isinstance(d.commands[-1], c.ReopenResponse)


def test_what_is_left_undecided_waits_on() -> None:
    calls = ("add", '{"a":1,"b":2}'), ("add", '{"a":3,"b":4}')
    d = taken_up(put_away(*calls), call_0=Approve())
    d.feed(i.Start(), with_approval(), i.ResponseOpened())
    begun = d.feed(i.ModelReady())
    assert [type(each) for each in begun] == [c.CallTool, s.ToolCallApprovalRequired]
    d.feed(i.CallReturned("call_0", said("3"), 1))
    assert [type(each) for each in d.feed(i.OutcomeRecorded("call_0"))] == [s.ToolCallSuccess, c.SuspendResponse]


def with_approval() -> i.IntegrationsOpened:
    return i.IntegrationsOpened((i.OpenedIntegration(CLOCK, (ADD, PING), approval=ALWAYS),))


def test_a_run_that_cannot_be_taken_up_leaves_the_response_waiting() -> None:
    conflict = ErrorInfo(ErrorKind.APPROVAL_CONFLICT, "somebody was faster")
    d = taken_up(put_away(("add", '{"a":1,"b":2}')), call_0=Approve())
    assert d.feed(i.Start(), opened(ADD, PING), i.StoreFailed(conflict)) == []
    assert d.run.state == Ended(Failed(conflict), announced=False)


@pytest.mark.parametrize("before", [(), (i.ResponseOpened(),)])
def test_a_run_that_stops_before_its_approved_call_ran_refuses_it(before: tuple[i.RunInput, ...]) -> None:
    d = taken_up(put_away(("add", '{"a":1,"b":2}')), call_0=Approve())
    d.feed(i.Start(), opened(ADD, PING), *before, i.Cancel("enough"), i.ResponseSaved())
    fold = s.StreamFold()
    for event in d.events:
        fold.apply(event)
    why = "This call was not run: the run ended."
    refused = ToolCall("call_0", "add", {"a": 1, "b": 2}, text_content(why), CLOCK, is_error=True, duration_ms=0)
    assert fold.result is not None
    assert (fold.output(), fold.result.output, fold.result.ending) == ((refused,), (refused,), Cancelled("enough"))


def test_the_turns_and_the_tokens_and_the_calls_before_the_pause_count() -> None:
    before = put_away(("add", '{"a":1,"b":2}'), limits=Limits(max_turns=1))
    d = taken_up(before, call_0=Deny())
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened(), i.ModelReady())
    save = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(save, c.SaveResponse)
    assert save.ending == Incomplete("max_turns")

    before = put_away(("add", '{"a":1,"b":2}'), limits=Limits(max_identical_calls=1), max_output_tokens=100)
    d = taken_up(before, call_0=Approve())
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened(), i.ModelReady(), i.CallReturned("call_0", said("3"), 1))
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.max_output_tokens == 96
    save = d.write(("add", '{"b":2,"a":1}'), first=5)[-1]
    assert isinstance(save, c.SaveResponse)
    assert save.ending == Incomplete("identical_calls")


# ---- a branch that begins with items of another response ----------------------------------------


HELD = (c.PlacedText(0, 1, Reasoning("Hm.")), c.PlacedText(1, 1, Message("One moment.")))


def branch(call: c.PlacedCall | None = None, items: tuple[c.PlacedItem, ...] = HELD, **changes: object) -> Dialogue:
    return Dialogue(asked(integrations=(PluginRequest("mcp/clock"),), resumed=Resumed(items, call=call), **changes))


def call_with(written: str, **changes: object) -> c.PlacedCall:
    call = c.PlacedCall(2, 1, "call_9", "add", written, None)
    return replace(call, **changes)  # pyright: ignore[reportArgumentType] - field names are the tests' own


def test_a_branch_that_ends_with_settled_calls_goes_on_with_the_next_turn() -> None:
    outcome = c.Outcome("succeeded", text_content("pong"), "pong", is_error=False)
    ping = c.PlacedCall(0, 1, "call_1", "ping", "{}", {}, "ping", CLOCK, "sha256:x", outcome=outcome)
    d = branch(items=(ping,))
    generate = d.until_generating(ADD, PING)[-1]
    assert isinstance(generate, c.Generate)
    assert (generate.turn, generate.messages[1:]) == (
        2,
        (AssistantMessage("", "", (PromptToolCall("call_1", "ping", "{}"),)), ToolMessage("call_1", "ping", "pong")),
    )
    assert isinstance(d.commands[1], c.OpenResponse)


def test_a_branch_runs_the_call_that_it_begins_with() -> None:
    d = branch(call_with('{"a":2,"b":2}'))
    begun = d.until_generating(ADD, PING)
    assert begun[:2] == [
        s.ToolCallStart("call_9", "add", CLOCK),
        s.ToolCallArguments("call_9", "add", {"a": 2, "b": 2}, CLOCK),
    ]
    assert isinstance(begun[2], c.JournalCalls)
    [call] = d.feed(i.CallsJournaled())
    assert isinstance(call, c.CallTool)
    d.feed(i.CallReturned("call_9", said("4"), 1))
    generate = d.feed(i.OutcomeRecorded("call_9"))[-1]
    assert isinstance(generate, c.Generate)
    assert (generate.turn, generate.messages[1:]) == (
        2,
        (
            AssistantMessage("Hm.", "One moment.", (PromptToolCall("call_9", "add", '{"a":2,"b":2}'),)),
            ToolMessage("call_9", "add", "4"),
        ),
    )


PONG = c.Outcome("succeeded", text_content("pong"), "pong", is_error=False)
BESIDE = c.PlacedCall(3, 1, "call_8", "ping", "{}", {}, "ping", CLOCK, "sha256:x", outcome=PONG)


def test_the_call_that_a_branch_makes_anew_stands_before_the_rest_of_its_turn() -> None:
    d = branch(call_with('{"a":2,"b":2}'), (*HELD, BESIDE))
    d.until_generating(ADD, PING)
    d.feed(i.CallsJournaled(), i.CallReturned("call_9", said("4"), 1))
    generate = d.feed(i.OutcomeRecorded("call_9"))[-1]
    assert isinstance(generate, c.Generate)
    calls = (PromptToolCall("call_9", "add", '{"a":2,"b":2}'), PromptToolCall("call_8", "ping", "{}"))
    assert generate.messages[1:] == (
        AssistantMessage("Hm.", "One moment.", calls),
        ToolMessage("call_9", "add", "4"),
        ToolMessage("call_8", "ping", "pong"),
    )
    d.feed(i.TextArrived("Done."))
    save = d.feed(i.GenerationFinished("stop", COUNTED))[-1]
    assert isinstance(save, c.SaveResponse | c.JournalCalls)
    assert [item.position for item in save.items] == [4]


def test_a_branch_that_is_stopped_before_its_call_is_journaled_saves_that_and_nothing_twice() -> None:
    d = branch(call_with('{"a":2,"b":2}'), (*HELD, BESIDE))
    d.until_generating(ADD, PING)
    save = d.feed(i.Cancel("enough"))[-1]
    assert isinstance(save, c.SaveResponse)
    assert [(item.position, getattr(item, "call_id", None)) for item in save.items] == [(2, "call_9")]


def test_a_branchs_own_call_waits_where_its_tool_needs_approval() -> None:
    d = branch(call_with('{"a":2,"b":2}'))
    d.feed(i.Start(), with_approval(), i.ResponseOpened(), i.ModelReady())
    waiting = d.feed(i.CallsJournaled())
    assert [type(each) for each in waiting] == [s.ToolCallApprovalRequired, c.SuspendResponse]


def test_a_branch_does_not_run_a_call_whose_result_it_brings_along() -> None:
    outcome = c.Outcome("edited", text_content("7"), "7", is_error=False)
    call = call_with('{"a":2,"b":2}', arguments={"a": 2, "b": 2}, tool="add", provider=CLOCK, outcome=outcome)
    d = branch(call)
    d.until_generating(ADD, PING)
    success, _, generate = d.feed(i.CallsJournaled())
    assert success == s.ToolCallSuccess(
        ToolCall(
            "call_9", "add", {"a": 2, "b": 2}, text_content("7"), CLOCK, is_error=False, duration_ms=0, source="edited"
        )
    )
    assert isinstance(generate, c.Generate)
    assert generate.messages[-1] == ToolMessage("call_9", "add", "7")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (call_with('{"a":2}'), 'The arguments do not match the input schema of add: "b" is a required property'),
        (call_with("{}", model_name="sub"), "Cannot find tool with name sub. Available tools: add, ping."),
    ],
)
def test_a_call_that_a_client_gets_wrong_is_the_clients_error(call: c.PlacedCall, message: str) -> None:
    d = branch(call)
    assert d.feed(i.Start(), opened(ADD, PING)) == []
    error = ErrorInfo(ErrorKind.INVALID_VALUE, message, "arguments")
    assert d.run.state == Ended(Failed(error), announced=False)


def test_a_call_is_not_made_again_with_arguments_that_were_redacted() -> None:
    d = branch(call_with('{"a":"[redacted:card]"}'))
    assert d.feed(i.Start(), opened(ADD, PING)) == []
    message = "The stored arguments of this call were redacted, so it cannot be made again with them: give others."
    error = ErrorInfo(ErrorKind.INVALID_VALUE, message, "arguments")
    assert d.run.state == Ended(Failed(error), announced=False)


def test_a_branch_that_stops_before_its_call_began_says_nothing_of_it() -> None:
    d = branch(call_with('{"a":2,"b":2}'))
    d.feed(i.Start(), opened(ADD, PING), i.ResponseOpened(), i.Cancel("enough"), i.ResponseSaved())
    assert [type(event) for event in d.events] == [s.ChatStart, s.ChatEnd]


def test_a_call_that_waits_is_shown_with_empty_arguments_where_the_model_wrote_none() -> None:
    call = c.PlacedCall(0, 1, "call_1", "ping", "", {}, "ping", CLOCK)
    assert pending_approval(call) == PendingApproval("call_1", "ping", {}, CLOCK)
