"""Who is taken on: as many requests as an instance has slots and places in its queue, those on their way included."""

from collections import Counter
from dataclasses import dataclass

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service.fair_queue import FairQueue

LOADING_SECONDS = 5.0
"""When to come back where nothing was generated yet: nobody knows how long a first load takes."""


@dataclass(slots=True, eq=False)
class Place:
    """A request's claim to a slot or a place in the queue of `instance_id`, from its admission to its first turn."""

    instance_id: str
    _coming: Counter[str]
    _held: bool = True

    def leave(self) -> None:
        """Give it up: the request stands in the queue now, or will not come. Again is no error."""
        if self._held:
            self._held = False
            self._coming[self.instance_id] -= 1
            if not self._coming[self.instance_id]:
                del self._coming[self.instance_id]


class Admissions:
    """Counts who is on the way to each instance, also to one that is not loaded yet.

    Between two turns, while its tools run, a request claims nothing. Its next turn is never refused, so that
    only these can make a queue longer than `max_queued`.
    """

    def __init__(self, max_queued: int) -> None:
        self._max_queued = max_queued
        self._coming: Counter[str] = Counter()

    def coming(self, instance_id: str) -> int:
        """How many were admitted and have not come yet."""
        return self._coming[instance_id]

    def admit(self, instance_id: str, slots: int | None, queue: FairQueue | None) -> Place:
        """Take a request on. `slots` None is an engine without a limit, `queue` None an instance that is not there yet.

        Raises:
            OrchestratorError: `rate_limited`, with the seconds after which a place may be free.
        """
        present = 0 if queue is None else queue.taken + queue.waiting
        if slots is not None and self.coming(instance_id) + present >= slots + self._max_queued:
            waiting = self.coming(instance_id) + present - slots
            seconds = None if queue is None else queue.seconds_to_a_turn()
            message = f"{waiting} requests wait for '{instance_id}' already. Try again later."
            raise OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=seconds or LOADING_SECONDS)
        self._coming[instance_id] += 1
        return Place(instance_id, self._coming)
