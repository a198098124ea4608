"""Appending to the chains, in the unit of work that writes what the links are about."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.store import audit_links as links
from orchestrator.store.audit_arguments import argument_leaves
from orchestrator.store.rows import Row
from orchestrator.store.tables import audit_chain, audit_events, audit_heads, call_arguments

_HEAD: Final = (
    select(audit_heads.c.sequence, audit_heads.c.hash)
    .where(audit_heads.c.owner == bindparam("the_owner"))
    .with_for_update()
)
_MOVE: Final = update(audit_heads).where(audit_heads.c.owner == bindparam("the_owner"))
_APPEND: Final = insert(audit_chain)
_ARGUMENTS: Final = insert(call_arguments)


class Link(NamedTuple):
    """An event in the life of a call, about to be chained. `row` has the columns that the link commits to."""

    kind: links.LinkKind
    row: Row
    content_digest: bytes | None


def salted_call(row: Row, *, stored: bool) -> Row:
    """A journal row with salts for the content that it has."""
    row["arguments_salt"] = secrets.token_bytes(links.SALT_BYTES) if stored else None
    return salted_outcome(row, stored=stored and row["settled_at"] is not None)


def salted_outcome(row: Row, *, stored: bool) -> Row:
    """The columns that settle a call, with a salt for the content that they have."""
    row["output_salt"] = secrets.token_bytes(links.SALT_BYTES) if stored else None
    return row


def salted_decision(row: Row) -> Row:
    """A decision with a salt for its content."""
    return row | {"salt": secrets.token_bytes(links.SALT_BYTES)}


def call_links(row: Row) -> list[Link]:
    """The links of a call as it is journaled: the second one where it is settled at once."""
    salt: bytes | None = row["arguments_salt"]
    digest: bytes | None = None
    if salt is not None:
        digest = links.salted_digest(salt, links.journaled_content(row, links.argument_text(row["arguments"])))
    journaled = Link("journaled", row, digest)
    return [journaled] if row["settled_at"] is None else [journaled, outcome_link(row)]


def decision_link(row: Row) -> Link:
    """The link of a decision about a call; `row` is that of the table of decisions, with its salt."""
    named = {
        "call_id": row["call_id"],
        "decision": row["decision"],
        "decision_reason": row["reason"],
        "decided_by": row["owner"],
        "decided_token_id": row["token_id"],
        "decided_at": row["decided_at"],
    }
    content = links.decided_content(named, links.argument_text(row["arguments"]))
    return Link("decided", named, links.salted_digest(row["salt"], content))


def outcome_link(row: Row) -> Link:
    """The link of a call's outcome."""
    salt: bytes | None = row["output_salt"]
    digest = None if salt is None else links.salted_digest(salt, links.settled_content(row))
    return Link("settled", row, digest)


def append_links(connection: Connection, owner: str, added: Sequence[Link]) -> None:
    """Put `added` at the end of `owner`'s chain. To be the last thing that a unit of work does: others wait for it."""
    if not added:
        return
    sequence, previous = _locked_head(connection, owner)
    rows: list[Row] = []
    for kind, row, digest in added:
        sequence += 1
        facts = links.FACTS[kind](row, digest)
        head = links.link_hash(owner, sequence, previous, kind, facts)
        rows.append(
            {
                "owner": owner,
                "sequence": sequence,
                "kind": kind,
                "call_id": row["call_id"],
                "content_digest": digest,
                "previous": previous,
                "hash": head,
            }
        )
        previous = head
    connection.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    connection.execute(_MOVE, {"the_owner": owner, "sequence": sequence, "hash": previous})


def append_for_owners(connection: Connection, added: Iterable[tuple[str, Link]]) -> None:
    """As `append_links` for several owners, in an order in which no two writers wait for each other."""
    for owner, group in groupby(sorted(added, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
        append_links(connection, owner, [link for _, link in group])


def append_event(
    connection: Connection, kind: str, at: datetime, actor: str, token_id: str | None, details: JsonObject
) -> None:
    """Put an event at the end of the service's own chain."""
    sequence, previous = _locked_head(connection, links.SERVICE)
    row: Row = {
        "sequence": sequence + 1,
        "kind": kind,
        "at": at,
        "actor": actor,
        "token_id": token_id,
        "details": canonical_json(details),
        "previous": previous,
    }
    row["hash"] = links.link_hash(links.SERVICE, sequence + 1, previous, kind, links.event_facts(row))
    connection.execute(insert(audit_events), row)
    connection.execute(_MOVE, {"the_owner": links.SERVICE, "sequence": sequence + 1, "hash": row["hash"]})


def append_erasures(connection: Connection, at: datetime, actor: str, token_id: str | None, calls: list[str]) -> None:
    """Name the calls whose content goes: `verify` takes no other for deleted."""
    for start in range(0, len(calls), CALLS_AN_ERASURE):
        told: JsonObject = {"call_ids": [*calls[start : start + CALLS_AN_ERASURE]]}
        append_event(connection, "erasure", at, actor, token_id, told)


def append_checkpoint(connection: Connection, at: datetime) -> bool:
    """Chain the heads that have moved since the last checkpoint; whether there were any."""
    moved = audit_heads.c.sequence > audit_heads.c.checkpointed
    query = select(audit_heads).where(moved, audit_heads.c.owner != links.SERVICE).order_by(audit_heads.c.owner)
    heads: Sequence[RowMapping] = connection.execute(query.with_for_update()).mappings().all()
    for start in range(0, len(heads), HEADS_A_CHECKPOINT):
        some = heads[start : start + HEADS_A_CHECKPOINT]
        told: JsonObject = {"heads": [[head["owner"], head["sequence"], head["hash"].hex()] for head in some]}
        connection.execute(_MOVE, [{"the_owner": head["owner"], "checkpointed": head["sequence"]} for head in some])
        append_event(connection, "checkpoint", at, links.SERVICE, None, told)
    return bool(heads)


HEADS_A_CHECKPOINT: Final = 1_000
CALLS_AN_ERASURE: Final = 1_000


def index_arguments(connection: Connection, calls: Sequence[Row]) -> None:
    """Let the calls be found by their arguments, those that are kept."""
    rows = [
        {"path": path, "value": value, "created_at": call["created_at"], "call_id": call["call_id"]}
        for call in calls
        if call["arguments"] is not None
        for path, value in argument_leaves(call["arguments"])
    ]
    if rows:
        connection.execute(_ARGUMENTS, rows if len(rows) > 1 else rows[0])


def _locked_head(connection: Connection, owner: str) -> tuple[int, bytes]:
    """The end of a chain, which nobody else moves as long as this unit of work lasts."""
    found = connection.execute(_HEAD, {"the_owner": owner}).one_or_none()
    if found is None:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        first = {"owner": owner, "sequence": 0, "hash": links.NO_LINK, "checkpointed": 0}
        connection.execute(dialect.insert(audit_heads).on_conflict_do_nothing(), first)
        found = connection.execute(_HEAD, {"the_owner": owner}).one()
    return found.sequence, found.hash
