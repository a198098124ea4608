"""The guards of a run: how much it may still write, how often it may ask for the same, how many turns it has."""

from collections import Counter
from collections.abc import Sequence

from orchestrator.core.calls import identity
from orchestrator.core.inputs import GenerationFinished
from orchestrator.core.placed import PlacedCall
from orchestrator.core.request import RunRequest
from orchestrator.core.response import Completed, Counters, Ending, Incomplete


class Guards:
    """What a run has used up. `counters` are those of its turns so far, `calls` those that it made."""

    def __init__(self, request: RunRequest, counters: Sequence[Counters], calls: Sequence[PlacedCall]) -> None:
        self._request = request
        self.counters: list[Counters] = [*counters]
        self._asked = Counter(identity(call) for call in calls)

    def output_budget(self) -> int | None:
        """The tokens that may still be written, None where there is no limit."""
        limit = self._request.max_output_tokens
        return None if limit is None else limit - sum(turn.output_tokens or 0 for turn in self.counters)

    def out_of_turns(self) -> bool:
        """Whether the model may not be called again."""
        return len(self.counters) >= self._request.limits.max_turns

    def ending_after(self, calls: Sequence[PlacedCall], end: GenerationFinished) -> tuple[Ending, str] | None:
        """How the run ends with a turn that makes these calls, and why they are not run; None where it goes on.

        Where the model stopped at a `stop_sequence` that the request does not have, it is one of the engine's own.
        """
        budget = self.output_budget()
        asks = [call for call in calls if not call.is_handed_over]
        if end.reason == "content_filter":
            return Incomplete("content_filter"), "the engine's filter had ended the answer"
        if end.reason == "length" or (asks and budget is not None and budget <= 0):
            return Incomplete("max_output_tokens"), "the limit of output tokens was reached"
        if not calls:
            return Completed(end.stop_sequence if end.stop_sequence in self._request.sampling.stop else None), ""
        self._asked.update(identity(call) for call in calls)
        if any(self._asked[identity(call)] > self._request.limits.max_identical_calls for call in calls):
            return Incomplete("identical_calls"), "the same call was made too often"
        return None
