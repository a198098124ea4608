"""The evaluation: sound cases, fair judgement, and a table that adds up. The engine is played by a function here."""

import json
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx
import jsonschema_rs
import pytest

from demo_model.evaluate import by_name
from demo_model.evaluation.engine import Engine
from demo_model.evaluation.examination import Examination, Outcome
from demo_model.evaluation.report import Row, cells, markdown_of, rows_by_offer
from demo_model.evaluation.sets import CallCase, ExpectedCall, PlainCase, SequenceCase, evaluation_set, refusal_set

CALL_SETS = ("held_out", "blind", "blind2")
TIMINGS = {"prompt_n": 10, "prompt_ms": 1.0, "predicted_n": 5, "predicted_ms": 2.0}

Message = dict[str, Any]
Play = Callable[[Message], Message]


def calling(name: str, arguments: object) -> Message:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    return {"content": "", "tool_calls": [{"id": "c7", "type": "function", "function": function}]}


@contextmanager
def played(play: Play | str) -> Generator[Engine]:
    """An engine whose replies are what `play` makes of the request; a text is an error of the server."""

    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(play, str):
            return httpx.Response(500, text=play)
        message = play(json.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": message}], "timings": TIMINGS})

    with httpx.Client(base_url="http://engine", transport=httpx.MockTransport(respond)) as client:
        yield Engine(client)


def examination(engine: Engine) -> Examination:
    cases = evaluation_set("held_out")
    return Examination(engine, by_name(cases.trained_tools, cases.tools), random.Random(1))


ADD = ExpectedCall("get-sum", {"a": 1, "b": 2}, "3")
VOLUME = ExpectedCall("set_volume", {"level": 3}, "loud")


def add_then_answer(request: Message) -> Message:
    """Calls `get-sum` rightly, then quotes whatever came back."""
    last = request["messages"][-1]
    return {"content": f"It is {last['content']}"} if last["role"] == "tool" else calling("get-sum", {"a": 1, "b": 2})


@pytest.mark.parametrize("name", CALL_SETS)
def test_every_expected_call_is_one_that_the_tools_of_its_set_admit(name: str) -> None:
    cases = evaluation_set(name)
    tools = by_name(cases.trained_tools, cases.tools)
    expected = [case.expected for case in (*cases.calls, *cases.trained_calls)]
    expected += [call for case in cases.sequences for call in case.expected]
    for call in expected:
        jsonschema_rs.validate(tools[call.tool]["function"]["parameters"], call.arguments)
    assert cases.related <= {call.tool for call in expected}


def test_the_sets_have_as_many_cases_as_the_figures_are_about() -> None:
    counts = [(len(cases.calls), len(cases.sequences)) for cases in map(evaluation_set, CALL_SETS)]
    held_out, refused = evaluation_set("held_out"), refusal_set()
    assert counts == [(45, 10), (19, 4), (58, 2)]
    assert (len(held_out.trained_calls), len(held_out.plain)) == (10, 22)
    assert (len(refused.failures), len(refused.absent)) == (10, 8)


def test_an_offer_holds_the_needed_tools_and_none_that_means_the_same() -> None:
    with played("unused") as engine:
        exam = examination(engine)
        for _ in range(50):
            names = [tool["function"]["name"] for tool in exam.offer(["get-sum", "printEnv"], 8)]
            assert len(set(names)) == 8
            assert {"get-sum", "printEnv"} <= set(names)
            assert "add" not in names


def test_a_right_call_and_a_right_answer_count() -> None:
    with played(add_then_answer) as engine:
        exam = examination(engine)
        assert exam.calls([CallCase("1+2?", ADD)], (1, 4)) == [
            Outcome("get-sum", offered, tool=True, call=True, answer=True) for offered in (1, 4)
        ]
        assert exam.failures == []


@pytest.mark.parametrize(
    ("reply", "tool_right", "got"),
    [
        (
            calling("get-sum", {"a": 1, "b": 3}),
            True,
            {"tool": "get-sum", "arguments": {"a": 1, "b": 3}},
        ),
        (calling("get-sum", '{"a": 1, "b'), True, {"tool": "get-sum", "arguments": '{"a": 1, "b'}),
        (calling("add", {"a": 1, "b": 2}), False, {"tool": "add", "arguments": {"a": 1, "b": 2}}),
        ({"content": "3"}, False, {"content": "3"}),
    ],
    ids=["wrong argument", "cut arguments", "wrong tool", "no call"],
)
def test_a_wrong_reply_counts_against_the_model_and_is_noted(reply: Message, tool_right: bool, got: Message) -> None:
    with played(lambda request: reply if len(request["messages"]) == 1 else {"content": "3"}) as engine:
        exam = examination(engine)
        assert exam.calls([CallCase("1+2?", ADD)], (2,)) == [
            Outcome("get-sum", 2, tool=tool_right, call=False, answer=True)
        ]
        expected = {"tool": "get-sum", "arguments": {"a": 1, "b": 2}}
        assert exam.failures == [{"prompt": "1+2?", "offered": 2, "expected": expected, "got": got}]


def test_an_error_of_the_engine_is_a_wrong_reply_and_not_the_end() -> None:
    with played("does not match the expected format") as engine:
        exam = examination(engine)
        assert exam.calls([CallCase("1+2?", ADD)], (1,)) == [
            Outcome("get-sum", 1, tool=False, call=False, answer=False)
        ]
        assert [failure["got"] for failure in exam.failures] == [{"error": "does not match the expected format"}] * 2


def test_with_thinking_the_reasoning_has_to_name_the_tool() -> None:
    def think(request: Message) -> Message:
        assert request["chat_template_kwargs"] == {"enable_thinking": True}
        return add_then_answer(request) | {"reasoning_content": "I should call get-sum."}

    with played(think) as engine:
        outcomes = examination(engine).calls([CallCase("1+2?", ADD)], (1,), thinking=True)
        assert outcomes == [Outcome("get-sum", 1, tool=True, call=True, answer=True, thought=True)]


def test_a_sequence_is_right_only_if_every_call_and_the_answer_are() -> None:
    def play(request: Message) -> Message:
        results = [message["content"] for message in request["messages"] if message["role"] == "tool"]
        replies = [calling("get-sum", {"a": 1, "b": 2}), calling("set_volume", {"level": 3})]
        return replies[len(results)] if len(results) < 2 else {"content": " and ".join(results)}

    case = SequenceCase("Add, then set the volume", (ADD, VOLUME))
    reversed_case = SequenceCase("The other way round", (VOLUME, ADD))
    with played(play) as engine:
        exam = examination(engine)
        assert exam.sequences([case, reversed_case], (0,)) == [
            Outcome(case.prompt, 2, tool=True, call=True, answer=True),
            Outcome(reversed_case.prompt, 2, tool=False, call=False, answer=False),
        ]


def test_cut_arguments_do_not_go_into_the_history() -> None:
    asked: list[int] = []

    def play(request: Message) -> Message:
        asked.append(len(request["messages"]))
        return calling("get-sum", '{"a": 1')

    with played(play) as engine:
        exam = examination(engine)
        assert exam.sequences([SequenceCase("Add, then set", (ADD, VOLUME))], (2,)) == [
            Outcome("Add, then set", 2, tool=True, call=False, answer=False)
        ]
    assert asked == [1]


def test_plain_turns_are_judged_by_the_last_answer_without_a_call() -> None:
    cases = [PlainCase(("My pet is a cat", "What pet?"), "CAT", True), PlainCase(("Bye",), "goodbye", False)]
    with played(lambda request: {"content": request["messages"][0]["content"]}) as engine:
        assert examination(engine).plain(cases) == [
            Outcome("What pet?", 4, answer=True),
            Outcome("Bye", 0, answer=False),
        ]


def test_failures_have_to_be_reported_and_absent_tools_refused() -> None:
    def play(request: Message) -> Message:
        last = request["messages"][-1]
        return {"content": f"get-sum failed: {last['content']}" if last["role"] == "tool" else "No tool for that"}

    with played(play) as engine:
        exam = examination(engine)
        assert exam.failures_reported(["Timeout"], [CallCase("1+2?", ADD)]) == [Outcome("Timeout", 3, answer=True)]
        assert exam.absent_refused(["Fly"], (0, 3)) == [Outcome("Fly", 0, answer=True), Outcome("Fly", 3, answer=True)]


def test_random_tools_are_the_same_each_time() -> None:
    asked: list[list[Message]] = [[], []]
    for prompts in asked:
        with played(lambda request, prompts=prompts: prompts.append(request) or {"content": ""}) as engine:
            outcomes = examination(engine).random_tools(5)
        assert [outcome.call for outcome in outcomes] == [False] * 5
    assert asked[0] == asked[1]


def test_the_speed_is_counted_over_all_requests() -> None:
    with played(add_then_answer) as engine:
        examination(engine).calls([CallCase("1+2?", ADD)], (1, 2))
        assert engine.speed.per_second() == (10_000, 2_500)


def test_rows_are_one_for_each_number_of_tools_and_leave_out_what_is_not_asked() -> None:
    outcomes = [
        Outcome("a", 1, tool=True, call=False),
        Outcome("b", 1, tool=True, call=True),
        Outcome("c", 0, answer=True),
    ]
    rows = rows_by_offer("some", outcomes, ", thinking")
    assert rows == [
        Row("some", "no tools, thinking", (outcomes[2],)),
        Row("some", "1 tool, thinking", (outcomes[0], outcomes[1])),
    ]
    assert cells(rows[1]) == ["100 % (2/2)", "50 % (1/2)", "", ""]
    assert rows[1].as_json() == {
        "set": "some",
        "condition": "1 tool, thinking",
        "tool": {"right": 2, "of": 2},
        "call": {"right": 1, "of": 2},
    }
    assert markdown_of(rows).splitlines()[2] == "| some | no tools, thinking |  |  | 100 % (1/1) |  |"
