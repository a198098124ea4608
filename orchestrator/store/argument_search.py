"""Finding calls by their arguments: by the index as far as it goes, and beyond that by the arguments themselves.

The index has the beginning of a value, and so many values of a call. What it says of a call is certain where nothing
of it was cut; of the others it says that they are possible, and their arguments are read.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Text, and_, case, exists, func, not_, or_, select, true, type_coerce

from orchestrator.ports.audit import ArgumentPattern
from orchestrator.store.audit_arguments import CUT, MOST_CHARACTERS, glob_marks, has_argument
from orchestrator.store.tables import call_arguments, tool_calls

READ_AT_ONCE: Final = 20
"""How many calls have their arguments in memory at once."""

_arguments = call_arguments.c
_ESCAPED: Final = "%\x10%"
"""A character that a database cannot hold is written as several, so that `?` does not fit."""


def literal_part(glob: str) -> tuple[str, bool, bool]:
    """The text that `glob` begins with, as much as the index has, whether that is all, and whether only a `*` follows."""
    text = ""
    marks = list(glob_marks(glob))
    for number, (mark, character) in enumerate(marks):
        if mark:
            rest = marks[number:]
            return text[:MOST_CHARACTERS], False, rest == [(True, "*")]
        text += character
    return text[:MOST_CHARACTERS], True, False


def like(connection: Connection, pattern: ArgumentPattern) -> ColumnElement[bool]:
    """A value of the index is like the pattern, as far as the index has it."""
    text, is_exact, is_prefix = literal_part(pattern.glob)
    at_path = _arguments.path == pattern.path[:MOST_CHARACTERS]
    if is_exact:
        return and_(at_path, _arguments.value == text)
    in_range = and_(_arguments.value >= text, _arguments.value < text + "\U0010ffff") if text else true()
    if is_prefix:
        return and_(at_path, in_range)
    if connection.dialect.name == "sqlite":
        whole = "".join(
            character if mark else _GLOB.get(character, character) for mark, character in glob_marks(pattern.glob)
        )
        return and_(at_path, in_range, _arguments.value.op("GLOB")(whole))
    whole = "".join(
        _LIKE_MARKS[character] if mark else f"/{character}" if character in "%_/" else character
        for mark, character in glob_marks(pattern.glob)
    )
    return and_(at_path, in_range, _arguments.value.like(whole, escape="/"))


_GLOB: Final = {"*": "[*]", "?": "[?]", "[": "[[]"}
_LIKE_MARKS: Final = {"*": "%", "?": "_"}


def certain(connection: Connection, pattern: ArgumentPattern, columns: Any) -> ColumnElement[bool]:
    """The call of a row that has these `columns` of the journal is like the pattern, by what the index has whole."""
    return exists().where(_arguments.call_id == columns.call_id, _is_whole_and_like(connection, pattern))


def possible(connection: Connection, pattern: ArgumentPattern, columns: Any) -> ColumnElement[bool]:
    """The call is like the pattern, or the index does not have all that may be."""
    undecided = exists().where(_arguments.call_id == columns.call_id, _is_undecided(pattern))
    return or_(certain(connection, pattern, columns), undecided)


def possible_here(connection: Connection, pattern: ArgumentPattern, columns: Any) -> ColumnElement[bool]:
    """The same where rows are looked at one after the other, until there are enough.

    An aggregate: of what merely has to exist Postgres may look for all there is first, which takes longer than a page.
    """
    fits = or_(_is_whole_and_like(connection, pattern), _is_undecided(pattern))
    found = select(func.max(case((fits, 1), else_=0))).where(_arguments.call_id == columns.call_id)
    return found.scalar_subquery() == 1


def _is_whole_and_like(connection: Connection, pattern: ArgumentPattern) -> ColumnElement[bool]:
    text, is_exact, is_prefix = literal_part(pattern.glob)
    whole: ColumnElement[bool] = and_(func.length(_arguments.path) < MOST_CHARACTERS)
    if not (is_prefix and len(text) < MOST_CHARACTERS):
        whole = and_(whole, func.length(_arguments.value) < MOST_CHARACTERS)
    if not is_exact and not is_prefix:
        whole = and_(whole, not_(type_coerce(_arguments.value, Text).like(_ESCAPED)))
    return and_(like(connection, pattern), whole)


def _is_undecided(pattern: ArgumentPattern) -> ColumnElement[bool]:
    cut_value = and_(_arguments.path == pattern.path, func.length(_arguments.value) >= MOST_CHARACTERS)
    escaped = and_(_arguments.path == pattern.path, type_coerce(_arguments.value, Text).like(_ESCAPED))
    # A path that is cut, or the mark of a call that has more values than the index takes.
    return or_(cut_value, escaped, func.length(_arguments.path) >= MOST_CHARACTERS)


def cut() -> ColumnElement[bool]:
    """The row of the index says that it has not all values of its call."""
    path, value = CUT
    return and_(_arguments.path == path, _arguments.value == value)


def confirmed(connection: Connection, patterns: Sequence[ArgumentPattern], call_ids: Sequence[str]) -> frozenset[str]:
    """Which of these calls have such arguments."""
    if not patterns or not call_ids:
        return frozenset(call_ids)
    columns = tool_calls.c
    rows = select(columns.call_id).where(columns.call_id.in_(call_ids))
    sure = rows.where(*(certain(connection, pattern, columns) for pattern in patterns))
    kept = frozenset(connection.execute(sure).scalars())
    return kept | frozenset(_read(connection, patterns, [call_id for call_id in call_ids if call_id not in kept]))


def _read(connection: Connection, patterns: Sequence[ArgumentPattern], call_ids: Sequence[str]) -> Iterator[str]:
    """Which of these calls have such arguments, by the arguments themselves."""
    query = select(tool_calls.c.call_id, tool_calls.c.arguments)
    for start in range(0, len(call_ids), READ_AT_ONCE):
        some = call_ids[start : start + READ_AT_ONCE]
        for call_id, arguments in connection.execute(query.where(tool_calls.c.call_id.in_(some))):
            if all(has_argument(arguments, pattern.path, pattern.glob) for pattern in patterns):
                yield call_id
