"""What responses show of the journal, and what prompts are told of them: held against the rows that the chain proves."""

from typing import Final

from sqlalchemy import Connection, and_, exists, or_, select

from orchestrator.core.errors import OrchestratorError
from orchestrator.ports.audit import AuditProblem
from orchestrator.store import audit_links as links
from orchestrator.store.audit_readable import UNREADABLE
from orchestrator.store.chain_segments import is_as_told
from orchestrator.store.chains import TOLD, read_links
from orchestrator.store.derived_tables import chain_segments
from orchestrator.store.tables import output_items, responses, tool_calls

HIDDEN: Final = "the response '{}' made it, and does not show it in its place any more"
NOT_ITS_OWN: Final = (
    "the response '{}' shows it there, and neither made it there nor has it of the response that it left for a branch"
)
SEGMENT: Final = "prompts are told something else of the chain up to the response '{}' than its rows say"

_maker = responses.alias("maker")


def hidden_call(connection: Connection) -> AuditProblem | None:
    """A call that its response does not show where the model made it, though the response has its content."""
    item, call = output_items.c, tool_calls.c
    shown = exists().where(
        item.response_id == call.response_id, item.position == call.position, item.call_id == call.call_id
    )
    query = select(call.call_id, call.owner, call.response_id).join_from(
        tool_calls, responses, responses.c.id == call.response_id
    )
    query = query.where(responses.c.stored, ~shown).order_by(call.created_at, call.call_id).limit(1)
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    return AuditProblem(found.owner, 0, found.call_id, HIDDEN.format(found.response_id))


def foreign_call(connection: Connection) -> AuditProblem | None:
    """A call that a response shows, and that is neither its own nor one of the response that it is a branch of."""
    item, call = output_items.c, tool_calls.c
    shared = and_(
        responses.c.forked_from.is_not(None),
        responses.c.root_id == _maker.c.root_id,
        responses.c.owner == call.owner,
    )
    query = (
        select(call.call_id, call.owner, item.response_id)
        .join_from(output_items, tool_calls, call.call_id == item.call_id)
        .join(responses, responses.c.id == item.response_id)
        .join(_maker, _maker.c.id == call.response_id)
        .where(or_(item.position != call.position, and_(item.response_id != call.response_id, ~shared)))
    )
    found = connection.execute(query.order_by(item.response_id, item.position).limit(1)).one_or_none()
    if found is None:
        return None
    return AuditProblem(found.owner, 0, found.call_id, NOT_ITS_OWN.format(found.response_id))


def forged_segment(connection: Connection) -> AuditProblem | None:
    """A piece of a long chain that tells prompts something else than its rows: each is made again.

    Pieces with calls of functions are left out: what a client answers may be told after a piece was put away.
    """
    segment, before = chain_segments.c, responses.alias("before")
    query = (
        select(segment.response_id, segment.previous_id, responses.c.owner, responses.c.depth, before.c.depth)
        .join_from(chain_segments, responses, responses.c.id == segment.response_id)
        .join(before, before.c.id == segment.previous_id, isouter=True)
        .order_by(segment.response_id)
    )
    contents = select(segment.content)
    for response_id, previous_id, owner, depth, depth_before in connection.execute(query).all():
        [content] = connection.execute(contents.where(segment.response_id == response_id)).scalars()
        try:
            first = 0 if previous_id is None else depth_before + 1
            told = read_links(connection, response_id, first, depth, TOLD)
            if not _has_functions(connection, [link.id for link in told]):
                right = told[0].parent_id == previous_id and is_as_told(content, previous_id, told)
            else:
                right = True
        except (*UNREADABLE, AssertionError, OrchestratorError):
            right = False
        if not right:
            return AuditProblem(owner or links.SERVICE, 0, None, SEGMENT.format(response_id))
    return None


def _has_functions(connection: Connection, response_ids: list[str]) -> bool:
    query = select(tool_calls.c.call_id).join_from(
        output_items, tool_calls, tool_calls.c.call_id == output_items.c.call_id
    )
    functions = output_items.c.response_id.in_(response_ids), tool_calls.c.provider_type == "client"
    return connection.execute(query.where(*functions).limit(1)).first() is not None


LOOKS: Final = (hidden_call, foreign_call, forged_segment)
"""What is looked at in this order, each on one snapshot."""
