"""Schemas of servers that nobody here wrote, and llama.cpp, which must take them all."""

from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.items import PluginProvider
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.core.tools import OfferedTool, ToolDefinition
from orchestrator.engines.loose_schemas import MAX_DEPTH, grammar_schema
from orchestrator.ports import CallBegun
from tests.engines.llama_cpp.conftest import OpenBench
from tests.engines.samples import TIME_TOOL, ask


def loosened(schema: JsonValue) -> JsonValue:
    """What becomes of `schema` as that of the parameter `a`."""
    properties = grammar_schema({"type": "object", "properties": {"a": schema}})["properties"]
    assert isinstance(properties, dict)
    return properties["a"]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string", "description": "A city", "default": "Rome"},
        {"type": ["string", "null"], "format": "date"},
        {"type": "array", "items": {"type": "integer", "minimum": -5, "maximum": 5}, "minItems": 1, "maxItems": 9},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}]},
        {"type": "object", "properties": {"b": {"enum": ["x", 1]}}, "required": ["b"], "additionalProperties": False},
        {"anyOf": [{"const": "x"}, {"type": "number", "exclusiveMinimum": 0}]},
        {"$ref": "#/properties/a"},
        {"not": {"type": "string"}, "if": {}, "x-own": [True]},
    ],
)
def test_what_llama_cpp_takes_stays_as_it_is(schema: JsonObject) -> None:
    assert loosened(schema) == schema


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        (True, {}),
        (None, {}),
        ({"$ref": "http://elsewhere/x.json", "title": "X"}, {"title": "X"}),
        ({"$ref": "#/$defs/missing"}, {}),
        ({"$ref": "#"}, {}),
        ({"$ref": "#/properties/a~1b"}, {}),
        ({"$ref": 7}, {}),
        ({"type": "date"}, {}),
        ({"type": ["string", "date"]}, {"type": ["string"]}),
        ({"type": ["date"]}, {}),
        ({"enum": []}, {}),
        ({"required": None}, {}),
        ({"properties": []}, {}),
        ({"items": True}, {"items": {}}),
        ({"items": [True, {"type": "string"}]}, {"items": [{}, {"type": "string"}]}),
        ({"additionalProperties": {"$ref": "x"}}, {"additionalProperties": {}}),
        ({"additionalProperties": True}, {"additionalProperties": True}),
        ({"oneOf": []}, {}),
        ({"anyOf": [False, {"type": "string"}]}, {"anyOf": [{}, {"type": "string"}]}),
        ({"minLength": 5, "maxLength": 2}, {}),
        ({"minItems": 5, "maxItems": 2, "type": "array"}, {"type": "array"}),
        ({"minLength": 5000}, {}),
        ({"maxLength": -1}, {}),
        ({"minimum": 5, "maximum": 2}, {}),
        ({"minimum": -1e30}, {}),
        ({"exclusiveMinimum": True}, {}),
        ({"maximum": -5}, {"maximum": -5}),
        ({"pattern": "^[a-z]+$"}, {"description": "(pattern: ^[a-z]+$)"}),
        ({"pattern": "^x$", "description": "A letter"}, {"description": "A letter (pattern: ^x$)"}),
        ({"pattern": 7}, {}),
    ],
)
def test_what_it_does_not_take_is_left_out(schema: JsonValue, left: JsonObject) -> None:
    assert loosened(schema) == left


def test_definitions_that_refer_to_themselves_stay() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/tree"}},
        "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}},
    }
    assert grammar_schema(schema) == schema


def test_a_reference_to_what_is_left_out_is_left_out_as_well() -> None:
    schema: JsonObject = {"type": {"odd": True}, "anyOf": [{"$ref": "#/type"}]}
    assert grammar_schema(schema) == {"anyOf": [{}]}


def test_a_schema_without_bottom_is_cut() -> None:
    schema: JsonObject = {}
    for _ in range(900):
        schema = {"items": schema}
    assert canonical_json(grammar_schema(schema)).count("items") == MAX_DEPTH + 1


keywords = st.sampled_from(
    ["$ref", "type", "enum", "required", "items", "anyOf", "properties", "minLength", "maxLength", "pattern", "$defs"]
)
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keywords, values, max_size=6))
def test_any_json_is_loosened_once_and_for_all(schema: JsonObject) -> None:
    before = canonical_json(schema)
    once = grammar_schema(schema)
    assert grammar_schema(once) == once
    assert canonical_json(schema) == before


ODD: list[JsonValue] = [
    True,
    {"$ref": "http://elsewhere/x.json"},
    {"$ref": "#/$defs/missing"},
    {"type": "date"},
    {"enum": []},
    {"oneOf": []},
    {"type": "string", "pattern": "^[unclosed$"},
    {"type": "string", "pattern": "^(a|b|)*c$"},
    {"type": "string", "minLength": 5, "maxLength": 2},
    {"type": "array", "minItems": 5, "maxItems": 2},
    {"type": "array", "items": {"type": "string"}, "minItems": 5000, "maxItems": 5001},
    {"type": "integer", "minimum": -1e30, "maximum": 1e30},
    {"type": "integer", "minimum": 5, "maximum": 2},
    {"type": "array", "items": True},
]


@pytest.mark.anyio
async def test_llama_cpp_answers_whatever_the_schemas_of_the_other_tools_are(bench: OpenBench) -> None:
    definitions = [
        ToolDefinition(f"odd_{number}", "Odd", {"type": "object", "properties": {"a": schema}})
        for number, schema in enumerate(ODD)
    ]
    tools = tuple(OfferedTool(one.name, one, PluginProvider("mcp/odd"), 0, one.name) for one in definitions)
    async with bench() as it:
        request = ask("Use get_time with timezone Asia/Tokyo", tools=(TIME_TOOL, *tools))
        async with aclosing(it.generate(request)) as chunks:
            names = [chunk.name async for chunk in chunks if isinstance(chunk, CallBegun)]
    assert len(names) == 1 and names[0] in {tool.name for tool in request.tools}
