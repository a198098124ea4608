"""The graph of responses and the journal of their tool calls, in a database."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection, select, update

from orchestrator.core.commands import Outcome, PlacedItem
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Ending, Stats
from orchestrator.core.tools import OfferedTool, ToolKey
from orchestrator.ports import (
    CallDecision,
    Chain,
    JournaledCall,
    NewResponse,
    StoredResponse,
    StoredRun,
    Suspension,
)
from orchestrator.store import chains, journal, readings, suspended_runs, transcripts
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.chain_segments import RESPONSES, NewSegment, keep_segments
from orchestrator.store.database import Database
from orchestrator.store.encryption import Sealer
from orchestrator.store.long_texts import long_text
from orchestrator.store.tables import responses, tool_calls
from orchestrator.store.withheld import WithheldVault

log = structlog.stdlib.get_logger(__name__)


class SqlResponseStore:
    """`ResponseStore` in SQLite or Postgres; `sealer` seals what redaction took out of runs that wait for people."""

    def __init__(
        self,
        database: Database,
        memory: ChainMemory | None = None,
        sealer: Sealer | None = None,
        segment_length: int = RESPONSES,
    ) -> None:
        self._database = database
        self._segment_length = segment_length
        self._memory = memory or ChainMemory()
        self._vault = WithheldVault(sealer)

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        loaded = await self._database.read(
            lambda connection: chains.load_chain(connection, self._memory, response_id, owner, self._segment_length)
        )
        if loaded.unkept:
            await self._keep(loaded.unkept)
        return loaded.chain

    async def _keep(self, segments: Sequence[NewSegment]) -> None:
        """Put segments of a chain away; where that fails, who loads it next tries again."""
        try:
            await self._database.write(lambda connection: keep_segments(connection, segments))
        except OrchestratorError as error:
            log.warning("a chain is not put away, and so read more slowly", reason=error.info.message)
            return
        self._memory.forget(id for new in segments for id in new.response_ids)
        self._memory.keep(new.segment for new in segments)

    async def inherited_prompt(self, response_id: str, owner: str) -> str | None:
        return await self._database.read(lambda connection: chains.inherited_prompt(connection, response_id, owner))

    async def find_transcript(
        self, digests: Sequence[str], owner: str, calls: Sequence[str] = ()
    ) -> tuple[str, str] | None:
        return await self._database.read(
            lambda connection: transcripts.find_transcript(connection, digests, owner, calls)
        )

    async def read_outputs(self, call_ids: Sequence[str], owner: str) -> Mapping[str, str]:
        return await self._database.read(lambda connection: chains.read_outputs(connection, call_ids, owner))

    async def open_response(self, response: NewResponse) -> None:
        await self._database.write(lambda connection: journal.open_response(connection, response))

    async def extend_offer(
        self, response_id: str, offered: Sequence[OfferedTool], tool_names: Mapping[ToolKey, str], at: datetime
    ) -> None:
        await self._database.write(
            lambda connection: journal.extend_offer(connection, response_id, offered, tool_names, at)
        )

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        await self._database.write(lambda connection: journal.journal_calls(connection, response_id, items, at))

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        await self._database.write(
            lambda connection: journal.record_outcome(connection, response_id, call_id, outcome, at)
        )

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
        await self._database.write(
            lambda connection: journal.save_response(
                connection, response_id, ending, stats, items, outcomes, at, warnings
            )
        )

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        def work(connection: Connection) -> StoredResponse | None:
            visible = (responses.c.id == response_id) & (responses.c.owner == owner) & responses.c.stored
            row = connection.execute(select(responses).where(visible)).mappings().one_or_none()
            if row is None:
                return None
            [link] = chains.read_links(connection, response_id, row["depth"], row["depth"])
            waits = row["status"] == "awaiting_approval"
            pending = suspended_runs.pending_approvals(connection, response_id) if waits else ()
            return readings.stored_response(row, link.past, pending)

        return await self._database.read(work)

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        def work(connection: Connection) -> list[JournaledCall]:
            visible = (tool_calls.c.response_id == response_id) & (tool_calls.c.owner == owner)
            query = select(tool_calls, long_text("output").label("long_output")).where(visible)
            found = connection.execute(query.order_by(tool_calls.c.position))
            decisions = suspended_runs.decisions_of(connection, response_id)
            return [readings.journaled_call(row, decisions.get(row["call_id"])) for row in found.mappings()]

        return await self._database.read(work)

    async def read_run(self, response_id: str, owner: str) -> StoredRun | None:
        return await self._database.read(
            lambda connection: suspended_runs.read_run(connection, self._vault, response_id, owner)
        )

    async def suspend_response(self, response_id: str, suspension: Suspension, stats: Stats, at: datetime) -> None:
        await self._database.write(
            lambda connection: suspended_runs.suspend_response(
                connection, self._vault, response_id, suspension, stats, at
            )
        )

    async def record_decisions(
        self, response_id: str, decisions: Sequence[CallDecision], withheld: JsonObject | None = None
    ) -> bool:
        return await self._database.write(
            lambda connection: suspended_runs.record_decisions(
                connection, self._vault, response_id, decisions, withheld
            )
        )

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
        await self._database.write(
            lambda connection: suspended_runs.resume_response(
                connection, self._vault, response_id, decisions, offered, tool_names, holder, at, lease_until
            )
        )

    async def end_suspended(self, response_id: str, owner: str, ending: Ending, why: str, at: datetime) -> bool:
        return await self._database.write(
            lambda connection: suspended_runs.end_suspended(connection, response_id, owner, ending, why, at)
        )

    async def end_expired(self, now: datetime, why: str) -> Sequence[str]:
        return await self._database.write(lambda connection: suspended_runs.end_expired(connection, now, why))

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        def work(connection: Connection) -> None:
            running = journal.RUNNING & responses.c.id.in_(response_ids)
            connection.execute(update(responses).where(running).values(lease_until=until))

        await self._database.write(work)

    async def holders_in_progress(self) -> Sequence[str]:
        def work(connection: Connection) -> list[str]:
            query = select(responses.c.holder).where(journal.RUNNING).distinct().order_by(responses.c.holder)
            return [*connection.execute(query).scalars()]

        return await self._database.read(work)

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        return await self._database.write(lambda connection: journal.end_abandoned(connection, now, dead_holders))
