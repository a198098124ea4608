"""Proving the chains of a database, link by link, with as much memory for a million as for ten."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from orchestrator.core.storable_text import original
from orchestrator.ports.audit import AuditHead, AuditProblem, AuditVerification
from orchestrator.store import audit_links as links
from orchestrator.store import audit_outside as outside
from orchestrator.store import audit_shown as shown
from orchestrator.store.audit_proof import NOT_READ, ChainLink, is_erased, link_problem
from orchestrator.store.audit_ranges import AuditRange
from orchestrator.store.audit_readable import UNREADABLE, readable_rows
from orchestrator.store.database import Database
from orchestrator.store.long_texts import long_text
from orchestrator.store.response_proof import ProvedResponses, other_link, verify_responses
from orchestrator.store.tables import (
    audit_chain,
    audit_events,
    audit_heads,
    tool_call_approvals,
    tool_calls,
)

PAGE: Final = 1_000
LARGE: Final = 16_384
"""Content beyond this many characters is read by itself, so that a page has a bounded size."""

_FACTS: Final = (
    *("response_id", "position", "turn", "token_id", "model_key", "model_name", "tool", "provider_type"),
    *("provider_name", "definition_digest", "created_at", "status", "is_error", "duration_ms", "settled_at"),
    *links.SERVER,
    *("arguments_salt", "output_salt"),
)
_ASKED: Final = ("arguments_text", "arguments", "reason")
_ANSWERED: Final = ("output", "structured", "shown")
_LONG: Final = ("output", "structured")
_DECIDED: Final = {
    "decision": "decision",
    "decision_reason": "reason",
    "decision_arguments": "arguments",
    "decided_by": "owner",
    "decided_token_id": "token_id",
    "decided_at": "decided_at",
    "decision_salt": "salt",
}
_TEXTS: Final = (
    "decision_reason",
    "model_key",
    "model_name",
    "tool",
    "provider_name",
    *links.SERVER,
    "arguments_text",
    "reason",
    *_ANSWERED,
)


def _raw(name: str, table: Table = tool_calls) -> ColumnElement[Any]:
    """A column as the driver has it: what SQLAlchemy does to each value takes longer than to hash it."""
    column = table.c[name]
    if name == "arguments":
        return cast(column, Text)  # Postgres' driver would parse it
    if name in _LONG:
        return type_coerce(func.coalesce(column, long_text(name)), Text)
    return column if isinstance(column.type, LargeBinary) else type_coerce(column, Text)


def _length(*names: str) -> ColumnElement[int]:
    lengths = [func.coalesce(func.length(_raw(name)), 0) for name in names]
    return sum(lengths[1:], start=lengths[0])


_journaled: Final = audit_chain.c.kind == "journaled"
_settled: Final = audit_chain.c.kind == "settled"
_apart: Final = or_(*(tool_calls.c[f"{name}_digest"].is_not(None) for name in _LONG))
_size: Final = case(
    (_journaled, _length("arguments_text", "reason")),
    (_settled & _apart, LARGE + 1),
    (_settled, _length(*_ANSWERED)),
    else_=literal(0),
)
_fits: Final = _size <= LARGE
_LINKS: Final = (
    select(
        audit_chain,
        tool_calls.c.call_id.label("the_call"),
        tool_calls.c.owner.label("the_owner"),
        *(_raw(name).label(name) for name in _FACTS),
        *(case((and_(_fits, _journaled), _raw(name))).label(name) for name in _ASKED),
        *(case((and_(_fits, _settled), _raw(name))).label(name) for name in _ANSWERED),
        *(_raw(column, tool_call_approvals).label(name) for name, column in _DECIDED.items()),
        (~_fits).label("large"),
    )
    .join_from(audit_chain, tool_calls, tool_calls.c.call_id == audit_chain.c.call_id, isouter=True)
    .join(tool_call_approvals, tool_call_approvals.c.call_id == audit_chain.c.call_id, isouter=True)
    .order_by(audit_chain.c.sequence)
    .limit(PAGE)
)
_LINK: Final = (audit_chain.c.sequence, audit_chain.c.call_id)
_LINK_NAMES: Final = tuple(column.name for column in _LINKS.selected_columns)
_LARGE_CONTENT: Final = select(*(_raw(name).label(name) for name in (*_ASKED, *_ANSWERED)))

CUT: Final = "the chain ends here, although it went on to link {}: its end was cut off"
MISSING: Final = "the link before this one is missing: the chain goes on from {} to {}"
NOT_LINKED: Final = "it does not follow from the link before it"
OTHER_HEAD: Final = "the chain has another link here than the head that was kept outside"
OTHER_CHECKPOINT: Final = "the chain has another link here than the one that event {} speaks of"
EVENT_CHANGED: Final = "the event, or its link, is not what was chained"
HEAD_NOT_READ: Final = "the end of the chain, as it is kept beside it, cannot be read: somebody changed it"


class _NotReadError(Exception):
    """A link, or its row, cannot be read: `sequence` and `call_id` name it."""

    def __init__(self, sequence: int, call_id: str | None) -> None:
        super().__init__(sequence)
        self.sequence = sequence
        self.call_id = call_id


@dataclass(slots=True)
class _Tally:
    links: int = 0
    events: int = 0
    erased: int = 0


async def verify(
    database: Database, part: AuditRange | None = None, since: Sequence[AuditHead] = ()
) -> AuditVerification:
    """Prove `part` of the chains (None: all), or what came after the heads in `since`; stops at the first problem."""
    part = part or AuditRange()
    tally, reached = _Tally(), list[AuditHead]()
    problem: AuditProblem | None = None
    kept = {head.owner: head for head in since}
    heads, unread = await database.read(lambda connection: _heads(connection, part.owner, kept))
    if unread is not None:
        return AuditVerification(0, 0, 0, (), AuditProblem(unread, 0, None, HEAD_NOT_READ))
    for head in heads:
        old = kept.get(head.owner)
        first = part.first if old is None else old.sequence
        end, problem = await _verify_chain(database, head, AuditRange(head.owner, first, part.last), tally)
        if problem is None and old is not None:
            problem = await _compare(database, old, OTHER_HEAD)
        if problem is not None:
            break
        reached.append(end)
    if problem is None and part.is_whole:
        problem = await _verify_whole(database, tally)
    proved = ProvedResponses()
    if problem is None and part == AuditRange(part.owner):
        problem = await verify_responses(database, part.owner, proved)
    return AuditVerification(
        tally.links,
        tally.events,
        tally.erased,
        tuple(reached),
        problem,
        responses=proved.links,
        responses_erased=proved.erased,
    )


def _heads(
    connection: Connection, owner: str | None, kept: Mapping[str, AuditHead]
) -> tuple[list[AuditHead], str | None]:
    """Every chain there is, also those of which somebody removed the head; and whose head cannot be read."""
    query = select(audit_heads.c.owner, audit_heads.c.sequence, audit_heads.c.hash)
    if owner is not None:
        query = query.where(audit_heads.c.owner == owner)
    rows, unread = readable_rows(connection, query.order_by(audit_heads.c.owner), audit_heads.c.owner)
    found: dict[str, AuditHead] = {}
    for row in rows:
        if not isinstance(row.sequence, int) or not isinstance(row.hash, bytes):
            return [], row.owner
        if row.owner != links.SERVICE:
            found[row.owner] = AuditHead(row.owner, row.sequence, row.hash.hex())
    missing = {name: AuditHead(name, 0, links.NO_LINK.hex()) for name in kept if name not in found}
    return [*found.values(), *missing.values()], None if unread is None else unread[0]


async def _verify_chain(
    database: Database, head: AuditHead, part: AuditRange, tally: _Tally
) -> tuple[AuditHead, AuditProblem | None]:
    """Prove one owner's links from `part.first` to `part.last` or the end."""
    last: ChainLink | None = None

    def here(sequence: int, call_id: str | None, what: str) -> AuditProblem:
        return AuditProblem(head.owner, sequence, call_id, what)

    end = head
    try:
        async for link, call in _chained(database, head.owner, part.first):
            if part.last is not None and link.sequence > part.last:
                return end, None
            before = 0 if last is None else last.sequence
            if link.sequence != before + 1 and (last is not None or part.first == 1):
                return end, here(link.sequence, link.call_id, MISSING.format(before, link.sequence))
            previous = links.NO_LINK if last is None else last.hash
            if link.previous != previous and (last is not None or part.first == 1):
                return end, here(link.sequence, link.call_id, NOT_LINKED)
            what = link_problem(link, call)
            if what is not None:
                return end, here(link.sequence, link.call_id, what)
            tally.links += 1
            tally.erased += call is not None and is_erased(link, call)
            last, end = link, AuditHead(link.owner, link.sequence, link.hash.hex())
    except _NotReadError as unread:
        return end, here(unread.sequence, unread.call_id, NOT_READ)
    if part.last is None or part.last > end.sequence:
        # More may have been appended since the head was read: only less is wrong.
        reached = 0 if last is None else last.sequence
        if reached < head.sequence or reached < part.first - 1:
            call_id = None if last is None else last.call_id
            return end, here(reached, call_id, CUT.format(max(head.sequence, part.first)))
    return end, None


async def _chained(
    database: Database, owner: str, first: int
) -> AsyncGenerator[tuple[ChainLink, Mapping[str, Any] | None]]:
    """The links of a chain from `first` on, each with the row that it is about."""
    while True:
        query = _LINKS.where(audit_chain.c.owner == owner, audit_chain.c.sequence >= first)
        page, unread = await database.read(lambda connection, query=query: readable_rows(connection, query, *_LINK))
        for found in page:
            row: dict[str, Any] = dict(zip(_LINK_NAMES, found, strict=True))
            link = ChainLink(
                row["owner"],
                row["sequence"],
                row["kind"],
                row["call_id"],
                row["content_digest"],
                row["previous"],
                row["hash"],
            )
            if not isinstance(row["sequence"], int):
                raise _NotReadError(link.sequence, link.call_id)
            if row["the_call"] is None:
                yield link, None
                continue
            if row["large"]:
                row |= await database.read(lambda connection, link=link: _large_content(connection, link))
            yield link, _as_written(link, row)
        if unread is not None:
            raise _NotReadError(*unread)
        if len(page) < PAGE:
            return
        first = page[-1].sequence + 1


def _as_written(link: ChainLink, call: dict[str, Any]) -> Mapping[str, Any]:
    try:
        for name in _TEXTS:
            if call[name] is not None:
                call[name] = original(call[name])
        for name in ("arguments", "decision_arguments"):
            if call[name] is not None:
                call[name] = links.argument_text(json.loads(call[name]))
    except UNREADABLE:
        raise _NotReadError(link.sequence, link.call_id) from None
    return call


def _large_content(connection: Connection, link: ChainLink) -> dict[str, Any]:
    names = _ASKED if link.kind == "journaled" else _ANSWERED
    query = _LARGE_CONTENT.where(tool_calls.c.call_id == link.call_id)
    rows, unread = readable_rows(connection, query, tool_calls.c.call_id)
    if unread is not None:
        raise _NotReadError(link.sequence, link.call_id)
    [row] = rows
    return {name: getattr(row, name) for name in names}


async def _compare(database: Database, head: AuditHead, what: str) -> AuditProblem | None:
    """Whether the chain has this very link."""
    query = select(audit_chain.c.call_id, audit_chain.c.hash)
    query = query.where(audit_chain.c.owner == head.owner, audit_chain.c.sequence == head.sequence)
    rows, unread = await database.read(lambda connection: readable_rows(connection, query, audit_chain.c.call_id))
    if unread is not None:
        return AuditProblem(head.owner, head.sequence, unread[0], NOT_READ)
    found = rows[0] if rows else None
    if found is not None and found.hash == bytes.fromhex(head.hash):
        return None
    call_id = None if found is None else found.call_id
    return AuditProblem(head.owner, head.sequence, call_id, CUT.format(head.sequence) if found is None else what)


# ---- what no owner's chain says ---------------------------------------------------------------


async def _verify_whole(database: Database, tally: _Tally) -> AuditProblem | None:
    """The service's own chain, the checkpoints in it, calls outside of any chain, and the definitions."""
    problem = await _verify_events(database, tally)
    for look in (*outside.LOOKS, *shown.LOOKS):
        problem = problem or await database.read(look)
    return problem


async def _verify_events(database: Database, tally: _Tally) -> AuditProblem | None:
    query = select(audit_heads.c.sequence).where(audit_heads.c.owner == links.SERVICE)
    length = await database.read(lambda connection: connection.execute(query).scalar()) or 0
    previous, sequence = links.NO_LINK, 0
    while True:
        after = select(audit_events).where(audit_events.c.sequence > sequence).order_by(audit_events.c.sequence)
        after = after.limit(PAGE)
        page, unread = await database.read(
            lambda connection, after=after: readable_rows(connection, after, audit_events.c.sequence)
        )
        for found in page:
            row: dict[str, Any] = dict(zip(audit_events.c.keys(), found, strict=True))
            number = row["sequence"]
            if number != sequence + 1:
                return AuditProblem(links.SERVICE, number, None, MISSING.format(sequence, number))
            if row["previous"] != previous:
                return AuditProblem(links.SERVICE, number, None, NOT_LINKED)
            if not _is_event(row, previous):
                return AuditProblem(links.SERVICE, number, None, EVENT_CHANGED)
            tally.events += 1
            previous, sequence = row["hash"], number
            # Of a checkpoint, or when an export began.
            for head in (*_heads_in(row, "checkpoint", "heads"), *_heads_in(row, "export", "heads")):
                problem = await _compare(database, head, OTHER_CHECKPOINT.format(number))
                if problem is not None:
                    return problem
            for head in _heads_in(row, "checkpoint", "response_heads"):
                problem = await database.read(
                    lambda connection, head=head, number=number: other_link(connection, number, head)
                )
                if problem is not None:
                    return problem
        if unread is not None:
            return AuditProblem(links.SERVICE, unread[0], None, EVENT_CHANGED)
        if len(page) < PAGE:
            break
    if sequence < length:
        return AuditProblem(links.SERVICE, sequence, None, CUT.format(length))
    return None


def _is_event(row: Mapping[str, Any], previous: bytes) -> bool:
    """Whether the event is what its link says; any value may be of any type."""
    try:
        facts = links.event_facts(row)
        return links.link_hash(links.SERVICE, row["sequence"], previous, row["kind"], facts) == row["hash"]
    except UNREADABLE:
        return False


def _heads_in(row: Mapping[str, Any], kind: str, name: str) -> Iterator[AuditHead]:
    """The heads of chains that the event has under a name, if it is of this kind."""
    if row["kind"] == kind:
        for owner, sequence, digest in json.loads(row["details"]).get(name, ()):
            yield AuditHead(owner, sequence, digest)
