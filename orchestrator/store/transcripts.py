"""The digests of conversations: kept with every response that has ended, looked for by clients that send all of theirs."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select

from orchestrator.core.transcript import EMPTY, chain_transcript
from orchestrator.store.chains import TOLD, read_links
from orchestrator.store.tables import responses, tool_calls

_AT_ONCE: Final = 400
"""Digests, or calls, in one statement."""

_PLACE: Final = select(responses.c.depth, responses.c.previous_response_id).where(
    responses.c.id == bindparam("response_id")
)
_DIGEST: Final = select(responses.c.transcript_digest).where(responses.c.id == bindparam("response_id"))
_FOUND: Final = (
    select(responses.c.transcript_digest, responses.c.id)
    .where(
        responses.c.owner == bindparam("owner"),
        responses.c.transcript_digest.in_(bindparam("digests", expanding=True)),
        responses.c.transcript_digest.is_not(None),
        responses.c.replay_of.is_(None),
        responses.c.status != "in_progress",
    )
    .order_by(responses.c.number)
)

_MADE: Final = select(tool_calls.c.response_id).where(tool_calls.c.call_id.in_(bindparam("call_ids", expanding=True)))


def transcript_digest(connection: Connection, response_id: str) -> str:
    """The digest of the conversation up to the end of a response, whose items are all there."""
    depth, parent_id = connection.execute(_PLACE, {"response_id": response_id}).one()
    digest: str | None = EMPTY
    if parent_id is not None:
        digest = connection.execute(_DIGEST, {"response_id": parent_id}).scalar_one()
    # One of an earlier version, or one that was put away and not ended, has no digest: then all is told again.
    links = read_links(connection, response_id, 0 if digest is None else depth, depth, TOLD)
    if digest is not None and not all(link.past.input for link in links):  # it goes on within a message
        digest, links = None, read_links(connection, response_id, 0, depth, TOLD)
    said = [(link.past.input, [entry.item for entry in link.past.output]) for link in links]
    return chain_transcript(digest or EMPTY, said)


def find_transcript(
    connection: Connection, digests: Sequence[str], owner: str, calls: Sequence[str] = ()
) -> tuple[str, str] | None:
    """See `ResponseStore.find_transcript`."""
    last = list(calls[-_AT_ONCE:])
    made = set(connection.execute(_MADE, {"call_ids": last}).scalars()) if last else set[str]()
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        rows = connection.execute(_FOUND, {"owner": owner, "digests": list(some)}).all()
        rows = sorted(rows, key=lambda row: row.id in made)
        found = {row.transcript_digest: row.id for row in rows}  # the best of each: it comes last
        for digest in some:
            if digest in found:
                return found[digest], digest
    return None
