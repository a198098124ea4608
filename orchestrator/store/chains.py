"""Loading a chain: a fixed number of queries in one snapshot, whatever its depth."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem, OutputEntry
from orchestrator.core.prompt import PastResponse
from orchestrator.ports import Chain
from orchestrator.store.rows import call_entry, input_item, text_entry, tool_names
from orchestrator.store.tables import blobs, input_items, output_items, responses, tool_calls, tool_offers

Columns: TypeAlias = tuple[Column[Any], ...]
AnyRow: TypeAlias = Sequence[Any]

INPUT_COLUMNS: Final[Columns] = (input_items.c.position, input_items.c.type, input_items.c.content, blobs.c.content)
"""What `decode_input` takes."""

OUTPUT_COLUMNS: Final[Columns] = (
    output_items.c.position,
    output_items.c.type,
    output_items.c.turn,
    output_items.c.content,
    tool_calls.c.call_id,
    tool_calls.c.model_name,
    tool_calls.c.arguments_text,
    tool_calls.c.arguments,
    tool_calls.c.tool,
    tool_calls.c.provider_type,
    tool_calls.c.provider_name,
    tool_calls.c.reason,
    tool_calls.c.status,
    tool_calls.c.output,
    tool_calls.c.shown,
    tool_calls.c.is_error,
    tool_calls.c.duration_ms,
)
"""What `decode_output` takes."""

_OUTPUT_NAMES: Final = tuple([column.key for column in OUTPUT_COLUMNS])


def unusable_parent(response_id: str) -> OrchestratorError:
    """One error for every id that cannot be continued, so that nobody learns which ids exist."""
    message = f"There is no stored response '{response_id}' to continue."
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")


def unfinished_parent(response_id: str) -> OrchestratorError:
    """The response will be one to continue from, only not yet."""
    message = f"The response '{response_id}' is not finished yet."
    return OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="previous_response_id")


_parent = responses.alias("parent")
_head = select(responses.c.id, responses.c.previous_response_id, responses.c.depth)
_chain = _head.where(responses.c.id == bindparam("response_id")).cte("chain", recursive=True)
_chain = _chain.union_all(
    select(_parent.c.id, _parent.c.previous_response_id, _parent.c.depth).where(
        _parent.c.id == _chain.c.previous_response_id
    )
)

_HEAD: Final = (
    select(responses.c.status, responses.c.depth, responses.c.system_prompt, tool_offers.c.tool_names)
    .join_from(responses, tool_offers, isouter=True)
    .where(responses.c.id == bindparam("response_id"), responses.c.owner == bindparam("owner"), responses.c.stored)
)
_INPUT: Final = (
    select(*INPUT_COLUMNS, _chain.c.depth)
    .join_from(_chain, input_items, input_items.c.response_id == _chain.c.id)
    .join(blobs, blobs.c.digest == input_items.c.blob_digest, isouter=True)
)
_OUTPUT: Final = (
    select(*OUTPUT_COLUMNS, _chain.c.depth)
    .join_from(_chain, output_items, output_items.c.response_id == _chain.c.id)
    .join(tool_calls, tool_calls.c.call_id == output_items.c.call_id, isouter=True)
)


async def load_chain(connection: AsyncConnection, response_id: str, owner: str) -> Chain:
    """See `ResponseStore.load_chain`."""
    head = (await connection.execute(_HEAD, {"response_id": response_id, "owner": owner})).one_or_none()
    if head is None:
        raise unusable_parent(response_id)
    status, depth, system_prompt, names = head
    if status == "in_progress":
        raise unfinished_parent(response_id)
    said = _by_depth(await connection.execute(_INPUT, {"response_id": response_id}), depth)
    answered = _by_depth(await connection.execute(_OUTPUT, {"response_id": response_id}), depth)
    past = tuple(
        PastResponse(decode_input(asked), decode_output(told)) for asked, told in zip(said, answered, strict=True)
    )
    return Chain(past, system_prompt, tool_names(names))


def decode_input(rows: list[AnyRow]) -> tuple[InputItem, ...]:
    """The input of one response from its rows, in whatever order they come."""
    rows.sort(key=itemgetter(0))
    return tuple([input_item(kind, content, blob) for _, kind, content, blob, *_ in rows])


def decode_output(rows: list[AnyRow]) -> tuple[OutputEntry, ...]:
    """The output of one response from its rows, in whatever order they come, without unsettled calls."""
    rows.sort(key=itemgetter(0))
    entries = [
        call_entry(dict(zip(_OUTPUT_NAMES, row, strict=False)))
        if row[1] == "tool_call"
        else text_entry(row[1], row[2], row[3])
        for row in rows
    ]
    return tuple([entry for entry in entries if entry is not None])


def _by_depth(rows: Iterable[AnyRow], depth: int) -> list[list[AnyRow]]:
    """The rows of each level, the last column being the level."""
    levels: list[list[AnyRow]] = [[] for _ in range(depth + 1)]
    for row in rows:
        level: int = row[-1]
        levels[level].append(row)
    return levels
