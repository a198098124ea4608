"""The run, in dialogues: this is fed, exactly that follows."""

from dataclasses import replace

import pytest

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.items import ImageInput, InvalidToolCall, Message, Reasoning, TextInput, ToolCall
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.prompt import (
    AssistantMessage,
    PromptToolCall,
    SystemMessage,
    ToolMessage,
    UserMessage,
    raw_prompt,
)
from orchestrator.core.request import Limits, NamedTool, PluginRequest, Sampling, ToolChoice
from orchestrator.core.response import (
    UNCOUNTED,
    Cancelled,
    ChatResult,
    Completed,
    Counters,
    Failed,
    Incomplete,
    Stats,
    sum_stats,
)
from orchestrator.core.states import Ended
from orchestrator.core.tools import OfferedTool, ToolDefinition, text_content
from tests.core.dialogue import ADD, CLOCK, COUNTED, PING, Dialogue, asked, opened, said, with_clock

BROKEN = ErrorInfo(ErrorKind.ENGINE_ERROR, "it broke")
LOST = ErrorInfo(ErrorKind.STORE_ERROR, "the disk is full")


def result_of(dialogue: Dialogue) -> ChatResult:
    end = dialogue.events[-1]
    assert isinstance(end, s.ChatEnd)
    return end.result


def saved_by(dialogue: Dialogue) -> c.SaveResponse:
    saves = [command for command in dialogue.commands if isinstance(command, c.SaveResponse)]
    assert len(saves) == 1
    return saves[0]


def test_a_plain_chat_opens_loads_generates_saves_and_only_then_ends() -> None:
    d = Dialogue(asked(system_prompt="Be brief."))
    assert d.feed(i.Start()) == [c.OpenIntegrations(())]
    assert d.feed(i.IntegrationsOpened(())) == [c.OpenResponse((), {})]
    assert d.feed(i.ResponseOpened()) == [s.ChatStart("demo/m", "resp_1"), c.LoadModel()]
    assert d.feed(i.LoadStarted()) == [s.ModelLoadStart("demo/m")]
    assert d.feed(i.LoadProgressed(0.5)) == [s.ModelLoadProgress("demo/m", 0.5)]
    prompt = (SystemMessage("Be brief."), UserMessage((TextInput("hello"),)))
    assert d.feed(i.ModelReady(1.5)) == [
        s.ModelLoadEnd("demo/m", 1.5),
        s.PromptProcessingStart(),
        c.Generate(1, prompt, (), d.request.sampling, None, None),
    ]
    assert d.feed(i.QueueMoved(2)) == [s.QueuePosition(2)]
    assert d.feed(i.PromptProgressed(0.5)) == [s.PromptProcessingProgress(0.5)]
    assert d.feed(i.TextArrived("")) == []
    assert d.feed(i.ReasoningArrived("Hm.")) == [
        s.PromptProcessingEnd(),
        s.ReasoningStart(),
        s.ReasoningDelta("Hm."),
    ]
    assert d.feed(i.PromptProgressed(1.0)) == []
    assert d.feed(i.TextArrived("\n\n")) == []
    assert d.feed(i.TextArrived("Hi")) == [s.ReasoningEnd(), s.MessageStart(), s.MessageDelta("\n\nHi")]
    assert d.feed(i.TextArrived(" you")) == [s.MessageDelta(" you")]
    stats = sum_stats((COUNTED,), 1.5)
    items = (c.PlacedText(0, 1, Reasoning("Hm.")), c.PlacedText(1, 1, Message("\n\nHi you")))
    assert d.feed(i.GenerationFinished("stop", COUNTED)) == [
        s.MessageEnd(),
        c.SaveResponse(Completed(), stats, items, ()),
    ]
    output = (Reasoning("Hm."), Message("\n\nHi you"))
    assert d.feed(i.ResponseSaved()) == [s.ChatEnd(ChatResult("demo/m", output, stats, Completed(), "resp_1"))]


@pytest.mark.parametrize(
    ("told", "ending"), [("END", Completed("END")), ("<|im_end|>", Completed()), (None, Completed())]
)
def test_a_turn_that_stops_at_a_sequence_of_the_request_completes_with_it(told: str | None, ending: Completed) -> None:
    d = Dialogue(asked(sampling=Sampling(stop=("END", "STOP"))))
    d.until_generating()
    d.feed(i.GenerationFinished("stop", COUNTED, told), i.ResponseSaved())
    assert (saved_by(d).ending, result_of(d).ending) == (ending, ending)


def test_a_response_that_is_not_stored_gets_no_id_anywhere() -> None:
    d = Dialogue(asked(store=False))
    d.until_generating()
    d.feed(i.GenerationFinished("stop", COUNTED), i.ResponseSaved())
    assert d.events[0] == s.ChatStart("demo/m", None)
    assert result_of(d) == ChatResult("demo/m", (), sum_stats((COUNTED,), None), Completed(), None)


def test_a_tool_call_is_journaled_then_run_then_recorded_then_announced() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    assert d.feed(i.CallOpened(0, "add", "call_0")) == [
        s.PromptProcessingEnd(),
        s.ToolCallStart("call_0", "add", CLOCK),
    ]
    assert d.feed(i.CallArgumentsArrived(0, '{"a": 1,')) == []
    d.feed(i.CallArgumentsArrived(0, ' "b": 2}'))
    offered = d.commands[1]
    assert isinstance(offered, c.OpenResponse)
    assert offered.tool_names == {("plugin:mcp/clock", "add"): "add"}
    placed = c.PlacedCall(
        0,
        1,
        "call_0",
        "add",
        '{"a": 1, "b": 2}',
        {"a": 1, "b": 2},
        tool="add",
        provider=CLOCK,
        digest=offered.offered[0].digest,
    )
    assert d.feed(i.GenerationFinished("tool_calls", COUNTED)) == [
        s.ToolCallArguments("call_0", "add", {"a": 1, "b": 2}, CLOCK),
        c.JournalCalls((placed,)),
    ]
    assert d.feed(i.CallsJournaled()) == [c.CallTool("call_0", offered.offered[0], {"a": 1, "b": 2})]
    outcome = c.Outcome("succeeded", text_content("3"), "3", is_error=False, duration_ms=7)
    assert d.feed(i.CallReturned("call_0", said("3"), 7)) == [c.RecordOutcome("call_0", outcome)]
    call = ToolCall("call_0", "add", {"a": 1, "b": 2}, text_content("3"), CLOCK, is_error=False, duration_ms=7)
    success, start, generate = d.feed(i.OutcomeRecorded("call_0"))
    assert (success, start) == (s.ToolCallSuccess(call), s.PromptProcessingStart())
    assert isinstance(generate, c.Generate)
    assert generate.turn == 2
    assert generate.messages == (
        UserMessage((TextInput("hello"),)),
        AssistantMessage("", "", (PromptToolCall("call_0", "add", '{"a": 1, "b": 2}'),)),
        ToolMessage("call_0", "add", "3"),
    )
    d.feed(i.TextArrived("It is 3."), i.GenerationFinished("stop", COUNTED), i.ResponseSaved())
    assert result_of(d).output == (call, Message("It is 3."))
    assert saved_by(d).items == (c.PlacedText(1, 2, Message("It is 3.")),)
    assert saved_by(d).outcomes == ()


def test_parallel_calls_are_announced_as_they_complete_and_shown_in_call_order() -> None:
    d = Dialogue(with_clock())
    started = d.until_calling(("add", '{"a":1,"b":1}'), ("ping", ""))
    assert [command.call_id for command in started if isinstance(command, c.CallTool)] == ["call_0", "call_1"]
    d.feed(i.CallReturned("call_1", said("pong"), 1))
    announced = d.feed(i.OutcomeRecorded("call_1"))
    assert [type(event) for event in announced] == [s.ToolCallSuccess]
    d.feed(i.CallReturned("call_0", said("2"), 1))
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[1:] == (
        AssistantMessage(
            "", "", (PromptToolCall("call_0", "add", '{"a":1,"b":1}'), PromptToolCall("call_1", "ping", "{}"))
        ),
        ToolMessage("call_0", "add", "2"),
        ToolMessage("call_1", "ping", "pong"),
    )


def test_a_call_that_broke_is_an_error_result_that_the_model_reads() -> None:
    d = Dialogue(with_clock())
    d.until_calling(("ping", "{}"))
    outcome = c.Outcome("failed", text_content("timed out"), "timed out", is_error=True, duration_ms=60_000)
    assert d.feed(i.CallBroke("call_0", "timed out", 60_000)) == [c.RecordOutcome("call_0", outcome)]
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[-1] == ToolMessage("call_0", "ping", "timed out")


def test_a_call_of_an_unknown_tool_fails_alone_and_is_told_to_the_model() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    reason = "Cannot find tool with name open_browser. Available tools: add."
    assert d.feed(i.CallOpened(0, "open_browser", "call_0")) == [
        s.PromptProcessingEnd(),
        s.ToolCallFailure("call_0", "invalid_name", reason, "open_browser", None, None),
    ]
    d.feed(i.CallArgumentsArrived(0, '{"url": "x"}'))
    assert [type(said) for said in d.feed(i.GenerationFinished("tool_calls", COUNTED))] == [c.JournalCalls]
    generate = d.feed(i.CallsJournaled())[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[-2:] == (
        AssistantMessage("", "", (PromptToolCall("call_0", "open_browser", '{"url": "x"}'),)),
        ToolMessage("call_0", "open_browser", reason),
    )
    d.feed(i.GenerationFinished("stop", COUNTED), i.ResponseSaved())
    assert result_of(d).output == (InvalidToolCall("call_0", "invalid_name", reason, "open_browser"),)


def test_a_tool_outside_allowed_tools_is_neither_shown_nor_called() -> None:
    d = Dialogue(with_clock(allowed=("add",)))
    generate = d.until_generating(ADD, PING)[-1]
    assert isinstance(generate, c.Generate)
    assert [tool.name for tool in generate.tools] == ["add"]
    d.write(("ping", "{}"))
    d.feed(i.CallsJournaled())
    assert not [command for command in d.commands if isinstance(command, c.CallTool)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"a": "x", "b": 2}', 'The arguments do not match the input schema of add: a: "x" is not of type "integer"'),
        ("[1, 2]", "The arguments of add are not a JSON object."),
        ('{"a": NaN, "b": 1}', "The arguments of add are not a JSON object."),
    ],
)
def test_arguments_that_do_not_match_the_schema_are_refused_with_the_reason(arguments: str, problem: str) -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    d.write(("add", arguments))
    failure = d.events[-1]
    assert isinstance(failure, s.ToolCallFailure)
    assert (failure.kind, failure.reason, failure.tool_name, failure.provider) == (
        "invalid_arguments",
        problem,
        "add",
        CLOCK,
    )
    d.feed(i.CallsJournaled())
    assert not [command for command in d.commands if isinstance(command, c.CallTool)]


def test_a_turn_with_valid_and_invalid_calls_runs_the_valid_ones() -> None:
    d = Dialogue(with_clock())
    started = d.until_calling(("nope", "{}"), ("ping", "{}"))
    assert [command.call_id for command in started if isinstance(command, c.CallTool)] == ["call_1"]


def test_allowed_tools_names_a_tool_that_the_server_lacks() -> None:
    d = Dialogue(with_clock(allowed=("add", "nope")))
    assert d.feed(i.Start(), opened(ADD)) == []
    message = "'mcp/clock' has no tool 'nope'. Its tools: add."
    error = ErrorInfo(ErrorKind.INVALID_VALUE, message, "integrations.0.allowed_tools.1")
    assert d.run.state == Ended(Failed(error), announced=False)


def test_allowed_tools_names_a_tool_that_the_configuration_withholds() -> None:
    d = Dialogue(with_clock(allowed=("ping",)))
    d.feed(i.Start(), opened(ADD, PING, withheld=frozenset({"ping"})))
    assert isinstance(d.run.state, Ended)
    assert isinstance(d.run.state.ending, Failed)
    assert d.run.state.ending.error.kind is ErrorKind.PERMISSION_DENIED


def test_a_withheld_tool_is_not_offered_and_none_offers_nothing() -> None:
    d = Dialogue(with_clock())
    d.feed(i.Start())
    opening = d.feed(opened(ADD, PING, withheld=frozenset({"ping"})))[0]
    assert isinstance(opening, c.OpenResponse)
    assert [tool.name for tool in opening.offered] == ["add"]
    none = Dialogue(with_clock(tool_choice="none"))
    assert none.feed(i.Start(), opened(ADD)) == [c.OpenResponse((), {})]


def test_a_tool_choice_binds_the_first_turn_and_no_other() -> None:
    for choice, bound in (("required", "required"), (NamedTool("ping", "clock"), PING), (NamedTool("ping"), PING)):
        d = Dialogue(with_clock(tool_choice=choice))
        first = d.until_generating(ADD, PING)[-1]
        assert isinstance(first, c.Generate)
        chosen = first.tool_choice
        assert (chosen.definition if isinstance(chosen, OfferedTool) else chosen) == bound
        d.write(("ping", "{}"))
        d.feed(i.CallsJournaled(), i.CallReturned("call_0", said("pong"), 1))
        second = d.feed(i.OutcomeRecorded("call_0"))[-1]
        assert isinstance(second, c.Generate)
        assert second.tool_choice == "auto"


@pytest.mark.parametrize(
    ("choice", "tools", "message"),
    [
        ("required", (), "A tool call is required, and no tools are offered."),
        (NamedTool("fly"), (ADD,), "The tool 'fly' is not offered. Offered tools: add of mcp/clock."),
        (NamedTool("add", "mcp/other"), (), "The tool 'add' is not offered. Offered tools: none."),
    ],
)
def test_a_choice_that_cannot_be_met_ends_the_request_before_it_starts(
    choice: ToolChoice, tools: tuple[ToolDefinition, ...], message: str
) -> None:
    d = Dialogue(with_clock(tool_choice=choice))
    assert d.feed(i.Start(), opened(*tools)) == []
    assert d.run.state == Ended(Failed(ErrorInfo(ErrorKind.INVALID_VALUE, message, "tool_choice")), announced=False)


def test_a_server_that_lists_a_tool_twice_offers_its_first() -> None:
    d = Dialogue(with_clock())
    opening = d.feed(i.Start(), opened(ADD, replace(PING, name="add")))[0]
    assert isinstance(opening, c.OpenResponse)
    assert [tool.definition for tool in opening.offered] == [ADD]


def test_integrations_that_do_not_connect_end_the_request_before_it_starts() -> None:
    d = Dialogue(with_clock())
    assert d.feed(i.Start(), i.IntegrationsFailed(BROKEN)) == []
    assert d.run.state == Ended(Failed(BROKEN), announced=False)
    assert d.events == []


def test_a_store_that_cannot_open_the_response_ends_the_request_before_it_starts() -> None:
    d = Dialogue(asked())
    assert d.feed(i.Start(), i.IntegrationsOpened(()), i.StoreFailed(LOST)) == []
    assert d.run.state == Ended(Failed(LOST), announced=False)


def test_a_model_that_does_not_load_fails_the_response_after_it_started() -> None:
    d = Dialogue(asked())
    d.feed(i.Start(), i.IntegrationsOpened(()), i.ResponseOpened())
    assert d.feed(i.EngineFailed(BROKEN)) == [c.SaveResponse(Failed(BROKEN), Stats(), (), ())]
    assert d.feed(i.ResponseSaved()) == [
        s.ErrorEvent(BROKEN),
        s.ChatEnd(ChatResult("demo/m", (), Stats(), Failed(BROKEN), "resp_1")),
    ]


def test_an_engine_that_breaks_keeps_what_was_written_and_cuts_the_open_call() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    d.feed(i.TextArrived("So"), i.CallOpened(0, "add", "call_0"), i.CallArgumentsArrived(0, '{"a":'))
    d.feed(
        i.CallOpened(1, "add", "call_1"), i.CallArgumentsArrived(1, '{"a":1,"b":2}'), i.CallOpened(2, "no", "call_2")
    )
    d.feed(i.EngineFailed(BROKEN), i.ResponseSaved())
    kinds = [type(item) for item in result_of(d).output]
    assert kinds == [Message, InvalidToolCall, InvalidToolCall, InvalidToolCall]
    calls = [item for item in saved_by(d).items if isinstance(item, c.PlacedCall)]
    assert [call.outcome.shown is None for call in calls if call.outcome] == [True, True, False]
    unknown = ("input_tokens", "tokens_per_second", "time_to_first_token_seconds")
    assert result_of(d).stats == Stats(total_output_tokens=3, unknown=unknown)


def test_of_a_turn_that_is_broken_off_the_pieces_that_came_are_counted_and_the_prompt_as_the_engine_told_it() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    d.feed(i.PromptProgressed(0.5, 70), i.PromptProgressed(1.0), i.ReasoningArrived("Hm"), i.ReasoningArrived(""))
    two = (TokenLogprob(LikelyToken("a", -0.5)), TokenLogprob(LikelyToken("b", -0.5)))
    d.feed(i.TextArrived("S"), i.TextArrived(""), i.TextArrived("ab", two), i.Disconnect(), i.ResponseSaved())
    stats = result_of(d).stats
    assert (stats.input_tokens, stats.total_output_tokens, stats.reasoning_output_tokens) == (70, 4, 1)
    assert stats.is_counted and stats.unknown == ("tokens_per_second", "time_to_first_token_seconds")


def test_what_several_turns_read_is_summed_beside_the_last_prompt() -> None:
    one, two = Counters(10, 4, cached_tokens=3), Counters(20, 6, cached_tokens=9)
    both = sum_stats((one, two), None)
    assert (both.input_tokens, both.read_tokens, both.cached_input_tokens, both.read_from_cache) == (20, 30, 9, 12)
    alone = sum_stats((one,), None)
    assert (alone.total_input_tokens, alone.read_tokens, alone.read_from_cache) == (None, 10, 3)
    broken = sum_stats((one, Counters()), None)
    assert (broken.input_tokens, broken.read_tokens, broken.is_counted) == (0, 10, True)
    assert sum_stats((Counters(), Counters()), None).total_input_tokens is None
    assert [stats.is_counted for stats in (UNCOUNTED, Stats(), Stats(unknown=("total_output_tokens",)))] == [
        False,
        True,
        False,
    ]


def test_a_journal_that_cannot_be_written_runs_no_call() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    d.write(("add", '{"a":1,"b":2}'))
    stop, save = d.feed(i.StoreFailed(LOST))
    assert stop == c.StopWork("the store failed")
    assert isinstance(save, c.SaveResponse)
    call = save.items[0]
    assert isinstance(call, c.PlacedCall)
    assert call.outcome is not None
    assert call.outcome.status == "refused"
    assert not [command for command in d.commands if isinstance(command, c.CallTool)]
    success, error, end = d.feed(i.ResponseSaved())
    assert isinstance(success, s.ToolCallSuccess)
    assert error == s.ErrorEvent(LOST)
    assert isinstance(end, s.ChatEnd)


def test_an_outcome_that_cannot_be_recorded_is_in_the_save() -> None:
    d = Dialogue(with_clock())
    d.until_calling(("ping", "{}"), ("ping", '{"n": 1}'))
    d.feed(i.CallReturned("call_0", said("pong"), 1), i.StoreFailed(LOST))
    statuses = [(call_id, outcome.status) for call_id, outcome in saved_by(d).outcomes]
    assert statuses == [("call_0", "succeeded"), ("call_1", "abandoned")]


def test_a_response_that_cannot_be_saved_ends_without_an_id() -> None:
    d = Dialogue(asked())
    d.until_generating()
    d.feed(i.TextArrived("Hi"), i.GenerationFinished("stop", COUNTED))
    error, end = d.feed(i.StoreFailed(LOST))
    stats = sum_stats((COUNTED,), None)
    assert (error, end) == (
        s.ErrorEvent(LOST),
        s.ChatEnd(ChatResult("demo/m", (Message("Hi"),), stats, Failed(LOST), None)),
    )


def test_a_turn_that_a_limit_cuts_ends_incomplete_and_runs_no_call() -> None:
    d = Dialogue(with_clock())
    d.until_generating(ADD)
    d.write(("add", '{"a":1,"b":2}'), ("add", '{"a":1'), reason="length")
    d.feed(i.ResponseSaved())
    save = saved_by(d)
    assert save.ending == Incomplete("max_output_tokens")
    calls = [item for item in save.items if isinstance(item, c.PlacedCall)]
    assert [(call.outcome.status, call.outcome.shown) for call in calls if call.outcome] == [
        ("refused", "This call was not run: the limit of output tokens was reached."),
        ("invalid", None),
    ]


def test_output_tokens_are_counted_over_all_turns() -> None:
    d = Dialogue(with_clock(max_output_tokens=6))
    generate = d.until_generating(ADD, PING)[-1]
    assert isinstance(generate, c.Generate)
    assert generate.max_output_tokens == 6
    d.write(("ping", "{}"))
    d.feed(i.CallsJournaled(), i.CallReturned("call_0", said("pong"), 1))
    generate = d.feed(i.OutcomeRecorded("call_0"))[-1]
    assert isinstance(generate, c.Generate)
    assert generate.max_output_tokens == 2
    d.write(("ping", "{}"), first=1)
    assert saved_by(d).ending == Incomplete("max_output_tokens")


def test_the_turn_limit_ends_the_run_after_the_calls_of_the_last_turn() -> None:
    d = Dialogue(with_clock(limits=Limits(max_turns=1)))
    d.until_calling(("ping", "{}"))
    d.feed(i.CallReturned("call_0", said("pong"), 1), i.OutcomeRecorded("call_0"))
    assert saved_by(d).ending == Incomplete("max_turns")


def test_an_answer_that_its_engines_filter_cut_is_incomplete_and_its_calls_do_not_run() -> None:
    d = Dialogue(with_clock())
    d.until_generating(PING)
    d.feed(i.TextArrived("Half"), i.CallOpened(0, "ping", "call_0"), i.CallArgumentsArrived(0, "{}"))
    d.feed(i.GenerationFinished("content_filter", COUNTED), i.ResponseSaved())
    assert saved_by(d).ending == Incomplete("content_filter")
    said_so, refused = result_of(d).output
    assert said_so == Message("Half") and isinstance(refused, ToolCall) and refused.is_error


def test_a_raw_prompt_is_what_the_user_said_and_nothing_else() -> None:
    d = Dialogue(asked(raw=True, input=(TextInput("Once "), ImageInput("data:,"), TextInput("upon"))))
    generate = d.until_generating()[-1]
    assert isinstance(generate, c.Generate) and generate.raw
    assert raw_prompt((SystemMessage("Be."), *generate.messages)) == "Once upon"
    assert d.feed(i.TextArrived("\n"), i.TextArrived(" ")) == [s.MessageDelta(" ")]
    d.feed(i.GenerationFinished("length", COUNTED), i.ResponseSaved())
    assert result_of(d).output == (Message("\n "),)


def test_the_same_call_made_too_often_ends_the_run() -> None:
    d = Dialogue(with_clock(limits=Limits(max_identical_calls=2)))
    d.until_generating(PING)
    for turn in range(2):
        d.write(("ping", '{"b": 1, "a": 2}' if turn else '{"a": 2, "b": 1}'), first=turn)
        d.feed(i.CallsJournaled(), i.CallReturned(f"call_{turn}", said("pong"), 1), i.OutcomeRecorded(f"call_{turn}"))
    d.write(("ping", '{"a":2,"b":1}'), first=2)
    d.feed(i.ResponseSaved())
    assert saved_by(d).ending == Incomplete("identical_calls")
    last = result_of(d).output[-1]
    assert isinstance(last, ToolCall)
    assert last.output == text_content("This call was not run: the same call was made too often.")


def test_a_long_output_is_cut_for_the_model_and_whole_in_the_journal() -> None:
    d = Dialogue(with_clock(limits=Limits(max_tool_output_model_bytes=100)))
    d.until_calling(("ping", "{}"))
    record = d.feed(i.CallReturned("call_0", said("x" * 200), 1))[0]
    assert isinstance(record, c.RecordOutcome)
    assert record.outcome.output == text_content("x" * 200)
    assert record.outcome.shown is not None
    assert record.outcome.shown.endswith("\n[cut: 200 bytes in all, the journal has the rest]")
    assert len(record.outcome.shown.encode()) == 100


def test_an_output_beyond_the_journal_is_kept_as_its_beginning() -> None:
    d = Dialogue(with_clock(limits=Limits(max_tool_output_bytes=1000)))
    d.until_calling(("ping", "{}"))
    record = d.feed(i.CallReturned("call_0", said("x" * 2000), 1))[0]
    assert isinstance(record, c.RecordOutcome)
    assert len(record.outcome.output.encode()) <= 1000
    assert "2000 bytes in all" in record.outcome.output


STOPS = [
    (i.Cancel("asked"), Cancelled("asked")),
    (i.Disconnect(), Incomplete("client_gone")),
    (i.Deadline(), Incomplete("deadline")),
]


@pytest.mark.parametrize(("stop", "ending"), STOPS)
def test_a_stop_while_calls_run_abandons_them_and_says_so(stop: i.StopInput, ending: Incomplete | Cancelled) -> None:
    d = Dialogue(with_clock())
    d.until_calling(("ping", "{}"), ("ping", '{"n":1}'))
    d.feed(i.CallReturned("call_0", said("pong"), 1), i.OutcomeRecorded("call_0"))
    work, save = d.feed(stop)
    assert isinstance(work, c.StopWork)
    assert isinstance(save, c.SaveResponse)
    assert save.ending == ending
    assert [(call_id, outcome.status) for call_id, outcome in save.outcomes] == [("call_1", "abandoned")]
    assert d.feed(i.CallReturned("call_1", said("late"), 1)) == []
    assert d.feed(stop) == []
    success, end = d.feed(i.ResponseSaved())
    assert isinstance(success, s.ToolCallSuccess)
    assert success.call.is_error
    assert isinstance(end, s.ChatEnd)
    assert d.feed(stop, i.CallReturned("call_1", said("late"), 1)) == []


@pytest.mark.parametrize(("stop", "ending"), STOPS)
def test_a_stop_while_the_model_writes_keeps_what_it_wrote(stop: i.StopInput, ending: Incomplete | Cancelled) -> None:
    d = Dialogue(asked())
    d.until_generating()
    d.feed(i.TextArrived("Once upon"))
    work, end_of_text, save = d.feed(stop)
    assert isinstance(work, c.StopWork)
    assert end_of_text == s.MessageEnd()
    assert isinstance(save, c.SaveResponse)
    assert save.ending == ending
    assert save.items == (c.PlacedText(0, 1, Message("Once upon")),)


def test_a_stop_before_the_start_ends_without_a_word() -> None:
    idle = Dialogue(asked())
    assert idle.feed(i.Cancel("asked")) == []
    assert idle.run.state == Ended(Cancelled("asked"), announced=False)
    resolving = Dialogue(with_clock())
    assert resolving.feed(i.Start(), i.Disconnect()) == [c.StopWork("the client went away")]
    assert resolving.run.state == Ended(Incomplete("client_gone"), announced=False)
    assert resolving.feed(opened(ADD)) == []


def test_a_deadline_before_the_integrations_are_there_is_a_failure() -> None:
    d = Dialogue(with_clock())
    d.feed(i.Start(), i.Deadline())
    message = "The run's time was over before its integrations were connected."
    assert d.run.state == Ended(Failed(ErrorInfo(ErrorKind.INTERNAL_ERROR, message)), announced=False)


def test_a_stop_while_the_response_is_being_opened_still_starts_and_ends_the_stream() -> None:
    d = Dialogue(asked())
    d.feed(i.Start(), i.IntegrationsOpened(()))
    d.feed(i.Cancel("asked"), i.ResponseOpened(), i.ResponseSaved())
    assert [type(event) for event in d.events] == [s.ChatStart, s.ChatEnd]


def test_a_stop_while_the_model_loads_ends_the_stream() -> None:
    d = Dialogue(asked())
    d.feed(i.Start(), i.IntegrationsOpened(()), i.ResponseOpened(), i.LoadStarted())
    assert [type(said) for said in d.feed(i.Cancel("asked"))] == [c.StopWork, c.SaveResponse]


def test_calls_that_a_stop_caught_before_their_journal_entry_are_refused() -> None:
    d = Dialogue(with_clock())
    d.until_generating(PING)
    d.write(("ping", "{}"))
    d.feed(i.Cancel("asked"))
    call = saved_by(d).items[0]
    assert isinstance(call, c.PlacedCall)
    assert call.outcome is not None
    assert call.outcome.status == "refused"


ILLEGAL: list[tuple[str, list[i.RunInput], i.RunInput]] = [
    ("Idle", [], i.ResponseSaved()),
    ("Resolving", [i.Start()], i.Start()),
    ("Opening", [i.Start(), i.IntegrationsOpened(())], i.ModelReady()),
    ("Loading", [i.Start(), i.IntegrationsOpened(()), i.ResponseOpened()], i.LoadProgressed(0.5)),
    ("Loading", [i.Start(), i.IntegrationsOpened(()), i.ResponseOpened()], i.ModelReady(1.0)),
    ("Generating", [i.Start(), i.IntegrationsOpened(()), i.ResponseOpened(), i.ModelReady()], i.ModelReady()),
    (
        "Generating",
        [i.Start(), i.IntegrationsOpened(()), i.ResponseOpened(), i.ModelReady()],
        i.CallArgumentsArrived(0, ""),
    ),
]


@pytest.mark.parametrize(("state", "before", "event"), ILLEGAL)
def test_an_illegal_input_raises_and_changes_nothing(state: str, before: list[i.RunInput], event: i.RunInput) -> None:
    d = Dialogue(asked())
    d.feed(*before)
    was = d.run.state
    with pytest.raises(IllegalInputError):
        d.run.feed(event)
    assert type(was).__name__ == state
    assert d.run.state == was


def test_a_call_index_is_opened_once_and_an_unsettled_call_cannot_be_recorded() -> None:
    d = Dialogue(with_clock())
    d.until_generating(PING)
    d.feed(i.CallOpened(0, "ping", "call_0"))
    with pytest.raises(IllegalInputError, match="opened twice"):
        d.run.feed(i.CallOpened(0, "ping", "call_1"))
    d.feed(i.GenerationFinished("tool_calls", COUNTED), i.CallsJournaled())
    for event in (i.OutcomeRecorded("call_0"), i.CallReturned("call_9", said(""), 1), i.CallsJournaled()):
        with pytest.raises(IllegalInputError):
            d.run.feed(event)


def test_nothing_but_its_answer_moves_a_save_that_nobody_stopped() -> None:
    d = Dialogue(asked())
    d.until_generating()
    d.feed(i.GenerationFinished("stop", COUNTED))
    for event in (i.Start(), i.TextArrived("x")):
        with pytest.raises(IllegalInputError):
            d.run.feed(event)
    d.feed(i.ResponseSaved())
    for event in (i.Start(), i.TextArrived("x"), i.ResponseSaved()):
        with pytest.raises(IllegalInputError):
            d.run.feed(event)


def test_the_names_of_a_chain_are_kept_when_a_newcomer_collides() -> None:
    d = Dialogue(with_clock(tool_names={("plugin:mcp/other", "add"): "add"}))
    opening = d.feed(i.Start(), opened(ADD))[0]
    assert isinstance(opening, c.OpenResponse)
    assert opening.tool_names == {("plugin:mcp/other", "add"): "add", ("plugin:mcp/clock", "add"): "clock_add"}
    assert d.request.integrations == (PluginRequest("mcp/clock"),)


def test_counters_that_an_engine_does_not_give_are_named_as_unknown() -> None:
    stats = sum_stats((COUNTED, Counters(input_tokens=20, output_tokens=6)), None)
    assert stats == Stats(
        input_tokens=20,
        total_output_tokens=10,
        reasoning_output_tokens=0,
        tokens_per_second=8.0,
        time_to_first_token_seconds=0.25,
        unknown=("reasoning_output_tokens", "tokens_per_second"),
        total_input_tokens=30,
    )
