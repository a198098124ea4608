"""The graph of responses and the journal of their tool calls, in a database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import Ending, Incomplete, Stats
from orchestrator.ports import Chain, JournaledCall, NewResponse, StoredResponse
from orchestrator.store import rows
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.chains import (
    load_chain,
    read_items,
    unfinished_parent,
    unusable_parent,
)
from orchestrator.store.database import Database, insert_if_missing, insert_missing
from orchestrator.store.tables import (
    blobs,
    input_items,
    offered_tools,
    output_items,
    responses,
    tool_calls,
    tool_definitions,
    tool_offers,
)

_SETTLE: Final = (
    update(tool_calls)
    .where(
        tool_calls.c.call_id == bindparam("the_call"),
        tool_calls.c.response_id == bindparam("the_response"),
        tool_calls.c.status == "journaled",
    )
)  # fmt: skip
"""The one change of a journal row."""

_RUNNING: Final = responses.c.status == "in_progress"


class SqlResponseStore:
    """`ResponseStore` in SQLite or Postgres."""

    def __init__(self, database: Database, memory: ChainMemory | None = None) -> None:
        self._database = database
        self._memory = memory or ChainMemory()

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        async with self._database.read() as connection:
            return await load_chain(connection, self._memory, response_id, owner)

    async def open_response(self, response: NewResponse) -> None:
        async with self._database.write() as connection:
            root_id, depth = await _place(connection, response)
            offer = rows.offer_rows(response.offered, response.tool_names, response.created_at)
            if offer is not None and await insert_if_missing(connection, tool_offers, offer.offer):
                await insert_missing(connection, tool_definitions, offer.definitions)
                if offer.tools:
                    await connection.execute(insert(offered_tools), offer.tools)
            digest = None if offer is None else offer.offer["digest"]
            await connection.execute(insert(responses), rows.response_row(response, root_id, depth, digest))
            said, images = rows.input_rows(response)
            await insert_missing(connection, blobs, images)
            if said:
                await connection.execute(insert(input_items), said)

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        async with self._database.write() as connection:
            row = await _locked(connection, response_id)
            if row["status"] != "in_progress":
                raise _ended_elsewhere(response_id)
            await _insert_items(connection, items, _facts(row), at)

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        async with self._database.write() as connection:
            found = await connection.execute(
                select(responses.c.stored, tool_calls)
                .join_from(tool_calls, responses)
                .where(tool_calls.c.call_id == call_id, tool_calls.c.response_id == response_id)
                .with_for_update(of=tool_calls)
            )
            row = found.mappings().one_or_none()
            if row is None:
                raise OrchestratorError(ErrorKind.STORE_ERROR, f"The journal has no call '{call_id}' of this response.")
            settled = rows.outcome_row(outcome, at, stored=row["stored"])
            if row["status"] == "journaled":
                await connection.execute(_SETTLE.values(settled), {"the_call": call_id, "the_response": response_id})
            elif any(row[name] != value for name, value in settled.items() if name != "settled_at"):
                raise OrchestratorError(
                    ErrorKind.STORE_ERROR, f"The call '{call_id}' is settled in another way already."
                )

    async def save_response(
        self,
        response_id: str,
        ending: Ending,
        stats: Stats,
        items: Sequence[PlacedItem],
        outcomes: Sequence[tuple[str, Outcome]],
        at: datetime,
    ) -> None:
        async with self._database.write() as connection:
            row = await _locked(connection, response_id)
            ended = rows.ending_row(ending, stored=row["stored"])
            if row["status"] != "in_progress":
                if all(row[name] == value for name, value in ended.items()):
                    return
                raise _ended_elsewhere(response_id)
            facts = _facts(row)
            if items or outcomes:
                await _complete(connection, facts, items, outcomes, at)
            await connection.execute(
                update(responses)
                .where(responses.c.id == response_id)
                .values(
                    **ended,
                    stats=rows.stats_json(stats) if facts.stored else None,
                    holder=None,
                    lease_until=None,
                    ended_at=at,
                )
            )

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        async with self._database.read() as connection:
            query = select(responses).where(
                responses.c.id == response_id, responses.c.owner == owner, responses.c.stored
            )
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                return None
            [items] = await read_items(connection, response_id, row["depth"], row["depth"])
            return rows.stored_response(row, items)

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        async with self._database.read() as connection:
            found = await connection.execute(
                select(tool_calls)
                .where(tool_calls.c.response_id == response_id, tool_calls.c.owner == owner)
                .order_by(tool_calls.c.position)
            )
            return [rows.journaled_call(row) for row in found.mappings()]

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(responses).where(_RUNNING, responses.c.id.in_(response_ids)).values(lease_until=until)
            )

    async def holders_in_progress(self) -> Sequence[str]:
        async with self._database.read() as connection:
            query = select(responses.c.holder).where(_RUNNING).distinct().order_by(responses.c.holder)
            return [*(await connection.execute(query)).scalars()]

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        async with self._database.write() as connection:
            found = await connection.execute(
                select(responses.c.id, responses.c.stored)
                .where(_RUNNING, or_(responses.c.lease_until < now, responses.c.holder.in_(dead_holders)))
                .order_by(responses.c.id)
                .with_for_update(skip_locked=True, key_share=True)
            )
            abandoned = {row.id: row.stored for row in found}
            for response_id, stored in abandoned.items():
                await _abandon(connection, response_id, stored, now)
            return [*abandoned]


def _facts(row: RowMapping) -> rows.ResponseFacts:
    return rows.ResponseFacts(row["id"], row["owner"], row["token_id"], row["stored"])


def _ended_elsewhere(response_id: str) -> OrchestratorError:
    message = f"The response '{response_id}' has ended already: another process took this one for dead."
    return OrchestratorError(ErrorKind.STORE_ERROR, message)


async def _place(connection: AsyncConnection, response: NewResponse) -> tuple[str, int]:
    """Root and depth of a new node, from its parent."""
    parent_id = response.previous_response_id
    if parent_id is None:
        return response.id, 0
    query = select(responses.c.root_id, responses.c.depth, responses.c.status).where(
        responses.c.id == parent_id, responses.c.owner == response.owner, responses.c.stored
    )
    parent = (await connection.execute(query)).one_or_none()
    if parent is None:
        raise unusable_parent(parent_id)
    if parent.status == "in_progress":
        raise unfinished_parent(parent_id)
    return parent.root_id, parent.depth + 1


async def _locked(connection: AsyncConnection, response_id: str) -> RowMapping:
    """The row of a response, which nobody else ends as long as this unit of work lasts."""
    query = select(
        responses.c.id,
        responses.c.owner,
        responses.c.token_id,
        responses.c.stored,
        responses.c.status,
        responses.c.ending_reason,
        responses.c.error_kind,
        responses.c.error_message,
        responses.c.error_param,
    ).where(responses.c.id == response_id)
    row = (await connection.execute(query.with_for_update(key_share=True))).mappings().one_or_none()
    if row is None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, f"The store has no response '{response_id}'.")
    return row


async def _insert_items(
    connection: AsyncConnection, items: Sequence[PlacedItem], response: rows.ResponseFacts, at: datetime
) -> None:
    calls, output = rows.item_rows(items, response, at)
    if calls:
        await connection.execute(insert(tool_calls), calls)
    if output:
        await connection.execute(insert(output_items), output)


async def _complete(
    connection: AsyncConnection,
    response: rows.ResponseFacts,
    items: Sequence[PlacedItem],
    outcomes: Sequence[tuple[str, Outcome]],
    at: datetime,
) -> None:
    """Insert the items that are missing and settle the calls that are not settled."""
    query = (
        select(output_items.c.position, output_items.c.call_id, tool_calls.c.status)
        .join_from(output_items, tool_calls, tool_calls.c.call_id == output_items.c.call_id, isouter=True)
        .where(output_items.c.response_id == response.id)
    )
    there = (await connection.execute(query)).all()
    taken = {row.position for row in there}
    unsettled = {row.call_id for row in there if row.status == "journaled"}
    await _insert_items(connection, [item for item in items if item.position not in taken], response, at)
    pending = {item.call_id: item.outcome for item in items if isinstance(item, PlacedCall)} | dict(outcomes)
    for call_id, outcome in pending.items():
        if call_id in unsettled and outcome is not None:
            settled = rows.outcome_row(outcome, at, stored=response.stored)
            await connection.execute(_SETTLE.values(settled), {"the_call": call_id, "the_response": response.id})


async def _abandon(connection: AsyncConnection, response_id: str, stored: bool, now: datetime) -> None:
    settled = rows.outcome_row(rows.abandoned_outcome(), now, stored=stored)
    await connection.execute(
        update(tool_calls)
        .where(tool_calls.c.response_id == response_id, tool_calls.c.status == "journaled")
        .values(settled)
    )
    await connection.execute(
        update(responses)
        .where(responses.c.id == response_id)
        .values(
            **rows.ending_row(Incomplete("process_died"), stored=stored), holder=None, lease_until=None, ended_at=now
        )
    )
