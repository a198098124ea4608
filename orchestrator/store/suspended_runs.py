"""Runs that are put away until somebody decides about their calls, one function a unit of work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, RowMapping, Select, bindparam, insert, select, update

from orchestrator.core.approvals import Approve, Decision, Deny, PendingApproval
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.placed import HANDED_OVER
from orchestrator.core.response import Counters, Ending, Incomplete, Stats
from orchestrator.core.tools import OfferedTool, ToolKey, definition_from_json, text_content
from orchestrator.ports.approvals import CallDecision, StoredRun, Suspension
from orchestrator.store import audit_chain, journal, readings, response_chain, rows
from orchestrator.store.chain_writer import Entry
from orchestrator.store.chains import UNSETTLED
from orchestrator.store.long_texts import long_text
from orchestrator.store.offers import keep_offer
from orchestrator.store.tables import (
    offered_tools,
    output_items,
    responses,
    tool_call_approvals,
    tool_calls,
    tool_definitions,
    tool_offers,
)
from orchestrator.store.transcripts import transcript_digest
from orchestrator.store.withheld import WithheldVault

WAITING: Final = tool_calls.c.status == "awaiting_approval"

_RUN: Final = (
    select(
        responses.c.offer_digest,
        responses.c.expires_at,
        responses.c.suspension,
        responses.c.warnings,
        tool_offers.c.tool_names,
    )
    .join_from(responses, tool_offers, isouter=True)
    .where(responses.c.id == bindparam("response_id"), responses.c.owner == bindparam("owner"), responses.c.stored)
)
_ITEMS: Final = (
    select(
        output_items.c.position.label("place"),
        output_items.c.turn.label("in_turn"),
        output_items.c.type,
        output_items.c.content,
        output_items.c.logprobs,
        tool_calls,
        long_text("output").label("long_output"),
        long_text("structured").label("long_structured"),
        tool_call_approvals.c.decision,
        tool_call_approvals.c.reason.label("why"),
        tool_call_approvals.c.arguments.label("edited"),
        tool_call_approvals.c.owner.label("decider"),
        tool_call_approvals.c.token_id.label("decider_token"),
        tool_call_approvals.c.decided_at,
    )
    .join_from(output_items, tool_calls, tool_calls.c.call_id == output_items.c.call_id, isouter=True)
    .join(tool_call_approvals, tool_call_approvals.c.call_id == tool_calls.c.call_id, isouter=True)
    .where(output_items.c.response_id == bindparam("response_id"))
    .order_by(output_items.c.position)
)
_OFFERED: Final = (
    select(offered_tools, tool_definitions.c.definition)
    .join_from(offered_tools, tool_definitions)
    .where(offered_tools.c.offer_digest == bindparam("offer_digest"))
    .order_by(offered_tools.c.position)
)
_EXPIRED: Final = (
    select(responses.c.id, responses.c.owner)
    .where(responses.c.status == "awaiting_approval", responses.c.expires_at <= bindparam("now"))
    .order_by(responses.c.id)
    .with_for_update(skip_locked=True, key_share=True)
)


def read_run(connection: Connection, vault: WithheldVault, response_id: str, owner: str) -> StoredRun | None:
    """See `SuspendedRunStore.read_run`."""
    row = connection.execute(_RUN, {"response_id": response_id, "owner": owner}).one_or_none()
    if row is None:
        return None
    found = connection.execute(_ITEMS, {"response_id": response_id}).mappings().all()
    return StoredRun(
        items=tuple(_item(each) for each in found),
        offered=_offered(connection.execute(_OFFERED, {"offer_digest": row.offer_digest}).mappings().all()),
        tool_names=readings.tool_names(row.tool_names),
        decisions=tuple(
            _decision(each) for each in found if each["decision"] is not None and each["status"] in UNSETTLED
        ),
        suspension=None if row.expires_at is None else _suspension(row, vault, response_id),
    )


def pending_approvals(connection: Connection, response_id: str) -> tuple[PendingApproval, ...]:
    """The calls that wait for a decision, in order."""
    pending: list[PendingApproval] = []
    for row in connection.execute(_undecided(response_id, tool_calls)).mappings():
        provider = readings.provider_from(row["provider_type"], row["provider_name"])
        assert provider is not None
        pending.append(PendingApproval(row["call_id"], row["tool"], row["arguments"] or {}, provider))
    return tuple(pending)


def decisions_of(connection: Connection, response_id: str) -> dict[str, CallDecision]:
    """Everything that was decided about calls of this response, by call."""
    query = (
        select(
            tool_call_approvals.c.call_id,
            tool_call_approvals.c.decision,
            tool_call_approvals.c.reason.label("why"),
            tool_call_approvals.c.arguments.label("edited"),
            tool_call_approvals.c.owner.label("decider"),
            tool_call_approvals.c.token_id.label("decider_token"),
            tool_call_approvals.c.decided_at,
        )
        .join_from(tool_call_approvals, tool_calls)
        .where(tool_calls.c.response_id == response_id)
    )
    return {row["call_id"]: _decision(row) for row in connection.execute(query).mappings()}


def suspend_response(
    connection: Connection, vault: WithheldVault, response_id: str, suspension: Suspension, stats: Stats, at: datetime
) -> None:
    """See `SuspendedRunStore.suspend_response`."""
    if journal.locked(connection, response_id)["status"] != "in_progress":
        raise journal.ended_elsewhere(response_id)
    put_away: rows.Row = {
        "status": "awaiting_approval",
        "holder": None,
        "lease_until": None,
        "expires_at": suspension.expires_at,
        "suspension": _suspension_json(suspension, vault, response_id),
        "stats": rows.stats_json(stats),
        "warnings": rows.warnings_json(suspension.warnings),
    }
    put_away["transcript_digest"] = transcript_digest(connection, response_id)
    connection.execute(update(responses).where(responses.c.id == response_id).values(put_away))


def record_decisions(
    connection: Connection,
    vault: WithheldVault,
    response_id: str,
    decisions: Sequence[CallDecision],
    withheld: JsonObject | None = None,
) -> bool:
    """See `SuspendedRunStore.record_decisions`."""
    response = journal.locked(connection, response_id)
    if response["status"] != "awaiting_approval":
        raise _conflict("The response does not wait for approvals any more.")
    undecided = set(connection.execute(_undecided(response_id, tool_calls.c.call_id)).scalars())
    for decision in decisions:
        if decision.call_id not in undecided:
            raise _conflict(f"Somebody has decided about the call '{decision.call_id}' already.")
        undecided.remove(decision.call_id)
    if withheld is not None:
        mine = responses.c.id == response_id
        suspension: JsonObject = connection.execute(select(responses.c.suspension).where(mine)).scalar_one()
        kept = vault.added(suspension, withheld, response_id)
        connection.execute(update(responses).where(mine).values(suspension=kept))
    audit_chain.append_links(connection, response["owner"], _insert_decisions(connection, decisions))
    return not undecided


def resume_response(
    connection: Connection,
    vault: WithheldVault,
    response_id: str,
    decisions: Sequence[CallDecision],
    offered: Sequence[OfferedTool],
    tool_names: Mapping[ToolKey, str],
    holder: str,
    at: datetime,
    lease_until: datetime,
) -> None:
    """See `SuspendedRunStore.resume_response`."""
    if not record_decisions(connection, vault, response_id, decisions):
        raise _conflict("There are calls of this response that nobody has decided about.")
    digest = keep_offer(connection, rows.offer_rows(offered, tool_names, at))
    taken_up = {
        "status": "in_progress",
        "holder": holder,
        "lease_until": lease_until,
        "expires_at": None,
        "suspension": None,
        "offer_digest": digest,
    }
    connection.execute(update(responses).where(responses.c.id == response_id).values(taken_up))


def end_suspended(connection: Connection, response_id: str, owner: str, ending: Ending, why: str, at: datetime) -> bool:
    """See `SuspendedRunStore.end_suspended`."""
    query = select(responses.c.status).where(responses.c.id == response_id, responses.c.owner == owner)
    found = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if found is None or found.status != "awaiting_approval":
        return False
    added = _refuse_waiting(connection, response_id, why, at)
    over = journal.end(connection, response_id, ending, at)
    audit_chain.append_links(connection, owner, added)
    response_chain.RESPONSES.append(connection, owner, [over])
    return True


def end_expired(connection: Connection, now: datetime, why: str) -> list[str]:
    """See `SuspendedRunStore.end_expired`."""
    expired = connection.execute(_EXPIRED, {"now": now}).all()
    added: list[tuple[str, audit_chain.Link]] = []
    over: list[tuple[str, Entry]] = []
    for response_id, owner in expired:
        silent = connection.execute(_undecided(response_id, tool_calls.c.call_id)).scalars().all()
        denials = [CallDecision(call_id, Deny(why), None, None, now) for call_id in silent]
        added += [(owner, link) for link in _insert_decisions(connection, denials)]
        added += [(owner, link) for link in _refuse_waiting(connection, response_id, why, now)]
        over.append((owner, journal.end(connection, response_id, Incomplete("deadline"), now)))
    audit_chain.append_for_owners(connection, added)
    response_chain.RESPONSES.append_for_owners(connection, over)
    return [response_id for response_id, _ in expired]


def _insert_decisions(connection: Connection, decisions: Sequence[CallDecision]) -> list[audit_chain.Link]:
    """Write decisions down; their links are still to be appended."""
    made = [audit_chain.salted_decision(_decision_row(decision)) for decision in decisions]
    if made:
        connection.execute(insert(tool_call_approvals), made)
    return [audit_chain.decision_link(row) for row in made]


def _undecided(response_id: str, *columns: Any) -> Select[*tuple[Any, ...]]:
    decided = select(tool_call_approvals.c.call_id)
    waiting = (tool_calls.c.response_id == response_id) & WAITING & tool_calls.c.call_id.not_in(decided)
    return select(*columns).where(waiting).order_by(tool_calls.c.position)


def _refuse_waiting(connection: Connection, response_id: str, why: str, at: datetime) -> list[audit_chain.Link]:
    """Refuse every call that waits; their links are still to be appended."""
    unsettled = (tool_calls.c.response_id == response_id) & WAITING
    query = select(tool_calls.c.call_id).where(unsettled).order_by(tool_calls.c.position)
    refused = Outcome("refused", text_content(why), why, is_error=True)
    return [
        journal.settle(connection, call_id, rows.outcome_row(refused, at, stored=True), stored=True)
        for call_id in connection.execute(query).scalars().all()
    ]


def _conflict(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message, param="approvals")


# ---- rows -------------------------------------------------------------------------------------


def _decision_row(made: CallDecision) -> rows.Row:
    row: rows.Row = {
        "call_id": made.call_id,
        "reason": None,
        "arguments": None,
        "owner": made.owner,
        "token_id": made.token_id,
        "decided_at": made.decided_at,
    }
    match made.decision:
        case Approve(arguments):
            return row | {"decision": "approve", "arguments": arguments}
        case Deny(reason):
            return row | {"decision": "deny", "reason": reason}


def _decision(row: RowMapping) -> CallDecision:
    decision: Decision = Approve(row["edited"]) if row["decision"] == "approve" else Deny(row["why"])
    return CallDecision(row["call_id"], decision, row["decider"], row["decider_token"], row["decided_at"])


def _item(row: RowMapping) -> PlacedItem:
    if row["call_id"] is None:
        item = readings.text_item(row["type"], row["content"], row["logprobs"])
        return PlacedText(row["place"], row["in_turn"], item)
    output, structured = (
        row[name] if row[f"{name}_digest"] is None else row[f"long_{name}"] for name in ("output", "structured")
    )
    outcome = Outcome(row["status"], output, row["shown"], row["is_error"], row["duration_ms"], structured)
    if row["status"] == "handed_over":
        outcome = HANDED_OVER
    return PlacedCall(
        position=row["place"],
        turn=row["in_turn"],
        call_id=row["call_id"],
        model_name=row["model_name"],
        arguments_text=row["arguments_text"],
        arguments=row["arguments"],
        tool=row["tool"],
        provider=readings.provider_from(row["provider_type"], row["provider_name"]),
        digest=row["definition_digest"],
        reason=row["reason"],
        outcome=None if row["status"] in UNSETTLED else outcome,
        awaits_approval=row["status"] == "awaiting_approval",
        edited=row["edited"],
        server=readings.server_from(row["server_address"], row["server_name"], row["server_version"]),
    )


def _offered(found: Sequence[RowMapping]) -> tuple[OfferedTool, ...]:
    providers: list[tuple[str, str]] = []
    offered: list[OfferedTool] = []
    for row in found:
        key = row["provider_type"], row["provider_name"]
        if key not in providers:
            providers.append(key)
        provider = readings.provider_from(*key)
        assert provider is not None
        definition = definition_from_json(row["definition"])
        offered.append(OfferedTool(row["name"], definition, provider, providers.index(key), row["definition_digest"]))
    return tuple(offered)


def _suspension_json(suspension: Suspension, vault: WithheldVault, response_id: str) -> JsonObject:
    withheld = None if suspension.withheld is None else vault.sealed(suspension.withheld, response_id)
    return {
        **({} if withheld is None else {"withheld": withheld}),
        "counters": [
            {name: getattr(turn, name) for name in Counters.__dataclass_fields__} for turn in suspension.counters
        ],
        "load_seconds": suspension.load_seconds,
        "elapsed_seconds": suspension.elapsed_seconds,
    }


def _suspension(row: Row[Any, Any, Any, Any, Any], vault: WithheldVault, response_id: str) -> Suspension:
    known = cast("dict[str, Any]", row.suspension)
    counters = tuple(Counters(**turn) for turn in known["counters"])
    withheld = vault.opened(known.get("withheld"), response_id)
    warnings = tuple(row.warnings or ())
    return Suspension(row.expires_at, counters, known["load_seconds"], known["elapsed_seconds"], withheld, warnings)
