"""Appending to a chain of links: what the chain of calls and that of responses have in common."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.store.audit_links import NO_LINK, link_hash
from orchestrator.store.rows import Row


class Entry(NamedTuple):
    """A link that is about to be appended: what it is about, and what it commits to."""

    kind: str
    about: str
    facts: dict[str, Any]
    content_digest: bytes | None


class ChainWriter:
    """Writes chains, one an owner, into a table of links and a table of their heads.

    `about` is the column of the links that has the id of what they are about.
    """

    def __init__(self, chain: Table, heads: Table, about: str) -> None:
        whose = heads.c.owner == bindparam("the_owner")
        self._about: Final = about
        self._heads: Final = heads
        self._head: Final = select(heads.c.sequence, heads.c.hash).where(whose).with_for_update()
        self._move: Final = update(heads).where(whose)
        self._append: Final = insert(chain)

    def append(self, connection: Connection, owner: str, added: Sequence[Entry]) -> None:
        """Put `added` at the end of `owner`'s chain."""
        if not added:
            return
        sequence, previous = self.locked_head(connection, owner)
        rows: list[Row] = []
        for entry in added:
            sequence += 1
            link: Row = {
                "owner": owner,
                "sequence": sequence,
                "kind": entry.kind,
                self._about: entry.about,
                "content_digest": entry.content_digest,
                "previous": previous,
                "hash": link_hash(owner, sequence, previous, entry.kind, entry.facts),
            }
            rows.append(link)
            previous = link["hash"]
        connection.execute(self._append, rows if len(rows) > 1 else rows[0])
        self.move_head(connection, owner, sequence, previous)

    def append_for_owners(self, connection: Connection, added: Iterable[tuple[str, Entry]]) -> None:
        """As `append` for several owners, in an order in which no two writers wait for each other."""
        for owner, group in groupby(sorted(added, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
            self.append(connection, owner, [entry for _, entry in group])

    def locked_head(self, connection: Connection, owner: str) -> tuple[int, bytes]:
        """The end of a chain, which nobody else moves as long as this unit of work lasts."""
        found = connection.execute(self._head, {"the_owner": owner}).one_or_none()
        if found is None:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            first = {"owner": owner, "sequence": 0, "hash": NO_LINK, "checkpointed": 0}
            connection.execute(dialect.insert(self._heads).on_conflict_do_nothing(), first)
            found = connection.execute(self._head, {"the_owner": owner}).one()
        return found.sequence, found.hash

    def move_head(self, connection: Connection, owner: str, sequence: int, last: bytes) -> None:
        """Say where the chain ends now."""
        connection.execute(self._move, {"the_owner": owner, "sequence": sequence, "hash": last})

    def take_moved(self, connection: Connection, service: str) -> list[list[str | int]]:
        """The heads, as [owner, sequence, hash], that have moved since they were last taken; not that of `service`."""
        heads = self._heads.c
        moved = select(self._heads).where(heads.sequence > heads.checkpointed, heads.owner != service)
        found = connection.execute(moved.order_by(heads.owner).with_for_update()).mappings().all()
        if found:
            taken = [{"the_owner": head["owner"], "checkpointed": head["sequence"]} for head in found]
            connection.execute(self._move, taken)
        return [[head["owner"], head["sequence"], head["hash"].hex()] for head in found]
