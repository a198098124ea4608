"""What the services need of the store: the graph of responses and the journal of their tool calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.commands import Outcome, PlacedItem
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.items import FunctionOutput, InputItem, OutputEntry, ProviderInfo, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import Past
from orchestrator.core.response import Ending, IncompleteReason, ResponseStatus, Stats
from orchestrator.core.tools import OfferedTool, ToolKey
from orchestrator.ports.approvals import CallDecision, SuspendedRunStore

LONG_TEXT: Final = 16_384
"""Characters beyond which a text is kept apart, so that rows which are listed stay short."""


INHERITS: Final = "inherits_system_prompt"
"""False among the parameters of a response that left the system prompt out, for itself alone."""


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where a branch leaves another response: it begins with that one's first `position` items.

    Where it makes a call of that one anew, it also has the `rest` of that call's turn: so many items behind it.
    """

    response_id: str
    position: int
    rest: int = 0


@dataclass(frozen=True, slots=True)
class ThreadMove:
    """What opening a response does to a thread: it points to the new one instead of `newest`.

    Without `newest` the thread is made.
    """

    thread_id: str
    newest: str | None


@dataclass(frozen=True, slots=True)
class NewResponse:
    """A node of the graph as it begins.

    `parameters` are the request's settings as JSON, without content and without secrets. With
    `stored` False only a skeleton is kept: no input, system prompt, parameters or metadata.
    `holder` names the process that runs it, `lease_until` how long its word counts. With `forked_from`
    it begins with items of another response, whose calls stay in that one's journal. `replay_of` is the
    response that it runs again. A `thread` is moved to it in the same unit of work.
    """

    id: str
    previous_response_id: str | None
    owner: str
    model_key: str
    model_instance_id: str
    system_prompt: str | None
    parameters: JsonObject
    metadata: dict[str, str]
    input: tuple[InputItem, ...]
    stored: bool
    offered: tuple[OfferedTool, ...]
    tool_names: dict[ToolKey, str]
    holder: str
    created_at: datetime
    lease_until: datetime
    token_id: str | None = None
    forked_from: ForkPoint | None = None
    replay_of: str | None = None
    thread: ThreadMove | None = None
    warnings: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """What its user says first."""
        return next((item.content for item in self.input if isinstance(item, TextInput) and item.speaker == "user"), "")

    @property
    def only_goes_on(self) -> bool:
        """Whether nobody says anything in it: its input is nothing, or results of calls."""
        return all(isinstance(item, FunctionOutput) for item in self.input)


@dataclass(frozen=True, slots=True)
class Chain:
    """The path from the root to a response, as a continuation needs it, oldest first.

    `root_id` names the root, and with it the chain; None where there is no response yet. The `output`
    of a call is empty here where it is longer than `LONG_TEXT`, its structured one None: a prompt has what was shown of it.
    Messages are without `logprobs`. Of a long chain most may come as `PastSegment`, as it is told.
    """

    responses: tuple[Past, ...]
    system_prompt: str | None
    tool_names: dict[ToolKey, str] = field(default_factory=dict[ToolKey, str])
    root_id: str | None = None


@dataclass(frozen=True, slots=True)
class JournaledCall:
    """A row of the journal, as its readers see it; `decision` is what somebody decided about it before it ran."""

    call_id: str
    response_id: str
    position: int
    turn: int
    model_name: str
    tool: str | None
    provider: ProviderInfo | None
    definition_digest: str | None
    arguments: JsonObject | None
    status: str
    output: str | None
    is_error: bool
    duration_ms: int | None
    created_at: datetime
    settled_at: datetime | None
    decision: CallDecision | None = None


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response, whole; `pending` are the calls that wait for a decision, until `expires_at`.

    `stop_sequence` as `Completed` has it, `cancel_reason` as `Cancelled`.
    """

    id: str
    previous_response_id: str | None
    root_id: str
    depth: int
    owner: str
    model_key: str
    model_instance_id: str
    system_prompt: str | None
    parameters: JsonObject
    metadata: dict[str, str]
    status: ResponseStatus
    incomplete_reason: IncompleteReason | None
    error: ErrorInfo | None
    stats: Stats
    input: tuple[InputItem, ...]
    output: tuple[OutputEntry, ...]
    created_at: datetime
    ended_at: datetime | None
    pending: tuple[PendingApproval, ...] = ()
    expires_at: datetime | None = None
    forked_from: ForkPoint | None = None
    replay_of: str | None = None
    warnings: tuple[str, ...] = ()
    stop_sequence: str | None = None
    cancel_reason: str | None = None


class ResponseStore(SuspendedRunStore, Protocol):
    """The graph of responses and the journal of their tool calls. Every method is one durable unit of work."""

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        """The chain that ends in `response_id`, in one query whatever its depth.

        Raises:
            OrchestratorError: `invalid_value` on `previous_response_id` for an id that is unknown,
                deleted, not stored or another owner's, all alike; `response_not_finished` while it runs
                or waits for approvals.
        """
        ...

    async def inherited_prompt(self, response_id: str, owner: str) -> str | None:
        """The system prompt that a continuation of `response_id` inherits, None where there is none.

        It is that of the nearest response, from there to the root, that did not leave it out for itself alone (`INHERITS`).
        """
        ...

    async def find_transcript(
        self, digests: Sequence[str], owner: str, calls: Sequence[str] = ()
    ) -> tuple[str, str] | None:
        """The response at whose end a conversation has one of these digests (`core/transcript.py`), and which.

        The first digest that there is one for counts, of several responses the newest that made one of these `calls`, or
        else the newest; replays do not count, nor what is in progress. One that waits for approvals has the digest of what was said by then. None where there is none.
        """
        ...

    async def open_response(self, response: NewResponse) -> None:
        """Insert the node, `in_progress`, the items that it begins with, and the definitions it offers by their digest.

        Results in its input (`FunctionOutput`) settle the owner's calls that are `handed_over`, unless it is not stored.

        Raises:
            OrchestratorError: `thread_conflict` on `thread_id`, and nothing is written: the thread points to
                another response by now, or is gone.
        """
        ...

    async def read_outputs(self, call_ids: Sequence[str], owner: str) -> Mapping[str, str]:
        """The whole outputs of these calls, by their id: JSON text of content arrays.

        Where a tool gave only structured output, that is the text of its one part.

        Left out are calls that are unknown, of another owner or not settled, and outputs that are deleted.
        """
        ...

    async def extend_offer(
        self, response_id: str, offered: Sequence[OfferedTool], tool_names: Mapping[ToolKey, str], at: datetime
    ) -> None:
        """From now on the response offers this instead; returns once it is durable."""
        ...

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        """Insert the items, calls among them; returns once they are durable.

        For a response that is not stored, only the skeleton of each call is kept: offered tool,
        provider, digest, times, status.
        """
        ...

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        """Settle one journaled call. A settled call never changes again."""
        ...

    async def save_response(
        self,
        response_id: str,
        ending: Ending,
        stats: Stats,
        items: Sequence[PlacedItem],
        outcomes: Sequence[tuple[str, Outcome]],
        at: datetime,
        warnings: Sequence[str] = (),
    ) -> None:
        """End the response. Items already there stay as they are, but for an unsettled call's outcome.

        `warnings` are all that it was warned about, those that it was opened with included. A thread that it is the newest
        response of goes back to the one before it where it failed and called no tool, and is gone without one.
        """
        ...

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        """The response, or None for an id that is unknown, not stored or another owner's.

        Calls that are not settled are left out of its output.
        """
        ...

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        """The journal of one response, by position; empty for an unknown one.

        Calls that a branch has of another response are in the journal of that one.
        """
        ...

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        """These responses are being run, and are at least until then; one that has ended stays as it is."""
        ...

    async def holders_in_progress(self) -> Sequence[str]:
        """The processes that, as far as the store knows, run something."""
        ...

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        """End what nobody runs any more: leases that expired, and holders known to be dead.

        Such a response becomes `incomplete` (`process_died`), its unsettled calls `abandoned`. Returns
        the ids. Safe when several processes do it at once.
        """
        ...
