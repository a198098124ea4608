"""How fast a transfer is and when it will be done, over a window that slides. Pure: it is told the time."""

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 10.0
SAMPLE_SECONDS: Final = 0.25


class TransferSpeed:
    """Fed with the bytes that there are at a moment (in seconds, of any clock that only goes forward)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def observe(self, moment: float, total_bytes: int) -> None:
        """There are `total_bytes` now; fewer than before are a transfer that began anew."""
        if self._samples and total_bytes < self._samples[-1][1]:
            self._samples.clear()
        if len(self._samples) > 1 and moment - self._samples[-2][0] < SAMPLE_SECONDS:
            self._samples.pop()
        self._samples.append((moment, total_bytes))
        while len(self._samples) > 2 and moment - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()

    def bytes_per_second(self, moment: float) -> float:
        """The mean over the last `WINDOW_SECONDS`; a transfer that stands still slows down towards 0."""
        if not self._samples:
            return 0.0
        first_moment, first_bytes = self._samples[0]
        seconds = moment - first_moment
        return (self._samples[-1][1] - first_bytes) / seconds if seconds > 0 else 0.0

    def seconds_left(self, moment: float, total_bytes: int | None) -> float | None:
        """When the rest will be here at this speed; None where that cannot be said."""
        speed = self.bytes_per_second(moment)
        if total_bytes is None or speed <= 0 or not self._samples:
            return None
        return max(0.0, total_bytes - self._samples[-1][1]) / speed
