"""What is written of a response, one function a unit of work: its beginning, its journal, its end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, Text, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import FunctionOutput
from orchestrator.core.listing import listing_number
from orchestrator.core.response import Ending, Incomplete, Stats
from orchestrator.core.tools import OfferedTool, ToolKey
from orchestrator.ports import ForkPoint, NewResponse
from orchestrator.store import audit_chain, readings, response_chain, rows
from orchestrator.store.chain_writer import Entry
from orchestrator.store.chains import UNFINISHED, UNSETTLED, unfinished_parent, unusable_parent
from orchestrator.store.columns import AnyText
from orchestrator.store.inserting import add_labels, keep_blobs
from orchestrator.store.labels import call_labels, opening_labels
from orchestrator.store.offers import keep_offer
from orchestrator.store.search import index_response
from orchestrator.store.tables import (
    input_items,
    output_items,
    responses,
    tool_call_approvals,
    tool_calls,
)
from orchestrator.store.thread_moves import move_thread, take_back_threads
from orchestrator.store.transcripts import transcript_digest

RUNNING: Final = responses.c.status == "in_progress"

_RESPONSE: Final = select(
    responses.c.id,
    responses.c.number,
    responses.c.owner,
    responses.c.token_id,
    responses.c.model_key,
    responses.c.stored,
    responses.c.status,
    responses.c.ending_reason,
    responses.c.error_kind,
    responses.c.error_message,
    responses.c.error_param,
)
_LOCKED_RESPONSE: Final = _RESPONSE.where(responses.c.id == bindparam("response_id")).with_for_update(key_share=True)
"""A response that nobody else ends as long as this unit of work lasts (SQLite has one writer anyway)."""

_PLACE: Final = (
    select(responses.c.root_id, responses.c.depth, responses.c.status, responses.c.input_preview)
    .where(responses.c.id == bindparam("parent_id"), responses.c.owner == bindparam("owner"), responses.c.stored)
    .with_for_update(read=True, key_share=True)
)
"""A parent, or the origin of a branch, that nobody deletes before the new response is there."""

_CALL: Final = (
    select(responses.c.stored, responses.c.status.label("response_status"), tool_calls)
    .join_from(tool_calls, responses)
    .where(tool_calls.c.call_id == bindparam("call_id"), tool_calls.c.response_id == bindparam("response_id"))
    .with_for_update(of=tool_calls)
)
_ITEMS: Final = (
    select(output_items.c.position, output_items.c.call_id, tool_calls.c.status)
    .join_from(output_items, tool_calls, tool_calls.c.call_id == output_items.c.call_id, isouter=True)
    .where(output_items.c.response_id == bindparam("response_id"))
)
_SETTLE: Final = update(tool_calls).where(
    tool_calls.c.call_id == bindparam("the_call"), tool_calls.c.status.in_((*UNSETTLED, "handed_over"))
)
"""The one change of a journal row."""

_LAST_MESSAGE: Final = (
    select(func.substr(output_items.c.content, 1, rows.PREVIEW, type_=AnyText))
    .where(output_items.c.response_id == bindparam("response_id"), output_items.c.type == "message")
    .order_by(output_items.c.position.desc())
    .limit(1)
)

_ABANDONED: Final = (
    _RESPONSE.where(
        RUNNING,
        or_(
            responses.c.lease_until < bindparam("now"),
            responses.c.holder.in_(bindparam("dead_holders", expanding=True)),
        ),
    )
    .order_by(responses.c.id)
    .with_for_update(skip_locked=True, key_share=True)
)
"""What another process is just ending is locked, and so left to it."""

_COPY: Final = insert(output_items).from_select(
    ["response_id", "position", "turn", "type", "content", "call_id", "logprobs"],
    select(
        bindparam("new_id", type_=Text),
        output_items.c.position,
        output_items.c.turn,
        output_items.c.type,
        output_items.c.content,
        output_items.c.call_id,
        output_items.c.logprobs,
    ).where(
        output_items.c.response_id == bindparam("old_id"),
        or_(
            output_items.c.position < bindparam("left_at"),
            and_(output_items.c.position > bindparam("left_at"), output_items.c.position <= bindparam("rest_to")),
        ),
    ),
)
"""The items that a branch begins with; what its calls are stands in the journal already, once."""

_SHARED_CALLS: Final = (
    select(tool_calls.c.tool, tool_calls.c.provider_type, tool_calls.c.provider_name)
    .join_from(output_items, tool_calls, tool_calls.c.call_id == output_items.c.call_id)
    .where(output_items.c.response_id == bindparam("response_id"), tool_calls.c.tool.is_not(None))
)

_UNSETTLED: Final = (
    select(
        tool_calls.c.call_id,
        or_(tool_calls.c.status == "journaled", tool_call_approvals.c.decision == "approve").label("may_have_run"),
    )
    .join_from(tool_calls, tool_call_approvals, isouter=True)
    .where(tool_calls.c.response_id == bindparam("response_id"), tool_calls.c.status.in_(UNSETTLED))
    .order_by(tool_calls.c.position)
    .with_for_update(of=tool_calls)
)
"""Who is just settling one is waited for: it is settled once."""


_WITH_CLIENT: Final = (
    select(tool_calls.c.call_id, tool_calls.c.owner, responses.c.stored)
    .join_from(tool_calls, responses)
    .where(
        tool_calls.c.call_id.in_(bindparam("call_ids", expanding=True)),
        tool_calls.c.owner == bindparam("owner"),
        tool_calls.c.status == "handed_over",
    )
    .order_by(tool_calls.c.call_id)
    .with_for_update(of=tool_calls)
)
"""The calls that a client was to run and has not told the results of."""


def open_response(connection: Connection, response: NewResponse) -> None:
    """See `ResponseStore.open_response`."""
    root_id, depth, asked = _place(connection, response)
    digest = keep_offer(connection, rows.offer_rows(response.offered, response.tool_names, response.created_at))
    row = rows.response_row(response, listing_number(response.created_at, response.id), root_id, depth, digest)
    row["input_preview"] = asked if response.only_goes_on and response.stored else row["input_preview"]
    row["input_salt"] = response_chain.salt_of(stored=response.stored)
    number = _insert_numbered(connection, row)
    said, blobs = rows.input_rows(response)
    keep_blobs(connection, blobs)
    if said:
        connection.execute(insert(input_items), said)
    if response.stored:
        add_labels(connection, number, opening_labels(response.owner, response.model_key, response.metadata))
    if response.forked_from is not None:
        _copy_items(connection, response, number, response.forked_from)
    if response.stored:
        _take_results(connection, response)
    move_thread(connection, response)
    response_chain.RESPONSES.append(connection, response.owner, [response_chain.opened_link(row, said)])


def _take_results(connection: Connection, response: NewResponse) -> None:
    """The first result that its client tells of a call settles it; a branch with another one has that in its input."""
    told = {item.call_id: item for item in response.input if isinstance(item, FunctionOutput)}
    if not told:
        return
    asked = {"call_ids": list(told), "owner": response.owner}
    links: list[audit_chain.Link] = []
    for call_id, _, stored in connection.execute(_WITH_CLIENT, asked).all():
        item = told[call_id]
        outcome = Outcome("answered", item.output, None, item.is_error)
        settled = rows.outcome_row(outcome, response.created_at, stored=stored)
        links.append(settle(connection, call_id, settled, stored=stored))
    audit_chain.append_links(connection, response.owner, links)


def _copy_items(connection: Connection, response: NewResponse, number: int, point: ForkPoint) -> None:
    places = {"left_at": point.position, "rest_to": point.position + point.rest}
    connection.execute(_COPY, {"new_id": response.id, "old_id": point.response_id, **places})
    shared = connection.execute(_SHARED_CALLS, {"response_id": response.id}).all()
    known = [(row.tool, readings.provider_from(row.provider_type, row.provider_name)) for row in shared]
    labels = call_labels(response.owner, [(tool, provider) for tool, provider in known if provider is not None])
    add_labels(connection, number, labels)


def extend_offer(
    connection: Connection,
    response_id: str,
    offered: Sequence[OfferedTool],
    tool_names: Mapping[ToolKey, str],
    at: datetime,
) -> None:
    """See `ResponseStore.extend_offer`."""
    if locked(connection, response_id)["status"] != "in_progress":
        raise ended_elsewhere(response_id)
    digest = keep_offer(connection, rows.offer_rows(offered, tool_names, at))
    connection.execute(update(responses).where(responses.c.id == response_id).values(offer_digest=digest))


def journal_calls(connection: Connection, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
    """See `ResponseStore.journal_calls`."""
    row = locked(connection, response_id)
    if row["status"] != "in_progress":
        raise ended_elsewhere(response_id)
    response = _facts(row)
    added = _insert_items(connection, items, response, at)
    audit_chain.append_links(connection, response.owner, added)


def record_outcome(connection: Connection, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
    """See `ResponseStore.record_outcome`; the same outcome again is no error, another one is."""
    found = connection.execute(_CALL, {"call_id": call_id, "response_id": response_id})
    row = found.mappings().one_or_none()
    if row is None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, f"The journal has no call '{call_id}' of this response.")
    settled = rows.outcome_row(outcome, at, stored=row["stored"])
    if row["status"] not in UNSETTLED:
        kept, _ = rows.put_away(settled)
        if any(row[name] != value for name, value in kept.items() if name != "settled_at"):
            raise OrchestratorError(ErrorKind.STORE_ERROR, f"The call '{call_id}' is settled in another way already.")
        return
    if row["response_status"] != "in_progress":
        raise ended_elsewhere(response_id)
    link = settle(connection, call_id, settled, stored=row["stored"])
    audit_chain.append_links(connection, row["owner"], [link])


def save_response(
    connection: Connection,
    response_id: str,
    ending: Ending,
    stats: Stats,
    items: Sequence[PlacedItem],
    outcomes: Sequence[tuple[str, Outcome]],
    at: datetime,
    warnings: Sequence[str] = (),
) -> None:
    """See `ResponseStore.save_response`; the same end again is no error, another one is."""
    row = locked(connection, response_id)
    response = _facts(row)
    ended = rows.ending_row(ending, stored=response.stored)
    if row["status"] != "in_progress":
        if all(row[name] == value for name, value in ended.items()):
            return
        raise ended_elsewhere(response_id)
    added = _complete(connection, response, items, outcomes, at) if items or outcomes else []
    ended["stats"] = rows.stats_json(stats) if response.stored else None
    ended["warnings"] = rows.warnings_json(warnings) if response.stored else None
    over = _end(connection, response, ended, at)
    if ended["status"] == "failed":
        take_back_threads(connection, response_id, at)
    audit_chain.append_links(connection, response.owner, added)
    response_chain.RESPONSES.append(connection, response.owner, [over])


def end_abandoned(connection: Connection, now: datetime, dead_holders: Sequence[str]) -> list[str]:
    """See `ResponseStore.end_abandoned`."""
    found = connection.execute(_ABANDONED, {"now": now, "dead_holders": list(dead_holders)})
    abandoned = [_facts(row) for row in found.mappings()]
    added: list[tuple[str, audit_chain.Link]] = []
    over: list[tuple[str, Entry]] = []
    for response in abandoned:
        for call_id, may_have_run in connection.execute(_UNSETTLED, {"response_id": response.id}).all():
            outcome = rows.abandoned_outcome() if may_have_run else rows.never_approved_outcome()
            settled = rows.outcome_row(outcome, now, stored=response.stored)
            added.append((response.owner, settle(connection, call_id, settled, stored=response.stored)))
        ended = rows.ending_row(Incomplete("process_died"), stored=response.stored)
        over.append((response.owner, _end(connection, response, ended, now)))
    audit_chain.append_for_owners(connection, added)
    response_chain.RESPONSES.append_for_owners(connection, over)
    return [response.id for response in abandoned]


def _place(connection: Connection, response: NewResponse) -> tuple[str, int, str]:
    """Root and depth of a new node, those of its parent's child, or of the root beside which it stands; what was asked before."""
    root_id = response.id
    origin_id = response.replay_of if response.forked_from is None else response.forked_from.response_id
    if origin_id is not None:
        origin = connection.execute(_PLACE, {"parent_id": origin_id, "owner": response.owner}).one_or_none()
        if origin is None:
            message = f"The response '{origin_id}' is not stored any more."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        root_id = origin.root_id
    parent_id = response.previous_response_id
    if parent_id is None:
        return root_id, 0, ""
    parent = connection.execute(_PLACE, {"parent_id": parent_id, "owner": response.owner}).one_or_none()
    if parent is None:
        raise unusable_parent(parent_id)
    if parent.status in UNFINISHED:
        raise unfinished_parent(parent_id, parent.status)
    return parent.root_id, parent.depth + 1, parent.input_preview or ""


def locked(connection: Connection, response_id: str) -> RowMapping:
    """The row of a response that nobody else ends as long as this unit of work lasts."""
    row = connection.execute(_LOCKED_RESPONSE, {"response_id": response_id}).mappings().one_or_none()
    if row is None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, f"The store has no response '{response_id}'.")
    return row


def _facts(row: RowMapping) -> rows.ResponseFacts:
    return rows.ResponseFacts(row["id"], row["number"], row["owner"], row["token_id"], row["model_key"], row["stored"])


def ended_elsewhere(response_id: str) -> OrchestratorError:
    """The response is not one that is being run."""
    message = f"The response '{response_id}' has ended already: another process took this one for dead."
    return OrchestratorError(ErrorKind.STORE_ERROR, message)


def _insert_items(
    connection: Connection, items: Sequence[PlacedItem], response: rows.ResponseFacts, at: datetime
) -> list[audit_chain.Link]:
    """Insert the items; the links of the calls among them are still to be appended."""
    calls, output = rows.item_rows(items, response, at)
    if calls:
        calls = [audit_chain.salted_call(call, stored=response.stored) for call in calls]
        kept = [rows.put_away(call) for call in calls]
        keep_blobs(connection, {digest: text for _, long in kept for digest, text in long.items()})
        connection.execute(insert(tool_calls), [row for row, _ in kept])
        audit_chain.index_arguments(connection, calls)
        if response.stored:
            placed = (item for item in items if isinstance(item, PlacedCall))
            known = [
                (call.tool, call.provider) for call in placed if call.tool is not None and call.provider is not None
            ]
            add_labels(connection, response.number, call_labels(response.owner, known))
    if output:
        connection.execute(insert(output_items), output)
    return [link for call in calls for link in audit_chain.call_links(call)]


def settle(connection: Connection, call_id: str, settled: rows.Row, *, stored: bool) -> audit_chain.Link:
    """Write the outcome of a call; its link is still to be appended."""
    settled = audit_chain.salted_outcome(settled, stored=stored)
    kept, long = rows.put_away(settled)
    keep_blobs(connection, long)
    connection.execute(_SETTLE, {"the_call": call_id, **kept})
    return audit_chain.outcome_link({"call_id": call_id, **settled})


def _complete(
    connection: Connection,
    response: rows.ResponseFacts,
    items: Sequence[PlacedItem],
    outcomes: Sequence[tuple[str, Outcome]],
    at: datetime,
) -> list[audit_chain.Link]:
    """Insert the items that are missing and settle the calls that are not settled; their links are to be appended."""
    there = connection.execute(_ITEMS, {"response_id": response.id}).all()
    taken = {row.position for row in there}
    unsettled = {row.call_id for row in there if row.status in UNSETTLED}
    added = _insert_items(connection, [item for item in items if item.position not in taken], response, at)
    pending = {item.call_id: item.outcome for item in items if isinstance(item, PlacedCall)} | dict(outcomes)
    for call_id, outcome in pending.items():
        if call_id in unsettled and outcome is not None:
            settled = rows.outcome_row(outcome, at, stored=response.stored)
            added.append(settle(connection, call_id, settled, stored=response.stored))
    return added


def end(connection: Connection, response_id: str, ending: Ending, at: datetime) -> Entry:
    """A response that waited ends; from now on it is found by its words. Its link is to be appended."""
    response = _facts(locked(connection, response_id))
    return _end(connection, response, rows.ending_row(ending, stored=response.stored), at)


def _end(connection: Connection, response: rows.ResponseFacts, ended: rows.Row, at: datetime) -> Entry:
    last: rows.Row = {
        **{"holder": None, "lease_until": None, "cancel_reason": None, "expires_at": None, "suspension": None},
        "ended_at": at,
        "output_salt": response_chain.salt_of(stored=response.stored),
    }
    if response.stored:
        said = connection.execute(_LAST_MESSAGE, {"response_id": response.id}).scalar_one_or_none()
        last["output_preview"] = said or ""
        last["transcript_digest"] = transcript_digest(connection, response.id)
    connection.execute(update(responses).where(responses.c.id == response.id).values(**ended, **last))
    if response.stored:
        index_response(connection, response.number, response.owner)
    return response_chain.ended_link(connection, response.id)


def _insert_numbered(connection: Connection, row: rows.Row) -> int:
    """Insert a response with its number, or the next one that is free; on Postgres whoever is just taking one is waited for."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    unless_taken = dialect.insert(responses).on_conflict_do_nothing(index_elements=["number"])
    while connection.execute(unless_taken, row).rowcount == 0:
        row["number"] += 1
    number: int = row["number"]
    return number
