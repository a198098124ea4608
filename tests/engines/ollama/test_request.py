"""A turn as Ollama is sent it."""

import base64
from dataclasses import replace
from typing import Literal

import jsonschema_rs
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.models import LoadSettings
from orchestrator.core.prompt import AssistantMessage, PromptToolCall, SystemMessage, ToolMessage, UserMessage
from orchestrator.core.request import ReasoningSetting, ResponseFormat, Sampling
from orchestrator.core.tools import OfferedTool
from orchestrator.engines.ollama.request import chat_body, embed_body, load_body, refuse_what_ollama_lacks, wire_message
from tests.engines.samples import TIME_TOOL, ask, user

PIXEL = base64.b64encode(b"\x89PNG\r\n").decode()


def test_a_body_holds_what_was_set_and_nothing_else() -> None:
    request = Generate(1, (user("Hi"),), (), Sampling(), None, None)
    assert chat_body("m", request, LoadSettings(), None) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "truncate": False,
        "shift": False,
    }


def test_every_setting_has_its_place() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, min_p=0.1, top_k=5, repeat_penalty=1.1, seed=7, stop=("a", "b"))
    request = ask("Hi", tools=(TIME_TOOL,), sampling=sampling, reasoning="low", max_output_tokens=9)
    assert chat_body("m", request, LoadSettings(4096), "10m") == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "truncate": False,
        "shift": False,
        "keep_alive": "10m",
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_time",
                    "description": "Get the current time in a time zone",
                    "parameters": TIME_TOOL.definition.input_schema,
                },
            }
        ],
        "think": "low",
        "options": {
            "temperature": 0.5,
            "top_p": 0.9,
            "min_p": 0.1,
            "top_k": 5,
            "repeat_penalty": 1.1,
            "seed": 7,
            "stop": ["a", "b"],
            "num_predict": 9,
            "num_ctx": 4096,
        },
    }


@pytest.mark.parametrize(
    ("setting", "think"), [("off", False), ("on", True), ("low", "low"), ("medium", "medium"), ("high", "high")]
)
def test_a_reasoning_setting_is_a_switch_or_a_level(setting: ReasoningSetting, think: JsonValue) -> None:
    assert chat_body("m", ask("Hi", reasoning=setting), LoadSettings(), None)["think"] == think


def test_a_load_carries_the_settings_that_the_turns_after_it_have() -> None:
    assert load_body("m", LoadSettings(512, eval_batch_size=64), -1) == {
        "model": "m",
        "messages": [],
        "stream": False,
        "truncate": False,
        "shift": False,
        "keep_alive": -1,
        "options": {"num_ctx": 512, "num_batch": 64},
    }


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        (LoadSettings(flash_attention=False), "flash_attention"),
        (LoadSettings(num_experts=2), "num_experts"),
        (LoadSettings(offload_kv_cache_to_gpu=True), "offload_kv_cache_to_gpu"),
        (LoadSettings(parallel=4), "parallel"),
    ],
    ids=str,
)
def test_a_setting_that_no_request_can_give_ollama_is_an_invalid_value(settings: LoadSettings, param: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        refuse_what_ollama_lacks(settings)
    message = f"Ollama takes no '{param}' with a request; leave it out."
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, param)


def test_a_response_format_goes_along_as_its_schema() -> None:
    request = replace(ask("Hi"), response_format=ResponseFormat("answer", {"type": "object"}))
    assert chat_body("m", request, LoadSettings(), None)["format"] == {"type": "object"}


@pytest.mark.parametrize("choice", ["required", TIME_TOOL], ids=["any", "one"])
def test_a_demanded_call_is_a_format_of_the_whole_message(choice: Literal["required"] | OfferedTool) -> None:
    free = ask("Hi", tools=(TIME_TOOL,))
    body = chat_body("m", replace(free, tool_choice=choice), LoadSettings(), None)
    held = body.pop("format")
    assert body == chat_body("m", free, LoadSettings(), None)
    call = {"tool_call": {"name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}}}
    assert isinstance(held, dict)
    assert jsonschema_rs.is_valid(held, call)
    assert not jsonschema_rs.is_valid(held, {"tool_call": {"name": "get_time", "arguments": {}}})


def test_beside_tools_a_format_allows_the_answer_and_the_calls() -> None:
    answer: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = replace(ask("Hi", tools=(TIME_TOOL,)), response_format=ResponseFormat("answer", answer))
    held = chat_body("m", request, LoadSettings(), None)["format"]
    assert isinstance(held, dict)
    call = {"tool_call": {"name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}}}
    assert [jsonschema_rs.is_valid(held, one) for one in (call, {"n": 1}, {"n": "x"})] == [True, True, False]


def test_texts_are_embedded_whole_or_refused() -> None:
    assert embed_body("m", ("a", "b"), LoadSettings(512), 60) == {
        "model": "m",
        "input": ["a", "b"],
        "truncate": False,
        "keep_alive": 60,
        "options": {"num_ctx": 512},
    }


def test_a_chain_of_messages_keeps_every_id_and_name() -> None:
    calls = (PromptToolCall("call_1", "get_time", '{"timezone": "Asia/Tokyo"}'), PromptToolCall("call_2", "now", ""))
    messages = (
        SystemMessage("Be brief."),
        UserMessage((TextInput("What time"), TextInput("is it?"))),
        AssistantMessage("Two tools.", "Let me see.", calls),
        ToolMessage("call_1", "get_time", "09:41"),
    )
    assert [wire_message(message) for message in messages] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time\nis it?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "thinking": "Two tools.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"index": 0, "name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}},
                },
                {"id": "call_2", "type": "function", "function": {"index": 1, "name": "now", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "09:41", "tool_name": "get_time", "tool_call_id": "call_1"},
    ]


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{PIXEL}",
        f"data:image/png;base64,{PIXEL[:4]}%0A{PIXEL[4:]}",
        f"DATA:image/png;charset=x;BASE64,{PIXEL}",
        "data:image/png,%89PNG%0D%0A",
    ],
)
def test_a_picture_goes_along_as_plain_base64(url: str) -> None:
    message = wire_message(UserMessage((TextInput("Look:"), ImageInput(url))))
    assert message == {"role": "user", "content": "Look:", "images": [PIXEL]}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.com/a.png", "An image is not a data: URL."),
        ("data:image/png;base64", "An image is not a data: URL."),
        ("data:image/png;base64,!!", "An image's data: URL is not valid base64."),
    ],
)
def test_a_picture_that_is_no_data_url_is_an_invalid_value(url: str, message: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        wire_message(UserMessage((ImageInput(url),)))
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")
