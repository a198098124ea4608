"""Threads in a database, as their owners see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, Select, insert, select, tuple_

from orchestrator.core.json_types import JsonObject
from orchestrator.ports import Deletion, Thread
from orchestrator.store import deletion, listing, readings
from orchestrator.store.audit_chain import Erasures, append_erasures, append_event
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database
from orchestrator.store.search_tables import threads
from orchestrator.store.tables import responses

_THREAD: Final = select(
    threads.c.id.label("thread_id"),
    threads.c.owner.label("thread_owner"),
    threads.c.created_at.label("thread_created_at"),
    threads.c.updated_at.label("thread_updated_at"),
    *listing.SUMMARY,
).join_from(threads, responses, responses.c.id == threads.c.newest_response_id)


class SqlThreadStore:
    """`ThreadStore` in SQLite or Postgres; `memory` is that of the store which continues chains."""

    def __init__(self, database: Database, memory: ChainMemory | None = None) -> None:
        self._database = database
        self._memory = memory or ChainMemory()

    async def find_thread(self, thread_id: str, owner: str) -> Thread | None:
        mine = _THREAD.where(threads.c.id == thread_id, threads.c.owner == owner)
        row = await self._database.read(lambda connection: connection.execute(mine).mappings().one_or_none())
        return None if row is None else _thread(row)

    async def create_thread(self, thread_id: str, response_id: str, owner: str, at: datetime) -> Thread | None:
        return await self._database.write(lambda connection: _created(connection, thread_id, response_id, owner, at))

    async def list_threads(
        self, owner: str, after: tuple[datetime, str] | None, limit: int, through: str | None = None
    ) -> Sequence[Thread]:
        query = _THREAD.where(threads.c.owner == owner)
        if through is not None:
            query = query.where(threads.c.newest_response_id.in_(_from(through)))
        if after is not None:
            query = query.where(tuple_(threads.c.updated_at, threads.c.id) < tuple_(*after))
        query = query.order_by(threads.c.updated_at.desc(), threads.c.id.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_thread(row) for row in rows]

    async def delete_thread(
        self,
        thread_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        def work(connection: Connection) -> Deletion | None:
            erased = Erasures()
            gone = deletion.delete_thread(
                connection, thread_id, owner, at, erased, subtree=subtree, keep_skeleton=keep_skeleton
            )
            if gone is not None:
                told: JsonObject = {"thread_id": thread_id, "responses": len(gone.deleted)}
                append_erasures(connection, at, owner, token_id, erased)
                append_event(connection, "deletion", at, owner, token_id, told)
            return gone

        gone = await self._database.write(work)
        if gone is not None and gone.deleted:
            self._memory.forget(gone.deleted)
            await self._database.overwrite_deleted()
        return gone


def _from(response_id: str) -> Select[tuple[str]]:
    """A response, and all that continue it."""
    found = select(responses.c.id).where(responses.c.id == response_id).cte("found", recursive=True)
    child = responses.alias("child")
    return select(found.union_all(select(child.c.id).where(child.c.previous_response_id == found.c.id)).c.id)


def _created(connection: Connection, thread_id: str, response_id: str, owner: str, at: datetime) -> Thread | None:
    """See `ThreadStore.create_thread`. The response is locked, so that it is not deleted meanwhile."""
    mine = select(responses.c.id).where(
        responses.c.id == response_id, responses.c.owner == owner, responses.c.stored.is_(True)
    )
    if connection.execute(mine.with_for_update(key_share=True)).first() is None:
        return None
    made = {"id": thread_id, "owner": owner, "newest_response_id": response_id, "created_at": at, "updated_at": at}
    connection.execute(insert(threads), made)
    return _thread(connection.execute(_THREAD.where(threads.c.id == thread_id)).mappings().one())


def _thread(row: RowMapping) -> Thread:
    return Thread(
        id=row["thread_id"],
        owner=row["thread_owner"],
        created_at=row["thread_created_at"],
        updated_at=row["thread_updated_at"],
        newest=readings.summary(row),
    )
