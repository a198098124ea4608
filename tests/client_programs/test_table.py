"""The page of dialects says what ran."""

import os

import pytest

from tests.client_programs.conftest import Proof
from tests.client_programs.programs import FEATURES, PROGRAMS
from tests.client_programs.table import COMMAND, PAGE, WRITE, dialect_page

PROOFS = {(dialect, it.label, feature) for it in PROGRAMS for dialect in it.dialects for feature in FEATURES}


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
    lost = ("messages", "anthropic (Python)", "cancelling")
    page = dialect_page(PROOFS - {lost})
    (row,) = [line for line in page.splitlines() if "| anthropic (Python) |" in line]
    assert row.endswith("| yes | yes | yes | yes | yes | no |")
    assert "| `/v1/messages` | 2 clients | 2 clients | 2 clients | 2 clients | 2 clients | 1 client |" in page
