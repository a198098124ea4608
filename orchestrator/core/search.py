"""What full-text search means: which words a text has, what a query asks for, what a hit looks like.

A database only looks words up. That they are cut here is why every database finds the same.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError

MAX_WORDS: Final = 16_000
"""Words of a response that can be found; Postgres counts no positions beyond 16,383."""

MAX_WORD: Final = 64
"""Characters of a word that count, in texts and in queries alike."""

MAX_TERMS: Final = 32
BREAK: Final = "¶"
"""Stands between two texts, so that no phrase reaches from one into the next. No text has it as a word."""

_SNIPPET: Final = 160
_LEAD: Final = 60
_ASCII_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_QUOTED_OR_PLAIN: Final = re.compile(r'"([^"]*)("\*|"|$)|(\S+)')

_SINGLE_BLOCKS: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts that put no spaces between words: each of their characters is a word, a run of them a phrase."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that a response must contain: words in a row, the last of which may be only a beginning."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a text round a hit, and where in it the hits are: `[start, end)` in characters."""

    text: str
    matches: tuple[tuple[int, int], ...]


def words_of(texts: Iterable[str]) -> list[str]:
    """The words by which these texts are found, in order, with `BREAK` between texts; at most `MAX_WORDS`."""
    found: list[str] = []
    for text in texts:
        if found:
            found.append(BREAK)
        room = MAX_WORDS - len(found)
        if room <= 0:
            break
        for _, _, word in _spans(text):
            found.append(word)
            room -= 1
            if room <= 0:
                break
    return found[:MAX_WORDS]


def parse_query(query: str, *, param: str) -> tuple[Term, ...]:
    """What a query asks for: words and "quoted phrases", all of which must be there; `begin*` is a beginning.

    Raises:
        OrchestratorError: `invalid_value` on `param` for a query without a word, or with too many.
    """
    terms: list[Term] = []
    for found in _QUOTED_OR_PLAIN.finditer(query):
        phrase, close, plain = found.groups()
        text, prefix = (phrase, close == '"*') if plain is None else (plain, plain.endswith("*"))
        words = tuple(word for _, _, word in _spans(text))
        if words:
            terms.append(Term(words, prefix))
    if not terms:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, "There is no word in the query.", param=param)
    if sum(len(term.words) for term in terms) > MAX_TERMS:
        message = f"A query has at most {MAX_TERMS} words."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
    return tuple(terms)


def matches(terms: Sequence[Term], words: Sequence[str]) -> bool:
    """Whether every term is somewhere in `words`, which are those of `words_of`."""
    return all(any(_stands_at(term, words, start) for start in range(len(words))) for term in terms)


def snippet(terms: Sequence[Term], texts: Iterable[str]) -> Snippet | None:
    """The neighbourhood of the first hit in the first of `texts` that has one, or None."""
    for text in texts:
        spans = list(_spans(text))
        words = [word for _, _, word in spans]
        ranges = sorted(
            {
                (spans[start][0], spans[start + len(term.words) - 1][1])
                for term in terms
                for start in range(len(words))
                if _stands_at(term, words, start)
            }
        )
        if ranges:
            return _cut(text, ranges)
    return None


def _cut(text: str, ranges: Sequence[tuple[int, int]]) -> Snippet:
    begin = max(0, ranges[0][0] - _LEAD)
    end = min(len(text), max(begin + _SNIPPET, ranges[0][1]))
    inside = [(start - begin, stop - begin) for start, stop in ranges if stop <= end]
    return Snippet(text[begin:end], tuple(inside))


def _stands_at(term: Term, words: Sequence[str], start: int) -> bool:
    *whole, last = term.words
    end = start + len(whole)
    if end >= len(words) or list(words[start:end]) != whole:
        return False
    return words[end].startswith(last) if term.prefix else words[end] == last


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Each word as it is looked up, with its place in the text."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield found.start(), found.end(), found[0][:MAX_WORD].lower()
        return
    for found in _any_word().finditer(text):
        word = _folded(found[0])[:MAX_WORD]
        if word:
            yield found.start(), found.end(), word


@lru_cache(maxsize=1)
def _any_word() -> re.Pattern[str]:
    """A character of a script without spaces, with its marks, or letters, digits and marks in a row."""
    marks = "".join(re.escape(mark) for mark in map(chr, range(0x300, 0xFE30)) if unicodedata.category(mark)[0] == "M")
    single = f"[{_SINGLE_BLOCKS}]"
    return re.compile(rf"(?!_){single}[{marks}]*|(?:(?!{single})[^\W_][{marks}]*)+")


def _folded(word: str) -> str:
    """Without case, accents and other differences that nobody types; letters and digits only."""
    plain = unicodedata.normalize("NFKD", word).casefold()
    return "".join(
        char
        for char in plain
        if char.isalnum() or (unicodedata.category(char) in ("Mc", "Mn") and not unicodedata.combining(char))
    )
