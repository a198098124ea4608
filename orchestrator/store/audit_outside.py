"""What no link of a chain can say: rows that are in no chain, and rows that others refer to and that are gone."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Text, and_, cast, exists, func, or_, select, type_coerce

from orchestrator.core.json_types import canonical_json
from orchestrator.ports.audit import AuditProblem
from orchestrator.store import audit_links as links
from orchestrator.store.audit_arguments import argument_leaves
from orchestrator.store.audit_readable import UNREADABLE, readable_rows
from orchestrator.store.rows import content_digest
from orchestrator.store.tables import (
    audit_chain,
    audit_events,
    call_arguments,
    offered_tools,
    output_items,
    responses,
    tool_call_approvals,
    tool_calls,
    tool_definitions,
)

PAGE: Final = 1_000
ERASURES_PAGE: Final = 100
INDEXED_PAGE: Final = 200
"""Calls whose arguments are looked at together: there may be many, and large ones, of each."""

NOT_CHAINED: Final = "it is in the journal, and no link of the chain speaks of it"
OUTCOME_NOT_CHAINED: Final = (
    "its outcome, or the decision about it, is in the journal, and no link of the chain speaks of it"
)
DEFINITION: Final = "the definition {} is not the one that its digest stands for"
DEFINITION_GONE: Final = "its definition {} was removed"
OFFER_GONE: Final = "the definition {}, which was offered as '{}', was removed"
ARGUMENTS_INDEX: Final = "the index of arguments does not have those of this call: it cannot be found by them"
ARGUMENTS_OF_NONE: Final = "the index of arguments has some of it, and the journal has no such call"
NOT_DELETED: Final = "its content is gone, and no event of a deletion speaks of it"
ERASED_GONE: Final = "an event says that its content was deleted, and the journal has no such call any more"
CALL_GONE: Final = "the response '{}' made it, and the journal has no such call any more"


def not_chained(connection: Connection) -> AuditProblem | None:
    """A call of the journal that is in no chain."""

    def chained(kind: str) -> ColumnElement[bool]:
        return exists().where(audit_chain.c.call_id == tool_calls.c.call_id, audit_chain.c.kind == kind)

    settled = tool_calls.c.settled_at.is_not(None)
    decided = exists().where(tool_call_approvals.c.call_id == tool_calls.c.call_id)
    stray = or_(~chained("journaled"), and_(settled, ~chained("settled")), and_(decided, ~chained("decided")))
    query = select(tool_calls.c.owner, tool_calls.c.call_id, chained("journaled").label("known")).where(stray)
    found = connection.execute(query.order_by(tool_calls.c.created_at, tool_calls.c.call_id).limit(1)).one_or_none()
    if found is None:
        return None
    return AuditProblem(found.owner, 0, found.call_id, OUTCOME_NOT_CHAINED if found.known else NOT_CHAINED)


def changed_definition(connection: Connection) -> AuditProblem | None:
    """A definition that is not what the calls' digests stand for."""
    key, last = tool_definitions.c.digest, ""
    query = select(key, type_coerce(cast(tool_definitions.c.definition, Text), Text)).order_by(key).limit(PAGE)
    while True:
        page, unread = readable_rows(connection, query.where(key > last), key)
        for digest, definition in page:
            if not _is_definition(digest, definition):
                return AuditProblem(links.SERVICE, 0, None, DEFINITION.format(digest))
        if unread is not None:
            return AuditProblem(links.SERVICE, 0, None, DEFINITION.format(*unread))
        if len(page) < PAGE:
            return None
        last = page[-1].digest


def _is_definition(digest: str, text: Any) -> bool:
    try:
        return content_digest(canonical_json(json.loads(text))) == digest
    except UNREADABLE:
        return False


def lost_definition(connection: Connection) -> AuditProblem | None:
    """A definition that a call, or an offer, refers to and that is not there any more."""
    digest = tool_calls.c.definition_digest
    query = select(tool_calls.c.owner, tool_calls.c.call_id, digest).where(
        digest.is_not(None), ~exists().where(tool_definitions.c.digest == digest)
    )
    call = connection.execute(query.order_by(tool_calls.c.created_at, tool_calls.c.call_id).limit(1)).one_or_none()
    if call is not None:
        what = DEFINITION_GONE.format(call.definition_digest)
        return AuditProblem(call.owner, 0, call.call_id, what)
    offered = offered_tools.c.definition_digest
    query = select(offered, offered_tools.c.name).where(~exists().where(tool_definitions.c.digest == offered))
    offer = connection.execute(query.order_by(offered, offered_tools.c.name).limit(1)).one_or_none()
    if offer is None:
        return None
    return AuditProblem(links.SERVICE, 0, None, OFFER_GONE.format(offer.definition_digest, offer.name))


def lost_call(connection: Connection) -> AuditProblem | None:
    """A call that a response shows and that is not in the journal any more."""
    item = output_items.c
    query = (
        select(item.call_id, item.response_id, responses.c.owner)
        .join_from(output_items, responses, responses.c.id == item.response_id, isouter=True)
        .where(item.call_id.is_not(None), ~exists().where(tool_calls.c.call_id == item.call_id))
    )
    found = connection.execute(query.order_by(item.call_id).limit(1)).one_or_none()
    if found is None:
        return None
    return AuditProblem(found.owner or links.SERVICE, 0, found.call_id, CALL_GONE.format(found.response_id))


def changed_argument(connection: Connection) -> AuditProblem | None:
    """A call that is not found by its arguments as they are, or a row of their index that is of no call."""
    last = ""
    indexed = call_arguments.c
    while True:
        query = select(tool_calls.c.call_id, tool_calls.c.owner, tool_calls.c.created_at, tool_calls.c.arguments)
        query = query.where(tool_calls.c.call_id > last).order_by(tool_calls.c.call_id).limit(INDEXED_PAGE)
        calls, unread = readable_rows(connection, query, tool_calls.c.call_id, tool_calls.c.owner)
        if unread is not None and not calls:
            return AuditProblem(unread[1] or links.SERVICE, 0, unread[0], ARGUMENTS_INDEX)
        here = indexed.call_id > last
        if calls:
            here &= indexed.call_id <= calls[-1].call_id
        rows: dict[str, set[tuple[str, str, datetime]]] = {}
        query = select(indexed.call_id, indexed.path, indexed.value, indexed.created_at).where(here)
        query = query.order_by(indexed.call_id)
        # After the last call there are to be no rows: one tells as much as all of them.
        found, lost = readable_rows(connection, query if calls else query.limit(1), indexed.call_id)
        for row in found:
            rows.setdefault(row.call_id, set()).add((row.path, row.value, row.created_at))
        if lost is not None:
            rows.setdefault(lost[0], set()).add(("", "", datetime.min))  # no call is to have it
        for call in calls:
            leaves = () if call.arguments is None else argument_leaves(call.arguments)
            told = rows.pop(call.call_id, set())
            if told != {(path, value, call.created_at) for path, value in leaves}:
                return AuditProblem(call.owner, 0, call.call_id, ARGUMENTS_INDEX)
        if rows:
            return AuditProblem(links.SERVICE, 0, min(rows), ARGUMENTS_OF_NONE)
        if not calls:
            return None
        last = calls[-1].call_id


def _chained(kind: str) -> ColumnElement[bool]:
    """Whether the chain has a digest of a call's content."""
    return exists().where(
        audit_chain.c.call_id == tool_calls.c.call_id,
        audit_chain.c.kind == kind,
        audit_chain.c.content_digest.is_not(None),
    )


_UNSALTED_DECISION: Final = exists().where(
    tool_call_approvals.c.call_id == tool_calls.c.call_id, tool_call_approvals.c.salt.is_(None)
)
_ERASED: Final = or_(
    and_(tool_calls.c.arguments_salt.is_(None), _chained("journaled")),
    and_(tool_calls.c.output_salt.is_(None), _chained("settled")),
    and_(_UNSALTED_DECISION, _chained("decided")),
)


def unnamed_erasure(connection: Connection) -> AuditProblem | None:
    """A call whose content is gone, though no event of a deletion names it."""
    counted = select(func.count()).select_from(tool_calls).where(_ERASED)
    # A call's content goes once, and so is named once: that they are as many is enough, and needs no memory.
    named = 0
    for ids in named_erasures(connection, "call_ids"):
        named += connection.execute(counted.where(tool_calls.c.call_id.in_(ids))).scalar_one()
    if named >= connection.execute(counted).scalar_one():
        return None
    known = {call_id for ids in named_erasures(connection, "call_ids") for call_id in ids}
    query = select(tool_calls.c.call_id, tool_calls.c.owner).where(_ERASED)
    for call in connection.execute(query.order_by(tool_calls.c.created_at, tool_calls.c.call_id)):
        if call.call_id not in known:
            return AuditProblem(call.owner, 0, call.call_id, NOT_DELETED)
    return None


def lost_erasure(connection: Connection) -> AuditProblem | None:
    """A call that an event says lost its content, and that is not in the journal any more: its row would have stayed."""
    for ids in named_erasures(connection, "call_ids"):
        found = {*connection.execute(select(tool_calls.c.call_id).where(tool_calls.c.call_id.in_(ids))).scalars()}
        for call_id in ids:
            if call_id not in found:
                return AuditProblem(links.SERVICE, 0, call_id, ERASED_GONE)
    return None


def named_erasures(connection: Connection, name: Literal["call_ids", "response_ids"]) -> Iterator[list[str]]:
    """What events of deletions name, event by event."""
    last = 0
    query = select(audit_events.c.sequence, audit_events.c.details).where(audit_events.c.kind == "erasure")
    query = query.order_by(audit_events.c.sequence).limit(ERASURES_PAGE)
    while page := connection.execute(query.where(audit_events.c.sequence > last)).all():
        for row in page:
            yield [*dict.fromkeys(json.loads(row.details).get(name, ()))]
        last = page[-1].sequence


LOOKS: Final[tuple[Callable[[Connection], AuditProblem | None], ...]] = (
    not_chained,
    lost_call,
    lost_definition,
    changed_definition,
    changed_argument,
    unnamed_erasure,
    lost_erasure,
)
"""What is looked at in this order, each on one snapshot."""
