"""The graph of responses as its readers see it, in a database."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import anyio
from sqlalchemy import ColumnElement, Connection, Row, RowMapping, bindparam, func, select, tuple_, update

from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.response import ResponseStatus
from orchestrator.ports import (
    MAX_CHILDREN,
    Deletion,
    OfferedReference,
    Page,
    Pruning,
    ResponseDetail,
    ResponseFilter,
    ResponseSummary,
    StoredResponse,
)
from orchestrator.store import chains, deletion, listing, readings, search, suspended_runs
from orchestrator.store.audit_chain import Erasures, append_erasures, append_event
from orchestrator.store.audit_links import SERVICE
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database
from orchestrator.store.tables import offered_tools, responses

_T = TypeVar("_T")

NAMED_IDS: Final = 1_000
"""Ids in one event: a larger subtree is named by its first ones, and counted."""

MERGE_PAUSE_SECONDS: Final = 0.05
"""Between two steps of rewriting the index of words, so that others write meanwhile."""

_STORED: Final = responses.c.stored.is_(True)
_above = responses.alias("above")
_path = (
    select(responses.c.id, responses.c.previous_response_id, responses.c.depth)
    .where(responses.c.id == bindparam("response_id"))
    .cte("path", recursive=True)
)
_path = _path.union_all(
    select(_above.c.id, _above.c.previous_response_id, _above.c.depth).where(
        _above.c.id == _path.c.previous_response_id, _above.c.depth >= bindparam("from_depth")
    )
)
_ON_PATH: Final = (
    select(responses)
    .join_from(_path, responses, responses.c.id == _path.c.id)
    .where(_path.c.depth < bindparam("until_depth"))
    .order_by(_path.c.depth)
)
_IDS_ON_PATH: Final = select(_path.c.id).order_by(_path.c.depth)


class SqlResponseGraph:
    """`ResponseGraph` in SQLite or Postgres; `memory` is that of the store which continues chains."""

    def __init__(self, database: Database, memory: ChainMemory | None = None) -> None:
        self._database = database
        self._memory = memory or ChainMemory()
        # What another process deleted, or this one before it was started anew, may be in the index too.
        self._unmerged = True

    async def read_detail(self, response_id: str, owner: str | None) -> ResponseDetail | None:
        def work(connection: Connection) -> ResponseDetail | None:
            row = connection.execute(select(responses).where(*_visible(response_id, owner))).mappings().one_or_none()
            if row is None:
                return None
            [link] = chains.read_links(connection, response_id, row["depth"], row["depth"])
            children = (responses.c.previous_response_id == response_id) & _STORED
            count = connection.execute(select(func.count()).select_from(responses).where(children)).scalar_one()
            waits = row["status"] == "awaiting_approval"
            pending = suspended_runs.pending_approvals(connection, response_id) if waits else ()
            first = select(responses.c.id).where(children).order_by(responses.c.number).limit(MAX_CHILDREN)
            return ResponseDetail(
                readings.stored_response(row, link.past, pending),
                tuple(connection.execute(first).scalars()) if count else (),
                count,
                _offered(connection, row["offer_digest"]),
            )

        return await self._database.read(work)

    async def read_chain(
        self, response_id: str, owner: str | None, from_depth: int, limit: int
    ) -> Page[StoredResponse] | None:
        def work(connection: Connection) -> Page[StoredResponse] | None:
            row = self._find(connection, response_id, owner)
            if row is None:
                return None
            if from_depth > row.depth:
                return Page((), None)
            until = min(row.depth + 1, from_depth + limit)
            found = _between(connection, response_id, row.root_id, from_depth, until)
            links = chains.read_links(connection, found[-1]["id"], from_depth, until - 1)
            whole = (readings.stored_response(each, link.past) for each, link in zip(found, links, strict=True))
            return Page(tuple(whole), until if until <= row.depth else None)

        return await self._database.read(work)

    async def read_path(self, response_id: str, owner: str | None) -> Sequence[str] | None:
        def work(connection: Connection) -> Sequence[str] | None:
            if self._find(connection, response_id, owner) is None:
                return None
            path = {"response_id": response_id, "from_depth": 0}
            return [*connection.execute(_IDS_ON_PATH, path).scalars()]

        return await self._database.read(work)

    async def read_tree(
        self, response_id: str, owner: str | None, after: tuple[int, int] | None, limit: int
    ) -> tuple[ResponseSummary, ...] | None:
        def work(connection: Connection) -> tuple[ResponseSummary, ...] | None:
            row = self._find(connection, response_id, owner)
            if row is None:
                return None
            place = (responses.c.depth, responses.c.number)
            query = select(*listing.SUMMARY).where(responses.c.root_id == row.root_id, _STORED)
            if after is not None:
                query = query.where(tuple_(*place) > tuple_(*after))
            found = connection.execute(query.order_by(*place).limit(limit))
            return tuple(readings.summary(each) for each in found.mappings())

        return await self._database.read(work)

    async def list_responses(
        self, wanted: ResponseFilter, after: int | None, limit: int, *, oldest_first: bool = False
    ) -> Page[ResponseSummary]:
        return await self._database.read(
            lambda connection: listing.list_responses(connection, wanted, after, limit, oldest_first=oldest_first)
        )

    async def delete_response(
        self,
        response_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        def work(connection: Connection) -> Deletion | None:
            erased = Erasures()
            gone = deletion.delete_response(
                connection, response_id, owner, at, erased, subtree=subtree, keep_skeleton=keep_skeleton
            )
            if gone is not None:
                told: JsonObject = {
                    "reason": "subtree" if subtree else "request",
                    "response_id": response_id,
                    "responses": len(gone.deleted),
                    "response_ids": _named(gone.deleted),
                }
                append_erasures(connection, at, owner, token_id, erased)
                append_event(connection, "deletion", at, owner, token_id, told)
            return gone

        return await self._erase(work, lambda gone: () if gone is None else gone.deleted)

    async def overwrite(self, *, whole: bool = False) -> None:
        if whole and self._unmerged:
            self._unmerged = False
            begin = True
            while await self._database.write(lambda connection, begin=begin: _merge(connection, begin=begin)):
                begin = False
                await anyio.sleep(MERGE_PAUSE_SECONDS)
        await self._database.overwrite_deleted()

    async def record_reading(
        self, at: datetime, reader: str, token_id: str | None, what: str, subject: str | None
    ) -> None:
        told: JsonObject = {"what": what, "subject": subject}
        await self._database.write(lambda connection: append_event(connection, "reading", at, reader, token_id, told))

    async def request_cancel(self, response_id: str, owner: str, reason: str) -> ResponseStatus | None:
        def work(connection: Connection) -> ResponseStatus | None:
            found = select(responses.c.status).where(*_visible(response_id, owner)).with_for_update(key_share=True)
            status: ResponseStatus | None = connection.execute(found).scalar_one_or_none()
            if status == "in_progress":
                unasked = (responses.c.id == response_id) & responses.c.cancel_reason.is_(None)
                connection.execute(update(responses).where(unasked).values(cancel_reason=reason))
            return status

        return await self._database.write(work)

    async def cancels_requested(self, holder: str) -> Sequence[tuple[str, str]]:
        def work(connection: Connection) -> list[tuple[str, str]]:
            mine = (responses.c.status == "in_progress") & (responses.c.holder == holder)
            query = select(responses.c.id, responses.c.cancel_reason).where(
                mine, responses.c.cancel_reason.is_not(None)
            )
            return [(row.id, row.cancel_reason) for row in connection.execute(query.order_by(responses.c.id))]

        return await self._database.read(work)

    async def prune_older(
        self, before: datetime, after: int | None, limit: int, at: datetime, *, keep_skeleton: bool
    ) -> Pruning:
        leaves = await self._database.read(lambda connection: deletion.leaves_older(connection, before, after, limit))
        ids = [leaf.id for leaf in leaves]

        def work(connection: Connection) -> list[str]:
            erased = Erasures()
            gone = deletion.prune_branches(connection, ids, before, limit, at, erased, keep_skeleton=keep_skeleton)
            return _told(connection, at, gone, erased)

        gone = await self._erase(work, lambda gone: gone)
        return Pruning(len(gone), leaves[-1].number if len(leaves) == limit else None)

    async def prune_beyond(self, per_owner: int, limit: int, at: datetime, *, keep_skeleton: bool) -> int:
        surplus = await self._database.read(lambda connection: deletion.surplus_leaves(connection, per_owner, limit))

        def work(connection: Connection) -> list[str]:
            erased = Erasures()
            gone = deletion.prune_surplus(connection, surplus, limit, at, erased, keep_skeleton=keep_skeleton)
            return _told(connection, at, gone, erased)

        return len(await self._erase(work, lambda gone: gone))

    async def _erase(self, work: Callable[[Connection], _T], ids_in: Callable[[_T], Sequence[str]]) -> _T:
        result = await self._database.write(work)
        gone = ids_in(result)
        if gone:
            self._unmerged = True
            self._memory.forget(gone)
        return result

    def _find(self, connection: Connection, response_id: str, owner: str | None) -> Row[Any, Any] | None:
        query = select(responses.c.depth, responses.c.root_id).where(*_visible(response_id, owner))
        return connection.execute(query).one_or_none()


def _between(
    connection: Connection, response_id: str, root_id: str, from_depth: int, until: int
) -> Sequence[RowMapping]:
    """The rows of the path to the response from one depth to before another: walked only where there are branches."""
    there = select(responses).where(
        responses.c.root_id == root_id, _STORED, responses.c.depth >= from_depth, responses.c.depth < until
    )
    found = connection.execute(there.order_by(responses.c.depth).limit(until - from_depth + 1)).mappings().all()
    if len(found) == until - from_depth:
        return found
    path = {"response_id": response_id, "from_depth": from_depth, "until_depth": until}
    return connection.execute(_ON_PATH, path).mappings().all()


def _merge(connection: Connection, *, begin: bool) -> bool:
    return search.needs_merge(connection) and search.merge_step(connection, begin=begin)


def _named(ids: Sequence[str]) -> JsonValue:
    return [*ids[:NAMED_IDS]]


def _told(connection: Connection, at: datetime, gone: list[str], erased: Erasures) -> list[str]:
    """What retention deleted, once the audit knows of it."""
    if gone:
        append_erasures(connection, at, SERVICE, None, erased)
        append_event(
            connection,
            "deletion",
            at,
            SERVICE,
            None,
            {"reason": "retention", "responses": len(gone), "response_ids": _named(gone)},
        )
    return gone


def _visible(response_id: str, owner: str | None) -> list[ColumnElement[bool]]:
    mine = [] if owner is None else [responses.c.owner == owner]
    return [responses.c.id == response_id, _STORED, *mine]


def _offered(connection: Connection, offer_digest: str | None) -> tuple[OfferedReference, ...]:
    if offer_digest is None:
        return ()
    query = select(offered_tools).where(offered_tools.c.offer_digest == offer_digest).order_by(offered_tools.c.position)
    return tuple(readings.offered_reference(row) for row in connection.execute(query).mappings())
