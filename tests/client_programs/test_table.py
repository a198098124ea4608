"""The page of dialects says what ran."""

import os

import pytest

from tests.client_programs.conftest import Proof
from tests.client_programs.dialects import DIALECTS, FEATURES
from tests.client_programs.programs import PROGRAMS
from tests.client_programs.table import COMMAND, PAGE, WRITE, dialect_page

PROOFS = {
    (dialect, it.label, feature) for it in PROGRAMS for dialect in it.dialects for feature in it.features(dialect)
}


def test_the_page_is_made_of_the_tests_that_ran(outcomes: dict[Proof, str]) -> None:
    waiting = sorted({client for _, client, _ in PROOFS - outcomes.keys()})
    waiting += sorted({client for (_, client, _), outcome in outcomes.items() if outcome == "skipped"})
    if waiting:
        pytest.skip(f"these clients did not run here: {'; '.join(waiting)}")
    page = dialect_page({proof for proof, outcome in outcomes.items() if outcome == "passed"})
    if os.environ.get(WRITE):
        PAGE.write_text(page, "utf-8")
    assert PAGE.read_text("utf-8") == page, f"run: {COMMAND}"


def test_a_feature_that_did_not_pass_is_told_as_missing() -> None:
    page = dialect_page(PROOFS - {("messages", "anthropic (Python)", "cancelling")})
    (head,) = [line for line in page.splitlines() if "| anthropic (Python)" in line and "pydantic-ai" in line]
    (row,) = [line for line in page.splitlines() if line.startswith("| cancelling | no |")]
    assert len(row.split("|")) == len(head.split("|"))
    assert "| cancelling | 6 of 6 | 6 of 6 | 1 of 2 | 1 of 1 | 1 of 1 | — | — |" in page


def test_what_a_client_has_no_word_for_is_told_with_the_reason() -> None:
    page = dialect_page(PROOFS)
    for program in PROGRAMS:
        assert {dialect for dialect, _ in program.without} <= set(program.dialects)
        for (dialect, feature), why in program.without.items():
            assert feature in DIALECTS[dialect].features
            assert f"* — {feature}, {program.label}: it {why}." in page
    assert "| no |" not in page


def test_every_feature_is_asked_of_somebody() -> None:
    assert {feature for _, _, feature in PROOFS} == set(FEATURES)
    assert {dialect for dialect, _, _ in PROOFS} == set(DIALECTS)
