"""Demanded calls and demanded JSON: what is asked of llama.cpp, and what is read back."""

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import jsonschema_rs
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import CallArgumentsArrived, FinishReason, GenerationFinished, TextArrived
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.request import ResponseFormat
from orchestrator.core.response import Counters
from orchestrator.core.tools import OfferedTool
from orchestrator.engines.held_schemas import PARAM
from orchestrator.engines.held_turns import call_key, with_calls
from orchestrator.engines.llama_cpp.constrained import constraint
from orchestrator.engines.loose_schemas import grammar_schema, rehomed
from orchestrator.ports import CallBegun, GenerationChunk
from tests.engines.llama_cpp.conftest import OpenBench
from tests.engines.samples import TIME_TOOL, ask, written

pytestmark = pytest.mark.anyio

COUNTERS: Final = Counters(1, 1, 0, 0, 1.0, 1.0)
CALL: Final = ' { "tool_call" : {"name": "get_time", "arguments": {"timezone": "a }} b", "more": {"x": {}}} } }\n'
ARGUMENTS: Final = '{"timezone": "a }} b", "more": {"x": {}}}'
ANSWER: Final[JsonObject] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
    "required": ["city", "sure"],
    "additionalProperties": False,
}
FORMAT: Final = ResponseFormat("answer", ANSWER)


async def saying(pieces: list[str], reason: FinishReason = "stop") -> AsyncGenerator[GenerationChunk, None]:
    for piece in pieces:
        yield TextArrived(piece)
    yield GenerationFinished(reason, COUNTERS)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 200])
async def test_a_call_is_read_however_its_text_is_cut(length: int) -> None:
    pieces = [CALL[start : start + length] for start in range(0, len(CALL), length)]
    turn = await written(with_calls(saying(pieces), "tool_call"))
    assert (turn.text, turn.calls) == ("", (("get_time", ARGUMENTS),))
    assert turn.end == GenerationFinished("tool_calls", COUNTERS)


@pytest.mark.parametrize("text", ["Hello", '{"tool_calls": 1}', '{"tool', ' {"a": 1}', "", "{", '"tool_call"'])
async def test_whatever_is_no_call_is_text(text: str) -> None:
    turn = await written(with_calls(saying(list(text)), "tool_call"))
    assert (turn.text, turn.calls, turn.end) == (text, (), GenerationFinished("stop", COUNTERS))


async def test_text_goes_on_as_soon_as_it_can_be_no_call() -> None:
    chunks = with_calls(saying(['{"to', 'wn": "Oslo', '"}']), "tool_call")
    assert [chunk async for chunk in chunks] == [
        TextArrived('{"town": "Oslo'),
        TextArrived('"}'),
        GenerationFinished("stop", COUNTERS),
    ]


async def test_how_likely_the_tokens_of_an_answer_were_is_told_also_where_it_might_have_been_a_call() -> None:
    brace, key, rest = (TokenLogprob(LikelyToken(text, -0.5)) for text in ("{", '"to', 'wn": 1}'))

    async def answer() -> AsyncGenerator[GenerationChunk, None]:
        yield TextArrived("{", (brace,))
        yield TextArrived('"to', (key,))
        yield TextArrived('wn": 1}', (rest,))
        yield GenerationFinished("stop", COUNTERS)

    assert [chunk async for chunk in with_calls(answer(), "tool_call")] == [
        TextArrived('{"town": 1}', (brace, key, rest)),
        GenerationFinished("stop", COUNTERS),
    ]


async def test_a_call_that_was_cut_off_keeps_what_there_is_of_its_arguments() -> None:
    chunks = with_calls(saying(['{"tool_call":{"name":"get_time","arguments":{"a":"b}'], "length"), "tool_call")
    assert [chunk async for chunk in chunks] == [
        CallBegun(0, "get_time"),
        CallArgumentsArrived(0, '{"a":"b'),
        CallArgumentsArrived(0, "}"),
        GenerationFinished("length", COUNTERS),
    ]


def test_nothing_is_added_to_a_request_that_demands_nothing() -> None:
    assert constraint(ask("Hello!", tools=(TIME_TOOL,))) == {}


def test_a_call_begins_with_what_the_final_message_cannot_say() -> None:
    schema: JsonObject = {"type": "object", "properties": {"tool_call": {"type": "string"}}}
    request = replace(ask("Hello!", tools=(TIME_TOOL,)), response_format=ResponseFormat("x", schema))
    assert call_key(request) == "tool_call_"
    assert call_key(replace(request, response_format=FORMAT)) == "tool_call"


async def test_where_no_call_is_demanded_a_text_that_looks_like_one_is_a_text() -> None:
    assert (
        call_key(ask("Hello!", tools=(TIME_TOOL,))) is call_key(replace(ask("Hello!"), response_format=FORMAT)) is None
    )
    turn = await written(with_calls(saying([CALL]), None))
    assert (turn.text, turn.calls) == (CALL, ())


def test_references_still_lead_home_in_a_schema_that_was_moved() -> None:
    schema: JsonObject = {
        "$defs": {"a": {"type": "integer"}},
        "properties": {"x": {"$ref": "#/$defs/a"}, "self": {"$ref": "#"}, "$ref": {"enum": [{"$ref": "#"}]}},
    }
    assert rehomed(schema, "#/$defs/tool_0") == {
        "$defs": {"a": {"type": "integer"}},
        "properties": {
            "x": {"$ref": "#/$defs/tool_0/$defs/a"},
            "self": {"$ref": "#/$defs/tool_0"},
            "$ref": {"enum": [{"$ref": "#"}]},
        },
    }


ODD: Final[dict[str, JsonObject]] = {
    "true": {"a": True},
    "an unknown type": {"a": {"type": "strange", "description": "kept"}},
    "another document": {"a": {"$ref": "http://schemas.invalid/x"}},
    "a reference to nothing": {"a": {"$ref": "#/$defs/none"}},
    "itself": {"a": {"$ref": "#"}},
    "a long text": {"a": {"type": "string", "minLength": 5000, "maxLength": 100_000}},
    "a long list": {"a": {"type": "array", "items": True, "minItems": 3000}},
    "a pattern without anchors": {"a": {"type": "string", "pattern": "b"}},
    "a pattern that looks ahead": {"a": {"type": "string", "pattern": r"^(?=x)\p{L}+$"}},
    "no alternatives": {"a": {"enum": []}},
    "a list of types": {"a": {"type": ["string", "null"]}},
}


def with_parameters(properties: JsonObject) -> OfferedTool:
    schema: JsonObject = {"type": "object", "properties": properties}
    return replace(TIME_TOOL, name="odd", definition=replace(TIME_TOOL.definition, input_schema=schema))


def test_a_schema_that_can_be_read_stays_as_it_is() -> None:
    schema: JsonObject = {
        "type": "object",
        "$defs": {"n": {"type": "integer", "minimum": 1}},
        "properties": {"n": {"$ref": "#/$defs/n"}, "s": {"type": "string", "maxLength": 9}},
        "required": ["n"],
        "additionalProperties": False,
    }
    assert grammar_schema(schema) == schema


async def test_a_tool_with_an_odd_schema_spoils_no_request(bench: OpenBench) -> None:
    async with bench() as it:
        await it.load()
        for properties in ODD.values():
            turn = await written(it.generate(ask("Hello!", tools=(TIME_TOOL, with_parameters(properties)))))
            assert turn.end is not None and turn.end.reason == "stop"


def demanding(choice: OfferedTool | None, response_format: ResponseFormat | None = None, *texts: str) -> Generate:
    request = ask(*(texts or ("Hello!",)), tools=(TIME_TOOL, with_parameters({"n": {"type": "integer", "maximum": 9}})))
    return replace(request, tool_choice=choice or "required", response_format=response_format)


async def test_a_demanded_call_is_the_first_thing_that_is_written(bench: OpenBench) -> None:
    async with bench() as it:
        for reasoning in ("off", "on"):
            turn = await written(it.generate(replace(demanding(None), reasoning=reasoning)))
            assert turn.text == ""
            assert [name for name, _ in turn.calls] in (["get_time"], ["odd"])
            assert turn.end is not None and turn.end.reason == "tool_calls"
            assert (turn.reasoning != "") == (reasoning == "on")


async def test_a_named_tool_is_the_one_that_is_called(bench: OpenBench) -> None:
    async with bench() as it:
        for tool in demanding(None).tools:
            turn = await written(it.generate(demanding(tool, FORMAT)))
            assert (turn.text, [name for name, _ in turn.calls]) == ("", [tool.name])
            assert jsonschema_rs.is_valid(tool.definition.input_schema, json.loads(turn.calls[0][1]))


async def test_beside_tools_the_message_matches_the_format_or_is_a_call(bench: OpenBench) -> None:
    async with bench() as it:
        request = replace(demanding(None, FORMAT), tool_choice="auto")
        turn = await written(it.generate(request))
        assert turn.calls or jsonschema_rs.is_valid(ANSWER, json.loads(turn.text))


async def test_the_prompt_is_the_same_whether_a_call_is_demanded_or_not(bench: OpenBench) -> None:
    async with bench() as it:
        free = await written(it.generate(replace(demanding(None), tool_choice="auto")))
        held = await written(it.generate(demanding(None)))
        assert free.end is not None and held.end is not None
        assert free.end.counters.input_tokens == held.end.counters.input_tokens
        assert held.end.counters.cached_tokens == (held.end.counters.input_tokens or 0) - 1


async def test_a_format_that_llama_cpp_cannot_hold_the_model_to_is_refused(bench: OpenBench) -> None:
    async with bench() as it:
        odd = ResponseFormat("odd", {"type": "string", "pattern": "^(a+)+$(?=x)"})
        message = "cannot be held: it must begin with"
        with pytest.raises(OrchestratorError, match=message):
            it.engine.check_response_format(odd)
        with pytest.raises(OrchestratorError, match=message) as caught:
            await written(it.generate(replace(ask("Hello!"), response_format=odd)))
        assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, PARAM)
        loose = replace(odd, strict=False)
        it.engine.check_response_format(loose)
        turn = await written(it.generate(replace(ask("Hello!"), response_format=loose)))
        assert isinstance(json.loads(turn.text), str)
