"""From what someone looks for to a query that the full text index understands.

The index has a language of its own (AND, NEAR, quotes, columns): what someone typed must never be read as that.
"""

import re

from notes_mcp.errors import NotesError

LONGEST_QUERY = 500
MOST_WORDS = 16
# A shorter word as the beginning of others would find nearly every note.
SHORTEST_PREFIX = 3

_WORD = re.compile(r"[^\W_]+")


def clean_query(query: str) -> str:
    """The query on one line.

    Raises:
        NotesError: nothing is left, or too much.
    """
    cleaned = " ".join(query.replace("\0", " ").encode(errors="replace").decode().split())
    if not cleaned:
        raise NotesError("The query is empty. Give a word to search for.")
    if len(cleaned) > LONGEST_QUERY:
        raise NotesError(
            f"The query has {len(cleaned)} characters, at most {LONGEST_QUERY} are allowed. Use a few words."
        )
    return cleaned


def query_words(query: str) -> tuple[str, ...]:
    """The words of a query, each once, in order; none where it has only signs."""
    return tuple(dict.fromkeys(_WORD.findall(query)))[:MOST_WORDS]


def all_words(words: tuple[str, ...]) -> str:
    """The index's query for notes that have every word."""
    return " AND ".join(map(_term, words))


def any_word(words: tuple[str, ...]) -> str:
    """The index's query for notes that have one word or more."""
    return " OR ".join(map(_term, words))


def excerpt_around(text: str, found: str, width: int = 80) -> str:
    """About `width` characters of `text` around the first `found`, on one line."""
    line = " ".join(text.split())
    at = max(line.lower().find(found.lower()), 0)
    begin = max(at - width // 3, 0)
    end = begin + width
    return ("…" if begin else "") + line[begin:end].strip() + ("…" if end < len(line) else "")


def _term(word: str) -> str:
    # In quotes every word is only a word. It has no quotes itself: it is made of letters and digits.
    return f'"{word}"*' if len(word) >= SHORTEST_PREFIX else f'"{word}"'
