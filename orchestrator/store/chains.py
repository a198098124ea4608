"""Reading responses: the items of one, or of a whole chain in a fixed number of queries whatever its depth."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, bindparam, func, null, select

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem, OutputEntry
from orchestrator.core.prompt import PastResponse
from orchestrator.core.tools import readable_content
from orchestrator.ports import Chain
from orchestrator.store.chain_memory import ChainLink, ChainMemory
from orchestrator.store.long_texts import long_text
from orchestrator.store.readings import call_entry, input_item, text_entry, tool_names
from orchestrator.store.tables import (
    blobs,
    input_items,
    output_items,
    responses,
    tool_call_approvals,
    tool_calls,
    tool_offers,
)

_T = TypeVar("_T")


def unusable_parent(response_id: str) -> OrchestratorError:
    """One error for every id that cannot be continued, so that nobody learns which ids exist."""
    message = f"There is no stored response '{response_id}' to continue."
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")


UNFINISHED: Final = ("in_progress", "awaiting_approval")
UNSETTLED: Final = ("journaled", "awaiting_approval")


def unfinished_parent(response_id: str, status: str) -> OrchestratorError:
    """The response will be one to continue from, only not yet."""
    why = "waits for approvals" if status == "awaiting_approval" else "is not finished yet"
    message = f"The response '{response_id}' {why}."
    return OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="previous_response_id")


_parent = responses.alias("parent")
_last = select(responses.c.id, responses.c.previous_response_id, responses.c.depth)
_chain = _last.where(responses.c.id == bindparam("response_id")).cte("chain", recursive=True)
_chain = _chain.union_all(
    select(_parent.c.id, _parent.c.previous_response_id, _parent.c.depth).where(
        _parent.c.id == _chain.c.previous_response_id, _parent.c.depth >= bindparam("from_depth")
    )
)

_HEAD: Final = (
    select(
        responses.c.status,
        responses.c.previous_response_id,
        responses.c.depth,
        responses.c.root_id,
        responses.c.system_prompt,
        tool_offers.c.tool_names,
    )
    .join_from(responses, tool_offers, isouter=True)
    .where(responses.c.id == bindparam("response_id"), responses.c.owner == bindparam("owner"), responses.c.stored)
)
_INPUT: Final = (
    select(
        _chain,
        input_items.c.position,
        input_items.c.type,
        input_items.c.content,
        blobs.c.content,
        input_items.c.origin,
    )
    .join_from(_chain, input_items, input_items.c.response_id == _chain.c.id, isouter=True)
    .join(blobs, blobs.c.digest == input_items.c.blob_digest, isouter=True)
)
"""With a row for a response that has no input, too."""

_OUTPUT: Final = select(
    _chain.c.depth, output_items.c.position, output_items.c.turn, output_items.c.type, output_items.c.content
).join_from(_chain, output_items, output_items.c.response_id == _chain.c.id)


def _calls(*, long_outputs: bool) -> Select[*tuple[Any, ...]]:
    output = func.coalesce(tool_calls.c.output, long_text("output") if long_outputs else "")
    structured = func.coalesce(tool_calls.c.structured, long_text("structured") if long_outputs else null())
    return (
        select(
            _chain.c.depth,
            output_items.c.position,
            output_items.c.turn,
            tool_calls.c.call_id,
            tool_calls.c.model_name,
            tool_calls.c.arguments_text,
            tool_calls.c.arguments,
            tool_calls.c.tool,
            tool_calls.c.provider_type,
            tool_calls.c.provider_name,
            tool_calls.c.reason,
            tool_calls.c.status,
            output,
            tool_calls.c.shown,
            tool_calls.c.is_error,
            tool_calls.c.duration_ms,
            tool_call_approvals.c.arguments,
            structured,
        )
        .join_from(_chain, output_items, output_items.c.response_id == _chain.c.id)
        .join(tool_calls, tool_calls.c.call_id == output_items.c.call_id)
        .join(tool_call_approvals, tool_call_approvals.c.call_id == tool_calls.c.call_id, isouter=True)
        .where(tool_calls.c.status.not_in(UNSETTLED))
    )


_CALLS: Final = _calls(long_outputs=False)
"""Apart from the texts, of which most output consists: they would carry a dozen NULLs each.

Asked only where there are calls at all: to walk a chain is a good part of what reading it costs. Long outputs
are left out: a prompt has what the model was shown of them, and a chain may hold many.
"""

_WHOLE_CALLS: Final = _calls(long_outputs=True)


_OUTPUTS: Final = select(
    tool_calls.c.call_id,
    func.coalesce(tool_calls.c.output, long_text("output")),
    func.coalesce(tool_calls.c.structured, long_text("structured")),
).where(tool_calls.c.call_id.in_(bindparam("call_ids", expanding=True)), tool_calls.c.owner == bindparam("owner"))
_OUTPUTS_AT_ONCE: Final = 500


def read_outputs(connection: Connection, call_ids: Sequence[str], owner: str) -> dict[str, str]:
    """See `ResponseStore.read_outputs`."""
    outputs: dict[str, str] = {}
    for start in range(0, len(call_ids), _OUTPUTS_AT_ONCE):
        asked = {"call_ids": call_ids[start : start + _OUTPUTS_AT_ONCE], "owner": owner}
        outputs |= {
            id: readable_content(output, structured)
            for id, output, structured in connection.execute(_OUTPUTS, asked).all()
            if output is not None
        }
    return outputs


def load_chain(connection: Connection, memory: ChainMemory, response_id: str, owner: str) -> Chain:
    """See `ResponseStore.load_chain`."""
    head = connection.execute(_HEAD, {"response_id": response_id, "owner": owner}).one_or_none()
    if head is None:
        raise unusable_parent(response_id)
    status, parent_id, depth, root_id, system_prompt, names = head
    if status in UNFINISHED:
        raise unfinished_parent(response_id, status)
    past = memory.path(response_id)
    if past is None:
        earlier = () if parent_id is None else memory.path(parent_id)
        links = read_links(connection, response_id, 0 if earlier is None else depth, depth, _CALLS)
        memory.keep(links)
        past = (*(earlier or ()), *[link.past for link in links])
    return Chain(past, system_prompt, tool_names(names), root_id)


def read_links(
    connection: Connection,
    response_id: str,
    from_depth: int,
    depth: int,
    calls_query: Select[*tuple[Any, ...]] = _WHOLE_CALLS,
) -> list[ChainLink]:
    """What was said and answered from `from_depth` to `response_id`, which is at `depth`, oldest first.

    Calls that are not settled are left out.
    """
    places: dict[int, tuple[str, str | None]] = {}
    said: dict[int, dict[int, InputItem]] = {level: {} for level in range(from_depth, depth + 1)}
    written: dict[int, dict[int, OutputEntry]] = {level: {} for level in said}
    path = {"response_id": response_id, "from_depth": from_depth}
    for id, parent_id, level, position, kind, content, blob, origin in connection.execute(_INPUT, path).all():
        places[level] = id, parent_id
        if position is not None:
            said[level][position] = input_item(kind, content, blob, origin)
    calls = False
    for level, position, turn, kind, content in connection.execute(_OUTPUT, path).all():
        if kind == "tool_call":
            calls = True
        else:
            written[level][position] = text_entry(kind, turn, content)
    for level, position, *call in connection.execute(calls_query, path).all() if calls else ():
        written[level][position] = call_entry(*call)
    return [
        ChainLink(*places[level], PastResponse(_in_order(asked), _in_order(written[level])))
        for level, asked in said.items()
    ]


def _in_order(items: dict[int, _T]) -> tuple[_T, ...]:
    return tuple([items[position] for position in sorted(items)])
