"""Results that are not what their tool's definition promises: told of, kept, and no failure."""

from dataclasses import replace

import pytest

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.json_types import JsonObject
from orchestrator.core.output_schemas import kept_output_problem, output_problem
from orchestrator.core.redaction import marker
from orchestrator.core.request import Resumed
from orchestrator.core.tools import ANSWER_CUT, ToolResult, bounded_result, readable_content, text_content
from tests.core.dialogue import CLOCK, PING, Dialogue, opened, said, with_clock

SCHEMA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
COUNT = replace(PING, name="count", output_schema=SCHEMA)
MISSING = "has no structured output, which the tool's output schema promises"


def structured(text: str) -> ToolResult:
    """A result that has nothing but structured output."""
    return ToolResult("[]", text, is_error=False, structured=text)


@pytest.mark.parametrize(
    ("schema", "text", "is_error", "problem"),
    [
        (SCHEMA, '{"n":5}', False, None),
        (SCHEMA, '{"n":"5"}', False, 'does not match the tool\'s output schema: n: "5" is not of type "integer"'),
        (SCHEMA, None, False, MISSING),
        (SCHEMA, None, True, None),
        (None, '{"n":"5"}', False, None),
        ({"type": "wrong"}, '{"n":"5"}', False, None),
    ],
)
def test_a_result_is_held_against_the_output_schema(
    schema: JsonObject | None, text: str | None, is_error: bool, problem: str | None
) -> None:
    assert output_problem(schema, text, is_error=is_error) == problem


def test_of_a_kept_result_that_was_cut_deleted_or_redacted_nothing_is_said() -> None:
    cut = bounded_result(ToolResult(text_content("x" * 900), "x" * 900, is_error=False, structured="{}"), 500)
    assert ANSWER_CUT in cut.content
    assert kept_output_problem(SCHEMA, cut.content, cut.structured, is_error=False) is None
    assert kept_output_problem(SCHEMA, None, None, is_error=False) is None
    assert kept_output_problem(SCHEMA, "[]", f'{{"n":"{marker("card")}"}}', is_error=False) is None
    assert kept_output_problem(SCHEMA, "[]", None, is_error=False) == MISSING


def test_a_model_reads_structured_output_where_the_content_is_empty() -> None:
    assert readable_content("[]", '{"n":5}') == text_content('{"n":5}')
    assert readable_content("[]", None) == "[]"
    assert readable_content(text_content("five"), '{"n":5}') == text_content("five")


def test_a_result_that_breaks_its_promise_is_warned_of_once_and_is_no_failure() -> None:
    d = Dialogue(with_clock())
    d.until_calling(("count", "{}"), ("count", "{}"), tools=(COUNT,))
    warning = f"The result of the tool 'count' of 'mcp/clock' {MISSING}."
    record, *told = d.feed(i.CallReturned("call_0", said("five"), 3))
    assert isinstance(record, c.RecordOutcome)
    assert record.outcome.status == "succeeded"
    assert told == [s.Warned(warning)]
    assert [type(each) for each in d.feed(i.CallReturned("call_1", said("six"), 3))] == [c.RecordOutcome]
    d.feed(i.OutcomeRecorded("call_0"), i.OutcomeRecorded("call_1"))
    [save] = d.feed(i.GenerationFinished("stop", i.Counters()))[-1:]
    assert isinstance(save, c.SaveResponse)
    assert save.warnings == (warning,)
    [end] = d.feed(i.ResponseSaved())
    assert isinstance(end, s.ChatEnd)
    assert end.result.warnings == (warning,)


def test_structured_output_is_in_the_item_of_the_call() -> None:
    d = Dialogue(with_clock())
    d.until_calling(("count", "{}"), tools=(COUNT,))
    d.feed(i.CallReturned("call_0", structured('{"n":5}'), 3))
    [success, *_] = d.feed(i.OutcomeRecorded("call_0"))
    assert isinstance(success, s.ToolCallSuccess)
    assert (success.call.output, success.call.structured) == ("[]", '{"n":5}')
    assert success.call.provider == CLOCK


def test_a_run_that_is_taken_up_keeps_what_it_was_warned_about_and_tells_only_news() -> None:
    before = "It was warned about something."
    d = Dialogue(with_clock(resumed=Resumed(warnings=(before,))))
    [opening] = d.feed(i.Start(), opened(COUNT))
    assert isinstance(opening, c.OpenResponse)
    assert opening.warnings == (before,)
    assert not any(isinstance(event, s.Warned) for event in d.feed(i.ResponseOpened()))
