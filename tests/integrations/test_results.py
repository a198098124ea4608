"""MCP's results and definitions as the core has them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import Tool

from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.tools import ToolAnnotations, ToolDefinition, ToolResult
from orchestrator.integrations.results import tool_definition, tool_result

PNG = "iVBORw0KGgo="  # 8 bytes


def content_of(*parts: JsonValue) -> ToolResult:
    return tool_result({"content": list(parts)})


def test_the_content_is_kept_as_the_server_sent_it() -> None:
    parts: list[JsonValue] = [
        {"type": "text", "text": "höhe\n\u0007", "_meta": {"z": 1, "a": None}},
        {"type": "tomorrow", "x": [1.5, True, None]},
    ]
    assert content_of(*parts) == ToolResult(
        content='[{"type":"text","text":"höhe\\n\\u0007","_meta":{"z":1,"a":null}},'
        '{"type":"tomorrow","x":[1.5,true,null]}]',
        text="höhe\n\u0007\n[content of type tomorrow]",
        is_error=False,
    )


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"type": "text", "text": "a\nb"}, "a\nb"),
        ({"type": "image", "data": PNG, "mimeType": "image/png"}, "[image, image/png, 8 bytes]"),
        ({"type": "image", "data": ""}, "[image, unknown type, 0 bytes]"),
        ({"type": "audio", "data": PNG, "mimeType": "audio/wav"}, "[audio, audio/wav, 8 bytes]"),
        ({"type": "resource_link", "uri": "file:///a", "name": "a"}, "[resource link, a, file:///a]"),
        (
            {"type": "resource_link", "uri": "x:y", "name": "n", "description": "All of it."},
            "[resource link, n, x:y] All of it.",
        ),
        ({"type": "resource", "resource": {"uri": "a:b", "text": "inside"}}, "inside"),
        (
            {"type": "resource", "resource": {"uri": "a:b", "blob": PNG, "mimeType": "application/gzip"}},
            "[resource, a:b, application/gzip, 8 bytes]",
        ),
        ({"type": "resource", "resource": 5}, "[content of type resource]"),
        ({"type": "text"}, "[content of type text]"),
        ({"type": 7}, "[content of unknown type]"),
        ("stray", "[content of unknown type]"),
        (None, "[content of unknown type]"),
    ],
)
def test_what_a_text_model_cannot_see_is_described(part: JsonValue, shown: str) -> None:
    assert content_of(part, {"type": "text", "text": "end"}).text == f"{shown}\nend"


def test_without_content_the_structured_content_is_the_text() -> None:
    expected = ToolResult(content="[]", text='{"b":1,"a":"ü"}', is_error=False, structured='{"b":1,"a":"ü"}')
    assert tool_result({"content": [], "structuredContent": {"b": 1, "a": "ü"}}) == expected
    assert tool_result({"structuredContent": {"b": 1, "a": "ü"}}) == expected


def test_with_content_the_structured_content_is_kept_beside_it() -> None:
    raw: JsonObject = {"content": [{"type": "text", "text": "1"}], "structuredContent": {"result": 1}, "isError": True}
    assert tool_result(raw) == ToolResult('[{"type":"text","text":"1"}]', "1", is_error=True, structured='{"result":1}')


@pytest.mark.parametrize("raw", [{}, {"content": None}, {"content": "text"}, {"content": [], "isError": "yes"}])
def test_a_result_without_anything_is_empty(raw: JsonObject) -> None:
    assert tool_result(raw) == ToolResult("[]", "", is_error=False)


def test_texts_that_no_database_takes_are_replaced() -> None:
    result = content_of({"type": "text", "text": "a\0b\ud800c", "\udfff": float("nan")})
    assert result.text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert json.loads(result.content) == [
        {
            "type": "text",
            "text": "a\0b\N{REPLACEMENT CHARACTER}c",
            "\N{REPLACEMENT CHARACTER}": None,
        }
    ]
    assert "\0" not in result.content


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(categories=None)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ANYTHING, ANYTHING)
def test_no_result_crashes_and_all_texts_can_be_stored(content: JsonValue, structured: JsonValue) -> None:
    result = tool_result({"content": content, "structuredContent": structured})
    assert isinstance(json.loads(result.content.encode()), list)
    assert "\0" not in result.text.encode().decode()
    assert (result.structured is None) is (structured is None)
    if result.structured is not None:
        json.loads(result.structured.encode())


def test_a_definition_is_taken_over_whole() -> None:
    listed = Tool.model_validate(
        {
            "name": "wipe",
            "description": "Wipes.",
            "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "default": None}}},
            "outputSchema": {"type": "object"},
            "annotations": {"title": "Wipe it", "destructiveHint": True, "readOnlyHint": False, "idempotentHint": True},
        }
    )
    assert tool_definition(listed) == ToolDefinition(
        "wipe",
        "Wipes.",
        {"type": "object", "properties": {"a": {"type": "string", "default": None}}},
        title="Wipe it",
        output_schema={"type": "object"},
        annotations=ToolAnnotations(read_only=False, destructive=True, idempotent=True),
    )


def test_a_bare_definition_has_an_empty_description() -> None:
    bare = Tool.model_validate({"name": "t", "title": "T", "inputSchema": {"type": "object", "x": float("inf")}})
    assert tool_definition(bare) == ToolDefinition("t", "", {"type": "object", "x": None}, title="T")
