"""Schemas that a message is held to: what is said of them to llama.cpp, and what is refused."""

import json
import re
from dataclasses import replace
from typing import Final

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import ResponseFormat, Sampling
from orchestrator.engines.held_patterns import UnheldPatternError, held_pattern
from orchestrator.engines.held_schemas import PARAM, check_response_format, held_schema
from tests.engines.llama_cpp.conftest import OpenBench
from tests.engines.samples import ask, written

TREE: Final[JsonObject] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "more": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1}},
            "required": ["n"],
        }
    },
}
PYDANTIC: Final[JsonObject] = {
    "$defs": {
        "Cat": {
            "type": "object",
            "properties": {"kind": {"const": "cat"}, "m": {"type": "integer"}},
            "required": ["kind", "m"],
        },
        "Dog": {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"], "title": "Dog"},
        "Size": {"enum": ["s", "m"], "type": "string", "title": "Size"},
    },
    "title": "Answer",
    "type": "object",
    "properties": {
        "pet": {
            "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
            "discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "kind"},
        },
        "size": {"allOf": [{"$ref": "#/$defs/Size"}], "description": "How large", "default": "s"},
        "zip": {"pattern": "^\\d{5}$", "title": "Zip", "type": "string"},
        "note": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}], "default": None},
        "day": {"format": "date", "type": "string"},
        "pair": {
            "maxItems": 2,
            "minItems": 2,
            "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
            "type": "array",
        },
    },
    "required": ["pet", "size", "zip", "note", "pair"],
    "additionalProperties": False,
}
HELD: Final[list[JsonObject]] = [
    {},
    {"type": "string", "pattern": "^(?:a|bc){2,3}?-[A-Z][^x]\\.$"},
    {"type": "string", "pattern": "^[\\w-]\\s.[\\^\\-]$"},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"minLength": 2, "maxLength": 4},
    {"type": "integer", "exclusiveMinimum": 2.5, "maximum": 6.5, "multipleOf": 1},
    {"minimum": 3, "exclusiveMaximum": 5},
    {"type": ["integer", "null"], "minimum": 3, "maximum": 4},
    {"type": "number", "title": "No bounds"},
    {"type": "string", "enum": ["abc", 3]},
    {"const": {"a": [1, None]}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {"type": "array", "items": False},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}], "items": False},
    {"type": "object", "properties": {"a": True}, "required": ["a", "b"], "minProperties": 2},
    {
        "type": "object",
        "properties": {"a": {"const": 1}},
        "additionalProperties": {"type": "boolean"},
        "required": ["a"],
    },
    {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "integer", "minimum": 0, "maximum": 9}]},
    {
        "type": "object",
        "properties": {"a~b/c": {"type": "null"}, "d": {"$ref": "#/properties/a~0b~1c"}},
        "required": ["d"],
    },
    TREE,
    PYDANTIC,
]
REFUSED: Final[list[tuple[JsonObject, str]]] = [
    ({"type": "string", "pattern": "^(a+)+$(?=x)"}, "'pattern' at '/' cannot be held: it must begin with ^"),
    (
        {"properties": {"a": {"pattern": "^(?=x)$"}}},
        "'pattern' at '/properties/a' cannot be held: a group that begins with (?=",
    ),
    ({"type": "string", "pattern": "^a$", "maxLength": 3}, "'pattern' at '/' cannot be held beside"),
    ({"type": "string", "minLength": 5, "maxLength": 3}, "'maxLength' at '/' is below 'minLength'"),
    ({"type": "string", "maxLength": 9000}, "'maxLength' at '/' can be held up to 1000"),
    ({"type": "number", "minimum": 1}, "'minimum' at '/' can be held for integers only"),
    ({"type": "integer", "multipleOf": 7}, "'multipleOf' at '/' cannot be held"),
    ({"type": "integer", "minimum": 5, "maximum": 2}, "'minimum' at '/' allows nothing"),
    ({"type": "integer", "minimum": 1e300}, "'minimum' at '/' is no number that can be held"),
    ({"not": {"type": "string"}}, "'not' at '/' cannot be held"),
    ({"type": "array", "items": {"if": {}}}, "'if' at '/items' cannot be held"),
    ({"type": "array", "uniqueItems": True}, "'uniqueItems' at '/' cannot be held"),
    ({"type": "array", "contains": {}}, "'contains' at '/' cannot be held"),
    (
        {"type": "array", "prefixItems": [{}], "items": {"type": "null"}},
        "'prefixItems' at '/' is held as a list of exactly",
    ),
    ({"type": "array", "items": False, "minItems": 1}, "'items' at '/' allows nothing"),
    ({"type": "object", "patternProperties": {}}, "'patternProperties' at '/' cannot be held"),
    ({"type": "object", "unevaluatedProperties": False}, "'unevaluatedProperties' at '/' cannot be held"),
    ({"type": "object", "minProperties": 1}, "'minProperties' at '/' cannot be held beyond"),
    ({"properties": {"a": False}}, "the schema at '/properties/a' allows nothing"),
    ({"required": ["a"], "additionalProperties": False}, "'required' at '/' names 'a'"),
    ({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {}}}, "'$ref' at '/' cannot be held beside 'minimum'"),
    ({"$ref": "#"}, "'$ref' at '/' leads back to itself"),
    ({"anyOf": [{"$ref": "#"}]}, "leads back to itself"),
    ({"allOf": [{}, {}]}, "'allOf' at '/' can be held with one entry only"),
    (
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "'oneOf' at '/' has entries that one value could match both of",
    ),
    ({"anyOf": [{"type": "integer"}], "type": "object"}, "'anyOf' at '/' cannot be held beside 'type'"),
    ({"enum": ["a"], "type": "integer"}, "'enum' at '/' allows nothing"),
]


@pytest.mark.anyio
async def test_what_llama_cpp_writes_matches_every_schema_that_is_held(bench: OpenBench) -> None:
    async with bench() as it:
        for schema in HELD:
            check_response_format(wanted := ResponseFormat("held", schema))
            wild = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=1)
            request = replace(ask("Hello!", sampling=wild, max_output_tokens=120), response_format=wanted)
            turn = await written(it.generate(request))
            if turn.end is not None and turn.end.reason == "stop":  # else it was cut off
                assert jsonschema_rs.is_valid(schema, json.loads(turn.text)), (schema, turn.text)


@pytest.mark.parametrize(("schema", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_no_grammar_holds_is_refused_by_keyword_and_place(schema: JsonObject, message: str) -> None:
    with pytest.raises(OrchestratorError) as caught:
        check_response_format(ResponseFormat("unheld", schema))
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, PARAM)
    assert message in caught.value.info.message
    check_response_format(ResponseFormat("unheld", schema, strict=False))


def test_what_is_too_large_is_refused() -> None:
    deep: JsonValue = {}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    wide: JsonValue = {"anyOf": [{"const": number} for number in range(5000)]}
    for schema in (deep, wide):
        with pytest.raises(OrchestratorError, match="too large or too deep"):
            held_schema(schema)


@pytest.mark.parametrize(
    ("pattern", "held"),
    [
        (r"^\d{3}$", "^[0-9]{3}$"),
        ("^(?:a|b)+?$", "^(a|b)+$"),
        (r"^[\w-]$", r"^[A-Za-z0-9_\x2D]$"),
        (r"^[\]\-[]$", r"^[\]\x2D\[]$"),
        (r"^[^\\]$", r"^[^\\\"\\\x00-\x1F\x7F]$"),
        ("^a{2}b{0,3}c{4,}$", "^a{2}b{0,3}c{4,}$"),
        (r"^\$\/$", r"^\$/$"),
    ],
)
def test_a_pattern_is_said_in_the_words_that_are_understood(pattern: str, held: str) -> None:
    assert held_pattern(pattern) == held


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "a",
            "^",
            "^a",
            "a$",
            r"^a\$",
            "^a|b$",
            "^(a$",
            "^a)$",
            "^()$",
            "^(a|)$",
            "^[]$",
            "^[a$",
            r"^\b$",
            r"^\p{L}$",
        ),
        *(r"^[\b]$", "^(?<n>a)$", "^(?!a)b$", "^a**$", "^a{2}{3}$", "^*$", "^a{3,2}$", "^(a{90}){90}$", '^"$', '^["]$'),
        *(r"^a\\$", "^a]$", "^a{x}$"),
    ],
)
def test_a_pattern_beyond_them_is_refused(pattern: str) -> None:
    with pytest.raises(UnheldPatternError):
        held_pattern(pattern)


@given(st.text('^$a-z0.*+?{},2()|[]\\\\d"', max_size=12))
def test_a_held_pattern_is_one_that_the_standard_reads_too(text: str) -> None:
    try:
        held = held_pattern(f"^{text}$")
    except UnheldPatternError:
        return
    re.compile(held)
