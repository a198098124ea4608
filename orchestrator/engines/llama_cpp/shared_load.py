"""A load under way, shared by all who wait for it."""

from dataclasses import dataclass, field

import anyio

from orchestrator.core.errors import OrchestratorError
from orchestrator.engines.llama_cpp.load_plan import LoadPlan


@dataclass(slots=True, eq=False)
class SharedLoad:
    """`outcome` is its seconds, or why it failed. Cancelling `scope` ends it."""

    plan: LoadPlan
    outcome: float | OrchestratorError | None = None
    progress: float | None = None
    waiters: int = 0
    abandoned: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def report(self, progress: float) -> None:
        """llama.cpp said how far it is."""
        self.progress = progress
        self._announce()

    def settle(self, outcome: float | OrchestratorError) -> None:
        """It is over; only the first word counts."""
        if self.outcome is None:
            self.outcome = outcome
        self._announce()

    def leave(self) -> None:
        """One waiter less; a load that nobody waits for is ended."""
        self.waiters -= 1
        if not self.waiters and self.outcome is None:
            self.abandoned = True
            self.scope.cancel()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()
