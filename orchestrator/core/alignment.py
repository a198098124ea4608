"""Finding what in one sequence stands for what in another, both in order. Pure."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Pair: TypeAlias = tuple[int | None, int | None]

MOST_CELLS: Final = 1_000_000
"""Of longer sequences only the places are compared: every pair of items would take too long."""


def align(a: Sequence[T], b: Sequence[T], likeness: Callable[[T, T], int], best: int) -> list[Pair]:
    """Pairs of places, in order, None where an item stands alone; what `a` alone has comes before what `b` alone has.

    The sum of the likenesses is the greatest that there is, `best` being that of equal items; of likeness 0 none are a pair.
    """
    start, ends = 0, (len(a), len(b))
    while start < min(ends) and likeness(a[start], b[start]) == best:
        start += 1
    behind = 0
    while behind < min(ends) - start and likeness(a[-1 - behind], b[-1 - behind]) == best:
        behind += 1
    middle = _aligned(a[start : ends[0] - behind], b[start : ends[1] - behind], likeness)
    return [
        *((place, place) for place in range(start)),
        *((None if x is None else x + start, None if y is None else y + start) for x, y in middle),
        *((ends[0] - left, ends[1] - left) for left in range(behind, 0, -1)),
    ]


def _aligned(a: Sequence[T], b: Sequence[T], likeness: Callable[[T, T], int]) -> list[Pair]:
    if len(a) * len(b) > MOST_CELLS:
        return _by_place(a, b, likeness)
    # gains[x][y] is the greatest sum for a[x:] and b[y:].
    gains = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for x in range(len(a) - 1, -1, -1):
        for y in range(len(b) - 1, -1, -1):
            like = likeness(a[x], b[y])
            together = gains[x + 1][y + 1] + like if like else 0
            gains[x][y] = max(together, gains[x + 1][y], gains[x][y + 1])
    pairs: list[Pair] = []
    x = y = 0
    while x < len(a) and y < len(b):
        like = likeness(a[x], b[y])
        if like and gains[x][y] == gains[x + 1][y + 1] + like:
            pairs.append((x, y))
            x, y = x + 1, y + 1
        elif gains[x][y] == gains[x + 1][y]:
            pairs.append((x, None))
            x += 1
        else:
            pairs.append((None, y))
            y += 1
    return [*pairs, *((place, None) for place in range(x, len(a))), *((None, place) for place in range(y, len(b)))]


def _by_place(a: Sequence[T], b: Sequence[T], likeness: Callable[[T, T], int]) -> list[Pair]:
    pairs: list[Pair] = []
    for place, (one, other) in enumerate(zip_longest(range(len(a)), range(len(b)))):
        if one is None or other is None or likeness(a[one], b[other]):
            pairs.append((one, other))
        else:
            pairs += [(place, None), (None, place)]
    return pairs
