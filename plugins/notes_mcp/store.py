"""The notes in one SQLite file that several processes may use at once.

Rules:
1. Every change is one transaction that takes the write lock when it begins: what it read cannot change under it, and a process
   that dies in the middle leaves nothing behind.
2. A change returns after it is on the disk (write-ahead log, full synchronisation).
3. Whoever finds the file locked waits, up to `LOCK_SECONDS`.
4. A file that is not a notes file is refused and not touched.
"""

import difflib
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Self

from notes_mcp.errors import NotesError
from notes_mcp.note import (
    LONGEST_TEXT,
    MOST_NOTES,
    Note,
    NoteHeading,
    NoteMatch,
    clean_tags,
    clean_text,
    clean_title,
    title_key,
)
from notes_mcp.query import all_words, any_word, clean_query, excerpt_around, query_words

LOCK_SECONDS = 10.0
# "note" in ASCII: marks the file as ours.
APPLICATION_ID = 0x6E6F7465
SCHEMA_VERSION = 1
MOST_MATCHES = 10
# Comparing a misspelt title with every other would take long; what was changed last is likely meant.
MOST_SUGGESTIBLE = 1_000

_SCHEMA = (
    """
    CREATE TABLE notes (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL, tags TEXT NOT NULL,
        created TEXT NOT NULL, updated TEXT NOT NULL
    )
    """,
    "CREATE INDEX notes_by_update ON notes (updated, id)",
    """
    CREATE VIRTUAL TABLE words USING fts5 (
        title, text, tags, content='notes', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER notes_added AFTER INSERT ON notes BEGIN
        INSERT INTO words (rowid, title, text, tags) VALUES (new.id, new.title, new.text, new.tags);
    END
    """,
    """
    CREATE TRIGGER notes_removed AFTER DELETE ON notes BEGIN
        INSERT INTO words (words, rowid, title, text, tags) VALUES ('delete', old.id, old.title, old.text, old.tags);
    END
    """,
    """
    CREATE TRIGGER notes_changed AFTER UPDATE ON notes BEGIN
        INSERT INTO words (words, rowid, title, text, tags) VALUES ('delete', old.id, old.title, old.text, old.tags);
        INSERT INTO words (rowid, title, text, tags) VALUES (new.id, new.title, new.text, new.tags);
    END
    """,
)
# A word in the title says more about a note than one in its text.
_SEARCH = """
    SELECT notes.title, snippet(words, 1, '', '', '…', 16), notes.tags FROM words JOIN notes ON notes.id = words.rowid
    WHERE words MATCH ? ORDER BY bm25(words, 5.0, 1.0, 3.0), notes.updated DESC, notes.id LIMIT ?
"""
_SEARCH_LITERALLY = """
    SELECT title, text, tags FROM notes WHERE instr(lower(title), lower(?1)) OR instr(lower(text), lower(?1))
    ORDER BY updated DESC, id LIMIT ?2
"""
_COLUMNS = "title, text, tags, created, updated"
_SAID = {
    "SQLITE_BUSY": "The notes file is in use by another process. Try again.",
    "SQLITE_LOCKED": "The notes file is in use by another process. Try again.",
    "SQLITE_FULL": "The disk is full: nothing was saved.",
    "SQLITE_READONLY": "The notes file cannot be written: check its permissions.",
    "SQLITE_CANTOPEN": "The notes file cannot be opened: check that its folder exists and can be written.",
    "SQLITE_IOERR": "The disk reported an error: nothing was saved.",
    "SQLITE_NOTADB": "The file is not a notes file. Choose another file.",
    "SQLITE_CORRUPT": "The notes file is damaged. Restore it from a copy.",
}


class NoteStore:
    """The notes of one file. Threads may share a store; processes may share the file."""

    def __init__(self, path: Path) -> None:
        """Opens the notes file, and makes it where there is none.

        Raises:
            NotesError: it cannot be opened, or is not a notes file.
        """
        self._lock = Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What one notes is nobody else's business. The files that SQLite puts beside take over these permissions.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise NotesError(f"{path}: The notes file cannot be opened: {error.strerror}.") from error
        self._connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with _said_plainly():
                self._prepare()
        except NotesError as error:
            self._connection.close()
            raise NotesError(f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the store is of no use afterwards."""
        with self._lock:
            self._connection.close()

    def save(self, title: str, text: str, tags: str, now: datetime) -> tuple[Note, bool]:
        """Saves a new note, and says whether it was new: the same note again changes nothing.

        Raises:
            NotesError: another note has this title, or a part does not fit.
        """
        note = Note(clean_title(title), clean_text(text), clean_tags(tags), now, now)
        with self._change() as connection:
            present = _find(connection, note.title)
            if present is not None:
                if (present.text, present.tags) == (note.text, note.tags):
                    return present, False
                raise NotesError(
                    f"There is a note titled '{present.title}' already. Use append_note or update_note, or another title."
                )
            (count,) = connection.execute("SELECT count(*) FROM notes").fetchone()
            if count >= MOST_NOTES:
                raise NotesError(f"There are {count} notes, at most {MOST_NOTES} are allowed. Delete some first.")
            connection.execute(
                f"INSERT INTO notes (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                (title_key(note.title), note.title, note.text, ",".join(note.tags), now.isoformat(), now.isoformat()),
            )
        return note, True

    def read(self, title: str) -> Note:
        """The note with this title.

        Raises:
            NotesError: there is none; the message offers titles that exist.
        """
        with self._reading() as connection:
            return _require(connection, title)

    def update(self, title: str, text: str, tags: str, now: datetime) -> Note:
        """Replaces a note's text, and its tags where some are given.

        Raises:
            NotesError: there is no such note, or a part does not fit.
        """
        new_text, new_tags = clean_text(text), clean_tags(tags)
        with self._change() as connection:
            present = _require(connection, title)
            return _replace(connection, present, new_text, new_tags or present.tags, now)

    def append(self, title: str, text: str, now: datetime) -> Note:
        """Adds text to the end of a note, on a line of its own.

        Raises:
            NotesError: there is no such note, or it would become too long.
        """
        addition = clean_text(text)
        with self._change() as connection:
            present = _require(connection, title)
            joined = f"{present.text}\n{addition}"
            if len(joined) > LONGEST_TEXT:
                raise NotesError(
                    f"The note '{present.title}' would have {len(joined)} characters, at most {LONGEST_TEXT} are allowed."
                    " Save a new note instead."
                )
            return _replace(connection, present, joined, present.tags, now)

    def delete(self, title: str) -> Note:
        """Deletes a note for good, and gives what it was.

        Raises:
            NotesError: there is no such note.
        """
        with self._change() as connection:
            present = _require(connection, title)
            connection.execute("DELETE FROM notes WHERE key = ?", (title_key(present.title),))
            return present

    def headings(self, tag: str, offset: int, limit: int) -> tuple[tuple[NoteHeading, ...], int]:
        """Some of the notes (with this tag, where one is given), the last changed first, and how many there are in all."""
        wanted = clean_tags(tag)
        where = " AND ".join(["instr(',' || tags || ',', ',' || ? || ',')"] * len(wanted)) or "1"
        with self._reading() as connection:
            (count,) = connection.execute(f"SELECT count(*) FROM notes WHERE {where}", wanted).fetchone()
            rows = connection.execute(
                f"SELECT title, tags, updated FROM notes WHERE {where} ORDER BY updated DESC, id DESC LIMIT ? OFFSET ?",
                (*wanted, limit, offset),
            ).fetchall()
        return tuple(
            NoteHeading(title, _tags(tags), datetime.fromisoformat(updated)) for title, tags, updated in rows
        ), count

    def search(self, query: str) -> tuple[NoteMatch, ...]:
        """The best matches for what someone looks for, the best first.

        Notes with every word; where there are none, notes with one word or more; where there are none either, notes that
        contain the query as it is written (signs, and parts of words).

        Raises:
            NotesError: the query is empty or too long.
        """
        cleaned = clean_query(query)
        words = query_words(cleaned)
        with self._reading() as connection:
            for expression in dict.fromkeys((all_words(words), any_word(words))):
                rows = connection.execute(_SEARCH, (expression, MOST_MATCHES)).fetchall() if expression else []
                if rows:
                    return tuple(
                        NoteMatch(title, " ".join(excerpt.split()), _tags(tags)) for title, excerpt, tags in rows
                    )
            rows = connection.execute(_SEARCH_LITERALLY, (cleaned, MOST_MATCHES)).fetchall()
            return tuple(NoteMatch(title, excerpt_around(text, cleaned), _tags(tags)) for title, text, tags in rows)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with self._lock, _said_plainly(), _transaction(self._connection, "BEGIN"):
            yield self._connection

    @contextmanager
    def _change(self) -> Generator[sqlite3.Connection]:
        with self._lock, _said_plainly(), _transaction(self._connection, "BEGIN IMMEDIATE"):
            yield self._connection

    def _prepare(self) -> None:
        connection = self._connection
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if tables and mark != APPLICATION_ID:
            raise NotesError("The file is a database of another program. Choose another file.")
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection, "BEGIN IMMEDIATE"):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise NotesError("The notes file was written by a newer version of notes-mcp. Upgrade notes-mcp.")
            if version == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _find(connection: sqlite3.Connection, title: str) -> Note | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM notes WHERE key = ?", (title_key(title),)).fetchone()
    if row is None:
        return None
    found, text, tags, created, updated = row
    return Note(found, text, _tags(tags), datetime.fromisoformat(created), datetime.fromisoformat(updated))


def _require(connection: sqlite3.Connection, title: str) -> Note:
    cleaned = clean_title(title)
    note = _find(connection, cleaned)
    if note is not None:
        return note
    titles = dict[str, str](
        connection.execute("SELECT key, title FROM notes ORDER BY updated DESC LIMIT ?", (MOST_SUGGESTIBLE,))
    )
    key = title_key(cleaned)
    close = [titles[match] for match in difflib.get_close_matches(key, titles, n=3, cutoff=0.6)]
    close += [known for folded, known in titles.items() if key in folded and known not in close]
    if not close:
        raise NotesError(f"There is no note titled '{cleaned}'. list_notes shows the titles.")
    raise NotesError(
        f"There is no note titled '{cleaned}'. Did you mean {' or '.join(repr(known) for known in close[:3])}?"
    )


def _replace(connection: sqlite3.Connection, note: Note, text: str, tags: tuple[str, ...], now: datetime) -> Note:
    connection.execute(
        "UPDATE notes SET text = ?, tags = ?, updated = ? WHERE key = ?",
        (text, ",".join(tags), now.isoformat(), title_key(note.title)),
    )
    return Note(note.title, text, tags, note.created, now)


def _tags(column: str) -> tuple[str, ...]:
    return tuple(column.split(",")) if column else ()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Two processes that make the same new file can find each other's lock here, and SQLite does not wait for this one.
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: Literal["BEGIN", "BEGIN IMMEDIATE"]) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _said_plainly() -> Generator[None]:
    """Turns what SQLite says about the file and the disk into the notes' error; a fault in a statement stays what it is."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        for prefix, sentence in _SAID.items():
            if name.startswith(prefix):
                raise NotesError(sentence) from error
        raise
