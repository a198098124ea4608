"""Names, schemas, digests and cuts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import sentence
from orchestrator.core.items import EphemeralProvider, PluginProvider, ProviderInfo
from orchestrator.core.json_types import JsonObject, canonical_json, parse_object
from orchestrator.core.schema_bounds import schema_excess
from orchestrator.core.tools import (
    ToolAnnotations,
    ToolDefinition,
    ToolResult,
    argument_problems,
    bounded_result,
    cut_text,
    definition_digest,
    offer_tools,
    provider_label,
    schema_is_usable,
    schema_problem,
    text_content,
    tool_key,
)

NAMES = st.text(min_size=0, max_size=100)
PROVIDERS: st.SearchStrategy[ProviderInfo] = st.one_of(
    st.builds(PluginProvider, NAMES.map(lambda name: f"mcp/{name}")), st.builds(EphemeralProvider, NAMES)
)


def tool(name: str) -> ToolDefinition:
    return ToolDefinition(name, "", {"type": "object"})


@given(
    st.lists(
        st.tuples(PROVIDERS, st.lists(NAMES, max_size=4, unique=True)),
        max_size=4,
        unique_by=lambda pair: tool_key(pair[0], ""),
    )
)
def test_every_offered_name_is_unique_and_fits_the_model(found: list[tuple[ProviderInfo, list[str]]]) -> None:
    offered = offer_tools(
        [(n, provider, [tool(name) for name in names]) for n, (provider, names) in enumerate(found)], {}
    )
    shown = [one.name for one in offered]
    assert len(set(shown)) == len(shown) == sum(len(names) for _, names in found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in shown)
    earlier = {tool_key(one.provider, one.definition.name): one.name for one in offered}
    again = offer_tools([(0, one.provider, [one.definition]) for one in reversed(offered)], earlier)
    assert {one.name for one in again} == set(shown)


def test_only_the_newcomer_of_a_collision_is_prefixed() -> None:
    a, b = PluginProvider("mcp/a"), EphemeralProvider("b.c")
    offered = offer_tools([(0, a, [tool("search")]), (1, b, [tool("search"), tool("b_c_search")])], {})
    assert [one.name for one in offered] == ["search", "b_c_search", "b_c_b_c_search"]


def test_a_server_that_lists_in_another_order_changes_none() -> None:
    x = PluginProvider("mcp/x")
    first = offer_tools([(0, x, [tool("b"), tool("a"), tool("c")])], {})
    earlier = {tool_key(x, one.definition.name): one.name for one in first}
    again = offer_tools([(0, x, [tool("new"), tool("c"), tool("a"), tool("b")])], earlier)
    assert [one.name for one in again] == ["b", "a", "c", "new"]


def test_two_names_that_only_differ_where_a_model_cannot_see_it_stay_apart() -> None:
    offered = offer_tools([(0, EphemeralProvider("x"), [tool("é"), tool("ü"), tool("ö")])], {})
    names = [one.name for one in offered]
    assert names[:2] == ["_", "x__"]
    assert re.fullmatch(r"x___[0-9a-f]{8}", names[2])


def test_a_name_that_is_taken_by_its_own_hash_gets_another() -> None:
    long = "n" * 80
    first = offer_tools([(0, EphemeralProvider("x"), [tool(long)])], {})[0].name
    second = offer_tools([(0, EphemeralProvider("x"), [tool(long)])], {("plugin:mcp/y", "z"): first})[0].name
    assert first != second
    assert len(second) == 64


def test_labels_are_what_people_read() -> None:
    assert provider_label(PluginProvider("mcp/clock")) == "mcp/clock"
    assert provider_label(EphemeralProvider("hub")) == "hub"
    assert tool_key(EphemeralProvider("mcp/clock"), "t") != tool_key(PluginProvider("mcp/clock"), "t")


def test_a_digest_changes_with_every_part_of_a_definition_and_with_nothing_else() -> None:
    base = ToolDefinition("a", "b", {"type": "object", "x": 1})
    variants = [
        base,
        ToolDefinition("a2", "b", base.input_schema),
        ToolDefinition("a", "b2", base.input_schema),
        ToolDefinition("a", "b", {"type": "object"}),
        ToolDefinition("a", "b", base.input_schema, title="t"),
        ToolDefinition("a", "b", base.input_schema, output_schema={}),
        ToolDefinition("a", "b", base.input_schema, annotations=ToolAnnotations(read_only=True)),
    ]
    assert len({definition_digest(one) for one in variants}) == len(variants)
    assert definition_digest(base) == definition_digest(ToolDefinition("a", "b", {"x": 1, "type": "object"}))


def test_schemas_that_cannot_be_read_check_nothing() -> None:
    broken: JsonObject = {"type": "objekt"}
    remote: JsonObject = {"$ref": "http://127.0.0.1:9/schema.json"}
    for schema in (broken, remote):
        assert argument_problems(schema, {"anything": 1}) is None
    plain: JsonObject = {"type": "object"}
    deep: JsonObject = {}
    for _ in range(5000):
        deep = {"not": deep}
    assert [schema_problem(schema) for schema in (broken, remote, deep, plain)] == [
        "'type': \"objekt\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        "Resource 'http://127.0.0.1:9/schema.json' is not present in a registry and retrieving it failed",
        "it is nested too deeply",
        None,
    ]


def test_problems_name_the_place_and_there_are_five_at_most() -> None:
    schema: JsonObject = {"type": "object", "additionalProperties": {"type": "integer"}, "required": ["x"]}
    assert argument_problems(schema, {"x": 1}) is None
    assert argument_problems(schema, {}) == '"x" is a required property'
    problems = argument_problems(schema, dict.fromkeys("xabcdefg", "s"))
    assert problems is not None
    assert problems.count(";") == 4


def test_a_pattern_that_explodes_is_bounded() -> None:
    schema: JsonObject = {"properties": {"s": {"type": "string", "pattern": "^(?=(a+)+$)(a+)+$"}}}
    assert argument_problems(schema, {"s": "a" * 60 + "b"}) is not None


@given(st.text(), st.integers(60, 200))
def test_a_cut_text_fits_its_limit(text: str, limit: int) -> None:
    cut = cut_text(text, limit, kept="elsewhere")
    assert len(cut.encode("utf-8", "replace")) <= max(limit, 60)
    assert cut == text or "elsewhere" in cut


@given(st.text(alphabet=st.characters(), max_size=3000))
def test_a_bounded_result_fits_its_limit(text: str) -> None:
    result = ToolResult(canonical_json([{"type": "text", "text": text}]), text, is_error=False, structured=None)
    bounded = bounded_result(result, 1000)
    assert len(bounded.content.encode("utf-8", "replace")) <= 1000


@pytest.mark.parametrize("letter", ["x", '"', "\x01", "\N{GRINNING FACE}"])
def test_of_a_long_result_as_much_is_kept_as_the_limit_takes(letter: str) -> None:
    text = letter * 100_000
    bounded = bounded_result(ToolResult(text_content(text), text, is_error=False), 50_000)
    assert 0.9 * 50_000 < len(bounded.content.encode()) <= 50_000


def chain_of(length: int) -> JsonObject:
    """A schema whose definitions each name the next one twice."""
    definitions: JsonObject = {f"d{length}": {}}
    for i in range(length):
        definitions[f"d{i}"] = {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]}
    return {"$defs": definitions, "properties": {"a/b": {"$ref": "#/$defs/d0"}}}


def nested(depth: int) -> JsonObject:
    return {} if depth == 0 else {"not": nested(depth - 1)}


LOOP: JsonObject = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
WIDE: JsonObject = {"enum": list(range(60_000))}
TOO_LARGE: list[tuple[JsonObject, str | None]] = [
    (LOOP, None),
    (chain_of(5), None),
    (nested(20), None),
    ({"$ref": 5, "properties": {"a": {"$ref": "https://elsewhere.example"}}}, None),
    (chain_of(60), "it has more than 50000 parts once its references are followed"),
    (WIDE, "it has more than 50000 parts"),
    (nested(200), "it is nested more than 100 levels deep"),
]


@pytest.mark.parametrize(("schema", "excess"), TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_schema_that_would_take_all_memory_is_not_compiled(schema: JsonObject, excess: str | None) -> None:
    assert schema_excess(schema) == excess
    if excess is not None:
        assert (schema_problem(schema), argument_problems(schema, {"a": 1})) == (excess, None)


def test_a_schema_that_cannot_even_be_written_down_is_nested_too_deeply() -> None:
    schema: JsonObject = {}
    for _ in range(5000):
        schema = {"not": schema}
    assert schema_problem(schema) == "it is nested too deeply"


def test_among_newcomers_a_name_that_fits_as_it_is_wins_over_one_that_was_changed_into_it() -> None:
    first, second = PluginProvider("mcp/one"), PluginProvider("mcp/two")
    found = [(0, first, [tool("read.file"), tool("x" * 70)]), (1, second, [tool("read_file"), tool("read file")])]
    names = [offered.name for offered in offer_tools(found, {})]
    assert (names[0], names[2]) == ("one_read_file", "read_file")
    assert len(set(names)) == 4
    kept = {tool_key(first, "read.file"): "read_file"}
    names = [offered.name for offered in offer_tools(found, kept)]
    assert (names[0], names[2]) == ("read_file", "two_read_file")


MIRRORED = [
    ("plain text", '{"result":"plain text"}', True),
    ('{"a": [1, 2]}', '{"a":[1,2]}', True),
    ('{"a": [1, 2]}', '{"a":[1,3]}', False),
    ("plain text", '{"other":"plain text"}', False),
    ("[" * 100_000, "[]", False),
]


@pytest.mark.parametrize(("text", "structured", "mirrored"), MIRRORED, ids=[row[1] for row in MIRRORED])
def test_a_structured_copy_of_the_text_does_not_count(text: str, structured: str, mirrored: bool) -> None:
    result = ToolResult(text_content(text), text, is_error=False, structured=structured)
    assert (bounded_result(result, len(result.content)) == result) is mirrored
    assert bounded_result(result, len(result.content) + len(structured)) == result
    assert bounded_result(result, len(result.content) - 1) != result


@pytest.mark.parametrize(
    ("text", "expected"), [("it broke", "it broke."), ("It broke.", "It broke."), ("Why? ", "Why?"), ("", ".")]
)
def test_a_sentence_ends_once(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_only_an_object_is_an_object() -> None:
    assert parse_object("") == {}
    assert parse_object(' {"a": [1]} ') == {"a": [1]}
    assert parse_object('{"a": 1.5e3}') == {"a": 1500.0}
    for text in ("[]", "1", "nul", '{"a": Infinity}', '{"a": -1e999}', '{"a"', "[" * 100_000):
        assert parse_object(text) is None


def test_a_schema_is_usable_where_something_can_be_checked_against_it() -> None:
    schemas: list[JsonObject] = [{"type": "object"}, {"type": "objekt"}]
    assert [schema_is_usable(schema) for schema in schemas] == [True, False]
