"""The stream on the wire (contract, section 3): every event, whole streams, and what keeps them open."""

import json
from typing import Any, get_args

import anyio
import pytest
from inline_snapshot import snapshot

from orchestrator.api.encode import wire_events
from orchestrator.api.json_text import json_bytes
from orchestrator.api.sse import frame
from orchestrator.api.wire_events import WireEvent
from orchestrator.core import stream as s
from orchestrator.core.approvals import PendingApproval
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.core.items import (
    EphemeralProvider,
    FunctionCall,
    InvalidToolCall,
    Message,
    PluginProvider,
    Reasoning,
    ToolCall,
)
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Cancelled, ChatResult, Completed, Failed, Incomplete, Stats
from orchestrator.core.server_requests import Elicitation, Progress, SamplingReply
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine, Stall, Think
from tests.api.house import House, chat_body, fake_tool, house, plain, served

pytestmark = pytest.mark.anyio

PLUGIN, EPHEMERAL = PluginProvider("mcp/clock"), EphemeralProvider("search")
CALL = ToolCall("call_1", "now", {"zone": "UTC"}, "[]", PLUGIN, is_error=True, duration_ms=7)
INVALID = InvalidToolCall("call_2", "invalid_arguments", "No.", "find", {"q": 1}, EPHEMERAL)
PENDING = PendingApproval("call_3", "find", {"q": 1}, EPHEMERAL)
STATS = Stats(10, 5, 1, 10.0, 0.25)
WIRE_STATS = '"stats":{"input_tokens":10,"total_output_tokens":5,"reasoning_output_tokens":1,"tokens_per_second":10.0,"time_to_first_token_seconds":0.25}'
WIRE_PLUGIN = '{"type":"plugin","plugin_id":"mcp/clock"}'
WIRE_EPHEMERAL = '{"type":"ephemeral_mcp","server_label":"search"}'

# fmt: off
EVENTS: list[tuple[s.StreamEvent, list[str]]] = [
    (s.ChatStart("m", "resp_1"), ['{"type":"chat.start","model_instance_id":"m","response_id":"resp_1"}']),
    (s.ChatStart("m", None), ['{"type":"chat.start","model_instance_id":"m"}']),
    (s.ModelLoadStart("m"), ['{"type":"model_load.start","model_instance_id":"m"}']),
    (s.ModelLoadProgress("m", 0.5), ['{"type":"model_load.progress","model_instance_id":"m","progress":0.5}']),
    (s.ModelLoadEnd("m", 1.5), ['{"type":"model_load.end","model_instance_id":"m","load_time_seconds":1.5}']),
    (
        s.ToolCallProgress("call_1", Progress(1, 3, "one")),
        ['{"type":"tool_call.progress","call_id":"call_1","progress":1,"total":3,"message":"one"}'],
    ),
    (
        s.ElicitationRequested(
            "elicit_1", "call_1", PluginProvider("mcp/x"), Elicitation("?", schema={"type": "object"}), 300.0
        ),
        [
            '{"type":"elicitation.requested","elicitation_id":"elicit_1","call_id":"call_1",'
            '"provider_info":{"type":"plugin","plugin_id":"mcp/x"},"mode":"form","message":"?",'
            '"requested_schema":{"type":"object"},"expires_in_seconds":300.0}'
        ],
    ),
    (
        s.ElicitationResolved("elicit_1", "decline"),
        ['{"type":"elicitation.resolved","elicitation_id":"elicit_1","action":"decline"}'],
    ),
    (
        s.SamplingCompleted("call_1", PluginProvider("mcp/x"), SamplingReply("hi", "m", "endTurn", 2)),
        [
            '{"type":"sampling.completed","call_id":"call_1","provider_info":{"type":"plugin","plugin_id":"mcp/x"},'
            '"model":"m","content":"hi","stop_reason":"endTurn","output_tokens":2}'
        ],
    ),
    (s.Warned("Look."), ['{"type":"warning","message":"Look."}']),
    (s.QueuePosition(2), ['{"type":"queue.position","position":2}']),
    (s.PromptProcessingStart(), ['{"type":"prompt_processing.start"}']),
    (s.PromptProcessingProgress(0.5), ['{"type":"prompt_processing.progress","progress":0.5}']),
    (s.PromptProcessingEnd(), ['{"type":"prompt_processing.end"}']),
    (s.ReasoningStart(), ['{"type":"reasoning.start"}']),
    (s.ReasoningDelta("Hm\n"), ['{"type":"reasoning.delta","content":"Hm\\n"}']),
    (s.ReasoningEnd(), ['{"type":"reasoning.end"}']),
    (s.MessageStart(), ['{"type":"message.start"}']),
    (s.MessageDelta("Grüße"), ['{"type":"message.delta","content":"Grüße"}']),
    (s.MessageEnd(), ['{"type":"message.end"}']),
    (s.ToolCallStart("call_1", "now", PLUGIN), [
        f'{{"type":"tool_call.start","call_id":"call_1","tool":"now","provider_info":{WIRE_PLUGIN}}}',
        f'{{"type":"tool_call.name","call_id":"call_1","tool_name":"now","provider_info":{WIRE_PLUGIN}}}',
    ]),
    (s.ToolCallArguments("call_1", "find", {"q": 1}, EPHEMERAL), [
        f'{{"type":"tool_call.arguments","call_id":"call_1","tool":"find","arguments":{{"q":1}},"provider_info":{WIRE_EPHEMERAL}}}',
    ]),
    (s.ToolCallApprovalRequired(PENDING), [
        f'{{"type":"tool_call.approval_required","call_id":"call_3","tool":"find","arguments":{{"q":1}},"provider_info":{WIRE_EPHEMERAL}}}',
    ]),
    (s.ToolCallSuccess(CALL), [
        f'{{"type":"tool_call.success","call_id":"call_1","tool":"now","arguments":{{"zone":"UTC"}},"output":"[]","provider_info":{WIRE_PLUGIN},"is_error":true,"duration_ms":7}}',
    ]),
    (s.ToolCallFailure("call_2", "invalid_arguments", "No.", "find", {"q": 1}, EPHEMERAL), [
        f'{{"type":"tool_call.failure","call_id":"call_2","reason":"No.","metadata":{{"type":"invalid_arguments","tool_name":"find","arguments":{{"q":1}},"provider_info":{WIRE_EPHEMERAL}}}}}',
    ]),
    (s.ToolCallFailure("call_2", "invalid_name", "No.", "fly", None, None), [
        '{"type":"tool_call.failure","call_id":"call_2","reason":"No.","metadata":{"type":"invalid_name","tool_name":"fly"}}',
    ]),
    (s.FunctionCallStart("call_4", "buy"), ['{"type":"function_call.start","call_id":"call_4","name":"buy"}']),
    (s.FunctionCallDelta("call_4", '{"n"'), ['{"type":"function_call.delta","call_id":"call_4","arguments":"{\\"n\\""}']),
    (s.FunctionCallEnd(FunctionCall("call_4", "buy", '{"n":1}')), [
        '{"type":"function_call.end","call_id":"call_4","name":"buy","arguments":"{\\"n\\":1}"}',
    ]),
    (s.FunctionCallEnd(FunctionCall("call_4", "buy", '{"n', complete=False)), [
        '{"type":"function_call.end","call_id":"call_4","name":"buy","arguments":"{\\"n","status":"incomplete"}',
    ]),
    (s.ErrorEvent(ErrorInfo(ErrorKind.EXCEED_CONTEXT_SIZE, "Too long.", "input")), [
        '{"type":"error","error":{"type":"invalid_request","message":"Too long.","code":"exceed_context_size","param":"input"}}',
    ]),
    (s.ChatEnd(ChatResult("m", (Reasoning("Hm"), Message("Hi"), CALL, INVALID), STATS, Completed(), "resp_1")), [
        '{"type":"chat.end","result":{"model_instance_id":"m","output":[{"type":"reasoning","content":"Hm"},{"type":"message","content":"Hi"},'
        f'{{"type":"tool_call","tool":"now","arguments":{{"zone":"UTC"}},"output":"[]","provider_info":{WIRE_PLUGIN},"call_id":"call_1","is_error":true,"duration_ms":7}},'
        f'{{"type":"invalid_tool_call","reason":"No.","metadata":{{"type":"invalid_arguments","tool_name":"find","arguments":{{"q":1}},"provider_info":{WIRE_EPHEMERAL}}}}}],'
        f'{WIRE_STATS},"response_id":"resp_1","status":"completed"}}}}',
    ]),
    (s.ChatEnd(ChatResult("m", (), STATS, Incomplete("client_gone"))), [
        f'{{"type":"chat.end","result":{{"model_instance_id":"m","output":[],{WIRE_STATS},"status":"incomplete","incomplete_reason":"client_gone"}}}}',
    ]),
    (s.ChatEnd(ChatResult("m", (), STATS, Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "No.")))), [
        f'{{"type":"chat.end","result":{{"model_instance_id":"m","output":[],{WIRE_STATS},"status":"failed"}}}}',
    ]),
    (s.ChatEnd(ChatResult("m", (), STATS, Cancelled("enough"))), [
        f'{{"type":"chat.end","result":{{"model_instance_id":"m","output":[],{WIRE_STATS},"status":"cancelled"}}}}',
    ]),
]
# fmt: on


@pytest.mark.parametrize(("event", "wire"), EVENTS, ids=lambda value: type(value).__name__)
def test_an_event_has_its_form_on_the_wire(event: s.StreamEvent, wire: list[str]) -> None:
    assert [json_bytes(sent).decode() for sent in wire_events(event)] == wire


def test_every_event_of_ours_and_of_the_wire_is_in_the_table() -> None:
    assert {type(event) for event, _ in EVENTS} == set(get_args(s.StreamEvent))
    sent = {type(wire) for event, _ in EVENTS for wire in wire_events(event)}
    assert sent == set(get_args(WireEvent))


def test_a_frame_has_number_name_and_data() -> None:
    (event,) = wire_events(s.MessageDelta("a\nb"))
    assert frame(7, event) == b'id: 7\nevent: message.delta\ndata: {"type":"message.delta","content":"a\\nb"}\n\n'


async def tell_time(arguments: JsonObject) -> str:
    return "noon"


async def test_a_whole_stream() -> None:
    load = [LoadStarted(), LoadProgressed(0.5), ModelReady(1.5)]
    engine = ScriptedEngine(
        [[Think("Let me"), Call("now", {"zone": "UTC"}), Call("fly")], [Say("It is noon.")]], load=load
    )
    async with house(engine, {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}) as api:
        response = await api.chat(stream=True, integrations=["mcp/clock"])
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Response-Id"].startswith("resp_")
    assert plain(response.text) == snapshot("""\
id: 1
event: chat.start
data: {"type":"chat.start","model_instance_id":"test/scripted","response_id":"resp_R"}

id: 2
event: model_load.start
data: {"type":"model_load.start","model_instance_id":"test/scripted"}

id: 3
event: model_load.progress
data: {"type":"model_load.progress","model_instance_id":"test/scripted","progress":0.5}

id: 4
event: model_load.end
data: {"type":"model_load.end","model_instance_id":"test/scripted","load_time_seconds":1.5}

id: 5
event: prompt_processing.start
data: {"type":"prompt_processing.start"}

id: 6
event: prompt_processing.progress
data: {"type":"prompt_processing.progress","progress":1.0}

id: 7
event: prompt_processing.end
data: {"type":"prompt_processing.end"}

id: 8
event: reasoning.start
data: {"type":"reasoning.start"}

id: 9
event: reasoning.delta
data: {"type":"reasoning.delta","content":"Let "}

id: 10
event: reasoning.delta
data: {"type":"reasoning.delta","content":"me"}

id: 11
event: reasoning.end
data: {"type":"reasoning.end"}

id: 12
event: tool_call.start
data: {"type":"tool_call.start","call_id":"call_C","tool":"now","provider_info":{"type":"plugin","plugin_id":"mcp/clock"}}

id: 13
event: tool_call.name
data: {"type":"tool_call.name","call_id":"call_C","tool_name":"now","provider_info":{"type":"plugin","plugin_id":"mcp/clock"}}

id: 14
event: tool_call.failure
data: {"type":"tool_call.failure","call_id":"call_C","reason":"Cannot find tool with name fly. Available tools: now.","metadata":{"type":"invalid_name","tool_name":"fly"}}

id: 15
event: tool_call.arguments
data: {"type":"tool_call.arguments","call_id":"call_C","tool":"now","arguments":{"zone":"UTC"},"provider_info":{"type":"plugin","plugin_id":"mcp/clock"}}

id: 16
event: tool_call.success
data: {"type":"tool_call.success","call_id":"call_C","tool":"now","arguments":{"zone":"UTC"},"output":"[{\\"text\\":\\"noon\\",\\"type\\":\\"text\\"}]","provider_info":{"type":"plugin","plugin_id":"mcp/clock"},"is_error":false,"duration_ms":0}

id: 17
event: prompt_processing.start
data: {"type":"prompt_processing.start"}

id: 18
event: prompt_processing.progress
data: {"type":"prompt_processing.progress","progress":1.0}

id: 19
event: prompt_processing.end
data: {"type":"prompt_processing.end"}

id: 20
event: message.start
data: {"type":"message.start"}

id: 21
event: message.delta
data: {"type":"message.delta","content":"It "}

id: 22
event: message.delta
data: {"type":"message.delta","content":"is "}

id: 23
event: message.delta
data: {"type":"message.delta","content":"noon."}

id: 24
event: message.end
data: {"type":"message.end"}

id: 25
event: chat.end
data: {"type":"chat.end","result":{"model_instance_id":"test/scripted","output":[{"type":"reasoning","content":"Let me"},{"type":"tool_call","tool":"now","arguments":{"zone":"UTC"},"output":"[{\\"text\\":\\"noon\\",\\"type\\":\\"text\\"}]","provider_info":{"type":"plugin","plugin_id":"mcp/clock"},"call_id":"call_C","is_error":false,"duration_ms":0},{"type":"invalid_tool_call","reason":"Cannot find tool with name fly. Available tools: now.","metadata":{"type":"invalid_name","tool_name":"fly"}},{"type":"message","content":"It is noon."}],"stats":{"input_tokens":10,"total_output_tokens":10,"reasoning_output_tokens":0,"tokens_per_second":10.0,"time_to_first_token_seconds":0.25,"model_load_time_seconds":1.5,"cached_input_tokens":8},"response_id":"resp_R","status":"completed"}}

""")


def events_in(text: str) -> list[tuple[int, str, Any]]:
    """The events of a stream: number, name and data."""
    found: list[tuple[int, str, Any]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def both_ways(api: House, **body: Any) -> tuple[list[tuple[int, str, Any]], Any]:
    streamed = await api.chat(stream=True, **body)
    engine, api.engine.requests[:] = api.engine, []
    assert engine.open_generations == 0
    replied = await api.chat(**body)
    return events_in(plain(streamed.text)), json.loads(plain(replied.text))


@pytest.mark.parametrize("store", [True, False])
async def test_the_end_of_a_stream_carries_what_the_reply_without_streaming_is(store: bool) -> None:
    engine = ScriptedEngine([[Think("Hm"), Call("now"), Call("fly"), Call("now", "[]")], [Say("It is noon.")]])
    async with house(engine, {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}) as api:
        events, reply = await both_ways(api, integrations=["mcp/clock"], store=store)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [name for _, name, data in events if data["type"] != name] == []
    assert (events[0][1], events[-1][1]) == ("chat.start", "chat.end")
    assert events[-1][2]["result"] == reply
    assert all("call_id" in data for _, name, data in events if name.startswith("tool_call."))


async def test_a_failure_before_the_beginning_has_its_status_though_streaming_was_asked_for() -> None:
    error = OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, "It does not start.", param="integrations")
    async with house(servers={"mcp/clock": FakeServer(error=error)}) as api:
        response = await api.chat(stream=True, integrations=["mcp/clock"])
    told = {
        "type": "plugin_connection_error",
        "message": "It does not start.",
        "code": "plugin_connection_error",
        "param": "integrations",
    }
    assert (response.status_code, response.json()) == (424, {"error": told})
    assert response.headers["Content-Type"] == "application/json"


async def test_a_failure_after_the_beginning_is_an_event_before_the_end() -> None:
    error = OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine gave up.")
    async with house(ScriptedEngine([[Say("Well"), Break(error)]])) as api:
        response = await api.chat(stream=True)
    assert response.status_code == 200
    told = {"type": "internal_error", "message": "The engine gave up.", "code": "engine_error"}
    (_, _, failure), (_, _, end) = events_in(plain(response.text))[-2:]
    assert failure == {"type": "error", "error": told}
    assert (end["result"]["status"], end["result"]["output"]) == ("failed", [{"type": "message", "content": "Well"}])
    assert end["result"]["response_id"] == "resp_R"


async def test_comments_keep_a_silent_stream_open() -> None:
    go_on = anyio.Event()
    engine = ScriptedEngine([[Stall(go_on), Say("Hi.")]])
    async with house(engine, keep_alive_seconds=0.01) as api, served(api.app) as client:
        lines: list[str] = []
        with anyio.fail_after(10):
            async with client.stream("POST", "/api/v1/chat", json=chat_body(stream=True)) as response:
                async for line in response.aiter_lines():
                    lines.append(line)
                    if lines.count(": keep-alive") == 3:
                        go_on.set()
    assert lines.count(": keep-alive") >= 3
    names = [name for _, name, _ in events_in("\n".join(lines))]
    assert (names[0], names[-1]) == ("chat.start", "chat.end")


async def test_a_stream_that_is_not_silent_has_no_comments() -> None:
    async with house() as api:
        response = await api.chat(stream=True)
    assert ": keep-alive" not in response.text
