"""Penalties, biases and likelihoods, as each engine is asked for them and tells them."""

import json
from dataclasses import replace

from orchestrator.core.commands import Generate
from orchestrator.core.inputs import TextArrived
from orchestrator.core.items import ClientProvider, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.models import LoadSettings
from orchestrator.core.prompt import UserMessage
from orchestrator.core.request import JSON_OBJECT, Sampling
from orchestrator.core.tools import OfferedTool, ToolDefinition, definition_digest
from orchestrator.engines.held_turns import turn_schema
from orchestrator.engines.ollama.decode import WireLikely
from orchestrator.engines.ollama.request import chat_body
from orchestrator.engines.openai_request import completion_body, raw_body, wire_response_format, wire_tool
from orchestrator.engines.openai_stream import StreamDecoder
from orchestrator.engines.openai_wire import decode_chunk

SAMPLING = Sampling(presence_penalty=0.5, frequency_penalty=-0.5, logit_bias=((7, -100.0), (8, 1.5)), logprobs=2)
FUNCTION = ToolDefinition("f", "", {"type": "object"})
REQUEST = Generate(
    1,
    (UserMessage((TextInput("?"),)),),
    (OfferedTool("f", FUNCTION, ClientProvider(), -1, definition_digest(FUNCTION)),),
    SAMPLING,
    None,
    None,
    parallel_tool_calls=False,
)


def test_an_openai_compatible_server_is_asked_for_all_of_it() -> None:
    body = completion_body("m", REQUEST)
    assert {name: body[name] for name in body.keys() - {"model", "messages", "tools", "stream", "stream_options"}} == {
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"7": -100.0, "8": 1.5},
        "logprobs": True,
        "top_logprobs": 2,
        "parallel_tool_calls": False,
    }
    assert wire_response_format(JSON_OBJECT) == {"response_format": {"type": "json_object"}}


def test_ollama_is_asked_for_what_it_has() -> None:
    body = chat_body("m", REQUEST, LoadSettings(), None)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    assert body["options"] == {"presence_penalty": 0.5, "frequency_penalty": -0.5}


def test_how_likely_tokens_were_is_read() -> None:
    tokens = [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": None}],
        }
    ]
    chunk = {"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": tokens}}]}
    likely = TokenLogprob(LikelyToken("Hi", -0.5, b"Hi"), (LikelyToken("Ho", -1.5),))
    assert StreamDecoder("it").feed(decode_chunk(json.dumps(chunk).encode())) == [TextArrived("Hi", (likely,))]
    plain = {"choices": [{"delta": {"content": "Hi"}, "logprobs": None}]}
    assert StreamDecoder("it").feed(decode_chunk(json.dumps(plain).encode())) == [TextArrived("Hi")]
    assert WireLikely("x", -1.0, [300]).likely() == LikelyToken("x", -1.0)


def test_a_strict_function_is_named_so_and_a_held_turn_holds_it_to_all_of_its_schema() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"code": {"type": "string", "pattern": "^[a-z]{2}$"}},
        "required": ["code"],
        "additionalProperties": False,
    }
    definition = ToolDefinition("f", "", schema, strict=True)
    tool = OfferedTool("f", definition, ClientProvider(), -1, definition_digest(definition))
    assert wire_tool(tool, schema)["function"] == {"name": "f", "description": "", "parameters": schema, "strict": True}
    held, loose = (
        turn_schema(replace(REQUEST, tools=(replace(tool, definition=one),), tool_choice="required"))
        for one in (definition, replace(definition, strict=False))
    )
    assert held is not None and loose is not None
    assert "^[a-z]{2}$" in json.dumps(held) and '"pattern"' not in json.dumps(loose)
    unheld = replace(definition, input_schema={**schema, "properties": {"code": {"type": "string", "pattern": "x"}}})
    assert turn_schema(replace(REQUEST, tools=(replace(tool, definition=unheld),), tool_choice="required")) is not None


def test_the_answer_to_a_raw_prompt_is_read_in_every_form_of_it() -> None:
    body = raw_body("m", replace(REQUEST, raw=True, sampling=Sampling(logprobs=0)))
    assert {name: body[name] for name in ("prompt", "logprobs")} == {"prompt": "?", "logprobs": 1}
    assert not body.keys() & {"messages", "tools", "top_logprobs", "parallel_tool_calls"}
    beside = {"tokens": ["a", "b"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {"b": -0.5, "c": -1.5}]}
    lone = {"tokens": ["a"], "token_logprobs": [-0.5]}
    found = [
        StreamDecoder("x").feed(decode_chunk(json.dumps({"choices": [{"text": "ab", "logprobs": told}]}).encode()))
        for told in (beside, lone, None)
    ]
    b, c = LikelyToken("b", -0.5), LikelyToken("c", -1.5)
    assert found == [
        [TextArrived("ab", (TokenLogprob(LikelyToken("a", 0.0)), TokenLogprob(b, (b, c))))],
        [TextArrived("ab", (TokenLogprob(LikelyToken("a", -0.5)),))],
        [TextArrived("ab")],
    ]
