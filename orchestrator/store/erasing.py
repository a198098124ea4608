"""Overwriting what responses hold, wherever it is written. What may be deleted is decided in `deletion.py`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    exists,
    null,
    or_,
    select,
    update,
)

from orchestrator.store import search
from orchestrator.store.audit_chain import Erasures
from orchestrator.store.chain_segments import forget_segments
from orchestrator.store.proof_tables import response_chain
from orchestrator.store.search_tables import response_labels, threads
from orchestrator.store.tables import blobs, input_items, output_items, responses, tool_call_approvals, tool_calls

_T = TypeVar("_T")

_AT_ONCE: Final = 500
"""Ids in one statement."""

_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)

_CONTENT_OF_RESPONSE: Final = (
    *("system_prompt", "parameters", "metadata", "error_message", "error_param", "stats"),
    *("input_preview", "output_preview", "cancel_reason", "warnings", "transcript_digest"),
    # With its salt, what the chains say of content can be matched with nothing any more.
    *("input_salt", "output_salt"),
)
_CONTENT_OF_CALL: Final = (
    *("arguments_text", "arguments", "reason", "output", "output_digest", "structured", "structured_digest", "shown"),
    *("arguments_salt", "output_salt"),
)
_MADE: Final = select(tool_calls.c.call_id).where(tool_calls.c.response_id.in_(_IDS))
_HAD: Final = select(output_items.c.call_id).where(output_items.c.response_id.in_(_IDS))
_LOCKED_CALLS: Final = (
    select(tool_calls.c.call_id)
    .where(tool_calls.c.call_id.in_(_IDS))
    .order_by(tool_calls.c.call_id)
    .with_for_update(key_share=True)
)
_UNHELD: Final = select(tool_calls.c.call_id).where(
    tool_calls.c.call_id.in_(_IDS), ~exists().where(output_items.c.call_id == tool_calls.c.call_id)
)
"""Which calls no response has any more."""

_SALTED: Final = (
    select(tool_calls.c.call_id)
    .where(
        tool_calls.c.call_id.in_(_IDS),
        or_(
            tool_calls.c.arguments_salt.is_not(None),
            tool_calls.c.output_salt.is_not(None),
            exists().where(
                tool_call_approvals.c.call_id == tool_calls.c.call_id, tool_call_approvals.c.salt.is_not(None)
            ),
        ),
    )
    .order_by(tool_calls.c.call_id)
)
"""Which calls have content that the chain speaks of."""

_PROVED: Final = (
    select(responses.c.id)
    .where(responses.c.id.in_(_IDS), or_(responses.c.input_salt.is_not(None), responses.c.output_salt.is_not(None)))
    .order_by(responses.c.id)
)
_NEVER_PROVED: Final = (
    select(response_chain.c.response_id)
    .where(response_chain.c.response_id.in_(_IDS), response_chain.c.kind == "opened")
    .where(response_chain.c.content_digest.is_(None))
    .order_by(response_chain.c.response_id)
)
"""Which responses have content that the chain speaks of, and of which it never had any."""

_DECISIONS_TO_SKELETONS: Final = (
    update(tool_call_approvals)
    .where(tool_call_approvals.c.call_id.in_(_IDS))
    .values(reason=null(), arguments=null(), salt=null())
)
_CALL_DIGESTS: Final = (tool_calls.c.output_digest, tool_calls.c.structured_digest)
_DIGESTS: Final = (
    (input_items, input_items.c.blob_digest),
    (tool_calls, tool_calls.c.output_digest),
    (tool_calls, tool_calls.c.structured_digest),
)
"""Every column that refers to a blob."""


@dataclass(frozen=True, slots=True)
class Erased:
    """A response that is to be erased: its id and its place in listings."""

    id: str
    number: int


def erase(
    connection: Connection, nodes: Sequence[Erased], at: datetime, erased: Erasures, *, keep_skeleton: bool
) -> None:
    """Take the content of these responses, which are locked, out of every table; what lost it is added to `erased`.

    What others have too goes with the last of them: blobs, and the calls that a branch has of another response.
    """
    for some in _some(nodes):
        ids = {"ids": [node.id for node in some]}
        _repoint_threads(connection, ids["ids"], at)
        forget_segments(connection, ids["ids"])
        calls = _calls_of(connection, ids)
        unread = _blobs_of(connection, ids["ids"], calls)
        connection.execute(delete(input_items).where(input_items.c.response_id.in_(_IDS)), ids)
        connection.execute(delete(output_items).where(output_items.c.response_id.in_(_IDS)), ids)
        erased.calls += _erase_calls(connection, calls)
        erased.responses += connection.execute(_PROVED, ids).scalars()
        connection.execute(_responses_to_skeletons(at), ids)
        numbers = [node.number for node in some]
        connection.execute(
            delete(response_labels).where(response_labels.c.number.in_(bindparam("numbers", expanding=True))),
            {"numbers": numbers},
        )
        search.unindex(connection, numbers)
        _remove_unread(connection, unread)
    if not keep_skeleton:
        erase_skeletons(connection, [node.id for node in nodes], erased)


def erase_skeletons(connection: Connection, ids: Sequence[str], erased: Erasures) -> None:
    """Remove the rows of responses that hold no content any more, but for those whose calls are in the audit chain.

    Those of which the chain never had content are added to `erased`: the others are named already.
    """
    called = exists().where(tool_calls.c.response_id == responses.c.id)
    bare: list[str] = []
    for some in _some(ids):
        found = select(responses.c.id).where(responses.c.id.in_(_IDS), ~called)
        bare += connection.execute(found, {"ids": list(some)}).scalars()
    for some in _some(bare):
        erased.responses += connection.execute(_NEVER_PROVED, {"ids": list(some)}).scalars()
        orphans = update(responses).where(or_(responses.c.previous_response_id.in_(_IDS), responses.c.id.in_(_IDS)))
        cut = {"previous_response_id": None, "removed_parent_id": responses.c.previous_response_id}
        connection.execute(orphans.values(cut), {"ids": list(some)})
    for some in _some(bare):
        connection.execute(delete(responses).where(responses.c.id.in_(_IDS)), {"ids": list(some)})


def _calls_of(connection: Connection, ids: dict[str, list[str]]) -> list[str]:
    """The calls that responses made, and those that branches have of another one.

    They are locked, in one order: of two who erase the last responses that have a call the second knows it.
    """
    found = {*connection.execute(_MADE, ids).scalars(), *connection.execute(_HAD, ids).scalars()} - {None}
    calls = sorted(found)
    for some in _some(calls):
        connection.execute(_LOCKED_CALLS, {"ids": list(some)})
    return calls


def _erase_calls(connection: Connection, calls: Sequence[str]) -> list[str]:
    """Those of the calls whose content went."""
    gone: list[str] = []
    for some in _some(calls):
        unheld = connection.execute(_UNHELD, {"ids": list(some)}).scalars().all()
        if unheld:
            gone += connection.execute(_SALTED, {"ids": list(unheld)}).scalars()
            connection.execute(_calls_to_skeletons(), {"ids": list(unheld)})
            connection.execute(_DECISIONS_TO_SKELETONS, {"ids": list(unheld)})
    return gone


def _calls_to_skeletons() -> Any:
    unnamed = case((tool_calls.c.tool.is_(None), ""), else_=tool_calls.c.model_name)
    content = dict.fromkeys(_CONTENT_OF_CALL, null())
    return update(tool_calls).where(tool_calls.c.call_id.in_(_IDS)).values(**content, model_name=unnamed)


def _responses_to_skeletons(at: datetime) -> Any:
    # Why a run is incomplete is one of a few words of ours; why it was cancelled, somebody wrote.
    reason = case((responses.c.status == "incomplete", responses.c.ending_reason), else_=null())
    content = dict.fromkeys(_CONTENT_OF_RESPONSE, null())
    change = update(responses).where(responses.c.id.in_(_IDS))
    return change.values(**content, stored=False, ending_reason=reason, deleted_at=at)


def _repoint_threads(connection: Connection, ids: Sequence[str], at: datetime) -> None:
    """A thread whose newest response goes points to the nearest one that stays; without one it goes too."""
    query = select(threads.c.id, threads.c.newest_response_id).where(threads.c.newest_response_id.in_(_IDS))
    above = select(responses.c.id, responses.c.previous_response_id).where(responses.c.id == bindparam("id"))
    for thread_id, newest in connection.execute(query, {"ids": list(ids)}).all():
        kept: str | None = newest
        while kept in ids:
            kept = connection.execute(above, {"id": kept}).one().previous_response_id
        mine = threads.c.id == thread_id
        if kept is None:
            connection.execute(delete(threads).where(mine))
        else:
            connection.execute(update(threads).where(mine).values(newest_response_id=kept, updated_at=at))


def _blobs_of(connection: Connection, ids: Sequence[str], calls: Sequence[str]) -> list[str]:
    """The digests that responses and calls refer to, in order; nobody begins to refer to them until this is over."""
    said = input_items.c.blob_digest
    query = select(said).where(input_items.c.response_id.in_(_IDS), said.is_not(None))
    found: set[str] = {*connection.execute(query, {"ids": list(ids)}).scalars()}
    for some in _some(calls):
        for digest in _CALL_DIGESTS:
            query = select(digest).where(tool_calls.c.call_id.in_(_IDS), digest.is_not(None))
            found |= {*connection.execute(query, {"ids": list(some)}).scalars()}
    lock = select(blobs.c.digest).where(blobs.c.digest.in_(_IDS)).order_by(blobs.c.digest).with_for_update()
    return [*connection.execute(lock, {"ids": sorted(found)}).scalars()] if found else []


def _remove_unread(connection: Connection, digests: Sequence[str]) -> None:
    if digests:
        read: list[ColumnElement[bool]] = [exists().where(digest == blobs.c.digest) for _, digest in _DIGESTS]
        connection.execute(delete(blobs).where(blobs.c.digest.in_(_IDS), ~or_(*read)), {"ids": list(digests)})


def _some(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
