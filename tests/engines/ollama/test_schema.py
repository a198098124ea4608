"""Tool schemas as Ollama's server can read them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.engines.ollama.schema import MAX_SCHEMAS, fit_parameters


def test_a_schema_that_the_server_knows_stays_as_it_is() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "who": {"type": ["string", "null"], "description": "A name", "minLength": 1, "default": "x"},
            "where": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "at": {"type": "array", "items": {"type": "number"}}},
                "required": ["city"],
            },
            "how": {"anyOf": [{"type": "string", "enum": ["a", 1]}, {"type": "null"}]},
        },
        "required": ["who"],
        "additionalProperties": False,
    }
    assert fit_parameters(schema) == schema


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": ["object", "null"], "properties": True}])
def test_parameters_are_always_an_object(schema: JsonObject) -> None:
    assert fit_parameters(schema) == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("given_", "fitted"),
    [
        (True, {}),
        (False, {}),
        ("nonsense", {}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"type": 7, "description": 7, "enum": 7, "anyOf": 7, "properties": 7}, {}),
        ({"anyOf": [True, {"type": "string"}]}, {"anyOf": [{}, {"type": "string"}]}),
        ({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        ({"properties": {"a": True}, "type": "object"}, {"properties": {"a": {}}, "type": "object"}),
    ],
)
def test_what_the_server_would_refuse_or_lose_is_said_another_way(given_: JsonValue, fitted: JsonObject) -> None:
    assert fit_parameters({"properties": {"it": given_}}) == {"type": "object", "properties": {"it": fitted}}


def test_references_within_the_document_are_replaced_by_what_they_refer_to() -> None:
    schema: JsonObject = {
        "$defs": {
            "a/b": {"type": "string", "description": "theirs"},
            "Place": {"type": "object", "properties": {"city": {"$ref": "#/$defs/a~1b"}}},
        },
        "properties": {
            "place": {"$ref": "#/$defs/Place", "description": "ours"},
            "both": {"allOf": [{"$ref": "#/$defs/Place"}, {"properties": {"zip": {"type": "string"}}}]},
            "far": {"$ref": "https://example.com/schema.json"},
            "gone": {"$ref": "#/$defs/Missing"},
        },
    }
    place: JsonObject = {"type": "object", "properties": {"city": {"type": "string", "description": "theirs"}}}
    assert fit_parameters(schema) == {
        "type": "object",
        "properties": {
            "place": {**place, "description": "ours"},
            "both": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "theirs"}, "zip": {"type": "string"}},
            },
            "far": {},
            "gone": {},
        },
    }


def test_a_reference_that_leads_back_to_itself_allows_anything() -> None:
    tree: JsonObject = {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}
    assert fit_parameters({"$defs": {"Tree": tree}, "properties": {"tree": {"$ref": "#/$defs/Tree"}}}) == {
        "type": "object",
        "properties": {"tree": {"type": "object", "properties": {"left": {}}}},
    }


def test_the_same_reference_beside_itself_is_replaced_twice() -> None:
    schema: JsonObject = {
        "$defs": {"Id": {"type": "string"}},
        "properties": {"a": {"$ref": "#/$defs/Id"}, "b": {"$ref": "#/$defs/Id"}},
    }
    assert fit_parameters(schema)["properties"] == {"a": {"type": "string"}, "b": {"type": "string"}}


def test_a_small_document_that_stands_for_an_endless_one_stays_small() -> None:
    definitions: JsonObject = {
        f"d{level}": {"properties": {side: {"$ref": f"#/$defs/d{level + 1}"} for side in "abcdefgh"}}
        for level in range(30)
    }
    fitted = fit_parameters({"$defs": definitions, "properties": {"it": {"$ref": "#/$defs/d0"}}})
    assert json.dumps(fitted).count("properties") <= MAX_SCHEMAS


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$ref", "allOf", "anyOf", "oneOf", "properties", "items", "required", "type", "enum", "$defs", "a"]
            ),
            inner | st.sampled_from(["#", "#/$defs/a", "#/properties/a", "#/a"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["$ref", "allOf", "properties", "$defs", "a", "items"]), _json, max_size=4))
def test_anything_becomes_what_the_server_can_read(schema: JsonObject) -> None:
    _check(fit_parameters(schema))


def _check(schema: JsonValue) -> None:
    """What Go's decoder of the server's types insists on."""
    assert isinstance(schema, dict)
    for word in ("properties",):
        properties = schema.get(word, {})
        assert isinstance(properties, dict)
        for value in properties.values():
            _check(value)
    alternatives = schema.get("anyOf", [])
    assert isinstance(alternatives, list)
    for value in alternatives:
        _check(value)
    required = schema.get("required", [])
    assert isinstance(required, list) and all(isinstance(name, str) for name in required)
    kind = schema.get("type", "")
    assert isinstance(kind, str) or (isinstance(kind, list) and all(isinstance(name, str) for name in kind))
    assert isinstance(schema.get("enum", []), list)
