"""Ollama writes a turn twice over where a model thinks and a format holds it: first freely, until it stops thinking, then held.

Its counters are those of the second time, and `num_predict` bounds each by itself: `ChatHandler` in the server's `server/routes.go`.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Passes:
    """What was written in both, as far as the stream tells: a line has one token, or more where Ollama held some back.

    `held` says that the request has a format, `limit` is its `num_predict`.
    """

    held: bool = False
    limit: int | None = None
    reasoned: int = 0
    wrote: int = 0
    began: float = 0.0
    ended: float = 0.0

    def reasoning(self, at: float) -> None:
        """A line of reasoning came, `at` seconds after the request."""
        if not self.reasoned:
            self.began = at
        self.reasoned, self.ended = self.reasoned + 1, at

    def text(self) -> bool:
        """A line of text came; whether it is still within the limit of both."""
        self.wrote += 1
        return not self.two or self.limit is None or self.reasoned + self.wrote <= self.limit

    @property
    def two(self) -> bool:
        """Whether there were two, so that the counters have only what was written after the reasoning."""
        return self.held and self.reasoned > 0 and self.wrote > 0

    @property
    def reasoning_tokens(self) -> int | None:
        """How many tokens the counters lack; None where nobody can tell reasoning from the rest."""
        return self.reasoned if self.two or not self.reasoned else None

    @property
    def reasoning_seconds(self) -> float:
        """How long writing took that the counters lack."""
        return self.ended - self.began if self.two else 0.0
