"""Functions of the client's: offered beside servers' tools, journaled, handed over, and answered by a later request."""

from dataclasses import replace

import pytest

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.approvals import ApprovalPolicy
from orchestrator.core.briefing import WROTE_ON
from orchestrator.core.calls import output_entry
from orchestrator.core.errors import ErrorInfo, ErrorKind, IllegalInputError
from orchestrator.core.functions import named_results, unanswered_call
from orchestrator.core.items import (
    ClientProvider,
    FunctionCall,
    FunctionCallInput,
    FunctionOutput,
    InvalidToolCall,
    Message,
    OutputEntry,
    Reasoning,
    Shown,
    TextInput,
    ToolCall,
    asked_of_client,
)
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import MOST_KEPT, LikelyToken, TokenLogprob, kept_logprobs
from orchestrator.core.offering import CLIENT
from orchestrator.core.placed import HANDED_OVER, Outcome, PlacedCall
from orchestrator.core.prompt import (
    NO_RESULT,
    AssistantMessage,
    PastResponse,
    PromptToolCall,
    ToolMessage,
    UserMessage,
)
from orchestrator.core.reading import reading_tool
from orchestrator.core.request import Limits, NamedTool, Resumed, RunRequest
from orchestrator.core.response import Completed, Counters, Incomplete, Suspended
from orchestrator.core.states import Ended
from orchestrator.core.stream import StreamFold
from orchestrator.core.tools import ToolDefinition, definition_digest, definition_from_json, text_content, tool_key
from tests.core.dialogue import ADD, COUNTED, PING, Dialogue, asked, said, with_clock

WEATHER = ToolDefinition("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
OWN_ADD = ToolDefinition("add", "The client's own.", {"type": "object"})


def with_functions(*functions: ToolDefinition, **changes: object) -> RunRequest:
    return asked(functions=functions or (WEATHER,), **changes)


def handed_over(call_id: str, arguments: str, *, position: int = 0) -> PlacedCall:
    """A call of the weather as the journal takes it."""
    return PlacedCall(
        position,
        1,
        call_id,
        "weather",
        arguments,
        {"city": "Oslo"} if arguments == '{"city":"Oslo"}' else {},
        tool="weather",
        provider=CLIENT,
        digest=definition_digest(WEATHER),
        outcome=HANDED_OVER,
    )


def test_a_call_of_a_function_is_told_as_it_is_written_and_ends_the_run_once_it_is_journaled() -> None:
    dialogue = Dialogue(with_functions())
    dialogue.until_generating()
    assert dialogue.feed(i.CallOpened(0, "weather", "call_0")) == [
        s.PromptProcessingEnd(),
        s.FunctionCallStart("call_0", "weather"),
    ]
    assert dialogue.feed(i.CallArgumentsArrived(0, '{"city"')) == [s.FunctionCallDelta("call_0", '{"city"')]
    assert dialogue.feed(i.CallArgumentsArrived(0, "")) == []
    assert dialogue.feed(i.CallArgumentsArrived(0, ':"Oslo"}')) == [s.FunctionCallDelta("call_0", ':"Oslo"}')]
    call = handed_over("call_0", '{"city":"Oslo"}')
    assert dialogue.feed(i.GenerationFinished("tool_calls", COUNTED)) == [c.JournalCalls((call,))]
    told = FunctionCall("call_0", "weather", '{"city":"Oslo"}')
    journaled = dialogue.feed(i.CallsJournaled())
    assert journaled[0] == s.FunctionCallEnd(told)
    assert isinstance(journaled[1], c.SaveResponse) and journaled[1].ending == Completed() and len(journaled) == 2
    [end] = dialogue.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd) and end.result.output == (told,) and end.result.ending == Completed()
    fold = StreamFold()
    for event in dialogue.events:
        fold.apply(event)
    assert fold.output() == (told,) == asked_of_client(fold.output())


def test_servers_calls_of_the_same_turn_run_before_the_run_ends() -> None:
    dialogue = Dialogue(with_clock(request=with_functions()))
    dialogue.until_generating(ADD)
    dialogue.write(("weather", "{}"), ("add", '{"a":1,"b":2}'))
    journaled = dialogue.feed(i.CallsJournaled())
    assert journaled[0] == s.FunctionCallEnd(FunctionCall("call_0", "weather", "{}"))
    assert isinstance(journaled[1], c.CallTool) and journaled[1].call_id == "call_1"
    dialogue.feed(i.CallReturned("call_1", said("3"), 5))
    recorded = dialogue.feed(i.OutcomeRecorded("call_1"))
    assert isinstance(recorded[0], s.ToolCallSuccess) and isinstance(recorded[1], c.SaveResponse)
    assert recorded[1].ending == Completed()


def test_a_server_that_waits_for_approval_puts_the_run_away_and_the_clients_call_ends_it_later() -> None:
    request = with_functions()
    dialogue = Dialogue(with_clock(request=request))
    wanting = i.IntegrationsOpened(
        (i.OpenedIntegration(dialogue_provider(), (ADD,), approval=ApprovalPolicy("always")),)
    )
    dialogue.feed(i.Start(), wanting, i.ResponseOpened(), i.ModelReady())
    dialogue.write(("weather", "{}"), ("add", '{"a":1,"b":2}'))
    told = dialogue.feed(i.CallsJournaled())
    assert s.FunctionCallEnd(FunctionCall("call_0", "weather", "{}")) in told
    assert isinstance(told[-1], c.SuspendResponse)


def dialogue_provider():
    from tests.core.dialogue import CLOCK

    return CLOCK


def test_the_clients_names_win_and_a_server_tool_of_that_name_gives_way() -> None:
    dialogue = Dialogue(with_clock(request=with_functions(OWN_ADD), tool_names={("plugin:mcp/clock", "add"): "add"}))
    generate = dialogue.until_generating(ADD)[-1]
    assert isinstance(generate, c.Generate)
    assert [(tool.name, tool.provider) for tool in generate.tools] == [
        ("add", ClientProvider()),
        ("clock_add", dialogue_provider()),
    ]
    opened = next(command for command in dialogue.commands if isinstance(command, c.OpenResponse))
    assert opened.tool_names == {
        ("plugin:mcp/clock", "add"): "clock_add",
        tool_key(ClientProvider(), "add"): "add",
    }


def test_the_tool_that_reads_on_gives_way_to_a_function_of_its_name() -> None:
    dialogue = Dialogue(with_functions(replace(WEATHER, name="read_tool_output")))
    generate = dialogue.until_generating()[-1]
    assert isinstance(generate, c.Generate)
    given = {("plugin:orchestrator", "read_tool_output"): "read_tool_output"}
    assert reading_tool(generate.tools, given).name == "orchestrator_read_tool_output"


@pytest.mark.parametrize("server", [None, "client"])
def test_a_choice_can_name_a_function(server: str | None) -> None:
    dialogue = Dialogue(with_functions(tool_choice=NamedTool("weather", server)))
    generate = dialogue.until_generating()[-1]
    assert isinstance(generate, c.Generate) and generate.tool_choice == generate.tools[0]


def test_no_function_is_offered_where_no_tool_may_be_called() -> None:
    generate = Dialogue(with_functions(tool_choice="none")).until_generating()[-1]
    assert isinstance(generate, c.Generate) and generate.tools == ()


def test_arguments_of_a_function_go_to_the_client_as_the_model_wrote_them() -> None:
    dialogue = Dialogue(with_functions())
    dialogue.until_generating()
    dialogue.write(("weather", '{"city": 7'))
    dialogue.feed(i.CallsJournaled())
    [end] = dialogue.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd) and end.result.output == (FunctionCall("call_0", "weather", '{"city": 7'),)


def test_a_call_that_a_limit_cut_off_is_told_as_incomplete_and_whole_ones_are_handed_over() -> None:
    dialogue = Dialogue(with_functions(max_output_tokens=4))
    dialogue.until_generating()
    cut = dialogue.write(("weather", '{"city":"Oslo"}'), ("weather", '{"ci'), reason="length")
    incomplete = FunctionCall("call_1", "weather", '{"ci', complete=False)
    assert cut[0] == s.FunctionCallEnd(incomplete)
    assert isinstance(cut[1], c.SaveResponse) and cut[1].ending == Incomplete("max_output_tokens")
    whole = FunctionCall("call_0", "weather", '{"city":"Oslo"}')
    told = dialogue.feed(i.ResponseSaved())
    assert told[0] == s.FunctionCallEnd(whole)
    assert isinstance(told[1], s.ChatEnd) and told[1].result.output == (whole, incomplete)
    assert asked_of_client(told[1].result.output) == (whole,)


def test_a_call_that_uses_the_last_token_is_complete() -> None:
    dialogue = Dialogue(with_functions(max_output_tokens=4))
    dialogue.until_generating()
    assert isinstance(dialogue.write(("weather", "{}"))[0], c.JournalCalls)
    assert isinstance(dialogue.feed(i.CallsJournaled())[-1], c.SaveResponse)


def test_a_call_of_a_turn_that_is_broken_off_is_not_to_be_run() -> None:
    dialogue = Dialogue(with_functions())
    dialogue.until_generating()
    dialogue.feed(i.CallOpened(0, "weather", "call_0"), i.CallArgumentsArrived(0, "{}"))
    stopped = dialogue.feed(i.Disconnect())
    assert s.FunctionCallEnd(FunctionCall("call_0", "weather", "{}", complete=False)) in stopped


def test_without_parallel_calls_a_second_one_stops_the_model_and_is_not_heard() -> None:
    dialogue = Dialogue(with_clock(parallel_tool_calls=False))
    generate = dialogue.until_generating(ADD, PING)[-1]
    assert isinstance(generate, c.Generate) and not generate.parallel_tool_calls
    dialogue.feed(i.CallOpened(0, "ping", "call_0"))
    with pytest.raises(IllegalInputError):
        dialogue.feed(i.CallOpened(0, "ping", "call_2"))
    assert dialogue.feed(i.CallArgumentsArrived(0, "{}"), i.PromptProgressed(1.0)) == []
    assert dialogue.feed(i.CallOpened(1, "add", "call_1")) == [c.StopWriting(), s.Warned(WROTE_ON)]
    late = i.CallArgumentsArrived(1, "{}"), i.TextArrived("And?"), i.CallOpened(2, "ping", "call_3")
    assert dialogue.feed(*late) == []
    events = dialogue.feed(i.GenerationFinished("tool_calls", Counters()))
    assert isinstance(journal := events[-1], c.JournalCalls)
    assert [item.model_name for item in journal.items if isinstance(item, PlacedCall)] == ["ping"]
    dialogue.feed(i.CallsJournaled(), i.CallReturned("call_0", said("pong"), 5), i.OutcomeRecorded("call_0"))
    dialogue.feed(i.CallOpened(0, "ping", "call_4"))
    assert dialogue.feed(i.CallOpened(1, "ping", "call_5")) == [c.StopWriting()]  # the warning is no news


@pytest.mark.parametrize("written", [i.TextArrived("Wait."), i.ReasoningArrived("Hm.")])
def test_without_parallel_calls_what_is_written_after_the_whole_call_stops_the_model(
    written: i.TextArrived | i.ReasoningArrived,
) -> None:
    dialogue = Dialogue(with_functions(parallel_tool_calls=False))
    dialogue.until_generating()
    dialogue.feed(i.TextArrived("I look."), i.CallOpened(0, "weather", "call_0"))
    dialogue.feed(i.CallArgumentsArrived(0, '{"city":'))
    heard = dialogue.feed(i.ReasoningArrived("Oslo?"))
    assert heard == [s.ReasoningStart(), s.ReasoningDelta("Oslo?")]  # the call is not whole: nothing is broken off
    dialogue.feed(i.CallArgumentsArrived(0, '"Oslo"}'))
    assert dialogue.feed(i.TextArrived("\n")) == []
    assert dialogue.feed(written) == [c.StopWriting(), s.Warned(WROTE_ON)]
    dialogue.feed(i.GenerationFinished("tool_calls", Counters()), i.CallsJournaled())
    [end] = dialogue.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd) and end.result.warnings == (WROTE_ON,)
    assert end.result.output == (
        Message("I look."),
        FunctionCall("call_0", "weather", '{"city":"Oslo"}'),
        Reasoning("Oslo?"),
    )


def test_calls_of_servers_beyond_the_limit_are_refused_and_the_model_is_told() -> None:
    dialogue = Dialogue(with_clock(request=with_functions(limits=Limits(max_tool_calls=1))))
    dialogue.until_generating(ADD, PING)
    dialogue.write(("ping", "{}"), ("add", '{"a":1,"b":2}'))
    journaled = dialogue.feed(i.CallsJournaled())
    assert isinstance(journaled[0], s.ToolCallSuccess) and journaled[0].call.call_id == "call_1"
    refused = "This call was not run: this request may make 1 tool calls, and has made them."
    assert journaled[0].call.output == text_content(refused) and journaled[0].call.is_error
    assert isinstance(journaled[1], c.CallTool)
    after = dialogue.feed(i.CallReturned("call_0", said("pong"), 5), i.OutcomeRecorded("call_0"))
    [generate] = [command for command in after if isinstance(command, c.Generate)]
    assert [tool.name for tool in generate.tools] == ["weather"], "the client's own are no tools of servers"
    dialogue.write(("ping", '{"again":1}'), ("weather", "{}"), first=2)
    again = dialogue.feed(i.CallsJournaled())
    assert [type(event) for event in again] == [s.FunctionCallEnd, s.ToolCallSuccess, c.SaveResponse]
    dialogue = Dialogue(with_clock(limits=Limits(max_tool_calls=1), store=False))
    dialogue.until_generating(ADD, PING)
    dialogue.write(("nope", "{}"), ("ping", "{}"))
    assert isinstance(dialogue.feed(i.CallsJournaled())[-1], c.CallTool)


def test_results_come_as_messages_of_their_own_after_the_call() -> None:
    call = output_entry(handed_over("call_0", "{}"))
    assert call == OutputEntry(1, FunctionCall("call_0", "weather", "{}"), Shown("weather", "{}", None))
    past = PastResponse((TextInput("?"),), (call,))
    result = FunctionOutput("call_0", text_content("sunny"), name="weather")
    dialogue = Dialogue(asked(history=(past,), input=(result, TextInput("And now?")), functions=(WEATHER,)))
    generate = dialogue.until_generating()[-1]
    assert isinstance(generate, c.Generate) and generate.messages == (
        UserMessage((TextInput("?"),)),
        AssistantMessage("", "", (PromptToolCall("call_0", "weather", "{}"),)),
        ToolMessage("call_0", "weather", "sunny"),
        UserMessage((TextInput("And now?"),)),
    )


def test_a_call_whose_result_never_came_is_answered_for_the_model() -> None:
    past = PastResponse((TextInput("?"),), (output_entry(handed_over("call_0", "{}")),))
    generate = Dialogue(asked(history=(past,), input=(TextInput("Never mind."),))).until_generating()[-1]
    assert isinstance(generate, c.Generate) and generate.messages[2:] == (
        ToolMessage("call_0", "weather", NO_RESULT),
        UserMessage((TextInput("Never mind."),)),
    )


def test_a_branch_after_a_call_goes_on_without_its_result_or_with_one_that_is_given() -> None:
    kept = Resumed((handed_over("call_0", "{}"),))
    generate = Dialogue(with_functions(resumed=kept)).until_generating()[-1]
    assert isinstance(generate, c.Generate)
    assert generate.messages[-1] == ToolMessage("call_0", "weather", NO_RESULT)
    edited = replace(
        handed_over("call_1", "{}"), outcome=Outcome("edited", text_content("rain"), "rain", is_error=False)
    )
    dialogue = Dialogue(with_functions(resumed=Resumed((), call=edited)))
    dialogue.until_generating()
    generate = dialogue.feed(i.CallsJournaled())[-1]
    assert isinstance(generate, c.Generate) and generate.messages[-1] == ToolMessage("call_1", "weather", "rain")
    told = next(event for event in dialogue.events if isinstance(event, s.ToolCallSuccess))
    assert told.call == ToolCall(
        "call_1", "weather", {}, text_content("rain"), ClientProvider(), is_error=False, duration_ms=0, source="edited"
    )


def test_a_branch_can_make_a_call_of_a_function_anew() -> None:
    anew = PlacedCall(0, 1, "call_9", "weather", '{"city":"Rome"}', {"city": "Rome"})
    dialogue = Dialogue(with_functions(resumed=Resumed((), call=anew)))
    dialogue.until_generating()
    journaled = dialogue.feed(i.CallsJournaled())
    assert journaled[0] == s.FunctionCallEnd(FunctionCall("call_9", "weather", '{"city":"Rome"}'))
    assert isinstance(journaled[1], c.SaveResponse) and journaled[1].ending == Completed()


def test_each_result_gets_the_name_of_its_function() -> None:
    past = PastResponse(
        (TextInput("?"), FunctionCallInput("call_a", "a", "{}")),
        (
            OutputEntry(1, Reasoning("hm")),
            OutputEntry(1, FunctionCall("call_b", "b", "{}"), Shown("b", "{}", None)),
            OutputEntry(1, FunctionCall("call_x", "x", "{", complete=False)),
            OutputEntry(1, FunctionCall("call_y", "y", "{}"), Shown("y", "{}", "told")),
        ),
    )
    given = (
        FunctionOutput("call_a", "[]"),
        FunctionOutput("call_b", "[]"),
        FunctionCallInput("call_c", "c", "{}"),
        FunctionOutput("call_c", "[]"),
        TextInput("?"),
    )
    assert named_results(given, [past]) == (
        FunctionOutput("call_a", "[]", name="a"),
        FunctionOutput("call_b", "[]", name="b"),
        FunctionCallInput("call_c", "c", "{}"),
        FunctionOutput("call_c", "[]", name="c"),
        TextInput("?"),
    )
    assert named_results(given[-1:], [past]) == given[-1:]
    assert isinstance(named_results([given[0], given[0]], [past]), ErrorInfo)
    for unknown in ("call_x", "call_y", "call_d"):
        assert named_results([FunctionOutput(unknown, "[]")], [past]) == ErrorInfo(
            ErrorKind.INVALID_VALUE, f"There is no function call '{unknown}' that waits for a result.", "input"
        )


def test_how_likely_the_tokens_were_goes_along_with_their_text() -> None:
    space, word, rest = (TokenLogprob(LikelyToken(text, -0.5, text.encode())) for text in (" ", "Hi", "."))
    dialogue = Dialogue(asked())
    dialogue.until_generating()
    assert dialogue.feed(i.TextArrived(" ", (space,))) == [s.PromptProcessingEnd()]
    assert dialogue.feed(i.TextArrived("Hi", (word,))) == [s.MessageStart(), s.MessageDelta(" Hi", (space, word))]
    assert dialogue.feed(i.TextArrived(".", (rest,))) == [s.MessageDelta(".", (rest,))]
    dialogue.feed(i.GenerationFinished("stop", COUNTED))
    [end] = dialogue.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd) and end.result.output == (Message(" Hi.", (space, word, rest)),)
    fold = StreamFold()
    for event in dialogue.events:
        fold.apply(event)
    assert fold.output() == end.result.output


def test_of_a_long_message_only_so_many_likely_tokens_are_kept() -> None:
    one = TokenLogprob(LikelyToken("a", -0.5), (LikelyToken("b", -1.5),) * 4)
    fitting = (one,) * (MOST_KEPT // 5)
    assert kept_logprobs(fitting) == fitting
    assert kept_logprobs((*fitting, TokenLogprob(LikelyToken("c", -2.0)))) == fitting


def test_a_suspended_run_is_taken_up_and_ends_with_the_clients_call() -> None:
    waiting = PlacedCall(
        1, 1, "call_1", "ping", "{}", {}, "ping", dialogue_provider(), definition_digest(PING), awaits_approval=True
    )
    resumed = Resumed((handed_over("call_0", "{}"), waiting), reopens=True, decisions={}, counters=(COUNTED,))
    from orchestrator.core.approvals import Approve

    resumed = replace(resumed, decisions={"call_1": Approve()})
    dialogue = Dialogue(with_clock(request=with_functions(resumed=resumed)))
    begun = dialogue.until_generating(PING)
    assert isinstance(begun[-1], c.CallTool)
    dialogue.feed(i.CallReturned("call_1", said("pong"), 5))
    recorded = dialogue.feed(i.OutcomeRecorded("call_1"))
    assert isinstance(recorded[-1], c.SaveResponse) and recorded[-1].ending == Completed()
    assert not isinstance(dialogue.run.state, Ended) and not isinstance(recorded[-1].ending, Suspended)


# ---- strict functions ---------------------------------------------------------------------------

CITY: JsonObject = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
STRICT = ToolDefinition("weather", "Tell the weather.", CITY, strict=True)
NOT_MATCHING = "The arguments do not match the input schema of weather: "


def folded(dialogue: Dialogue) -> StreamFold:
    fold = StreamFold()
    for event in dialogue.events:
        fold.apply(event)
    return fold


def test_a_definition_says_that_it_is_strict_only_where_it_is() -> None:
    assert definition_from_json(STRICT.as_json()) == STRICT
    assert "strict" not in WEATHER.as_json()
    assert definition_digest(STRICT) != definition_digest(replace(STRICT, strict=False))


def test_a_strict_call_is_told_once_its_arguments_match_and_what_comes_after_them_is_not_heard() -> None:
    dialogue = Dialogue(with_functions(STRICT))
    dialogue.until_generating()
    assert dialogue.feed(i.CallOpened(0, "weather", "call_0")) == [s.PromptProcessingEnd()]
    assert dialogue.feed(i.CallArgumentsArrived(0, '{"city":{}'), i.TextArrived("Wait.")) == [
        s.MessageStart(),
        s.MessageDelta("Wait."),
    ]
    dialogue = Dialogue(with_functions(STRICT))
    dialogue.until_generating()
    dialogue.feed(i.CallOpened(0, "weather", "call_0"), i.CallArgumentsArrived(0, '{"city":"Os}'), i.TextArrived("Hm."))
    assert dialogue.feed(i.CallArgumentsArrived(0, 'lo"}')) == [
        s.MessageEnd(),
        s.FunctionCallStart("call_0", "weather"),
        s.FunctionCallDelta("call_0", '{"city":"Os}lo"}'),
    ]
    assert dialogue.feed(i.CallArgumentsArrived(0, "}")) == []
    dialogue.feed(i.GenerationFinished("tool_calls", COUNTED), i.CallsJournaled())
    [end] = dialogue.feed(i.ResponseSaved())
    call = FunctionCall("call_0", "weather", '{"city":"Os}lo"}')
    assert isinstance(end, s.ChatEnd) and end.result.output == (Message("Hm."), call)
    assert folded(dialogue).output() == end.result.output


def test_a_strict_call_that_does_not_match_is_told_to_the_model_and_never_to_the_client() -> None:
    dialogue = Dialogue(with_functions(STRICT))
    dialogue.until_generating()
    journaled = dialogue.write(("weather", '{"city": 7}'), ("weather", "no JSON"))
    assert not any(isinstance(event, s.FunctionCallStart | s.FunctionCallEnd) for event in journaled)
    generate = dialogue.feed(i.CallsJournaled())[-1]
    assert isinstance(generate, c.Generate)
    told = generate.messages[-2:]
    assert [type(message) for message in told] == [ToolMessage, ToolMessage]
    assert isinstance(told[0], ToolMessage) and told[0].content.startswith(NOT_MATCHING)
    assert told[1] == ToolMessage("call_1", "weather", "The arguments of weather are not a JSON object.")
    dialogue.write(("weather", '{"city":"Oslo"}'), first=2)
    dialogue.feed(i.CallsJournaled())
    [end] = dialogue.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd) and end.result.ending == Completed()
    assert asked_of_client(end.result.output) == (FunctionCall("call_2", "weather", '{"city":"Oslo"}'),)
    wrong, *_ = end.result.output
    assert isinstance(wrong, InvalidToolCall) and (wrong.kind, wrong.provider) == (
        "invalid_arguments",
        ClientProvider(),
    )
    assert folded(dialogue).output() == end.result.output


def test_a_strict_function_without_parameters_needs_no_arguments() -> None:
    nothing: JsonObject = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    dialogue = Dialogue(with_functions(ToolDefinition("now", "", nothing, strict=True)))
    dialogue.until_generating()
    dialogue.feed(i.CallOpened(0, "now", "call_0"))
    finished = dialogue.feed(i.GenerationFinished("tool_calls", COUNTED))
    assert finished[:1] == [s.FunctionCallStart("call_0", "now")]
    assert dialogue.feed(i.CallsJournaled())[0] == s.FunctionCallEnd(FunctionCall("call_0", "now", ""))


def test_a_strict_call_that_a_limit_cut_off_is_told_as_far_as_it_came() -> None:
    dialogue = Dialogue(with_functions(STRICT))
    dialogue.until_generating()
    dialogue.feed(i.CallOpened(0, "weather", "call_0"), i.CallArgumentsArrived(0, '{"ci'))
    cut = FunctionCall("call_0", "weather", '{"ci', complete=False)
    assert dialogue.feed(i.GenerationFinished("length", COUNTED))[:3] == [
        s.FunctionCallStart("call_0", "weather"),
        s.FunctionCallDelta("call_0", '{"ci'),
        s.FunctionCallEnd(cut),
    ]
    dialogue = Dialogue(with_functions(STRICT))
    dialogue.until_generating()
    dialogue.feed(i.CallOpened(0, "weather", "call_0"), i.CallArgumentsArrived(0, '{"city":"Oslo"}'))
    stopped = dialogue.feed(i.Disconnect())
    assert s.FunctionCallEnd(FunctionCall("call_0", "weather", '{"city":"Oslo"}', complete=False)) in stopped


def test_a_call_without_its_result_is_found_where_it_was_said_last() -> None:
    """Calls of servers have theirs, and what the user spoke on past of was left for good."""
    call = FunctionCall("c1", "weather", "{}")
    shown = Shown("weather", "{}", None)
    asks = PastResponse((TextInput("Weather?"),), (OutputEntry(1, call, shown),))
    told = PastResponse((FunctionOutput("c1", text_content("Sun.")),), ())
    brought = PastResponse((FunctionCallInput("c2", "weather", "{}"), TextInput("Well?")), ())
    of_server = FunctionCallInput("c3", "add", "{}", of_server=True)
    result = FunctionOutput("c1", text_content("Sun."))
    assert unanswered_call((TextInput("Hi"),), ()) is None
    assert unanswered_call((TextInput("Hi"),), (asks,)) == "c1"
    assert unanswered_call((result, TextInput("Well?")), (asks,)) is None
    assert unanswered_call((TextInput("Hi"),), (asks, told)) is None
    assert unanswered_call((TextInput("Hi"),), (brought,)) is None
    assert unanswered_call((of_server, TextInput("Hi")), ()) is None
    assert unanswered_call((FunctionCallInput("c4", "weather", "{}"), result), ()) == "c4"
