"""Full-text search over what was said and answered: FTS5 on SQLite, a `tsvector` with GIN on Postgres.

Both are given the words of `core/search.py` and look them up as they are. The owner of a response stands
among its words, so that a search within one owner's responses costs what that owner has.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from orchestrator.core.search import BREAK, Snippet, Term, snippet, words_of
from orchestrator.store.columns import AnyText
from orchestrator.store.labels import owner_word
from orchestrator.store.search_tables import response_search
from orchestrator.store.tables import blobs, input_items, output_items, responses, tool_calls

SEARCHED_CHARACTERS: Final = 200_000
"""Of one item: more has more words than a response is found by."""

SEARCHED_OUTPUT: Final = 16_384
"""Of the result of a tool, which is data more often than text."""

_FTS: Final = table("response_words", column("rowid"), column("response_words"), column("words"))
_FTS_INSERT: Final = text("INSERT INTO response_words(rowid, words) VALUES (:number, :words)")
_FTS_DELETE: Final = text(
    "INSERT INTO response_words(response_words, rowid, words)"
    " SELECT 'delete', number, words FROM response_search WHERE number = :number"
)
_SECURE_DELETE: Final = text("INSERT INTO response_words(response_words, rank) VALUES ('secure-delete', 1)")
_MERGE: Final = text("INSERT INTO response_words(response_words, rank) VALUES ('merge', :pages)")
_ALONE: Final = text("SET LOCAL max_parallel_workers_per_gather = 0")
_OVERWRITES: Final = sqlite3.sqlite_version_info >= (3, 42)
"""Whether FTS5 can take a word out of its index at once, and not only when it next merges."""

_SAID: Final = (
    select(
        responses.c.number,
        input_items.c.position,
        func.substr(func.coalesce(input_items.c.content, blobs.c.content), 1, SEARCHED_CHARACTERS, type_=AnyText),
    )
    .join_from(input_items, responses)
    .join(blobs, blobs.c.digest == input_items.c.blob_digest, isouter=True)
    .where(input_items.c.type == "text", responses.c.number.in_(bindparam("numbers", expanding=True)))
)
_WRITTEN: Final = (
    select(
        responses.c.number,
        output_items.c.position,
        func.substr(output_items.c.content, 1, SEARCHED_CHARACTERS, type_=AnyText),
    )
    .join_from(output_items, responses)
    .where(output_items.c.content.is_not(None), responses.c.number.in_(bindparam("numbers", expanding=True)))
)
_CALLED: Final = (
    select(
        responses.c.number,
        output_items.c.position,
        tool_calls.c.tool,
        func.substr(tool_calls.c.arguments_text, 1, SEARCHED_OUTPUT, type_=AnyText),
        func.substr(tool_calls.c.shown, 1, SEARCHED_OUTPUT, type_=AnyText),
    )
    .join_from(output_items, responses)
    .join(tool_calls, tool_calls.c.call_id == output_items.c.call_id)
    .where(responses.c.number.in_(bindparam("numbers", expanding=True)))
)


def index_response(connection: Connection, number: int, owner: str) -> None:
    """Let an ended, stored response be found by its words."""
    words = [owner_word(owner), BREAK, *words_of(texts_of(connection, [number])[number])]
    connection.execute(insert(response_search), {"number": number, "words": words})
    if connection.dialect.name == "sqlite":
        connection.execute(_FTS_INSERT, {"number": number, "words": " ".join(words)})


def unindex(connection: Connection, numbers: Iterable[int]) -> None:
    """Let these be found no more; what the index held of them is overwritten, at once or by `merge_step`."""
    gone = [{"number": number} for number in numbers]
    if connection.dialect.name == "sqlite":
        if _OVERWRITES:
            connection.execute(_SECURE_DELETE)
        connection.execute(_FTS_DELETE, gone)
    connection.execute(delete(response_search).where(response_search.c.number == bindparam("number")), gone)


def merge_step(connection: Connection, *, begin: bool, pages: int = 500) -> bool:
    """Take a step in rewriting SQLite's index without what was deleted; whether there is more to do."""
    if connection.dialect.name != "sqlite":
        return False
    changes = text("SELECT total_changes()")
    before = connection.execute(changes).scalar_one()
    connection.execute(_MERGE, {"pages": -pages if begin else pages})
    # https://www.sqlite.org/fts5.html#the_merge_command
    return connection.execute(changes).scalar_one() - before >= 2


def needs_merge(connection: Connection) -> bool:
    """Whether this database keeps deleted words in its index until `merge_step` has rewritten it."""
    return connection.dialect.name == "sqlite" and not _OVERWRITES


def texts_of(connection: Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    """What each of these responses is searched for: input, then output in its order, calls with their results."""
    found: dict[int, dict[tuple[int, int], list[str]]] = {number: {} for number in numbers}
    asked = {"numbers": list(numbers)}
    for number, position, said in connection.execute(_SAID, asked):
        found[number][0, position] = [said or ""]
    for number, position, written in connection.execute(_WRITTEN, asked):
        found[number][1, position] = [written]
    for number, position, *call in connection.execute(_CALLED, asked):
        found[number][1, position] = [part for part in call if part]
    return {number: [part for place in sorted(parts) for part in parts[place]] for number, parts in found.items()}


def snippets(connection: Connection, terms: Sequence[Term], numbers: Sequence[int]) -> dict[int, Snippet | None]:
    """Where each of these responses has what was searched for."""
    return {number: snippet(terms, texts) for number, texts in texts_of(connection, numbers).items()}


def matching(
    connection: Connection, terms: Sequence[Term], owner: str | None
) -> tuple[FromClause, ColumnElement[int], ColumnElement[bool]]:
    """What to select from, the number there, and the condition that all of `terms` are in a response of the owner's."""
    if connection.dialect.name == "sqlite":
        query = " AND ".join(_fts_term(term) for term in _asked(terms, owner))
        return _FTS, _FTS.c.rowid, _FTS.c.response_words.op("MATCH")(query)
    return response_search, response_search.c.number, _matches(response_search.c.words, terms, owner)


def search_alone(connection: Connection) -> None:
    """Have no workers started for the searches of this unit of work: on Postgres that takes longer than they do."""
    if connection.dialect.name != "sqlite":
        connection.execute(_ALONE)


def is_seldom(
    connection: Connection, terms: Sequence[Term], owner: str | None, span: ColumnElement[bool], *, oldest_first: bool
) -> bool:
    """Whether hardly any of the first responses in a span of numbers have all of `terms`. Only Postgres needs to know.

    It takes words that it has no statistics of for far more frequent than they are, and then reads every response in
    order to meet the few that have them.
    """
    if connection.dialect.name == "sqlite":
        return False
    number = response_search.c.number
    first = select(response_search.c.words).where(span).order_by(number.asc() if oldest_first else number.desc())
    sample = first.limit(SAMPLE).subquery()
    found = select(literal_column("1", Integer)).select_from(sample).where(_matches(sample.c.words, terms, owner))
    count = select(func.count()).select_from(found.limit(SELDOM).subquery())
    return connection.execute(count).scalar_one() < SELDOM


SAMPLE: Final = 500
SELDOM: Final = 10
"""Of a sample: with as many, a page of the listing is met within a few thousand responses."""


def _asked(terms: Sequence[Term], owner: str | None) -> list[Term]:
    return [*([] if owner is None else [Term((owner_word(owner),))]), *terms]


def _matches(words: ColumnElement[Any], terms: Sequence[Term], owner: str | None) -> ColumnElement[bool]:
    return words.op("@@")(cast(" & ".join(_ts_term(term) for term in _asked(terms, owner)), TSQUERY))


def _fts_term(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")


def _ts_term(term: Term) -> str:
    *whole, last = (f"'{word}'" for word in term.words)
    phrase = " <-> ".join([*whole, last + (":*" if term.prefix else "")])
    return f"({phrase})"
