"""Proving the chains of responses: that what is shown is what was said, asked and answered, in its place in the graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, or_, select

from orchestrator.ports.audit import AuditHead, AuditProblem
from orchestrator.store import audit_links
from orchestrator.store import response_links as links
from orchestrator.store.audit_outside import named_erasures
from orchestrator.store.audit_readable import UNREADABLE, readable_rows
from orchestrator.store.database import Database
from orchestrator.store.proof_tables import response_chain, response_heads
from orchestrator.store.rows import content_digest
from orchestrator.store.tables import blobs, input_items, output_items, responses

PAGE: Final = 200
OVER: Final = ("completed", "incomplete", "failed", "cancelled")

CHANGED: Final = (
    "its row, or this link, is not what was chained: who continues whom, its model, its times or how it ended"
)
INPUT: Final = "its input, instructions or parameters are not those that were chained"
OUTPUT: Final = "its output is not the one that was chained"
NOT_OVER: Final = "it is not over as it stands, the chain has its end"
ADDED: Final = "it has content, although the chain says that none was kept"
UNSALTED: Final = "its content has lost the salt that proves it"
NOT_READ: Final = "its row, its items or this link have what cannot be read, and so are not what was chained"
UNKNOWN: Final = "it is a link of a kind that this version does not know: {}"
MISSING: Final = "the link before this one is missing: the chain goes on from {} to {}"
NOT_LINKED: Final = "it does not follow from the link before it"
CUT: Final = "the chain ends here, although it went on to link {}: its end was cut off"
HEAD_NOT_READ: Final = "the end of the chain, as it is kept beside it, cannot be read: somebody changed it"
OTHER_HEAD: Final = "the chain has another link here than the one that event {} speaks of"
NOT_CHAINED: Final = "no link of the chain speaks of it"
END_NOT_CHAINED: Final = "it is over, and no link of the chain speaks of its end"
NOT_DELETED: Final = "its content, or its row, is gone, and no event of a deletion speaks of it"

_WRONG: Final = {"opened": INPUT, "ended": OUTPUT}
_ITEMS: Final[Mapping[str, Table]] = {"opened": input_items, "ended": output_items}
_OF_RESPONSE: Final = "its_"
_LINKS: Final = (
    select(response_chain, *(column.label(f"{_OF_RESPONSE}{column.name}") for column in responses.c))
    .join_from(response_chain, responses, responses.c.id == response_chain.c.response_id, isouter=True)
    .order_by(response_chain.c.sequence)
    .limit(PAGE)
)
_NAMES: Final = tuple(column.name for column in _LINKS.selected_columns)
_Values: TypeAlias = dict[str, Any]
_BLOB: Final = select(blobs.c.content)


@dataclass(slots=True)
class ProvedResponses:
    """What was proved so far: links, and those whose content is deleted."""

    links: int = 0
    erased: int = 0


async def verify_responses(database: Database, owner: str | None, tally: ProvedResponses) -> AuditProblem | None:
    """Prove the chains of responses, of `owner` only where one is named; the first problem.

    Raises:
        OrchestratorError: `store_error`.
    """
    query = select(response_heads.c.owner, response_heads.c.sequence).order_by(response_heads.c.owner)
    if owner is not None:
        query = query.where(response_heads.c.owner == owner)
    heads, unread = await database.read(lambda connection: readable_rows(connection, query, response_heads.c.owner))
    if unread is not None:
        return _problem(unread[0], 0, None, HEAD_NOT_READ)
    for name, length in heads:
        problem = await _verify_chain(database, name, length, tally)
        if problem is not None:
            return problem
    if owner is not None:
        return None
    for look in (_not_chained, _unnamed_deletion):
        problem = await database.read(look)
        if problem is not None:
            return problem
    return None


def other_link(connection: Connection, event: int, head: AuditHead) -> AuditProblem | None:
    """A link that is another one than that of which a checkpoint, the event with this number, speaks."""
    query = select(response_chain.c.response_id, response_chain.c.hash).where(
        response_chain.c.owner == head.owner, response_chain.c.sequence == head.sequence
    )
    rows, _ = readable_rows(connection, query, response_chain.c.response_id)
    if rows and rows[0].hash == bytes.fromhex(head.hash):
        return None
    what = OTHER_HEAD.format(event) if rows else CUT.format(head.sequence)
    return _problem(head.owner, head.sequence, rows[0].response_id if rows else None, what)


def _problem(owner: str, sequence: int, response_id: str | None, what: str) -> AuditProblem:
    return AuditProblem(owner or audit_links.SERVICE, sequence, None, what, response_id)


# ---- link by link -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Reached:
    sequence: int = 0
    hash: bytes = audit_links.NO_LINK


async def _verify_chain(database: Database, owner: str, length: Any, tally: ProvedResponses) -> AuditProblem | None:
    reached = _Reached()
    while True:
        # A page and its items on one snapshot: what is deleted meanwhile is gone from both, or from neither.
        page, problem = await database.read(lambda connection: _verify_page(connection, owner, reached, tally))
        if problem is not None:
            return problem
        if page < PAGE:
            break
    if not isinstance(length, int):
        return _problem(owner, 0, None, HEAD_NOT_READ)
    # More may have been appended since the head was read: only less is wrong.
    return _problem(owner, reached.sequence, None, CUT.format(length)) if reached.sequence < length else None


def _verify_page(
    connection: Connection, owner: str, reached: _Reached, tally: ProvedResponses
) -> tuple[int, AuditProblem | None]:
    query = _LINKS.where(response_chain.c.owner == owner, response_chain.c.sequence > reached.sequence)
    found, unread = readable_rows(connection, query, response_chain.c.sequence, response_chain.c.response_id)
    links_here = [dict(zip(_NAMES, row, strict=True)) for row in found]
    items = {kind: _items_of(connection, kind, links_here) for kind in links.KINDS}
    for link in links_here:
        what = _broken(link, reached) or _link_problem(connection, link, items)
        if what is not None:
            return len(found), _problem(owner, link["sequence"], link["response_id"], what)
        tally.links += 1
        tally.erased += _is_erased(link)
        reached.sequence, reached.hash = link["sequence"], link["hash"]
    if unread is not None:
        sequence = unread[0] if isinstance(unread[0], int) else 0
        return len(found), _problem(owner, sequence, unread[1], NOT_READ)
    return len(found), None


def _broken(link: _Values, reached: _Reached) -> str | None:
    if link["sequence"] != reached.sequence + 1:
        return MISSING.format(reached.sequence, link["sequence"])
    return NOT_LINKED if link["previous"] != reached.hash else None


def _items_of(
    connection: Connection, kind: links.ResponseLinkKind, page: Sequence[_Values]
) -> dict[str, list[_Values] | None]:
    """The items that the page's links of a kind are about, by response; None of those that cannot be read."""
    table = _ITEMS[kind]
    names = table.c.keys()
    ids = [link["response_id"] for link in page if link["kind"] == kind]
    items: dict[str, list[_Values] | None] = {}

    def read(some: Sequence[str]) -> bool:
        query = select(table).where(table.c.response_id.in_(some)).order_by(table.c.response_id, table.c.position)
        rows, unread = readable_rows(connection, query, table.c.response_id, table.c.position)
        if unread is None:
            for row in rows:
                item = dict(zip(names, row, strict=True))
                known = items.setdefault(item["response_id"], [])
                if known is not None:
                    known.append(item)
        return unread is None

    if not read(ids):
        items = {}
        for response_id in ids:
            if not read([response_id]):
                items[response_id] = None
    return items


def _link_problem(
    connection: Connection, link: _Values, items: Mapping[str, Mapping[str, list[_Values] | None]]
) -> str | None:
    """What is wrong with a link, seen beside its response's row and items; any value may be of any type."""
    kind = link["kind"]
    if kind not in links.FACTS:
        return UNKNOWN.format(kind)
    row = {name: link[f"{_OF_RESPONSE}{name}"] for name in responses.c.keys()}
    if row["id"] is None:
        return None  # whether it may be gone, the events of deletions say
    its_items = items[kind].get(link["response_id"], [])
    try:
        if row["owner"] != link["owner"]:
            return CHANGED
        if kind == "ended" and (row["ended_at"] is None or row["status"] not in OVER):
            return NOT_OVER
        facts = links.FACTS[kind](row, link["content_digest"])
        if audit_links.link_hash(link["owner"], link["sequence"], link["previous"], kind, facts) != link["hash"]:
            return CHANGED
        if its_items is None:
            return NOT_READ
        return _content_problem(connection, link, row, its_items)
    except UNREADABLE:
        return NOT_READ


def _content_problem(connection: Connection, link: _Values, row: _Values, items: Sequence[_Values]) -> str | None:
    salt: bytes | None = row[links.SALTS[link["kind"]]]
    content = links.CONTENTS[link["kind"]](row, items)
    if salt is None:
        # Nothing to prove: deleted, or never kept. Of a response that is not stored the calls' places stay.
        if link["content_digest"] is None:
            content = {name: text for name, text in content.items() if name != "output"}
            shown = any(item["content"] is not None for item in items)
            return ADDED if any(content.values()) or shown else None
        return UNSALTED if any(content.values()) else None
    if audit_links.salted_digest(salt, content) != link["content_digest"]:
        return _WRONG[link["kind"]]
    return None if all(_is_its_blob(connection, item) for item in items) else INPUT


def _is_its_blob(connection: Connection, item: _Values) -> bool:
    """Whether the blob that an item refers to, if it does, is the one that its digest stands for."""
    digest: str | None = item.get("blob_digest")
    if digest is None:
        return True
    found = connection.execute(_BLOB.where(blobs.c.digest == digest)).scalar()
    return isinstance(found, str) and content_digest(found) == digest


def _is_erased(link: _Values) -> bool:
    """Whether the content that the link has a digest of is gone."""
    return link["content_digest"] is not None and link[_OF_RESPONSE + links.SALTS[link["kind"]]] is None


# ---- what no link can say ---------------------------------------------------------------------


_link: Final = response_chain.alias("link")


def _linked(kind: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(_link.c.response_id == responses.c.id, _link.c.kind == kind, *more)


def _not_chained(connection: Connection) -> AuditProblem | None:
    """A response, or the end of one, that is in no chain."""
    stray = or_(~_linked("opened"), and_(responses.c.ended_at.is_not(None), ~_linked("ended")))
    query = select(responses.c.owner, responses.c.id, _linked("opened").label("known")).where(stray)
    found = connection.execute(query.order_by(responses.c.number).limit(1)).one_or_none()
    if found is None:
        return None
    return _problem(found.owner, 0, found.id, END_NOT_CHAINED if found.known else NOT_CHAINED)


_GONE: Final = and_(
    response_chain.c.kind == "opened",
    or_(
        responses.c.id.is_(None),
        and_(responses.c.input_salt.is_(None), response_chain.c.content_digest.is_not(None)),
        and_(responses.c.output_salt.is_(None), _linked("ended", _link.c.content_digest.is_not(None))),
    ),
)


def _unnamed_deletion(connection: Connection) -> AuditProblem | None:
    """A response whose content or row is gone, though no event of a deletion names it."""
    link = response_chain.c
    joined = response_chain.outerjoin(responses, responses.c.id == link.response_id)
    counted = select(func.count()).select_from(joined).where(_GONE)
    # It is named once: that they are as many is enough, and needs no memory.
    named = 0
    for ids in named_erasures(connection, "response_ids"):
        named += connection.execute(counted.where(link.response_id.in_(ids))).scalar_one()
    if named >= connection.execute(counted).scalar_one():
        return None
    known = {response_id for ids in named_erasures(connection, "response_ids") for response_id in ids}
    query = select(link.response_id, link.owner).select_from(joined).where(_GONE)
    for gone in connection.execute(query.order_by(link.owner, link.sequence)):
        if gone.response_id not in known:
            return _problem(gone.owner, 0, gone.response_id, NOT_DELETED)
    return None
