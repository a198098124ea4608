"""Rules of redaction: how they are written, what they find, and what stands there then."""

import json
from typing import Any

import pytest

from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.redaction import NOTHING, Learned, Redaction, holds_marker, marker
from orchestrator.core.redaction_rules import (
    BUILT_IN,
    MAX_RULES,
    RedactionProblem,
    Scope,
    is_card,
    literal_rule,
    parse_paths,
    parse_patterns,
)

CARD = "4111 1111 1111 1111"


def patterns(**written: Any) -> Redaction:
    return Redaction(patterns=parse_patterns(written))


def paths(*written: str) -> Redaction:
    return Redaction(paths=parse_paths(list(written)))


def found(rules: Redaction, value: JsonValue, scope: Scope = "arguments") -> JsonValue:
    return rules.json(value, scope, Learned())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("card", f"pay with {CARD}, please", "pay with [redacted:card], please"),
        ("card", "4111111111111111 2025", "[redacted:card] 2025"),
        ("card", "1 5500-0000-0000-0004", "1 [redacted:card]"),
        ("card", "3782 822463 10005", "[redacted:card]"),
        ("card", "4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("email", "to ada@example.co.uk.", "to [redacted:email]."),
        ("jwt", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc-_", "[redacted:jwt]"),
        (
            "private_key",
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----.",
            "[redacted:private_key].",
        ),
        ("private_key", "a -----BEGIN PRIVATE KEY-----\nMII, cut off", "a [redacted:private_key]"),
        (
            "api_key",
            "use sk-abcdefghijklmnop1234 or AKIAABCDEFGHIJKLMNOP",
            "use [redacted:api_key] or [redacted:api_key]",
        ),
    ],
)
def test_built_in_patterns_need_only_be_named(name: str, text: str, expected: str) -> None:
    assert Redaction(patterns=parse_patterns([name])).text(text) == expected
    assert Redaction(patterns=parse_patterns({name: True})).text(text) == expected


def test_the_check_digit_of_cards_tells_them_from_other_numbers() -> None:
    assert [is_card(number) for number in (CARD, "5500000000000004", "5500000000000005", "59")] == [
        True,
        True,
        False,
        True,
    ]


def test_a_pattern_of_ones_own_leaves_a_marker_with_its_name() -> None:
    rules = patterns(employee=r"E-\d{4}", ticket=r"T\d+")
    assert rules.text("E-1234 has T5, not e-12345") == "[redacted:employee] has [redacted:ticket], not e-12345"


def test_only_the_group_called_secret_is_replaced() -> None:
    rules = patterns(login=r"(?i)password:\s*(?P<secret>\S+)|passphrase")
    assert rules.text("Password: hunter2 and passphrase") == "Password: [redacted:login] and [redacted:login]"


def test_matches_that_overlap_become_one_marker_or_stand_in_a_row() -> None:
    rules = patterns(a="abcd", b="cdef", c="bc")
    assert rules.text("xabcdefx abc") == "x[redacted:a]x a[redacted:c]"


def test_any_text_can_be_searched_also_one_that_is_not_utf_8() -> None:
    assert patterns(word="é+").text("\ud800 ééé \U0001f600") == "\ud800 [redacted:word] \U0001f600"


def test_a_hostile_pattern_takes_time_in_proportion_to_the_text() -> None:
    """With backtracking this would take longer than the universe has been there."""
    rules = patterns(hostile=r"(x+x+)+y", nested=r"((a*)*)*b")
    text = "x" * 200_000 + "a" * 200_000
    assert rules.text(text) == text


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("card", "must be a list of names, or an object of name and pattern"),
        (["cards"], f"'cards': there is no such built-in pattern; there are {', '.join(BUILT_IN)}"),
        ({"Big": "x"}, "'Big': a name has up to 40 of a-z, 0-9, '_', '-' and '.'"),
        ([7], "7: a name has up to 40 of a-z, 0-9, '_', '-' and '.'"),
        ({"a": 7}, "'a': a pattern must be a text, or true for a built-in one"),
        ({"a": ""}, "'a': a pattern must be a text, or true for a built-in one"),
        ({"a": "(x"}, "'a': '(x' is no pattern of RE2: missing ): (x"),
        ({"a": "x(?=y)"}, "'a': 'x(?=y)' is no pattern of RE2: invalid perl operator: (?="),
        ({"a": "\ud800"}, "'a': '\\ud800' is no pattern of RE2: it is not UTF-8"),
        ({"a": "x*"}, "'a': 'x*' matches the empty text, and so everywhere"),
        ({"a": "x" * 2001}, "'a': a pattern has at most 2000 characters"),
        ({f"a{n}": "x" for n in range(MAX_RULES + 1)}, "at most 100 patterns"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(written: object, problem: str) -> None:
    with pytest.raises(RedactionProblem) as caught:
        parse_patterns(written)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("arguments.x", "must be a list of paths"),
        ([7], "7: a path must be a text"),
        (["password"], "'password': a path begins with 'arguments', 'result' or '$'"),
        ([".password"], "'.password': a path begins with 'arguments', 'result' or '$'"),
        (["$"], "'$': it names nothing below '$'"),
        (["arguments.a..."], "'arguments.a...': it cannot be read from '...' on"),
        (["$items"], "'$items': it cannot be read from 'items' on"),
        (["0\x850"], r"'0\x850': a path begins with 'arguments', 'result' or '$'"),
        (["$" + ".a" * 33], f"'{'$' + '.a' * 33}': a path has at most 32 steps"),
        (["$.a"] * (MAX_RULES + 1), "at most 100 paths"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused_with_the_reason(written: object, problem: str) -> None:
    with pytest.raises(RedactionProblem) as caught:
        parse_paths(written)
    assert str(caught.value) == problem


def test_rules_are_shown_as_they_were_written() -> None:
    [pattern], [path] = parse_patterns({"e": "E-1"}), parse_paths(["$.items[*].token"])
    assert (str(pattern), str(path)) == ("e=E-1", "$.items[*].token")


REST: list[JsonValue] = [{"TOKEN": 1234567, "id": 2}, "plain"]
VALUE: JsonObject = {
    "password": "hunter2",
    "items": [{"token": "t-000001", "id": 1}, *REST],
    "deep": {"er": [{"token": {"value": "t-000002", "kind": None}}]},
    "empty": {"token": "", "other": {"token": None}},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("arguments.password", {**VALUE, "password": "[redacted:password]"}),
        ("arguments['Password']", {**VALUE, "password": "[redacted:password]"}),
        ("arguments.items[0].token", {**VALUE, "items": [{"token": "[redacted:token]", "id": 1}, *REST]}),
        (
            "$.items[*].token",
            {
                **VALUE,
                "items": [{"token": "[redacted:token]", "id": 1}, {"TOKEN": "[redacted:token]", "id": 2}, "plain"],
            },
        ),
        ("$.items[]", {**VALUE, "items": ["[redacted:items]"] * 3}),
        (
            "$..token",
            {
                "password": "hunter2",
                "items": [{"token": "[redacted:token]", "id": 1}, {"TOKEN": "[redacted:token]", "id": 2}, "plain"],
                "deep": {"er": [{"token": "[redacted:token]"}]},
                "empty": VALUE["empty"],
            },
        ),
        ("arguments.*", dict.fromkeys(VALUE, "[redacted:value]")),
        ("arguments.deep", {**VALUE, "deep": "[redacted:deep]"}),
        ("arguments.deep[0]", VALUE),
        ("arguments.items.token", VALUE),
        ("result.password", VALUE),
    ],
)
def test_a_path_replaces_the_value_at_its_place_and_leaves_nothing_of_it(path: str, expected: JsonObject) -> None:
    assert found(paths(path), VALUE) == expected


def test_a_path_of_results_counts_in_results_only() -> None:
    assert found(paths("result.a"), {"a": "x"}, "result") == {"a": "[redacted:a]"}
    assert paths("$.a").json({"a": "x"}, None, Learned()) == {"a": "x"}


def test_patterns_find_values_names_and_numbers_in_json() -> None:
    rules = patterns(card=True)
    value: JsonObject = {CARD: [CARD, 4111111111111111, 4.5, True, None, {"x": "y"}]}
    put = "[redacted:card]"
    assert found(rules, value) == {put: [put, put, 4.5, True, None, {"x": "y"}]}
    assert rules.leaves(value, keys=False) == {CARD: [put, put, 4.5, True, None, {"x": "y"}]}


def test_what_is_nested_too_deeply_to_be_looked_through_is_replaced_as_a_whole() -> None:
    deep: JsonValue = "x"
    for _ in range(5000):
        deep = [deep]
    for rules in (paths("$..a"), patterns(x="zzz")):
        assert found(rules, deep) == "[redacted:value]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": {"b": "secret1"}}', '{"a": {"b": "[redacted:b]"}}'),
        ('{"a": {"b": null}}', '{"a": {"b": null}}'),
        ('{"b": 1, "c": {"x": "secret1", "x": 2}}', '{"b": "[redacted:b]", "c": {"x": 2}}'),
        ('{"c": {"x": "secret1", "x": 2}}', '{"c": {"x": 2}}'),
        ('[1, {"b": "é"}]', '[1, {"b": "[redacted:b]"}]'),
        ("b: secret1", "b: secret1"),
        # Cut off, or never right: the place is looked for by its name.
        ('{"b": "secret1", "c": 2', '{"b": "[redacted:b]", "c": 2'),
        ('{"B" : secret1, "b":"a\\"b"]', '{"B" : "[redacted:b]", "b":"[redacted:b]"]'),
        ('{"b": "sec', '{"b": "[redacted:b]"'),
        ('{"b": {"x": "secret1"', '{"b": [redacted:b]'),
        ('{"c": 1', '{"c": 1'),
    ],
)
def test_a_path_is_found_in_text_that_is_json_or_was_meant_to_be(text: str, expected: str) -> None:
    assert paths("$..b").json_text(text, "result", Learned()) == expected


def test_broken_json_is_replaced_whole_where_nobody_can_say_where_a_path_leads() -> None:
    assert paths("$.a[*]").json_text('{"a": ["sec', "result", Learned()) == "[redacted:a]"


def test_json_in_text_is_left_as_it_is_without_paths_but_for_patterns() -> None:
    assert (
        patterns(n=r'"x": "[^"]*"').json_text('{"x": "y",  "z": 1}', "result", Learned()) == '{[redacted:n],  "z": 1}'
    )


def test_what_is_escaped_in_json_is_found_by_patterns_too() -> None:
    rules = patterns(code=r"C-\d")
    assert rules.json_text('{"a": "C\\u002d1", "b": ["C\\u002d2"]}', "result", Learned()) == (
        '{"a": "[redacted:code]", "b": ["[redacted:code]"]}'
    )
    assert rules.json_text('{"a": "C\\u002d1"', "result", Learned()) == '{"a": "C\\u002d1"', "it is no JSON"


def test_what_a_path_told_is_looked_for_elsewhere_if_it_is_no_common_word() -> None:
    learned = Learned()
    value: JsonObject = {
        "a": ["hunter2!", {"x": 1234567, "y": 12}, "false", "default", True, None, 'quo"ted'],
        "b": "hunter2!!",
    }
    paths("$.a", "$.b").json(value, "arguments", learned)
    text = 'hunter2! 1234567 12 false default quo"ted quo\\"ted hunter2!!'
    a, b = "[redacted:a]", "[redacted:b]"
    assert learned.mask(text) == f"{a} {a} 12 false default {a} {a} {b}"


def test_no_more_is_learned_than_can_be_looked_for() -> None:
    learned = Learned()
    learned.add([f"secret-{number:04}" for number in range(1000)], "[redacted:x]")
    assert len(learned.markers) == 200


def test_texts_that_are_secret_themselves_make_a_rule_that_does_not_show_them() -> None:
    rule = literal_rule("x", ["a.b*c", 'quo"te', "a.b"])
    assert Redaction((rule,)).text('a.b*c axb a.b quo"te quo\\"te') == " ".join(
        ["[redacted:x]", "axb", *["[redacted:x]"] * 3]
    )
    assert "quo" not in repr(rule) and rule == literal_rule("x", ["a.b", 'quo"te', "a.b*c"])


def test_rules_of_two_places_count_together_once_each() -> None:
    one, two = patterns(a="a1"), Redaction(parse_patterns({"a": "a1", "b": "b1"}), parse_paths(["$.x"]))
    assert one.joined(two) == Redaction(two.patterns, two.paths)
    assert (one.joined(NOTHING), NOTHING.joined(two), bool(NOTHING)) == (one, two, False)


def test_a_marker_is_recognised_wherever_it_stands() -> None:
    assert holds_marker({"a": ["x [redacted:card] y"]})
    assert not holds_marker({"a": "[redacted]"})
    assert json.dumps(marker("card")) == '"[redacted:card]"'
