"""Appending to the chains, in the unit of work that writes what the links are about."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, cast

from sqlalchemy import Connection, insert

from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.store import audit_links as links
from orchestrator.store.audit_arguments import argument_leaves
from orchestrator.store.chain_writer import ChainWriter, Entry
from orchestrator.store.response_chain import RESPONSES
from orchestrator.store.rows import Row
from orchestrator.store.tables import audit_chain, audit_events, audit_heads, call_arguments

CALLS: Final = ChainWriter(audit_chain, audit_heads, "call_id")
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
    """Put `added` at the end of `owner`'s chain. To be the last thing that a unit of work does: others wait for it.

    Only links of responses come after it: who writes both appends those of calls first.
    """
    CALLS.append(connection, owner, [_entry(link) for link in added])


def append_for_owners(connection: Connection, added: Iterable[tuple[str, Link]]) -> None:
    """As `append_links` for several owners, in an order in which no two writers wait for each other."""
    CALLS.append_for_owners(connection, [(owner, _entry(link)) for owner, link in added])


def _entry(link: Link) -> Entry:
    facts = links.FACTS[link.kind](link.row, link.content_digest)
    return Entry(link.kind, link.row["call_id"], facts, link.content_digest)


def append_event(
    connection: Connection, kind: str, at: datetime, actor: str, token_id: str | None, details: JsonObject
) -> None:
    """Put an event at the end of the service's own chain."""
    sequence, previous = CALLS.locked_head(connection, links.SERVICE)
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
    CALLS.move_head(connection, links.SERVICE, sequence + 1, row["hash"])


@dataclass(slots=True)
class Erasures:
    """What a deletion takes the content of: calls and responses, by their ids."""

    calls: list[str] = field(default_factory=list[str])
    responses: list[str] = field(default_factory=list[str])


def append_erasures(connection: Connection, at: datetime, actor: str, token_id: str | None, erased: Erasures) -> None:
    """Name what loses its content: `verify` takes nothing else for deleted."""
    for name, ids in (("call_ids", erased.calls), ("response_ids", erased.responses)):
        for start in range(0, len(ids), IDS_AN_ERASURE):
            told: JsonObject = {name: [*ids[start : start + IDS_AN_ERASURE]]}
            append_event(connection, "erasure", at, actor, token_id, told)


def append_checkpoint(connection: Connection, at: datetime) -> bool:
    """Chain the heads that have moved since the last checkpoint; whether there were any."""
    # In the order in which writers lock them.
    calls = CALLS.take_moved(connection, links.SERVICE)
    responses = RESPONSES.take_moved(connection, links.SERVICE)
    for start in range(0, max(len(calls), len(responses)), HEADS_A_CHECKPOINT):
        some = slice(start, start + HEADS_A_CHECKPOINT)
        told: JsonObject = {"heads": cast(JsonValue, calls[some]), "response_heads": cast(JsonValue, responses[some])}
        append_event(connection, "checkpoint", at, links.SERVICE, None, told)
    return bool(calls or responses)


HEADS_A_CHECKPOINT: Final = 1_000
IDS_AN_ERASURE: Final = 1_000


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
