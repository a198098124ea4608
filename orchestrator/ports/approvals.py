"""What the services need of the store for runs that are put away: their state, and what people decide about their calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.core.approvals import Decision
from orchestrator.core.json_types import JsonObject
from orchestrator.core.placed import PlacedItem
from orchestrator.core.response import Counters, Ending, Stats
from orchestrator.core.tools import OfferedTool, ToolKey


@dataclass(frozen=True, slots=True)
class CallDecision:
    """What somebody decided about a call: `owner` and `token_id` say who. It never changes.

    `owner` is None where nobody decided in time.
    """

    call_id: str
    decision: Decision
    owner: str | None
    token_id: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Suspension:
    """What a run that was put away must find again beside its items; seconds that it ran so far, loading apart.

    `withheld` is what redaction took out of the items. A store keeps it encrypted or not at all, until the run
    goes on; where it cannot be read any more it is None. `warnings` are those of the response so far.
    """

    expires_at: datetime
    counters: tuple[Counters, ...] = ()
    load_seconds: float | None = None
    elapsed_seconds: float = 0.0
    withheld: JsonObject | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A stored response as a run has it.

    `items` are all of them, calls without an outcome included. `offered` is what was offered to the
    model last, in order, with `integration` counting the providers; `tool_names` are all the names
    that the chain had given. `decisions` are those about calls that have no outcome yet.
    `suspension` is there while the response waits for approvals.
    """

    items: tuple[PlacedItem, ...]
    offered: tuple[OfferedTool, ...]
    tool_names: dict[ToolKey, str]
    decisions: tuple[CallDecision, ...] = ()
    suspension: Suspension | None = None


class SuspendedRunStore(Protocol):
    """Runs that wait for people. Every method is one durable unit of work, safe when several processes do it at once."""

    async def read_run(self, response_id: str, owner: str) -> StoredRun | None:
        """The run of a response, or None for an id that is unknown, not stored or another owner's."""
        ...

    async def suspend_response(self, response_id: str, suspension: Suspension, stats: Stats, at: datetime) -> None:
        """Put the run away: the response waits for approvals, and no process holds it any more."""
        ...

    async def record_decisions(
        self, response_id: str, decisions: Sequence[CallDecision], withheld: JsonObject | None = None
    ) -> bool:
        """Write down what was decided about calls that wait; whether no call is left that waits for a decision.

        `withheld`, where it is given, takes the place of the suspension's.

        Raises:
            OrchestratorError: `approval_conflict`, and nothing is written: the response does not wait for
                approvals, or one of the calls is decided already or does not wait.
        """
        ...

    async def resume_response(
        self,
        response_id: str,
        decisions: Sequence[CallDecision],
        offered: Sequence[OfferedTool],
        tool_names: Mapping[ToolKey, str],
        holder: str,
        at: datetime,
        lease_until: datetime,
    ) -> None:
        """Write the last decisions down and make the response one that `holder` runs, `in_progress`.

        Raises:
            OrchestratorError: `approval_conflict`, and nothing is written: as in `record_decisions`, or a
                call is left that nobody decided about.
        """
        ...

    async def end_suspended(self, response_id: str, owner: str, ending: Ending, why: str, at: datetime) -> bool:
        """End a response that waits for approvals: its calls are `refused`, `why` is told. False where it does not wait."""
        ...

    async def end_expired(self, now: datetime, why: str) -> Sequence[str]:
        """End every response whose time to decide is over, `incomplete` (`deadline`); returns their ids.

        What nobody decided about counts as denied by nobody, with `why`.
        """
        ...
