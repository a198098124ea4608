"""Listings of responses: any combination of filters, newest or oldest first, each page as fast as the first.

Every filter is an index whose entries end in the response's number, so that each can lead: it gives the
numbers in order, and the others are looked up. The rarest one leads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    exists,
    func,
    literal_column,
    select,
    true,
)

from orchestrator.core.listing import first_number
from orchestrator.ports import Page, ResponseFilter, ResponseSummary
from orchestrator.store import readings, search
from orchestrator.store.audit_query import server_names
from orchestrator.store.labels import EVERYBODY, LabelKind, label
from orchestrator.store.search_tables import response_labels
from orchestrator.store.tables import responses

_Labels: TypeAlias = tuple[int, ...]
"""Labels of which a response is to have one: a server has one for each way in which the journal spells it."""

COUNTED: Final = 2_000
"""Entries that are counted of each index to find the rarest; indexes with more are all alike."""

SUMMARY: Final = (
    responses.c.number,
    responses.c.id,
    responses.c.previous_response_id,
    responses.c.root_id,
    responses.c.depth,
    responses.c.owner,
    responses.c.model_key,
    responses.c.status,
    responses.c.ending_reason,
    responses.c.metadata,
    responses.c.input_preview,
    responses.c.output_preview,
    responses.c.created_at,
    responses.c.ended_at,
    responses.c.forked_from,
    responses.c.forked_position,
    responses.c.forked_rest,
    responses.c.replay_of,
)

_STORED: Final = responses.c.stored.is_(True)
_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)


def list_responses(
    connection: Connection, wanted: ResponseFilter, after: int | None, limit: int, *, oldest_first: bool
) -> Page[ResponseSummary]:
    """See `ResponseGraph.list_responses`."""
    span = _span(wanted, after, oldest_first=oldest_first)
    query = _query(connection, wanted, span, oldest_first=oldest_first).limit(limit + 1)
    found = [readings.summary(row) for row in connection.execute(query).mappings()]
    page = found[:limit]
    if wanted.text and page:
        snippets = search.snippets(connection, wanted.text, [each.number for each in page])
        page = [replace(each, snippet=snippets[each.number]) for each in page]
    return Page(tuple(page), page[-1].number if len(found) > limit else None)


@dataclass(frozen=True, slots=True)
class _Span:
    """The numbers in question: from `low` on and below `high`."""

    low: int | None
    high: int | None

    def of(self, number: ColumnElement[int]) -> ColumnElement[bool]:
        above = true() if self.low is None else number >= self.low
        return above & (true() if self.high is None else number < self.high)


def _span(wanted: ResponseFilter, after: int | None, *, oldest_first: bool) -> _Span:
    low = None if wanted.created_from is None else first_number(wanted.created_from)
    high = None if wanted.created_until is None else first_number(wanted.created_until)
    if after is not None and oldest_first:
        low = after + 1 if low is None else max(low, after + 1)
    elif after is not None:
        high = after if high is None else min(high, after)
    return _Span(low, high)


def _query(
    connection: Connection, wanted: ResponseFilter, span: _Span, *, oldest_first: bool
) -> Select[*tuple[Any, ...]]:
    labels = _labels(connection, wanted)
    source = select(*SUMMARY)
    place: ColumnElement[int] | None = None
    if wanted.text:
        search.search_alone(connection)
        index, number, condition = search.matching(connection, wanted.text, wanted.owner)
        source = source.join_from(index, responses, responses.c.number == number).where(condition)
        if search.is_seldom(connection, wanted.text, wanted.owner, span.of(number), oldest_first=oldest_first):
            place = number + 0  # an order that no index has, so that the words are looked up instead of looked for
    else:
        first = _rarest(connection, wanted, labels, span)
        if first is None:
            number = responses.c.number
        else:
            labels.remove(first)
            number = response_labels.c.number
            source = source.join_from(response_labels, responses, responses.c.number == number)
            source = source.where(response_labels.c.label == first[0])
    on_columns = _on_columns(wanted, may_lead=number is responses.c.number or connection.dialect.name != "sqlite")
    source = source.where(span.of(number), _STORED, *on_columns, *(_has(each) for each in labels))
    if connection.dialect.name == "postgresql":
        source = source.where(span.of(responses.c.number))  # a merge join would begin at the other end of the table
    place = number if place is None else place
    return source.order_by(place.asc() if oldest_first else place.desc())


def _on_columns(wanted: ResponseFilter, *, may_lead: bool = True) -> list[ColumnElement[bool]]:
    """What is asked of columns; SQLite would begin with their index and sort all that it finds, unless they are hidden."""
    given = ((responses.c.owner, wanted.owner), (responses.c.status, wanted.status))
    return [(column if may_lead else column.concat("")) == value for column, value in given if value is not None]


def _labels(connection: Connection, wanted: ResponseFilter) -> list[_Labels]:
    owner = EVERYBODY if wanted.owner is None else wanted.owner
    asked: list[tuple[LabelKind, tuple[str, ...]]] = []
    asked.extend(("metadata", pair) for pair in wanted.metadata)
    single: tuple[tuple[LabelKind, str | None], ...] = (("model", wanted.model_key), ("tool", wanted.tool))
    asked.extend((kind, (value,)) for kind, value in single if value is not None)
    labels: set[_Labels] = {(label(owner, kind, *value),) for kind, value in asked}
    servers: tuple[tuple[LabelKind, str | None], ...] = (("plugin", wanted.plugin_id), ("server", wanted.server_label))
    for kind, value in servers:
        if value is not None:
            names = server_names(connection, value) or [value]
            labels.add(tuple(sorted(label(owner, kind, name) for name in names)))
    return sorted(labels)


def _has(any_of: _Labels) -> ColumnElement[bool]:
    own = response_labels.alias()
    return exists().where(_is_one_of(own.c.label, any_of), own.c.number == responses.c.number)


def _rarest(connection: Connection, wanted: ResponseFilter, labels: Sequence[_Labels], span: _Span) -> _Labels | None:
    """The label that the fewest responses of the span have, None where a column does better or there is none.

    Of several labels none leads: a response that has two of them would come twice, and they have no common order.
    """
    sizes = {each: _count(connection, select(_ONE).where(_labelled(each, span))) for each in labels if len(each) == 1}
    if not sizes:
        return None
    first = min(sizes, key=lambda each: sizes[each])
    if wanted.status is None:
        return first
    columns = select(_ONE).where(_STORED, span.of(responses.c.number), *_on_columns(wanted))
    return None if _count(connection, columns) < sizes[first] else first


def _labelled(any_of: _Labels, span: _Span) -> ColumnElement[bool]:
    return _is_one_of(response_labels.c.label, any_of) & span.of(response_labels.c.number)


def _is_one_of(column: ColumnElement[int], any_of: _Labels) -> ColumnElement[bool]:
    return column == any_of[0] if len(any_of) == 1 else column.in_(any_of)


def _count(connection: Connection, query: Select[int]) -> int:
    return connection.execute(select(func.count()).select_from(query.limit(COUNTED).subquery())).scalar_one()
