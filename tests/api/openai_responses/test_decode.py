"""Requests as they are taken: what is secret in them, what forms they come in, and what their tools become."""

from typing import Any

import msgspec
import pytest

from orchestrator.api.decode import decode_value
from orchestrator.api.openai_responses.decode import asked_response, settings_of
from orchestrator.api.openai_responses.request_forms import plain_request
from orchestrator.api.openai_responses.wire_requests import ResponseCreateBody
from orchestrator.core.approvals import ApprovalPolicy, ToolFilter
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.request import EphemeralRequest, NamedTool, PluginRequest

FUNCTION: dict[str, Any] = {"type": "function", "name": "show", "parameters": {"type": "object", "default": None}}
CLOCK = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
WEB: dict[str, Any] = {
    "type": "mcp",
    "server_label": "web",
    "server_url": "https://ada:hush@mcp.example/path?key=hush#hush",
    "authorization": "hush",
    "headers": {"X-Key": "hush"},
    "allowed_tools": {"tool_names": ["find", "get"], "read_only": True},
    "require_approval": {"never": {"tool_names": ["find"]}},
}


def body(**changes: Any) -> ResponseCreateBody:
    return decode_value(plain_request({"model": "m", "input": "Hi", **changes}), ResponseCreateBody)


def asked(**changes: Any) -> Any:
    return asked_response(body(**changes), {}).chat


def test_nothing_secret_is_said_again() -> None:
    settings = settings_of(body(tools=[WEB]), None)
    assert b"hush" not in msgspec.json.encode(settings)
    assert settings["tools"] == [
        {
            "type": "mcp",
            "server_label": "web",
            "server_url": "https://mcp.example/path",
            "allowed_tools": {"tool_names": ["find", "get"], "read_only": True},
            "require_approval": {"never": {"tool_names": ["find"]}},
            "headers": None,
        }
    ]


def test_a_server_becomes_an_integration_with_all_that_is_said_of_it() -> None:
    (web,) = asked(tools=[WEB]).integrations
    policy = ApprovalPolicy("always", ToolFilter(), ToolFilter(("find",)))
    assert web == EphemeralRequest(
        "web",
        WEB["server_url"],
        ("find", "get"),
        {"X-Key": "hush", "Authorization": "Bearer hush"},
        approval=policy,
        read_only=True,
    )
    (plugin,) = asked(tools=[{"type": "mcp", "server_label": "mcp/clock"}]).integrations
    assert plugin == PluginRequest("mcp/clock", approval=ApprovalPolicy("always"))


def test_what_is_null_is_left_out_but_not_in_what_is_the_clients_own() -> None:
    taken = body(instructions=None, tools=[FUNCTION | {"strict": None}], text={"format": None}, stream=None)
    assert taken.tools == body(tools=[FUNCTION]).tools
    assert settings_of(taken, None)["tools"] == [
        {"type": "function", "name": "show", "description": None, "parameters": FUNCTION["parameters"], "strict": False}
    ]


CHOICES: list[Any] = [
    ("none", ("none", ["show"], [None])),
    ("required", ("required", ["show"], [None])),
    ({"type": "function", "name": "show"}, (NamedTool("show", "client"), ["show"], [None])),
    ({"type": "mcp", "server_label": "clock", "name": "now"}, (NamedTool("now", "clock"), ["show"], [None])),
    ({"type": "mcp", "server_label": "clock"}, ("required", [], [None])),
    (
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "show"}]},
        ("auto", ["show"], [()]),
    ),
    (
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp", "server_label": "clock"}]},
        ("required", [], [None]),
    ),
    (
        {"type": "allowed_tools", "tools": [{"type": "mcp", "server_label": "clock", "name": "now"}]},
        ("auto", [], [("now",)]),
    ),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_a_choice_binds_or_narrows_the_tools(choice: Any, expected: Any) -> None:
    chat = asked(tools=[FUNCTION, CLOCK], tool_choice=choice)
    functions = [function.name for function in chat.functions]
    assert (chat.tool_choice, functions, [each.allowed_tools for each in chat.integrations]) == expected


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [WEB | {"headers": {"authorization": "x"}}]}, "tools.0.authorization"),
        ({"tools": [FUNCTION | {"parameters": {"type": 5}}]}, "tools.0.parameters"),
        (
            {"tool_choice": {"type": "mcp", "server_label": "web", "name": "x"}, "tools": [CLOCK]},
            "tool_choice.server_label",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "x"}]}, "tools": [CLOCK]},
            "tool_choice.tools.0.name",
        ),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": 5}}}}, "text.format.schema"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.image_url"),
        ({"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]}, "input.0.encrypted_content"),
    ],
)
def test_what_cannot_be_taken_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(OrchestratorError) as refused:
        asked(**changes)
    assert refused.value.info.param == param
