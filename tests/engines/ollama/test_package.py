"""Why chats and listings do not go through Ollama's own client: what it still loses. When one of these fails, it may."""

import inspect

import httpx
import ollama

from orchestrator.core.json_types import JsonObject


def test_a_message_loses_the_ids_of_its_calls() -> None:
    call: JsonObject = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {}}}
    message: JsonObject = {"role": "tool", "tool_call_id": "call_1", "tool_calls": [call]}
    kept = ollama.Message.model_validate(message).model_dump(exclude_none=True)
    assert kept == {"role": "tool", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


def test_a_tool_loses_most_of_its_schema() -> None:
    schema: JsonObject = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}], "properties": {}}}}
    tool = ollama.Tool.model_validate({"type": "function", "function": {"name": "f", "parameters": schema}})
    parameters = tool.model_dump(exclude_none=True)["function"]["parameters"]
    assert parameters["properties"] == {"a": {}}


def test_a_chat_cannot_say_that_nothing_may_be_cut() -> None:
    assert not {"truncate", "shift"} & set(inspect.signature(vars(ollama.AsyncClient)["chat"]).parameters)


def test_a_listing_loses_what_tells_a_model_of_another_machine() -> None:
    assert "remote_host" not in ollama.ListResponse.Model.model_fields


def test_its_lines_end_where_json_does_not() -> None:
    response = httpx.Response(200, content='{"content":"a\u0085b"}\n'.encode())
    assert list(response.iter_lines()) == ['{"content":"a', 'b"}']
