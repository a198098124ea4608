"""Long chains in pieces that are read at once, as prompts tell them.

A chain is divided where its depth is a multiple of `RESPONSES`; whoever finds that the responses of a piece are over
puts them away under the id of the last one. A piece holds nothing that its responses do not, in rows of their own: it
is there to be read sooner, and goes when its last response does, which is before any other of it can go. A response
that a prompt may tell in more than one way, or that has pictures or long texts, stays in its rows: of that one the
piece has the id.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Final, assert_never

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from orchestrator.core.items import TextInput, heads_of
from orchestrator.core.prompt import (
    AssistantMessage,
    Past,
    PastResponse,
    PastSegment,
    PromptMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    lacks_pictures,
)
from orchestrator.core.reading import told_segment
from orchestrator.ports import LONG_TEXT
from orchestrator.store.chain_memory import ChainLink, ChainSegment
from orchestrator.store.derived_tables import chain_segments
from orchestrator.store.inserting import insert_missing
from orchestrator.store.tables import responses

RESPONSES: Final = 32
"""Responses of a segment."""

VERSION: Final = 1
"""Of what a segment has. One of another version is not read: raise it when prompts tell responses in another way."""

_A_MESSAGE: Final = 256
"""What a message counts for in the memory beside its text."""


class _Told(msgspec.Struct, array_like=True):
    """A `PastSegment`: its messages by their kind, and the order of kinds."""

    order: str
    said: list[list[str]]
    written: list[AssistantMessage]
    results: list[ToolMessage]
    cut: bool
    calls: tuple[str, ...]


class _Content(msgspec.Struct, array_like=True):
    """What was told, each followed by the ids of responses that are to be read from their rows."""

    version: int
    pieces: list[tuple[_Told, list[str]]]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Content).decode
_version: Final = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw]).decode
"""Whatever the rest is."""

_path = (
    select(chain_segments.c.response_id, chain_segments.c.previous_id)
    .where(chain_segments.c.response_id == bindparam("response_id"))
    .cte("path", recursive=True)
)
_path = _path.union_all(
    select(chain_segments.c.response_id, chain_segments.c.previous_id).where(
        chain_segments.c.response_id == _path.c.previous_id
    )
)
_SEGMENTS: Final = select(
    chain_segments.c.response_id, chain_segments.c.previous_id, chain_segments.c.content
).join_from(_path, chain_segments, chain_segments.c.response_id == _path.c.response_id)

_ENDS: Final = (
    select(responses.c.id)
    .where(responses.c.id.in_(bindparam("ids", expanding=True)), responses.c.stored)
    .order_by(responses.c.id)
    .with_for_update(read=True, key_share=True)
)
"""Those of the last responses that are still there, which nobody deletes until the segments are."""


@dataclass(frozen=True, slots=True)
class ReadSegment:
    """A segment as it was read: `places` has a piece, or the id of a response that is to be read from its rows."""

    id: str
    parent_id: str | None
    places: tuple[PastSegment | str, ...]
    size: int

    def filled(self, rows: Mapping[str, PastResponse]) -> ChainSegment:
        """The segment, with those responses."""
        pasts = tuple(rows[place] if isinstance(place, str) else place for place in self.places)
        return ChainSegment(self.id, self.parent_id, pasts, self.size)


def read_segments(connection: Connection, last_id: str) -> list[ReadSegment]:
    """The chain up to `last_id`, oldest first, or nothing where a segment of it is missing."""
    rows = connection.execute(_SEGMENTS, {"response_id": last_id}).all()
    found = {row.response_id: row for row in rows}
    segments: list[ReadSegment] = []
    wanted: str | None = last_id
    while wanted is not None:
        row = found.get(wanted)
        if row is None or _version(row.content)[0] != VERSION:
            return []
        segments.append(_read(row.response_id, row.previous_id, row.content))
        wanted = row.previous_id
    return segments[::-1]


def _read(id: str, parent_id: str | None, content: bytes) -> ReadSegment:
    places: list[PastSegment | str] = []
    pieces = _decode(content).pieces
    for told, others in pieces:
        if told.order:
            places.append(_told(told))
        places += others
    return ReadSegment(id, parent_id, tuple(places), _size(content, pieces))


def _told(told: _Told) -> PastSegment:
    kinds: dict[str, Iterator[PromptMessage]] = {
        "u": map(_user_message, told.said),
        "a": iter(told.written),
        "t": iter(told.results),
    }
    messages = tuple([next(kinds[kind]) for kind in told.order])
    return PastSegment(messages, told.cut, told.calls)


def _slot(owner: type, name: str) -> Callable[[object, object], None]:
    return getattr(owner, name).__set__


# Thousands of them are made where a chain is long, and the constructor of a frozen dataclass takes three times as long.
_new: Final = object.__new__
_set_parts: Final = _slot(UserMessage, "parts")
_set_name: Final = _slot(UserMessage, "name")
_set_content: Final = _slot(TextInput, "content")
_DEFAULTS: Final = [(_slot(TextInput, field.name), field.default) for field in fields(TextInput)[1:]]


def _user_message(texts: list[str]) -> UserMessage:
    message = _new(UserMessage)
    _set_parts(message, tuple([_text(content) for content in texts]))
    _set_name(message, "")
    return message


def _text(content: str) -> TextInput:
    text = _new(TextInput)
    _set_content(text, content)
    for set_field, default in _DEFAULTS:
        set_field(text, default)
    return text


# ---- putting away -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment that is not in the database: the ids of its responses, and what its row has."""

    segment: ChainSegment
    response_ids: tuple[str, ...]
    content: bytes


def new_segments(parent_id: str | None, links: Sequence[ChainLink], length: int) -> list[NewSegment]:
    """The segments of `length` responses that `links` fill, which follow each other from the end of a segment on."""
    segments: list[NewSegment] = []
    for start in range(0, len(links) - length + 1, length):
        segments.append(_made(parent_id, links[start : start + length]))
        parent_id = segments[-1].segment.id
    return segments


def _made(parent_id: str | None, links: Sequence[ChainLink]) -> NewSegment:
    pasts: list[Past] = []
    pieces = [(_untold(PastSegment((), cut=False, calls=())), list[str]())]
    for is_plain, group in groupby(links, lambda link: _is_plain(link.past)):
        some = list(group)
        if is_plain:
            told = told_segment([link.past for link in some])
            pasts.append(told)
            pieces.append((_untold(told), []))
        else:
            pasts += [link.past for link in some]
            pieces[-1][1].extend(link.id for link in some)
    content = _encode(_Content(VERSION, pieces))
    segment = ChainSegment(links[-1].id, parent_id, tuple(pasts), _size(content, pieces))
    return NewSegment(segment, tuple(link.id for link in links), content)


def is_as_told(content: bytes, parent_id: str | None, links: Sequence[ChainLink]) -> bool:
    """Whether a segment's row has what prompts tell of these responses; one of another version is not read anyway."""
    return _version(content)[0] != VERSION or content == _made(parent_id, links).content


def _untold(past: PastSegment) -> _Told:
    told = _Told("", [], [], [], past.cut, past.calls)
    for message in past.told:
        match message:
            case UserMessage(parts):
                told.order += "u"
                told.said.append([part.content for part in parts if isinstance(part, TextInput)])
            case AssistantMessage():
                told.order += "a"
                told.written.append(message)
            case ToolMessage():
                told.order += "t"
                told.results.append(message)
            case SystemMessage():
                raise AssertionError("what has one is not plain")
            case _:
                assert_never(message)
    return told


def _size(content: bytes, pieces: Sequence[tuple[_Told, Sequence[str]]]) -> int:
    return len(content) + _A_MESSAGE * sum(len(told.order) for told, _ in pieces)


def _is_plain(past: PastResponse) -> bool:
    """Whether there is one way to tell it, in texts that are not long and that files can hold."""
    if heads_of(past.input):  # they stand at the beginning of the prompt, not here
        return False
    messages = past.messages(vision=False)
    if past.messages(vision=True) != messages or any(map(lacks_pictures, past.output)):
        return False
    if any(isinstance(message, SystemMessage) for message in messages):  # a client's history may have one
        return False
    if any(isinstance(message, UserMessage) and message.name for message in messages):
        return False
    said = (part for message in messages if isinstance(message, UserMessage) for part in message.parts)
    if not all(isinstance(part, TextInput) and part.origin is None and len(part.content) <= LONG_TEXT for part in said):
        return False
    try:
        _encode(messages)
    except UnicodeEncodeError:
        return False
    return True


def keep_segments(connection: Connection, segments: Sequence[NewSegment]) -> None:
    """Put these away as far as their responses are still there; what is there already is no error."""
    ids = sorted(new.segment.id for new in segments)
    kept = {*connection.execute(_ENDS, {"ids": ids}).scalars()}
    rows = [
        {"response_id": new.segment.id, "previous_id": new.segment.parent_id, "content": new.content}
        for new in segments
        if new.segment.id in kept
    ]
    insert_missing(connection, chain_segments, rows)


def forget_segments(connection: Connection, response_ids: Sequence[str]) -> None:
    """These responses are erased, and with them all that continue them."""
    ended = chain_segments.c.response_id.in_(bindparam("ids", expanding=True))
    connection.execute(delete(chain_segments).where(ended), {"ids": list(response_ids)})
