"""The store behind redaction: whatever the services write passes here, so that no way round it is left.

What is read from it is what is stored. The exception is a run that is put away: `read_run` gives it back as it
was, as far as the store could keep that (encrypted), because an approved call needs its true arguments.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

import anyio.to_thread

from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.placed import Outcome, PlacedCall, PlacedItem
from orchestrator.core.redacted_run import RunRedaction, restored_decision, restored_items
from orchestrator.core.redaction import Redaction
from orchestrator.core.response import Ending, Stats
from orchestrator.core.tools import OfferedTool, ToolKey
from orchestrator.ports import (
    CallDecision,
    Chain,
    JournaledCall,
    NewResponse,
    ResponseStore,
    StoredResponse,
    StoredRun,
    Suspension,
)

MOST_RUNS: Final = 10_000
"""Runs that are remembered; of a forgotten one every server's rules count for every call."""

AT_ONCE: Final = 262_144
"""Characters that are redacted in place; more would hold up everybody else, and goes to a thread."""

T = TypeVar("T")


class RedactingStore:
    """`ResponseStore` in front of another one. `rules` are looked up for each call, so that a changed file counts at once."""

    def __init__(
        self,
        store: ResponseStore,
        general: Redaction,
        rules: Callable[[ProviderInfo | None], Redaction],
    ) -> None:
        self._store = store
        self._general = general
        self._rules = rules
        self._runs: OrderedDict[str, RunRedaction] = OrderedDict()

    def _run(self, response_id: str) -> RunRedaction:
        run = self._runs.get(response_id)
        if run is None:
            run = self._runs[response_id] = RunRedaction(self._rules, self._general)
            while len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)
        return run

    @property
    def _idle(self) -> bool:
        return not self._rules(None)

    # ---- what is written ----------------------------------------------------------------------

    async def open_response(self, response: NewResponse) -> None:
        if not self._idle:
            said, prompt, parameters, metadata = self._run(response.id).opening(
                response.input, response.system_prompt, response.parameters, response.metadata
            )
            response = replace(
                response,
                input=said,
                system_prompt=prompt,
                parameters=parameters,
                metadata=metadata,
                warnings=self._warnings(response.id, response.warnings),
            )
        await self._store.open_response(response)

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        await self._store.journal_calls(response_id, await self._items(response_id, items), at)

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        [(_, put)] = await self._outcomes(response_id, [(call_id, outcome)])
        await self._store.record_outcome(response_id, call_id, put, at)

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
        put = await self._items(response_id, items)
        settled = await self._outcomes(response_id, outcomes)
        ending = ending if self._idle else self._run(response_id).ending(ending)
        told = self._warnings(response_id, warnings)
        await self._store.save_response(response_id, ending, stats, put, settled, at, told)
        self._runs.pop(response_id, None)

    async def suspend_response(self, response_id: str, suspension: Suspension, stats: Stats, at: datetime) -> None:
        run = self._runs.get(response_id)
        if run is not None:
            told = self._warnings(response_id, suspension.warnings)
            suspension = replace(suspension, withheld=run.withheld, warnings=told)
        await self._store.suspend_response(response_id, suspension, stats, at)
        self._runs.pop(response_id, None)

    async def record_decisions(
        self, response_id: str, decisions: Sequence[CallDecision], withheld: JsonObject | None = None
    ) -> bool:
        put, edits = self._decisions(response_id, decisions)
        return await self._store.record_decisions(response_id, put, withheld or edits)

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
        put, _ = self._decisions(response_id, decisions)
        await self._store.resume_response(response_id, put, offered, tool_names, holder, at, lease_until)

    async def end_suspended(self, response_id: str, owner: str, ending: Ending, why: str, at: datetime) -> bool:
        self._runs.pop(response_id, None)
        ending = RunRedaction(self._rules, self._general).ending(ending)
        return await self._store.end_suspended(response_id, owner, ending, self._general.text(why), at)

    async def end_expired(self, now: datetime, why: str) -> Sequence[str]:
        return await self._store.end_expired(now, why)

    async def extend_offer(
        self, response_id: str, offered: Sequence[OfferedTool], tool_names: Mapping[ToolKey, str], at: datetime
    ) -> None:
        await self._store.extend_offer(response_id, offered, tool_names, at)

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        await self._store.renew_leases(response_ids, until)

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        return await self._store.end_abandoned(now, dead_holders)

    # ---- what is read -------------------------------------------------------------------------

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        return await self._store.load_chain(response_id, owner)

    async def inherited_prompt(self, response_id: str, owner: str) -> str | None:
        return await self._store.inherited_prompt(response_id, owner)

    async def find_transcript(
        self, digests: Sequence[str], owner: str, calls: Sequence[str] = ()
    ) -> tuple[str, str] | None:
        # The digests are those of what the client sent: a stored conversation of which something was taken out has
        # another one, and is not continued without what was taken out.
        return await self._store.find_transcript(digests, owner, calls)

    async def read_outputs(self, call_ids: Sequence[str], owner: str) -> Mapping[str, str]:
        return await self._store.read_outputs(call_ids, owner)

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        return await self._store.get_response(response_id, owner)

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        return await self._store.list_calls(response_id, owner)

    async def holders_in_progress(self) -> Sequence[str]:
        return await self._store.holders_in_progress()

    async def read_run(self, response_id: str, owner: str) -> StoredRun | None:
        stored = await self._store.read_run(response_id, owner)
        if stored is None or stored.suspension is None:
            return stored
        withheld = stored.suspension.withheld
        if withheld is not None:
            decisions = tuple(
                replace(made, decision=restored_decision(made.call_id, made.decision, withheld))
                for made in stored.decisions
            )
            stored = replace(stored, items=restored_items(stored.items, withheld), decisions=decisions)
        if not self._idle:
            run = self._runs[response_id] = RunRedaction(self._rules, self._general)
            items = stored.items
            await self._off_the_loop(_size(items), lambda: run.resume(items, withheld))
            self._decisions(response_id, stored.decisions)  # what they edited is to be known too
        return stored

    # ---- how ----------------------------------------------------------------------------------

    def _warnings(self, response_id: str, warnings: Sequence[str]) -> tuple[str, ...]:
        return tuple(warnings) if self._idle else self._run(response_id).warnings(warnings)

    async def _items(self, response_id: str, items: Sequence[PlacedItem]) -> Sequence[PlacedItem]:
        if self._idle or not items:
            return items
        run = self._run(response_id)
        return await self._off_the_loop(_size(items), lambda: run.items(items))

    async def _outcomes(
        self, response_id: str, outcomes: Sequence[tuple[str, Outcome]]
    ) -> Sequence[tuple[str, Outcome]]:
        if self._idle or not outcomes:
            return outcomes
        run = self._run(response_id)
        size = sum(_outcome_size(outcome) for _, outcome in outcomes)
        return await self._off_the_loop(size, lambda: [(call, run.outcome(call, each)) for call, each in outcomes])

    def _decisions(
        self, response_id: str, decisions: Sequence[CallDecision]
    ) -> tuple[list[CallDecision], JsonObject | None]:
        """The decisions as they may be written, and the arguments that were taken out of them."""
        if self._idle:
            return [*decisions], None
        run = self._run(response_id)
        put = [replace(made, decision=run.decision(made.call_id, made.decision)) for made in decisions]
        edits = (run.withheld or {}).get("edits")
        return put, None if edits is None else {"edits": edits}

    async def _off_the_loop(self, size: int, work: Callable[[], T]) -> T:
        return work() if size <= AT_ONCE else await anyio.to_thread.run_sync(work)


def _size(items: Sequence[PlacedItem]) -> int:
    return sum(
        len(item.arguments_text) + (0 if item.outcome is None else _outcome_size(item.outcome))
        if isinstance(item, PlacedCall)
        else len(item.item.content)
        for item in items
    )


def _outcome_size(outcome: Outcome) -> int:
    return len(outcome.output) + len(outcome.structured or "") + len(outcome.shown or "")
