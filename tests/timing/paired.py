"""Whether two kinds of requests take the same time: paired, interleaved, and judged without assumptions about the noise.

Of each pair the difference counts; of the differences the median. The sign test gives an interval that has it with a
probability of 99.9 % whatever their distribution: noise of the machine makes the interval wide, not wrong. A
difference is found only where the whole interval lies beyond the effect that matters.
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

PAIRS: Final = 160
WARMUP: Final = 8
CONFIDENCE: Final = 3.29
"""Standard deviations; 99.9 % of a normal distribution, which a binomial one of so many pairs is near enough."""
LEAST_EFFECT_NS: Final = 150_000
"""Below that nobody can tell over a network what the noise of the network is."""
RELATIVE_EFFECT: Final = 0.1


@dataclass(frozen=True)
class Verdict:
    """All in nanoseconds: how long a request takes, the interval of the median difference, and the effect that matters."""

    typical: float
    low: float
    high: float
    effect: float

    @property
    def differs(self) -> bool:
        """Whether the difference is greater than the effect, beyond reasonable doubt."""
        return self.low > self.effect or self.high < -self.effect


Ask = Callable[[], Awaitable[None]]


async def compare(one: Ask, other: Ask, pairs: int = PAIRS) -> Verdict:
    """How much longer `one` takes than `other`."""
    differences: list[int] = []
    times: list[int] = []
    order = random.Random(1)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(WARMUP + pairs):
            first = order.random() < 0.5
            taken = [await _timed(ask) for ask in ((one, other) if first else (other, one))]
            if number >= WARMUP:
                differences.append(taken[0] - taken[1] if first else taken[1] - taken[0])
                times += taken
    finally:
        if enabled:
            gc.enable()
    return judge(differences, statistics.median(times))


def judge(differences: list[int], typical: float) -> Verdict:
    """The verdict on these differences of requests that take about `typical`."""
    ordered = sorted(differences)
    reach = CONFIDENCE * len(ordered) ** 0.5 / 2
    low = ordered[max(0, int(len(ordered) / 2 - reach))]
    high = ordered[min(len(ordered) - 1, int(len(ordered) / 2 + reach) + 1)]
    return Verdict(typical, low, high, max(LEAST_EFFECT_NS, RELATIVE_EFFECT * typical))


def power(pairs: int, share: float) -> float:
    """How probably a difference is found where each pair shows more than the effect with the probability `share`."""
    reach = CONFIDENCE * pairs**0.5 / 2
    needed = pairs - max(0, int(pairs / 2 - reach))
    return sum(
        math.comb(pairs, found) * share**found * (1 - share) ** (pairs - found) for found in range(needed, pairs + 1)
    )


async def _timed(ask: Ask) -> int:
    started = time.perf_counter_ns()
    await ask()
    return time.perf_counter_ns() - started
