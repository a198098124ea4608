"""Reading responses: the items of one, or of a whole chain in a fixed number of queries whatever its depth."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import CTE, Connection, Select, bindparam, func, null, select

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem, OutputEntry
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import PastResponse
from orchestrator.core.tools import readable_content
from orchestrator.ports import INHERITS, Chain
from orchestrator.store.chain_memory import ChainLink, ChainMemory, ChainPart, ChainSegment, pasts_of
from orchestrator.store.chain_segments import RESPONSES, NewSegment, ReadSegment, new_segments, read_segments
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
_PLACE: Final = select(responses.c.depth).where(
    responses.c.id == bindparam("response_id"), responses.c.owner == bindparam("owner")
)
_PROMPTS: Final = (
    select(responses.c.previous_response_id, responses.c.system_prompt, responses.c.parameters)
    .join_from(_chain, responses, responses.c.id == _chain.c.id)
    .order_by(responses.c.depth.desc())
)
_PROMPTS_AT_ONCE: Final = 64
_SOME: Final = _last.where(responses.c.id.in_(bindparam("ids", expanding=True))).cte("some")


def _input(path: CTE) -> Select[*tuple[Any, ...]]:
    """With a row for a response that has no input, too."""
    return (
        select(
            path,
            input_items.c.position,
            input_items.c.type,
            input_items.c.content,
            blobs.c.content,
            input_items.c.origin,
            input_items.c.details,
        )
        .join_from(path, input_items, input_items.c.response_id == path.c.id, isouter=True)
        .join(blobs, blobs.c.digest == input_items.c.blob_digest, isouter=True)
    )


def _output(path: CTE, *, logprobs: bool) -> Select[*tuple[Any, ...]]:
    return select(
        path.c.depth,
        output_items.c.position,
        output_items.c.turn,
        output_items.c.type,
        output_items.c.content,
        output_items.c.logprobs if logprobs else null(),
    ).join_from(path, output_items, output_items.c.response_id == path.c.id)


def _calls(path: CTE, *, long_outputs: bool) -> Select[*tuple[Any, ...]]:
    output = func.coalesce(tool_calls.c.output, long_text("output") if long_outputs else "")
    structured = func.coalesce(tool_calls.c.structured, long_text("structured") if long_outputs else null())
    return (
        select(
            path.c.depth,
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
        .join_from(path, output_items, output_items.c.response_id == path.c.id)
        .join(tool_calls, tool_calls.c.call_id == output_items.c.call_id)
        .join(tool_call_approvals, tool_call_approvals.c.call_id == tool_calls.c.call_id, isouter=True)
        .where(tool_calls.c.status.not_in(UNSETTLED))
    )


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of the items of some responses.

    Calls apart from the texts, of which most output consists: they would carry a dozen NULLs each. And only where
    there are calls at all: to walk a chain is a good part of what reading it costs.
    """

    input: Select[*tuple[Any, ...]]
    output: Select[*tuple[Any, ...]]
    calls: Select[*tuple[Any, ...]]


def _questions(path: CTE, *, whole: bool) -> Questions:
    return Questions(_input(path), _output(path, logprobs=whole), _calls(path, long_outputs=whole))


TOLD: Final = _questions(_chain, whole=False)
"""Long outputs are left out: a prompt has what the model was shown of them, and a chain may hold many. So are logprobs."""

_SOME_TOLD: Final = _questions(_SOME, whole=False)
_WHOLE: Final = _questions(_chain, whole=True)


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


@dataclass(frozen=True, slots=True)
class LoadedChain:
    """A chain, and what of it is to be put away so that it is read faster."""

    chain: Chain
    unkept: Sequence[NewSegment]


def load_chain(
    connection: Connection, memory: ChainMemory, response_id: str, owner: str, segment_length: int = RESPONSES
) -> LoadedChain:
    """See `ResponseStore.load_chain`."""
    head = connection.execute(_HEAD, {"response_id": response_id, "owner": owner}).one_or_none()
    if head is None:
        raise unusable_parent(response_id)
    status, parent_id, depth, root_id, system_prompt, names = head
    if status in UNFINISHED:
        raise unfinished_parent(response_id, status)
    parts = memory.path(response_id)
    if parts is None:
        earlier = () if parent_id is None else memory.path(parent_id)
        if earlier is None:
            parts = _read_parts(connection, response_id, depth, segment_length)
        else:
            parts = (*earlier, *read_links(connection, response_id, depth, depth, TOLD))
        memory.keep(parts)
    chain = Chain(pasts_of(parts), system_prompt, tool_names(names), root_id)
    return LoadedChain(chain, _unkept(parts, segment_length))


def inherited_prompt(connection: Connection, response_id: str, owner: str) -> str | None:
    """See `ResponseStore.inherited_prompt`."""
    wanted: str | None = response_id
    while wanted is not None:
        head = connection.execute(_PLACE, {"response_id": wanted, "owner": owner}).one_or_none()
        if head is None:
            return None
        asked = {"response_id": wanted, "from_depth": head.depth - _PROMPTS_AT_ONCE}
        for step in connection.execute(_PROMPTS, asked):
            parameters: JsonObject = step.parameters or {}
            if step.system_prompt is not None or parameters.get(INHERITS, True):
                return step.system_prompt
            wanted = step.previous_response_id
    return None


def _unkept(parts: Sequence[ChainPart], segment_length: int) -> list[NewSegment]:
    links = [part for part in parts if isinstance(part, ChainLink)]
    return new_segments(links[0].parent_id, links, segment_length) if len(links) >= segment_length else []


def _read_parts(connection: Connection, response_id: str, depth: int, segment_length: int) -> tuple[ChainPart, ...]:
    """The chain from the database: its segments, and the rows of what came after them."""
    whole = (depth + 1) // segment_length * segment_length
    # The last segment is not there yet where nobody has gone on from its end.
    for first in (whole, whole - segment_length):
        if first > 0:
            links = read_links(connection, response_id, first, depth, TOLD) if first <= depth else []
            end = links[0].parent_id if links else response_id
            segments = [] if end is None else read_segments(connection, end)
            if segments:
                return (*_filled(connection, segments), *links)
    return tuple(read_links(connection, response_id, 0, depth, TOLD))


def _filled(connection: Connection, segments: Sequence[ReadSegment]) -> Iterator[ChainSegment]:
    ids = [place for segment in segments for place in segment.places if isinstance(place, str)]
    rows: dict[str, PastResponse] = {}
    for start in range(0, len(ids), _OUTPUTS_AT_ONCE):
        some = ids[start : start + _OUTPUTS_AT_ONCE]
        rows |= {link.id: link.past for link in _read(connection, _SOME_TOLD, {"ids": some})}
    return (segment.filled(rows) for segment in segments)


def read_links(
    connection: Connection, response_id: str, from_depth: int, depth: int, questions: Questions = _WHOLE
) -> list[ChainLink]:
    """What was said and answered from `from_depth` to `response_id`, which is at `depth`, oldest first.

    Calls that are not settled are left out.
    """
    links = _read(connection, questions, {"response_id": response_id, "from_depth": from_depth})
    assert len(links) == depth + 1 - from_depth
    return links


def _read(connection: Connection, questions: Questions, asked: dict[str, Any]) -> list[ChainLink]:
    """Responses of one chain by their rows, oldest first."""
    places: dict[int, tuple[str, str | None]] = {}
    said: dict[int, dict[int, InputItem]] = defaultdict(dict)
    written: dict[int, dict[int, OutputEntry]] = defaultdict(dict)
    for id, parent_id, level, position, *said_so in connection.execute(questions.input, asked).all():
        places[level] = id, parent_id
        if position is not None:
            said[level][position] = input_item(*said_so)
    calls = False
    for level, position, turn, kind, *text in connection.execute(questions.output, asked).all():
        if kind == "tool_call":
            calls = True
        else:
            written[level][position] = text_entry(kind, turn, *text)
    for level, position, *call in connection.execute(questions.calls, asked).all() if calls else ():
        written[level][position] = call_entry(*call)
    return [
        ChainLink(*places[level], PastResponse(_in_order(said[level]), _in_order(written[level])))
        for level in sorted(places)
    ]


def _in_order(items: dict[int, _T]) -> tuple[_T, ...]:
    return tuple([items[position] for position in sorted(items)])
