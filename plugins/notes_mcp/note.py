"""A note, what it may hold, and how its parts are made fit. Pure: nothing here touches the file or a clock."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from notes_mcp.errors import NotesError

# In characters. A note is something that a model reads whole.
LONGEST_TITLE = 200
LONGEST_TEXT = 100_000
LONGEST_TAG = 50
MOST_TAGS = 20
MOST_NOTES = 10_000


@dataclass(frozen=True, slots=True)
class Note:
    """A saved note; the times are in UTC."""

    title: str
    text: str
    tags: tuple[str, ...]
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class NoteHeading:
    """A note without its text."""

    title: str
    tags: tuple[str, ...]
    updated: datetime


@dataclass(frozen=True, slots=True)
class NoteMatch:
    """A note that a search found, with the words around what was found, on one line."""

    title: str
    excerpt: str
    tags: tuple[str, ...]


def clean_title(title: str) -> str:
    """The title on one line, with single spaces.

    Raises:
        NotesError: nothing is left, or too much.
    """
    cleaned = " ".join(_printable(title, "title").split())
    if not cleaned:
        raise NotesError("The title is empty. Give the note a title.")
    if len(cleaned) > LONGEST_TITLE:
        raise NotesError(
            f"The title has {len(cleaned)} characters, at most {LONGEST_TITLE} are allowed. Use a shorter one."
        )
    return cleaned


def title_key(title: str) -> str:
    """What two titles share when they name the same note: case, width and form of the letters do not count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())


def clean_text(text: str) -> str:
    """The text without the space around it.

    Raises:
        NotesError: nothing is left, or too much.
    """
    cleaned = _printable(text, "text").strip()
    if not cleaned:
        raise NotesError("The text is empty. Give the note a text.")
    if len(cleaned) > LONGEST_TEXT:
        raise NotesError(
            f"The text has {len(cleaned)} characters, at most {LONGEST_TEXT} are allowed. Split it into several notes."
        )
    return cleaned


def clean_tags(tags: str) -> tuple[str, ...]:
    """The tags that a list with commas names, in lower case, each once, sorted.

    Raises:
        NotesError: there are too many, or one is too long.
    """
    parts = (" ".join(part.split()).lower().removeprefix("#") for part in _printable(tags, "tags").split(","))
    cleaned = tuple(sorted({part for part in parts if part}))
    if len(cleaned) > MOST_TAGS:
        raise NotesError(f"There are {len(cleaned)} tags, at most {MOST_TAGS} are allowed.")
    for tag in cleaned:
        if len(tag) > LONGEST_TAG:
            raise NotesError(
                f"A tag has {len(tag)} characters, at most {LONGEST_TAG} are allowed. Put commas between tags."
            )
    return cleaned


def _printable(value: str, name: str) -> str:
    # Half of a surrogate pair cannot be stored as UTF-8, and SQLite's text functions stop at NUL.
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotesError(f"The {name} has characters that are not valid Unicode. Leave them out.") from None
    if "\0" in value:
        raise NotesError(f"The {name} has a NUL character. Leave it out.")
    return value
