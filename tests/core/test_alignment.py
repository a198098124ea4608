"""Aligning two sequences: what stands for what."""

import pytest

from orchestrator.core import alignment
from orchestrator.core.alignment import Pair, align


def likeness(one: str, other: str) -> int:
    """Equal texts are best, texts that begin alike are something."""
    return 3 if one == other else 1 if one[0] == other[0] else 0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], []),
        (["x"], [], [(0, None)]),
        ([], ["x"], [(None, 0)]),
        (["a", "b", "c"], ["a", "b", "c"], [(0, 0), (1, 1), (2, 2)]),
        (["a", "x1", "c"], ["a", "x2", "c"], [(0, 0), (1, 1), (2, 2)]),
        (["a", "x", "c"], ["a", "c"], [(0, 0), (1, None), (2, 1)]),
        (["a", "c"], ["a", "x", "c"], [(0, 0), (None, 1), (1, 2)]),
        (["a1", "b"], ["b", "a2"], [(0, None), (1, 0), (None, 1)]),
        (["x1", "y"], ["z", "x2"], [(None, 0), (0, 1), (1, None)]),
        (["x1", "x2"], ["x2", "z"], [(0, None), (1, 0), (None, 1)]),
        (["p", "q"], ["r", "s"], [(0, None), (1, None), (None, 0), (None, 1)]),
    ],
    ids=str,
)
def test_as_much_as_possible_stands_beside_its_like(a: list[str], b: list[str], expected: list[Pair]) -> None:
    assert align(a, b, likeness, 3) == expected


def test_sequences_that_are_too_long_are_compared_place_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST_CELLS", 5)
    a, b = ["p", "x1", "q", "s"], ["r", "x2", "u"]
    assert align(a, b, likeness, 3) == [(0, None), (None, 0), (1, 1), (2, None), (None, 2), (3, None)]
    assert align(b, a, likeness, 3)[-1] == (None, 3)
