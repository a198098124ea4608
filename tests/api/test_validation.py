"""Every row of the error table that speaks of the request's body (contract, section 4), whole bodies compared."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from orchestrator.testing import SCRIPTED_MODEL, FakeServer
from tests.api.house import CHAT, House, chat_body, house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api() -> AsyncGenerator[House]:
    async with house(servers={"mcp/clock": FakeServer(), "search": FakeServer()}) as running:
        yield running


def ephemeral(**changes: Any) -> dict[str, Any]:
    entry = {"type": "ephemeral_mcp", "server_label": "search", "server_url": "https://mcp.example/mcp", **changes}
    return {name: value for name, value in entry.items() if value is not None}


JSON = {"content-type": "application/json"}

NOT_JSON = [
    ("cut short", b'{"model":', "input data was truncated"),
    ("empty", b"", "it is empty"),
    ("white space", b" \n", "it is empty"),
    ("not a number", b'{"temperature": NaN}', "invalid character (byte 16)"),
    ("infinity", b"-Infinity", "invalid character (byte 1)"),
    ("a number beyond all numbers", b'{"temperature": 1e999}', "number out of range"),
    ("bad UTF-8", b'{"model": "\xff"}', "it is not UTF-8"),
    ("a lone surrogate", b'{"model": "\\ud800"}', "input data was truncated"),
    ("two values", b"{} {}", "trailing characters (byte 4)"),
    ("single quotes", b"{'model': 1}", "object keys must be strings (byte 1)"),
]


@pytest.mark.parametrize(("content", "why"), [case[1:] for case in NOT_JSON], ids=[case[0] for case in NOT_JSON])
async def test_a_body_that_is_not_json_is_refused(api: House, content: bytes, why: str) -> None:
    response = await api.client.post(CHAT, content=content, headers=JSON)
    error = {
        "type": "invalid_request",
        "message": f"The body is not valid JSON: {why}.",
        "code": "invalid_json",
    }
    assert (response.status_code, response.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"[]", "an array"), (b"null", "null"), (b'"hi"', "a string"), (b"5", "an integer"), (b"true", "a boolean")],
)
async def test_a_body_that_is_no_object_is_refused(api: House, content: bytes, kind: str) -> None:
    response = await api.client.post(CHAT, content=content, headers=JSON)
    error = {
        "type": "invalid_request",
        "message": f"The body must be an object, not {kind}.",
        "code": "invalid_type",
    }
    assert (response.status_code, response.json()) == (400, {"error": error})


LONG = "x" * 100
SHOWN = "x" * 64 + "…"
DATA_URL = "data:image/png;base64,iVBORw0KGgo="
IMAGE_PROBLEM = '"input.0.data_url" must be a picture as a data:image/…;base64,… URL.'
TAGS = "'text' | 'message' | 'image' | 'function_call_output'"
MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
UNION, KEYS = "invalid_union", "unrecognized_keys"

# fmt: off
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    # required fields
    ({"model": None}, MISSING, "model", '"model" is required'),
    ({"input": None}, MISSING, "input", '"input" is required'),
    ({"input": [{"type": "text"}]}, MISSING, "input.0.content", '"input.0.content" is required'),
    ({"input": [{"type": "text", "text": "hi"}]}, MISSING, "input.0.content", '"input.0.content" is required'),
    ({"input": ["hi"]}, TYPE, "input.0", '"input.0" must be an object, not a string.'),
    ({"input": [{"content": "hi"}]}, MISSING, "input.0.type", f'"input.0.type" is required. Expected {TAGS}'),
    ({"integrations": [{"id": "mcp/clock"}]}, MISSING, "integrations.0.type", "\"integrations.0.type\" is required. Expected 'plugin' | 'ephemeral_mcp'"),
    ({"integrations": [{"type": "plugin"}]}, MISSING, "integrations.0.id", '"integrations.0.id" is required'),
    ({"integrations": ["mcp/clock", ephemeral(server_url=None)]}, MISSING, "integrations.1.server_url", '"integrations.1.server_url" is required'),
    ({"integrations": [ephemeral(server_label=None)]}, MISSING, "integrations.0.server_label", '"integrations.0.server_label" is required'),
    # wrong types
    ({"model": 5}, TYPE, "model", '"model" must be a string, not an integer.'),
    ({"input": 5}, TYPE, "input", '"input" must be a string or an array, not an integer.'),
    ({"input": {"type": "text"}}, TYPE, "input", '"input" must be a string or an array, not an object.'),
    ({"system_prompt": ["be kind"]}, TYPE, "system_prompt", '"system_prompt" must be a string, not an array.'),
    ({"stream": "true"}, TYPE, "stream", '"stream" must be a boolean, not a string.'),
    ({"store": 1}, TYPE, "store", '"store" must be a boolean, not an integer.'),
    ({"temperature": "hot"}, TYPE, "temperature", '"temperature" must be a number, not a string.'),
    ({"temperature": True}, TYPE, "temperature", '"temperature" must be a number, not a boolean.'),
    ({"top_k": 5.0}, TYPE, "top_k", '"top_k" must be an integer, not a number.'),
    ({"top_k": True}, TYPE, "top_k", '"top_k" must be an integer, not a boolean.'),
    ({"seed": "1"}, TYPE, "seed", '"seed" must be an integer, not a string.'),
    ({"reasoning": 1}, TYPE, "reasoning", '"reasoning" must be a string, not an integer.'),
    ({"previous_response_id": 1}, TYPE, "previous_response_id", '"previous_response_id" must be a string, not an integer.'),
    ({"integrations": "mcp/clock"}, TYPE, "integrations", '"integrations" must be an array, not a string.'),
    ({"integrations": [5]}, TYPE, "integrations.0", '"integrations.0" must be a string or an object, not an integer.'),
    ({"integrations": [ephemeral(headers=["a"])]}, TYPE, "integrations.0.headers", '"integrations.0.headers" must be an object, not an array.'),
    ({"integrations": [ephemeral(headers={"X-Key": 5})]}, TYPE, "integrations.0.headers.X-Key", '"integrations.0.headers.X-Key" must be a string, not an integer.'),
    ({"integrations": [ephemeral(allowed_tools=[1])]}, TYPE, "integrations.0.allowed_tools.0", '"integrations.0.allowed_tools.0" must be a string, not an integer.'),
    ({"stop": [1]}, TYPE, "stop.0", '"stop.0" must be a string, not an integer.'),
    ({"metadata": {"a": 1}}, TYPE, "metadata.a", '"metadata.a" must be a string, not an integer.'),
    ({"tool_choice": 1}, TYPE, "tool_choice", '"tool_choice" must be a string or an object, not an integer.'),
    ({"background": "yes"}, TYPE, "background", '"background" must be a boolean, not a string.'),
    ({"ttl": "1h"}, TYPE, "ttl", '"ttl" must be an integer, not a string.'),
    ({"mcp_servers": {}}, TYPE, "mcp_servers", '"mcp_servers" must be an array, not an object.'),
    # wrong values
    ({"model": ""}, VALUE, "model", '"model" must not be empty.'),
    ({"input": ""}, VALUE, "input", '"input" must not be empty.'),
    ({"input": []}, VALUE, "input", '"input" must not be empty.'),
    ({"input": [{"type": "text", "content": ""}]}, VALUE, "input", '"input" must not be empty.'),
    ({"input": [{"type": "image", "data_url": "https://example.com/a.png"}]}, VALUE, "input.0.data_url", IMAGE_PROBLEM),
    ({"input": [{"type": "image", "data_url": "data:image/png;base64,"}]}, VALUE, "input.0.data_url", IMAGE_PROBLEM),
    ({"input": [{"type": "image", "data_url": "data:image/png;base64,!"}]}, VALUE, "input.0.data_url", IMAGE_PROBLEM),
    ({"input": [{"type": "image", "data_url": "data:image/png;base64,ü"}]}, VALUE, "input.0.data_url", IMAGE_PROBLEM),
    ({"input": [{"type": "image", "data_url": "data:text/html;base64,aGk="}]}, VALUE, "input.0.data_url", IMAGE_PROBLEM),
    ({"input": [{"type": "image", "data_url": DATA_URL}]}, VALUE, "input", f"'{SCRIPTED_MODEL}' does not see images."),
    ({"input": [{"type": "text", "content": "hi"}] * 1025}, VALUE, "input", '"input" must have at most 1024 items.'),
    ({"integrations": ["mcp/clock"] * 129}, VALUE, "integrations", '"integrations" must have at most 128 items.'),
    ({"integrations": [ephemeral(headers={str(n): "" for n in range(1025)})]}, VALUE, "integrations.0.headers", '"integrations.0.headers" must have at most 1024 keys.'),
    ({"temperature": 1.01}, VALUE, "temperature", '"temperature" must be between 0 and 1.'),
    ({"temperature": -1}, VALUE, "temperature", '"temperature" must be between 0 and 1.'),
    ({"temperature": 10**30}, VALUE, "temperature", '"temperature" must be between 0 and 1.'),
    ({"top_p": 2}, VALUE, "top_p", '"top_p" must be between 0 and 1.'),
    ({"min_p": -0.1}, VALUE, "min_p", '"min_p" must be between 0 and 1.'),
    ({"top_k": -1}, VALUE, "top_k", '"top_k" must be between 0 and 2147483647.'),
    ({"repeat_penalty": 0}, VALUE, "repeat_penalty", '"repeat_penalty" must be greater than 0 and at most 1000.'),
    ({"max_output_tokens": 0}, VALUE, "max_output_tokens", '"max_output_tokens" must be between 1 and 2147483647.'),
    ({"context_length": 0}, VALUE, "context_length", '"context_length" must be between 1 and 2147483647.'),
    ({"context_length": 8192}, VALUE, "context_length", f"'{SCRIPTED_MODEL}' has a context of at most 4096 tokens."),
    ({"reasoning": "max"}, VALUE, "reasoning", "\"reasoning\" must be one of 'high', 'low', 'medium', 'off', 'on'."),
    ({"reasoning": "on"}, VALUE, "reasoning", f"Model '{SCRIPTED_MODEL}' does not expose reasoning configuration."),
    ({"previous_response_id": "thread_1"}, VALUE, "previous_response_id", '"previous_response_id" must start with "resp_".'),
    ({"seed": -1}, VALUE, "seed", '"seed" must be between 0 and 4294967295.'),
    ({"stop": ["a"] * 9}, VALUE, "stop", '"stop" must have at most 8 items.'),
    ({"stop": ""}, VALUE, "stop", '"stop" must not be empty.'),
    ({"max_turns": 0}, VALUE, "max_turns", '"max_turns" must be between 1 and 2147483647.'),
    ({"metadata": {str(n): "" for n in range(17)}}, VALUE, "metadata", '"metadata" must have at most 16 keys.'),
    ({"metadata": {LONG: ""}}, VALUE, f"metadata.{SHOWN}", f'"metadata.{SHOWN}" must have at most 64 characters.'),
    ({"metadata": {"a": "x" * 513}}, VALUE, "metadata.a", '"metadata.a" must have at most 512 characters.'),
    ({"tool_choice": "any"}, VALUE, "tool_choice", "\"tool_choice\" must be one of 'auto', 'none', 'required', or an object."),
    ({"integrations": [{"type": "plugin", "id": "mcp/a", "require_approval": "some"}]}, VALUE, "integrations.0.require_approval", "\"integrations.0.require_approval\" must be one of 'always', 'never', or an object."),
    ({"integrations": [ephemeral(server_label="")]}, VALUE, "integrations.0.server_label", "\"integrations.0.server_label\" must be 1 to 64 letters, digits, '_', '-' or '.'."),
    ({"integrations": [ephemeral(server_label="a b")]}, VALUE, "integrations.0.server_label", "\"integrations.0.server_label\" must be 1 to 64 letters, digits, '_', '-' or '.'."),
    ({"integrations": [ephemeral(server_label="a\n")]}, VALUE, "integrations.0.server_label", "\"integrations.0.server_label\" must be 1 to 64 letters, digits, '_', '-' or '.'."),
    ({"integrations": [ephemeral(server_url="")]}, VALUE, "integrations.0.server_url", '"integrations.0.server_url" must not be empty.'),
    ({"integrations": [""]}, VALUE, "integrations.0", '"integrations.0" must not be empty.'),
    # union tags
    ({"input": [{"type": "audio"}]}, UNION, "input.0", f"Invalid discriminator value. Expected {TAGS}"),
    ({"input": [{"type": 5}]}, UNION, "input.0", f"Invalid discriminator value. Expected {TAGS}"),
    ({"integrations": [{"type": "stdio"}]}, UNION, "integrations.0", "Invalid discriminator value. Expected 'plugin' | 'ephemeral_mcp'"),
    ({"response_format": {"type": "text"}}, UNION, "response_format", "Invalid discriminator value. Expected 'json_schema'"),
    # unknown keys, at every level
    ({"colour": "red"}, KEYS, "colour", "Unrecognized key(s) in object: 'colour'"),
    ({f"k{n}": 1 for n in range(20)}, KEYS, "k0", "Unrecognized key(s) in object: " + ", ".join(f"'k{n}'" for n in range(8))),
    ({"messages": [], "max_tokens": 5}, KEYS, "messages", "Unrecognized key(s) in object: 'messages', 'max_tokens'"),
    ({LONG: 1}, KEYS, SHOWN, f"Unrecognized key(s) in object: '{SHOWN}'"),
    ({"a\nb": 1}, KEYS, "a\ufffdb", "Unrecognized key(s) in object: 'a\ufffdb'"),
    ({"input": [{"type": "text", "content": "hi", "text": "hi"}]}, KEYS, "input.0.text", "Unrecognized key(s) in object: 'text'"),
    ({"integrations": [{"type": "plugin", "id": "mcp/clock", "env": {}}]}, KEYS, "integrations.0.env", "Unrecognized key(s) in object: 'env'"),
    ({"integrations": [ephemeral(command="sh")]}, KEYS, "integrations.0.command", "Unrecognized key(s) in object: 'command'"),
    ({"tool_choice": {"tool": "now", "server": "mcp/clock", "how": 1}}, KEYS, "tool_choice.how", "Unrecognized key(s) in object: 'how'"),
]
# fmt: on


@pytest.mark.parametrize("stream", [None, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("changes", "code", "param", "message"),
    WRONG,
    ids=[f"{case[1]} {case[2][:40]} {n}" for n, case in enumerate(WRONG)],
)
async def test_what_is_wrong_with_a_body_is_said_precisely(
    api: House, changes: dict[str, Any], code: str, param: str, message: str, stream: bool | None
) -> None:
    response = await api.chat(**{"stream": stream, **changes})
    error = {"type": "invalid_request", "message": message, "code": code, "param": param}
    assert (response.status_code, response.json()) == (400, {"error": error})


async def test_the_first_field_that_is_wrong_is_the_one_reported(api: House) -> None:
    response = await api.client.post(CHAT, json={"input": 5, "colour": "red", "top_k": -1})
    assert response.json()["error"]["param"] == "model"


GOOD: list[dict[str, Any]] = [
    {"input": "hello"},
    {"input": [{"type": "text", "content": "hello"}, {"type": "message", "content": ""}]},
    {"temperature": 0, "top_p": 1, "min_p": 0.5, "top_k": 0, "repeat_penalty": 1, "seed": 0},
    {"temperature": 1.0, "repeat_penalty": 1.1, "max_output_tokens": 1, "context_length": 4096},
    {"stop": "END", "max_turns": 3, "tool_choice": "none", "background": False},
    {"stop": ["END"] * 8, "tool_choice": "auto", "metadata": {"user": "me"}, "system_prompt": ""},
    {"integrations": [], "ttl": 60},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": False}}},
    {"integrations": ["mcp/clock", {"type": "plugin", "id": "mcp/clock", "allowed_tools": []}]},
    {"integrations": [ephemeral(headers={"Authorization": "Bearer secret"}, allowed_tools=[])]},
]


@pytest.mark.parametrize("changes", GOOD, ids=json.dumps)
async def test_what_the_contract_allows_is_taken(api: House, changes: dict[str, Any]) -> None:
    response = await api.chat(**changes)
    assert (response.status_code, response.json()["status"]) == (200, "completed")


async def test_a_body_that_is_nested_too_deep_or_has_a_key_twice_is_refused(api: House) -> None:
    deep = b'{"input":' + b"[" * 100_000
    twice = (json.dumps(chat_body())[:-1] + ', "temperature": 5, "temperature": 0.5}').encode()
    errors = [(await api.client.post(CHAT, content=body, headers=JSON)).json()["error"] for body in (deep, twice)]
    assert [error["code"] for error in errors] == ["invalid_json"] * 2
    assert errors[0]["message"] == "The body is nested more than 64 deep, the most that is taken here."
    assert "temperature" in errors[1]["message"]


async def test_header_values_are_never_echoed(api: House) -> None:
    entry = ephemeral(headers={"Authorization": "Bearer hush", "X-Bad": ["hush"]}, extra="hush")
    response = await api.chat(integrations=[entry])
    assert response.status_code == 400
    assert "hush" not in response.text


async def test_what_our_own_rules_miss_is_refused_all_the_same(api: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_rules(*_: object) -> None: ...

    monkeypatch.setattr("orchestrator.api.decode._check", no_rules)
    response = await api.chat(top_k="many")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_value")
