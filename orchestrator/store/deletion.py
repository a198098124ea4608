"""Deleting responses: which of them may go, alone or in branches.

Whoever continues a response locks it against this, and whoever deletes it against being continued: what is
looked at after the lock is what is so. What lost its content is added to `erased`, for the audit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    true,
)

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.listing import first_number
from orchestrator.ports.graph import Deletion, continued
from orchestrator.store.audit_chain import Erasures
from orchestrator.store.erasing import Erased, erase, erase_skeletons
from orchestrator.store.search_tables import threads
from orchestrator.store.shared_content import kept_by
from orchestrator.store.tables import output_items, responses, tool_calls
from orchestrator.store.thread_moves import thread_conflict

OVER: Final = ("completed", "incomplete", "failed", "cancelled")
"""What may be deleted: anything else is still at work, or waits for somebody."""

OWNERS: Final = 16
"""Of how many owners the surplus is looked for in one round."""

_STORED: Final = responses.c.stored.is_(True)
_child = responses.alias("child")
_LEAF: Final = ~exists().where(_child.c.previous_response_id == responses.c.id, _child.c.stored.is_(True))
_below = responses.alias("below")
_NODE: Final = (
    responses.c.id,
    responses.c.number,
    responses.c.previous_response_id,
    responses.c.status,
    responses.c.stored,
)


@dataclass(frozen=True, slots=True)
class Surplus:
    """How many responses of an owner are too many, and the ends of branches that may go, the oldest first."""

    count: int
    leaves: tuple[str, ...]


def delete_response(
    connection: Connection,
    response_id: str,
    owner: str,
    at: datetime,
    erased: Erasures,
    *,
    subtree: bool,
    keep_skeleton: bool,
) -> Deletion | None:
    """See `ResponseGraph.delete_response`."""
    found = select(responses.c.id).where(responses.c.id == response_id, responses.c.owner == owner, _STORED)
    if connection.execute(found.with_for_update()).first() is None:
        return None
    nodes = _locked_subtree(connection, response_id)
    if len(nodes) > 1 and not subtree:
        message = continued(len(nodes) - 1)
        raise OrchestratorError(ErrorKind.RESPONSE_HAS_CHILDREN, message, param="response_id")
    _refuse_busy(nodes, "response_id")
    return _deleted(connection, nodes, at, erased, keep_skeleton=keep_skeleton)


def delete_thread(
    connection: Connection,
    thread_id: str,
    owner: str,
    at: datetime,
    erased: Erasures,
    *,
    subtree: bool,
    keep_skeleton: bool,
) -> Deletion | None:
    """See `ThreadStore.delete_thread`."""
    mine = (threads.c.id == thread_id) & (threads.c.owner == owner)
    newest = connection.execute(select(threads.c.newest_response_id).where(mine)).scalar_one_or_none()
    if newest is None:
        return None
    path = _path(connection, newest)
    if not path:
        raise thread_conflict()
    if subtree:
        tree = _locked_subtree(connection, path[-1])
        _refuse_busy(tree, "thread_id")
        if connection.execute(delete(threads).where(mine, threads.c.newest_response_id == newest)).rowcount == 0:
            raise thread_conflict()
        return _deleted(connection, tree, at, erased, keep_skeleton=keep_skeleton)
    pointed = exists().where(threads.c.newest_response_id == responses.c.id, threads.c.id != thread_id)
    attempts = _attempts(connection, path)
    ids = _branch(connection, newest, ~pointed, besides=tuple(attempts))
    nodes = {node.id: node for node in _lock(connection, ids)}
    if newest not in nodes:
        raise thread_conflict()
    if nodes[newest].status not in OVER:
        message = "The newest response of this thread has not ended yet; cancel it first."
        raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="thread_id")
    if connection.execute(delete(threads).where(mine, threads.c.newest_response_id == newest)).rowcount == 0:
        raise thread_conflict()
    shared = select(threads.c.id).where(threads.c.newest_response_id == newest).limit(1)
    beside = [id for id, parent_id in attempts.items() if parent_id in ids]
    free = _free(connection, [*ids, *beside]) if connection.execute(shared).first() is None else []
    gone = {node.id for node in free if node.id in ids}
    free = [node for node in free if node.id in gone or node.previous_response_id in gone]
    holding = _holding(connection, [each for each in path if each not in gone], path)
    deleted = _deleted(connection, free, at, erased, keep_skeleton=keep_skeleton)
    also = [each for each in deleted.kept_by if each not in holding]
    return Deletion(deleted.deleted, (*holding, *also))


def leaves_older(
    connection: Connection, before: datetime, after: int | None, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The ends of branches that began before a moment: id and number, the oldest first."""
    beyond = true() if after is None else responses.c.number > after
    query = select(responses.c.id, responses.c.number).where(_STORED, _older(before), beyond, _over(), _LEAF)
    return connection.execute(query.order_by(responses.c.number).limit(limit)).all()


def prune_branches(
    connection: Connection,
    leaves: Sequence[str],
    before: datetime,
    limit: int,
    at: datetime,
    erased: Erasures,
    *,
    keep_skeleton: bool,
) -> list[str]:
    """Erase what is older than a moment and ends in these leaves, from the leaves upwards."""
    ids: list[str] = []
    for leaf in leaves:
        ids += _branch(connection, leaf, _older(before))[: limit - len(ids)]
    gone = _erase_free(connection, ids, at, erased, keep_skeleton=keep_skeleton)
    if not keep_skeleton:
        called = exists().where(tool_calls.c.response_id == responses.c.id)
        query = select(*_NODE).where(responses.c.stored.is_(False), _older(before), _over(), ~called)
        old = connection.execute(query.limit(limit).with_for_update(skip_locked=True)).all()
        erase_skeletons(connection, [node.id for node in old], erased)
    return gone


def surplus_leaves(connection: Connection, per_owner: int, limit: int) -> list[Surplus]:
    """The surplus of some owners that have more than `per_owner`; an owner's newest branch is no part of it."""
    size = func.count()
    query = select(responses.c.owner, size).where(_STORED).group_by(responses.c.owner).having(size > per_owner)
    found: list[Surplus] = []
    for owner, count in connection.execute(query.order_by(responses.c.owner)).all():
        leaf = select(responses.c.id).where(_STORED, responses.c.owner == owner, _LEAF)
        newest = connection.execute(leaf.order_by(responses.c.number.desc()).limit(1)).scalar_one_or_none()
        oldest = connection.execute(leaf.where(_over()).order_by(responses.c.number).limit(limit)).scalars()
        leaves = tuple(each for each in oldest if each != newest)
        if leaves:
            found.append(Surplus(count - per_owner, leaves))
        if len(found) == OWNERS:
            break
    return found


def prune_surplus(
    connection: Connection,
    surplus: Sequence[Surplus],
    limit: int,
    at: datetime,
    erased: Erasures,
    *,
    keep_skeleton: bool,
) -> list[str]:
    """Erase whole branches until the surplus is gone, or about `limit` responses are."""
    gone: list[str] = []
    for owners in surplus:
        left = owners.count
        for leaf in owners.leaves:
            if left <= 0 or len(gone) >= limit:
                break
            branch = _branch(connection, leaf, true())
            erased_now = _erase_free(connection, branch, at, erased, keep_skeleton=keep_skeleton)
            left -= len(erased_now)
            gone += erased_now
    return gone


def _older(before: datetime) -> ColumnElement[bool]:
    return responses.c.number < first_number(before)


def _over() -> ColumnElement[bool]:
    return responses.c.status.in_(OVER)


def _subtree(connection: Connection, response_id: str) -> list[str]:
    """The response and all stored ones that continue it."""
    tree = select(responses.c.id).where(responses.c.id == response_id).cte("tree", recursive=True)
    tree = tree.union_all(
        select(_child.c.id).where(_child.c.previous_response_id == tree.c.id, _child.c.stored.is_(True))
    )
    return [*connection.execute(select(tree.c.id)).scalars()]


def _locked_subtree(connection: Connection, response_id: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """The response and all stored ones that continue it, which nobody changes or continues any more."""
    nodes = _lock(connection, _subtree(connection, response_id))
    while len(grown := _subtree(connection, response_id)) > len(nodes):
        nodes = _lock(connection, grown)
    return nodes


def _refuse_busy(nodes: Sequence[Row[*tuple[Any, ...]]], param: str) -> None:
    busy = [node.id for node in nodes if node.status not in OVER]
    if busy:
        message = f"The response '{busy[0]}' has not ended yet; cancel it first."
        raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param=param)


def _path(connection: Connection, response_id: str) -> list[str]:
    """The ids from the response to the root of its chain."""
    path = select(responses.c.id, responses.c.previous_response_id, responses.c.depth)
    walked = path.where(responses.c.id == response_id).cte("path", recursive=True)
    walked = walked.union_all(path.where(responses.c.id == walked.c.previous_response_id))
    return [*connection.execute(select(walked.c.id).order_by(walked.c.depth.desc())).scalars()]


def _holding(connection: Connection, kept: Sequence[str], path: Sequence[str]) -> list[str]:
    """What goes on from the `kept` ones of a path: the stored responses beside it, the oldest first, and the threads."""
    some: BindParameter[Any] = bindparam("kept", expanding=True)
    ids = {"kept": list(kept)}
    children = select(responses.c.id).where(_STORED, responses.c.previous_response_id.in_(some))
    found = connection.execute(children.order_by(responses.c.number), ids).scalars()
    pointing = select(threads.c.id).where(threads.c.newest_response_id.in_(some)).order_by(threads.c.id)
    return [*(id for id in found if id not in path), *connection.execute(pointing, ids).scalars()]


def _attempts(connection: Connection, path: Sequence[str]) -> dict[str, str]:
    """What failed beside a path without a call, and nothing goes on from: a thread has left it. With what it continued."""
    along: BindParameter[Any] = bindparam("path", expanding=True)
    query = select(responses.c.id, responses.c.previous_response_id).where(
        responses.c.previous_response_id.in_(along),
        responses.c.id.not_in(along),
        _STORED,
        responses.c.status == "failed",
        _LEAF,
        ~exists().where(output_items.c.response_id == responses.c.id, output_items.c.call_id.is_not(None)),
        ~exists().where(threads.c.newest_response_id == responses.c.id),
    )
    return {id: parent_id for id, parent_id in connection.execute(query, {"path": list(path)}) if parent_id}


def _branch(
    connection: Connection, leaf: str, wanted: ColumnElement[bool], *, besides: Sequence[str] = ()
) -> list[str]:
    """`leaf` and its ancestors up to where another branch begins, as far as they are over and `wanted`.

    Those in `besides` are no branches.
    """
    branch = (
        select(responses.c.id, responses.c.previous_response_id)
        .where(responses.c.id == bindparam("leaf"))
        .cte("branch", recursive=True)
    )
    another = exists().where(
        _below.c.previous_response_id == responses.c.id,
        _below.c.stored.is_(True),
        _below.c.id != branch.c.id,
        _below.c.id.not_in(bindparam("besides", expanding=True)),
    )
    branch = branch.union_all(
        select(responses.c.id, responses.c.previous_response_id).where(
            and_(responses.c.id == branch.c.previous_response_id, _STORED, _over(), wanted, ~another)
        )
    )
    return [*connection.execute(select(branch.c.id), {"leaf": leaf, "besides": list(besides)}).scalars()]


def _erase_free(
    connection: Connection, ids: Sequence[str], at: datetime, erased: Erasures, *, keep_skeleton: bool
) -> list[str]:
    """Erase those of `ids` that may go by themselves."""
    return _erase(connection, _free(connection, ids), at, erased, keep_skeleton=keep_skeleton)


def _free(connection: Connection, ids: Sequence[str]) -> list[Row[*tuple[Any, ...]]]:
    """Those of `ids` that are over and that nobody has continued in between but by others of them; locked."""
    nodes = {node.id: node for node in _lock(connection, ids) if node.stored and node.status in OVER}
    query = select(responses.c.id, responses.c.previous_response_id).where(
        _STORED, responses.c.previous_response_id.in_(bindparam("ids", expanding=True))
    )
    children = connection.execute(query, {"ids": list(nodes)}).all()
    while held := [child for child in children if child.previous_response_id in nodes and child.id not in nodes]:
        for child in held:
            nodes.pop(child.previous_response_id, None)
    return list(nodes.values())


def _lock(connection: Connection, ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    """These responses, which nobody changes or continues until the unit of work is over."""
    if not ids:
        return []
    query = select(*_NODE).where(responses.c.id.in_(bindparam("ids", expanding=True)))
    # In one order everywhere, so that no two deletions wait for each other.
    return connection.execute(query.order_by(responses.c.id).with_for_update(), {"ids": list(ids)}).all()


def _erase(
    connection: Connection,
    nodes: Sequence[Row[*tuple[Any, ...]]],
    at: datetime,
    erased: Erasures,
    *,
    keep_skeleton: bool,
) -> list[str]:
    erase(connection, [Erased(node.id, node.number) for node in nodes], at, erased, keep_skeleton=keep_skeleton)
    return [node.id for node in sorted(nodes, key=lambda node: node.number)]


def _deleted(
    connection: Connection,
    nodes: Sequence[Row[*tuple[Any, ...]]],
    at: datetime,
    erased: Erasures,
    *,
    keep_skeleton: bool,
) -> Deletion:
    """Erase them, once it is known who else has what they hold."""
    kept = kept_by(connection, [node.id for node in nodes])
    return Deletion(tuple(_erase(connection, nodes, at, erased, keep_skeleton=keep_skeleton)), tuple(kept))
