"""The fold of a run's events into OpenAI's: numbers, places, and what is told of calls that never ran."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from orchestrator.api.openai_responses.encode_items import sealed, unsealed
from orchestrator.api.openai_responses.heads import ResponseHead
from orchestrator.api.openai_responses.item_ids import ItemId, parse_item_id
from orchestrator.api.openai_responses.stream import Background, ResponseEncoder
from orchestrator.core import stream as s
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import FunctionCall, PluginProvider, ToolCall
from orchestrator.core.response import Cancelled, ChatResult, Completed, Ending, Stats
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import fake_tool, house
from tests.api.openai_responses.clients import MODEL, openai_house
from tests.api.openai_responses.clients import told as as_json
from tests.api.test_stream import tell_time

CLOCK = PluginProvider("mcp/clock")
ID = "resp_" + "a" * 48
CALL = "call_" + "b" * 24
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def told(*events: s.StreamEvent, earlier: Background | None = None) -> list[Any]:
    """The events as JSON, which are numbered and placed as they have to be."""
    encoder = ResponseEncoder(ResponseHead(ID, NOW, "m"), (), earlier or Background(), lambda: NOW)
    found: list[Any] = [msgspec.to_builtins(event) for each in events for event in encoder.encode(each)]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    added = [event["output_index"] for event in found if event["type"].endswith("output_item.added")]
    assert added == list(range(len(added)))
    return found


def ends(ending: Ending) -> s.ChatEnd:
    return s.ChatEnd(ChatResult("m", (), Stats(), ending))


def kinds(events: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_call_that_names_no_tool_is_a_call_that_failed() -> None:
    events = told(s.ToolCallFailure(CALL, "invalid_name", "There is none.", "nope", None, None), ends(Completed()))
    (item,) = events[-1]["response"]["output"]
    assert (item["server_label"], item["name"], item["status"]) == ("unknown", "nope", "failed")
    assert item["error"] == {"type": "mcp_protocol_error", "code": -32601, "message": "There is none."}
    assert kinds(events)[-3:] == ["mcp_call.failed", "output_item.done", "completed"]


def test_a_call_whose_arguments_do_not_fit_is_told_with_them() -> None:
    events = told(
        s.ToolCallStart(CALL, "now", CLOCK),
        s.ToolCallArguments(CALL, "now", {"zone": 5}, CLOCK),
        s.ToolCallFailure(CALL, "invalid_arguments", "No text.", "now", {"zone": 5}, CLOCK),
        ends(Completed()),
    )
    (item,) = events[-1]["response"]["output"]
    assert (item["server_label"], item["arguments"], item["error"]["code"]) == ("clock", '{"zone":5}', -32602)


def test_a_tool_that_answers_with_an_error_failed() -> None:
    output = '[{"type":"text","text":"No."},{"type":"image","data":"x"}]'
    call = ToolCall(CALL, "now", {}, output, CLOCK, is_error=True, duration_ms=1)
    (item,) = told(s.ToolCallSuccess(call), ends(Completed()))[-1]["response"]["output"]
    assert (item["status"], item["output"], item["error"]["type"]) == ("failed", None, "mcp_tool_execution_error")
    assert item["error"]["content"][0] == {"type": "text", "text": "No."}


def test_a_response_that_goes_on_counts_its_texts_on_and_names_what_was_approved() -> None:
    call = ToolCall(
        CALL, "now", {}, '[{"type":"text","text":"noon"},{"type":"resource"}]', CLOCK, is_error=False, duration_ms=1
    )
    events = told(
        s.ToolCallSuccess(call),
        s.MessageStart(),
        s.MessageDelta("Noon."),
        s.MessageEnd(),
        ends(Completed()),
        earlier=Background(2, frozenset({CALL})),
    )
    made, message = events[-1]["response"]["output"]
    assert (made["approval_request_id"], made["output"]) == (f"mcpr_{'a' * 48}_{'b' * 24}", 'noon\n{"type":"resource"}')
    assert message["id"] == f"msg_{'a' * 48}_2"


def test_a_function_call_that_was_cut_off_is_incomplete() -> None:
    events = told(
        s.FunctionCallStart(CALL, "f"),
        s.FunctionCallDelta(CALL, '{"a"'),
        s.FunctionCallEnd(FunctionCall(CALL, "f", '{"a"', complete=False)),
        ends(Cancelled("no")),
    )
    response = events[-1]["response"]
    assert (events[-1]["type"], response["status"]) == ("response.incomplete", "cancelled")
    assert response["incomplete_details"] == {"reason": "cancelled"}
    assert response["output"][0]["status"] == "incomplete"


def test_a_text_that_never_ended_is_closed_with_the_response() -> None:
    events = told(s.MessageStart(), s.MessageDelta("On"), ends(Cancelled("no")))
    assert kinds(events) == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    assert events[-2]["item"]["status"] == "incomplete"


def test_what_openai_has_no_words_for_says_nothing() -> None:
    assert told(s.ModelLoadStart("m"), s.QueuePosition(1), s.PromptProcessingStart(), s.MessageDelta("lost")) == []


@pytest.mark.parametrize("text", ["", "one", "öß 漢", "\ud800"])
def test_what_is_sealed_can_be_opened(text: str) -> None:
    assert unsealed(sealed(text)) == text


@pytest.mark.parametrize("text", ["gAAAA", "ä", "/w==", "a b"])
def test_what_others_sealed_cannot(text: str) -> None:
    assert unsealed(text) is None


def test_an_id_says_where_its_item_is() -> None:
    digits = "0" * 48
    assert parse_item_id(f"msg_{digits}_i3") == ItemId("msg", f"resp_{digits}", "3", of_input=True)
    assert parse_item_id(f"fc_{digits}_{'b' * 24}") == ItemId("fc", f"resp_{digits}", "b" * 24)
    assert [parse_item_id(text) for text in ("msg_1", f"xx_{digits}_1", f"msg_{digits}", "")] == [None] * 4


TURN = [Call("now", {"zone": "UTC"}), Call("get_weather", {"place": "Rome"}), Call("bogus", {}), Call("now", {})]
PLACES = ["mcp_list_tools", "mcp_call now", "function_call get_weather", "mcp_call bogus", "mcp_call now"]


def places(response: Any) -> list[str]:
    return [" ".join(filter(None, (item["type"], item.get("name")))) for item in response["output"]]


@pytest.mark.anyio
async def test_calls_stand_where_the_model_began_them() -> None:
    weather: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
    clock: Any = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
    servers = {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
    async with openai_house(ScriptedEngine([TURN]), servers) as (_, client):
        stream = await client.responses.create(model=MODEL, input="Hi", tools=[clock, weather], stream=True)
        events = [as_json(event) async for event in stream]
        response_id = events[-1]["response"]["id"]
        read = as_json(await client.responses.retrieve(response_id))
        again = [as_json(event) async for event in await client.responses.retrieve(response_id, stream=True)]
    for told_ones in (events, again):
        added = [event["output_index"] for event in told_ones if event["type"] == "response.output_item.added"]
        assert (added, places(told_ones[-1]["response"])) == ([0, 1, 2, 3, 4], PLACES)
    assert places(read) == PLACES


@pytest.mark.anyio
async def test_nothing_is_left_in_progress_where_the_model_breaks_off() -> None:
    clock: Any = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
    servers = {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
    broken = Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine broke."))
    async with house(ScriptedEngine([[TURN[0], Say("Well"), broken]]), servers) as api:
        body = {"model": MODEL, "input": "Hi", "tools": [clock], "stream": True}
        text = (await api.client.post("/v1/responses", json=body)).text
    last = next(line for line in reversed(text.split("\n")) if line.startswith('data: {"type":"response.failed"'))
    output = json.loads(last.removeprefix("data: "))["response"]["output"]
    assert [(item["type"], item.get("status")) for item in output[:2]] == [
        ("mcp_list_tools", None),
        ("mcp_call", "failed"),
    ]
    assert all(item.get("status") != "in_progress" for item in output)
