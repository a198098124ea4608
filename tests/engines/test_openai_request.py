"""The body of a completion: what every server understands, and nothing that was not asked for."""

from orchestrator.core.commands import Generate
from orchestrator.core.items import ImageInput, PluginProvider, TextInput
from orchestrator.core.prompt import AssistantMessage, PromptToolCall, SystemMessage, ToolMessage, UserMessage
from orchestrator.core.request import Sampling
from orchestrator.core.tools import OfferedTool, ToolDefinition
from orchestrator.engines.openai_request import completion_body, has_images, parameters, wire_message, wire_tool
from tests.engines.samples import TIME_TOOL, ask


def test_a_plain_request_says_nothing_that_was_not_asked_for() -> None:
    request = Generate(1, (UserMessage((TextInput("Hi"),)),), (), Sampling(), None, None)
    assert completion_body("m", request) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_setting_has_its_field() -> None:
    sampling = Sampling(0.5, 0.9, 0.1, 5, 1.1, 7, ("a", "b"))
    body = completion_body("m", ask("Hi", sampling=sampling, max_output_tokens=9, tools=(TIME_TOOL,)))
    for name in ("model", "messages", "stream", "stream_options"):
        del body[name]
    assert body == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "min_p": 0.1,
        "top_k": 5,
        "repeat_penalty": 1.1,
        "seed": 7,
        "stop": ["a", "b"],
        "tools": [wire_tool(TIME_TOOL, parameters(TIME_TOOL))],
    }


def test_settings_of_zero_are_sent() -> None:
    body = completion_body("m", ask("Hi", sampling=Sampling(temperature=0, top_k=0, seed=0), max_output_tokens=None))
    assert (body["temperature"], body["top_k"], body["seed"]) == (0, 0, 0)


def test_each_message_has_the_words_of_the_wire() -> None:
    call = PromptToolCall("call_1", "get_time", '{"timezone": "UTC"}')
    assert [
        wire_message(message)
        for message in (
            SystemMessage("Be brief."),
            UserMessage((TextInput("one"), TextInput("two"))),
            AssistantMessage("hm", "", (call,)),
            ToolMessage("call_1", "get_time", "12:00"),
            AssistantMessage("", "Noon.", ()),
        )
    ] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_time", "arguments": '{"timezone": "UTC"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "name": "get_time", "content": "12:00"},
        {"role": "assistant", "content": "Noon."},
    ]


def test_a_picture_makes_a_list_of_parts() -> None:
    message = UserMessage((TextInput("What is it?"), ImageInput("data:image/png;base64,AA==")))
    assert has_images(ask(message)) and not has_images(ask("Hi"))
    assert wire_message(message)["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]


def test_a_tool_without_a_schema_takes_an_object() -> None:
    tool = OfferedTool("now", ToolDefinition("now", "The time", {}), PluginProvider("mcp/clock"), 0, "digest")
    assert wire_tool(tool, parameters(tool)) == {
        "type": "function",
        "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}},
    }
