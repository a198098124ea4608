"""Evaluate a GGUF through the real engine: `python -m demo_model.evaluate [MODEL.gguf] [--json | --markdown] [--failures]`."""

import argparse
import hashlib
import random
from pathlib import Path

from rich.console import Console

from demo_model.evaluation.engine import Engine, EngineStartError, running_engine
from demo_model.evaluation.examination import Examination
from demo_model.evaluation.report import Row, markdown_of, row_where, rows_by_offer, table_of
from demo_model.evaluation.sets import EvaluationSet, JsonObject, evaluation_set, refusal_set
from demo_model.files import SHIPPED_MODEL

CALLS_SEED = 7
MCP_SEED = 11
REFUSALS_SEED = 3
RANDOM_CASES = 150


def by_name(*groups: tuple[JsonObject, ...]) -> dict[str, JsonObject]:
    return {tool["function"]["name"]: tool for group in groups for tool in group}


def unrelated(name: str, cases: EvaluationSet, rows: list[Row]) -> Row:
    """The calls of tools that have no close relative in the training data, over all numbers of offered tools."""
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    return row_where(name, "unrelated tools only", outcomes, lambda outcome: outcome.about not in cases.related)


def held_out(engine: Engine, failures: list[JsonObject]) -> list[Row]:
    cases = evaluation_set("held_out")
    tools = by_name(cases.trained_tools, cases.tools)
    exam = Examination(engine, tools, random.Random(CALLS_SEED), failures)
    few = exam.calls(cases.calls, (1, 2))
    rows = rows_by_offer("held-out", few + exam.calls(cases.calls, (4,)) + exam.calls(cases.calls, (8,)))
    rows.append(unrelated("held-out", cases, rows))
    rows += rows_by_offer("held-out", exam.calls(cases.trained_calls, (4, 8)), ", trained")
    rows += rows_by_offer("held-out", exam.calls(cases.calls, (4,), thinking=True), ", thinking")
    rows.append(Row("random tools", "1 to 8 tools", tuple(exam.random_tools(RANDOM_CASES))))
    rows.append(Row("held-out", "several steps", tuple(exam.sequences(cases.sequences, (0, 4, 6)))))
    return rows + rows_by_offer("held-out", exam.plain(cases.plain), ", none needed")


def blind(engine: Engine, failures: list[JsonObject]) -> list[Row]:
    cases = evaluation_set("blind")
    tools = by_name(evaluation_set("held_out").trained_tools, cases.tools)
    exam = Examination(engine, tools, random.Random(CALLS_SEED), failures)
    few = exam.calls(cases.calls, (1, 2))
    rows = rows_by_offer("blind", few + exam.calls(cases.calls, (4,)) + exam.calls(cases.calls, (8,)))
    rows.append(unrelated("blind", cases, rows))
    rows += rows_by_offer("blind", exam.calls(cases.calls, (4,), thinking=True), ", thinking")
    return [*rows, Row("blind", "several steps", tuple(exam.sequences(cases.sequences, (0, 4, 6))))]


def blind2(engine: Engine, failures: list[JsonObject]) -> list[Row]:
    cases = evaluation_set("blind2")
    exam = Examination(engine, by_name(cases.tools), random.Random(MCP_SEED), failures)
    rows = rows_by_offer("blind2", exam.calls(cases.calls, (4, 8)))
    return [*rows, Row("blind2", "several steps", tuple(exam.sequences(cases.sequences, (4, 8))))]


def refusals(engine: Engine, failures: list[JsonObject]) -> list[Row]:
    cases, refused = evaluation_set("held_out"), refusal_set()
    tools = by_name(cases.trained_tools, cases.tools)
    exam = Examination(engine, tools, random.Random(REFUSALS_SEED), failures)
    reported = exam.failures_reported(refused.failures, cases.calls[::4])
    absent = exam.absent_refused(refused.absent, (0, 3, 6))
    return [
        Row("refusals", "failed result reported", tuple(reported)),
        *rows_by_offer("refusals", absent, ", wanted one absent"),
    ]


def evaluate(engine: Engine) -> tuple[list[Row], list[JsonObject]]:
    """All sets: the rows of the table, and what went wrong in which case."""
    failures: list[JsonObject] = []
    rows: list[Row] = []
    for examine in (held_out, blind, blind2, refusals):
        rows += examine(engine, failures)
    order = list(dict.fromkeys(row.set_name for row in rows))
    return sorted(rows, key=lambda row: order.index(row.set_name)), failures


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo_model.evaluate", description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL, help="a GGUF (default: the shipped one)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write figures and failures as JSON")
    form.add_argument("--markdown", action="store_true", help="write the table as Markdown")
    parser.add_argument("--failures", action="store_true", help="also list what went wrong, under the table")
    options = parser.parse_args()
    console = Console()
    try:
        with running_engine(options.model) as engine:
            rows, failures = evaluate(engine)
            prompt_speed, generation_speed = engine.speed.per_second()
    except EngineStartError as error:
        parser.exit(1, f"{error}\n")
    digest = hashlib.sha256(options.model.read_bytes()).hexdigest()
    speed = f"{prompt_speed} prompt and {generation_speed} generated tokens a second on one thread"
    if options.json:
        figures = [row.as_json() for row in rows]
        report = {"model": options.model.name, "sha256": digest, "rows": figures, "failures": failures}
        console.print_json(data=report)
    elif options.markdown:
        console.print(markdown_of(rows), soft_wrap=True, markup=False, highlight=False)
    else:
        console.print(table_of(rows, f"{options.model.name}, SHA-256 {digest[:16]}…"))
        console.print(f"{len(failures)} wrong replies; {speed}")
    if options.failures and not options.json:
        for failure in failures:
            console.print(failure)


if __name__ == "__main__":
    main()
