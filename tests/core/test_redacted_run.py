"""What the store is given of a run: nothing that the rules find, and everything again when the run is taken up."""

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.content import content_text
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import (
    EphemeralProvider,
    ImageInput,
    Message,
    Origin,
    PluginProvider,
    ProviderInfo,
    Reasoning,
    TextInput,
    origin_of,
)
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.placed import HANDED_OVER, Outcome, PlacedCall, PlacedText
from orchestrator.core.reading import SERVICE, shown_output, was_cut
from orchestrator.core.redacted_run import (
    RunRedaction,
    merged,
    restored_decision,
    restored_input,
    restored_items,
    restored_opening,
)
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.core.redaction_rules import parse_paths, parse_patterns
from orchestrator.core.response import Cancelled, Completed, Failed
from orchestrator.core.tools import ToolDefinition, cut_text, redacted_definition, text_content

VAULT, CLOCK = PluginProvider("mcp/vault"), PluginProvider("mcp/clock")
GENERAL = Redaction(parse_patterns({"code": r"C-\d+"}), parse_paths(["$..password"]))
OF_VAULT = Redaction(parse_patterns({"note": r"N-\d+"}), parse_paths(["result.token"]))


def rules(provider: ProviderInfo | None) -> Redaction:
    return GENERAL.joined(OF_VAULT) if provider in (None, VAULT) else GENERAL


def redaction() -> RunRedaction:
    return RunRedaction(rules, GENERAL)


def call(arguments: JsonObject | str, provider: ProviderInfo | None = VAULT, **changes: Any) -> PlacedCall:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    parsed = None if isinstance(arguments, str) else arguments
    tool = None if provider is None else "open"
    made = PlacedCall(0, 1, "call_1", "open", text, parsed, tool, provider, None if provider is None else "sha256:1")
    return replace(made, **changes)


def answer(*parts: JsonValue, shown: str | None = None, structured: str | None = None) -> Outcome:
    output = json.dumps(list(parts), separators=(",", ":"))
    text = content_text(output)
    return Outcome("succeeded", output, text if shown is None else shown, False, 3, structured)


def text_part(text: str, **more: JsonValue) -> JsonObject:
    return {"type": "text", "text": text, **more}


def of_call(made: PlacedCall) -> PlacedCall:
    [put] = redaction().items([made])
    assert isinstance(put, PlacedCall)
    return put


def of_outcome(outcome: Outcome, provider: ProviderInfo = VAULT) -> Outcome:
    run = redaction()
    run.items([call({}, provider)])
    return run.outcome("call_1", outcome)


def test_what_no_rule_finds_stays_byte_for_byte() -> None:
    made = call('{ "a" : 1 }', outcome=answer(text_part("fine")))
    image = ImageInput("data:image/png;base64,C-1", Origin(VAULT, "resource", "file:///x"))
    run = redaction()
    assert run.items([PlacedText(0, 1, Message("hello")), made]) == [PlacedText(0, 1, Message("hello")), made]
    assert run.opening((TextInput("hi"), image), "be", {"stop": ["."]}, {"k": "v"}) == (
        (TextInput("hi"), image),
        "be",
        {"stop": ["."]},
        {"k": "v"},
    )
    assert run.opening((), None, {}, {}) == ((), None, {}, {})
    assert (run.decision("call_1", Approve({"a": 1})), run.withheld) == (Approve({"a": 1}), None)


def test_arguments_are_redacted_in_both_of_their_forms() -> None:
    put = of_call(call({"user": "ada C-1", "password": "hunter2!"}))
    expected = {"user": "ada [redacted:code]", "password": "[redacted:password]"}
    assert (put.arguments, json.loads(put.arguments_text)) == (expected, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password": "hunter2!"', '{"password": "[redacted:password]"'),
        ('[{"password": "hunter2!"}]', '[{"password": "[redacted:password]"}]'),
        ("C-1 is all", "[redacted:code] is all"),
    ],
)
def test_arguments_that_are_no_object_are_redacted_as_far_as_they_can_be_read(text: str, expected: str) -> None:
    put = of_call(call(text))
    assert (put.arguments, put.arguments_text) == (None, expected)


def test_a_name_that_stands_twice_hides_nothing() -> None:
    put = of_call(replace(call({"password": None}), arguments_text='{"password": "hunter2!", "password": null}'))
    assert (put.arguments, put.arguments_text) == ({"password": None}, '{"password": null}')


def test_a_pattern_over_the_written_text_counts_for_the_arguments_too() -> None:
    quoted = Redaction(parse_patterns({"pin": r'"pin": "[^"]*"'}))
    whole = Redaction(parse_patterns({"pin": r'"pin": (?P<secret>"[^"]*")'}))
    inner = Redaction(parse_patterns({"pin": r'"pin": "(?P<secret>[^"]*)"'}))
    made = call({"pin": "9876"})
    puts: list[object] = []
    for one in (quoted, whole, inner):
        [put] = RunRedaction(lambda _, one=one: one, NOTHING).items([made])
        assert isinstance(put, PlacedCall)
        puts.append((put.arguments, put.arguments_text))
    lost = ({"redacted": "[redacted:value]"}, '{"redacted":"[redacted:value]"}')
    assert puts == [lost, lost, ({"pin": "[redacted:pin]"}, '{"pin": "[redacted:pin]"}')]


def test_an_invalid_call_is_redacted_in_its_name_and_its_reason() -> None:
    put = of_call(call({"password": "hunter2!"}, None, model_name="C-1", reason="C-2: 'hunter2!' is too short"))
    assert (put.model_name, put.reason) == ("[redacted:code]", "[redacted:code]: '[redacted:password]' is too short")
    assert of_call(call({}, model_name="C-1")).model_name == "C-1", "an offered name is no text of anybody's"


def test_a_result_is_redacted_wherever_it_is_kept() -> None:
    parts = text_part("code C-1"), text_part('{"token": "tok-123456", "n": 1}')
    put = of_outcome(answer(*parts, structured='{"token": "tok-123456", "n": 1}'))
    hidden = '{"token": "[redacted:token]", "n": 1}'
    expected = answer(text_part("code [redacted:code]"), text_part(hidden), structured=hidden)
    assert put == expected


def test_binary_parts_are_left_alone_and_the_texts_beside_them_are_not() -> None:
    image: JsonObject = {"type": "image", "data": "C-1", "mimeType": "C-2"}
    blob: JsonObject = {"type": "resource", "resource": {"uri": "C-1", "blob": "C-2"}, "note": "C-3"}
    resource: JsonObject = {"type": "resource", "resource": {"uri": "C-1", "text": '{"token": "tok-123456"}'}}
    link: JsonObject = {"type": "resource_link", "uri": "C-1"}
    put = of_outcome(answer(image, blob, resource, link, 7, shown="C-1"))
    code = "[redacted:code]"
    assert json.loads(put.output) == [
        {"type": "image", "data": "C-1", "mimeType": code},
        {"type": "resource", "resource": {"uri": code, "blob": "C-2"}, "note": code},
        {"type": "resource", "resource": {"uri": code, "text": '{"token": "[redacted:token]"}'}},
        {"type": "resource_link", "uri": code},
        7,
    ]


def test_what_a_path_told_is_masked_in_everything_that_comes_after() -> None:
    run = redaction()
    items = [PlacedText(0, 1, Reasoning("I use hunter2!")), call({"password": "hunter2!"})]
    reasoning, _ = run.items(items)
    assert reasoning == PlacedText(0, 1, Reasoning("I use [redacted:password]"))
    put = run.outcome("call_1", answer(text_part("hello hunter2!"), text_part('["hunter2!"]')))
    assert put.shown == 'hello [redacted:password]\n["[redacted:password]"]'
    run.outcome("call_1", answer(text_part("{}"), structured='{"token": "tok-123456"}'))
    [last] = run.items([PlacedText(3, 2, Message("hunter2! got tok-123456"))])
    assert last == PlacedText(3, 2, Message("[redacted:password] got [redacted:token]"))
    error = ErrorInfo(ErrorKind.ENGINE_ERROR, "C-1 hunter2!")
    assert run.ending(Failed(error)) == Failed(replace(error, message="[redacted:code] [redacted:password]"))
    assert (run.ending(Cancelled("C-1")), run.ending(Completed())) == (Cancelled("[redacted:code]"), Completed())
    assert run.ending(Completed("C-1")) == Completed("[redacted:code]")


def test_a_call_that_the_client_runs_has_nothing_to_redact_yet() -> None:
    handed = call({"password": "hunter2!"}, outcome=HANDED_OVER)
    [put] = redaction().items([handed])
    assert put == replace(put, arguments={"password": "[redacted:password]"}, outcome=HANDED_OVER)


def test_a_number_that_a_path_told_never_leaves_something_that_is_no_json() -> None:
    run = redaction()
    run.items([call({"password": 1234567})])
    lost = "[redacted:value]"
    put = run.outcome("call_1", answer({"type": "odd", "n": 1234567}, shown="1234567", structured='{"n": 1234567}'))
    assert (put.output, put.structured) == (text_content(lost), json.dumps(lost))
    again = of_outcome(answer(shown='{"n":1}', structured='{"n":1}'))
    assert again == answer(shown='{"n":1}', structured='{"n":1}')


def test_the_rules_of_a_plugin_count_for_its_calls_and_for_what_is_written_after_them() -> None:
    assert of_outcome(answer(text_part("N-1 C-1")), CLOCK).shown == "N-1 [redacted:code]"
    assert of_outcome(answer(text_part("N-1 C-1"))).shown == "[redacted:note] [redacted:code]"
    run = redaction()
    said = PlacedText(1, 1, Message("N-1"))
    assert run.items([said]) == [said]
    assert run.items([call({}), said])[1] == replace(said, item=Message("[redacted:note]"))
    assert run.outcome("call_9", answer(text_part("N-1"))).shown == "[redacted:note]", "nobody knows whose call it is"


def test_the_rules_of_a_plugin_count_until_its_calls_have_ended() -> None:
    installed = [OF_VAULT]
    run = RunRedaction(lambda _: installed[0], NOTHING)
    run.items([call({})])
    installed[0] = NOTHING
    assert run.outcome("call_1", answer(text_part("N-1"))).shown == "[redacted:note]"


def test_markup_that_was_plain_to_the_model_is_so_in_what_is_kept_of_it() -> None:
    put = of_outcome(answer(text_part("C-1 <|im_end|>"), shown="C-1 (|im_end|)"))
    kept = "[redacted:code] <|im_end|>"
    assert (content_text(put.output), put.shown) == (kept, "[redacted:code] (|im_end|)")


def test_what_the_model_was_shown_of_a_long_result_is_cut_anew() -> None:
    text = "x" * 40 + " C-1 " + "y" * 400
    shown = cut_text(text, 120, kept="the journal has the rest")
    put = of_outcome(answer(text_part(text), shown=shown))
    assert put.shown == cut_text(text.replace("C-1", "[redacted:code]"), 120, kept="the journal has the rest")
    harmless = "z" * 400
    shown = cut_text(harmless, 120, kept="the journal has the rest")
    assert of_outcome(answer(text_part(harmless), shown=shown)).shown == shown


@pytest.mark.parametrize(("start", "last"), [(0, "[end of the output]"), (7, "[read on at offset 990]")])
def test_the_ends_of_a_piece_that_is_read_on_are_left_out(start: int, last: str) -> None:
    """What reads on gives pieces of any server's output, and a secret may lie across two of them."""
    body = "N" + "a" * 255 + " C-1 N-1 " + "b" * 256
    text = f"[bytes {start} to 990 of 9999]\n{body}\n{last}"
    put = of_outcome(Outcome("succeeded", text_content(text), text, False), SERVICE)
    inner = body.replace("C-1", "[redacted:code]").replace("N-1", "[redacted:note]")
    expected = f"[bytes {start} to 990 of 9999]\n{inner if start == 0 else inner[256:-256]}\n{last}"
    assert (put.output, put.shown) == (text_content(expected), expected)
    said = "[nothing more: the output has 5 bytes]"
    other = Outcome("succeeded", text_content(said), said, False)
    assert of_outcome(other, SERVICE) == other
    bare = RunRedaction(lambda _: NOTHING, NOTHING)
    bare.items([call({}, SERVICE)])
    whole = Outcome("succeeded", text_content(text), text, False)
    assert bare.outcome("call_1", whole) == whole


def test_a_result_that_was_cut_for_the_model_still_tells_how_to_read_on() -> None:
    text = "C-1 " + "y" * 2000
    shown = shown_output(text, "call_1", 700, "read_tool_output")
    put = of_outcome(answer(text_part(text), shown=shown))
    room = len(shown)
    assert put.shown == shown_output(text.replace("C-1", "[redacted:code]"), "call_1", room, "read_tool_output")
    assert put.shown is not None and was_cut(put.shown)


def test_the_notice_of_edited_arguments_is_redacted_with_them() -> None:
    begin = "[The user changed the arguments of this call to "
    edited = {"password": "hunter3!"}
    made = call({"password": "hunter2!"}, edited=edited)
    for text, limit in (("fine", 1000), ("x" * 300, 200)):
        run = redaction()
        [put] = run.items([made])
        assert isinstance(put, PlacedCall)
        assert put.edited == {"password": "[redacted:password]"}
        whole = f'{begin}{{"password":"hunter3!"}}]\n{text}'
        outcome = answer(text_part(text), shown=cut_text(whole, limit, kept="the journal has the rest"))
        shown = run.outcome("call_1", outcome).shown
        assert shown is not None
        assert shown.startswith(f'{begin}{{"password":"[redacted:password]"}}]\n{text[:4]}')
    assert of_outcome(Outcome("invalid", text_content("C-1"), None, True)).shown is None


def test_the_end_of_what_was_cut_is_left_out_because_a_secret_may_begin_there() -> None:
    cut = "\n[cut: 900 bytes in all, the rest exceeded the limit for tool outputs]"
    put = of_outcome(answer(text_part("a" * 300 + " C-1 " + "b" * 260 + cut)))
    assert json.loads(put.output) == [text_part("a" * 300 + " [redacted:code] " + "b" * 4 + cut)]
    run = RunRedaction(lambda _: NOTHING, NOTHING)
    same = answer(text_part("b" * 300 + cut))
    run.items([call({})])
    assert run.outcome("call_1", same) == same


def test_what_is_nested_too_deeply_is_no_result_any_more() -> None:
    deep = Outcome("succeeded", "[" * 100_000, "shown", False, 0, "{}")
    lost = replace(deep, output=text_content("[redacted:value]"), structured=None, shown="[redacted:value]")
    assert of_outcome(deep) == lost
    assert of_outcome(replace(deep, shown=None)) == replace(lost, shown=None)


def test_decisions_are_redacted_in_their_reasons_and_edited_arguments() -> None:
    run = redaction()
    run.items([call({})])
    decisions: list[Decision] = [Approve(), Deny(), Deny("C-1"), Approve({"password": "hunter3!"})]
    assert [run.decision("call_1", decision) for decision in decisions] == [
        Approve(),
        Deny(),
        Deny("[redacted:code]"),
        Approve({"password": "[redacted:password]"}),
    ]
    assert run.withheld == {"edits": {"call_1": {"password": "hunter3!"}}}


def test_a_run_is_taken_up_as_it_was_put_away() -> None:
    run = redaction()
    origin = Origin(VAULT, "resource", "vault://C-9")
    said = (TextInput("C-1", origin), ImageInput("data:,"), TextInput("fine"))
    parameters: JsonObject = {"model": "C-2", "stop": ["C-2"]}
    put_said, prompt, kept, metadata = run.opening(said, "C-3", parameters, {"k": "C-4"})
    code = "[redacted:code]"
    assert put_said == (TextInput(code, replace(origin, name=f"vault://{code}")), said[1], said[2])
    assert (prompt, kept, metadata) == (code, {"model": "C-2", "stop": [code]}, {"k": code})
    done = call({"password": "hunter2!"}, outcome=answer(text_part("C-5")))
    late = replace(call({"x": "C-6"}), call_id="call_2", position=2)
    items = [done, PlacedText(1, 1, Message("C-7")), late, replace(call({}), call_id="call_3", position=3)]
    written = run.items(items)
    ended = answer(text_part("C-8"))
    written[2] = replace(late, arguments={"x": code}, outcome=run.outcome("call_2", ended))
    withheld = run.withheld
    assert withheld is not None
    assert restored_items(written, withheld) == (done, items[1], replace(late, outcome=ended), items[3])
    assert restored_items([replace(done, outcome=None)], withheld)[0] == replace(done, outcome=None)
    assert restored_input(put_said, withheld) == (replace(said[0], origin=origin_of(put_said[0])), *said[1:])
    assert restored_opening(withheld) == ("C-3", parameters)
    assert restored_opening({}) == (None, None)
    told = (TokenLogprob(LikelyToken("C-7", -0.5)),)
    assert redaction().items([PlacedText(1, 1, Message("C-7", told)), PlacedText(2, 1, Reasoning("C-7"))]) == [
        PlacedText(1, 1, Message(code)),
        PlacedText(2, 1, Reasoning(code)),
    ]
    assert redaction().items([PlacedText(1, 1, Message("fine", told))]) == [PlacedText(1, 1, Message("fine", told))]
    again = redaction()
    again.resume(items, withheld)
    assert again.withheld == withheld
    assert again.items([PlacedText(4, 2, Message("hunter2!"))]) == [PlacedText(4, 2, Message("[redacted:password]"))]
    fresh = redaction()
    fresh.resume([], None)
    assert fresh.withheld is None


def test_decisions_that_were_written_down_come_back_as_they_were_made() -> None:
    withheld = merged(
        {"edits": {"call_1": {"a": 1}}, "texts": {"1": "x"}}, {"edits": {"call_2": {"b": 2}}, "calls": {}}
    )
    assert withheld == {"edits": {"call_1": {"a": 1}, "call_2": {"b": 2}}, "texts": {"1": "x"}, "calls": {}}
    stored: list[tuple[str, Decision]] = [("call_1", Approve({})), ("call_1", Deny()), ("call_3", Approve({}))]
    assert [restored_decision(*made, withheld) for made in stored] == [Approve({"a": 1}), Deny(), Approve({})]


def test_definitions_are_redacted_in_what_is_written_for_people_and_models() -> None:
    schema: JsonObject = {"type": "object", "properties": {"C-1": {"description": "C-1"}}}
    definition = ToolDefinition("C-1", "Opens C-1.", schema, "C-1", schema)
    code = "[redacted:code]"
    put: JsonObject = {"type": "object", "properties": {"C-1": {"description": code}}}
    assert redacted_definition(definition, GENERAL) == ToolDefinition("C-1", f"Opens {code}.", put, code, put)
    assert redacted_definition(ToolDefinition("a", "b", {}), GENERAL) == ToolDefinition("a", "b", {})
    deep: JsonObject = {}
    for _ in range(3000):
        deep = {"items": deep}
    assert redacted_definition(ToolDefinition("a", "b", deep), GENERAL).input_schema == {}


def test_an_image_with_an_origin_and_an_ephemeral_server_are_known_too() -> None:
    item = ImageInput("data:,", Origin(EphemeralProvider("x"), "prompt", "C-1"))
    [put], *_ = redaction().opening((item,), None, {}, {})
    assert put == ImageInput("data:,", Origin(EphemeralProvider("x"), "prompt", "[redacted:code]"))


def test_warnings_and_the_words_of_an_ending_are_redacted() -> None:
    run = redaction()
    assert run.warnings(["it was C-1"]) == ("it was [redacted:code]",)
    assert run.ending(Completed()) == Completed()
    assert run.ending(Cancelled("C-1")) == Cancelled("[redacted:code]")
