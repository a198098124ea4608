"""`mcp.json` as people write it: JSON in which comments and trailing commas do no harm. Pure."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENTS: Final = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_TRAILING_COMMAS: Final = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_LETTER: Final = re.compile(r"[^\r\n]")
_BLANK: Final = re.compile(r"\s*")


class Pairs(dict[str, object]):
    """A JSON object that remembers which keys it had more than once."""

    def __init__(self, pairs: Iterable[tuple[str, object]]) -> None:
        self.repeated: list[str] = []
        super().__init__()
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            self[key] = value


def without_comments(text: str) -> str:
    """`text` with blanks where its comments are: every place in it stays where it was."""
    return _COMMENTS.sub(lambda found: found[0] if found[0][0] == '"' else _LETTER.sub(" ", found[0]), text)


def plain_json(text: str) -> str:
    """`text` with blanks for comments and trailing commas: every place in it stays where it was."""
    return _TRAILING_COMMAS.sub(lambda found: found[0] if found[0][0] == '"' else " ", without_comments(text))


def read_json(text: str) -> object:
    """The value in `text`; its objects are `Pairs`.

    Raises:
        ValueError: it is none; the message has a place and no content.
    """
    try:
        return json.loads(plain_json(text), object_pairs_hook=Pairs)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}: line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object and its places in the text."""

    key: str
    start: int
    value_start: int
    end: int


def members_of(text: str, start: int) -> list[Member]:
    """The members of the object that begins at `start`, with their places in the text."""
    plain = plain_json(text)
    decoder = json.JSONDecoder()
    found: list[Member] = []
    place = after_blank(plain, start + 1)
    while plain[place] != "}":
        if plain[place] == ",":
            place = after_blank(plain, place + 1)
        key, colon = cast(tuple[str, int], decoder.raw_decode(plain, place))
        value = after_blank(plain, after_blank(plain, colon) + 1)
        _, end = cast(tuple[object, int], decoder.raw_decode(plain, value))
        found.append(Member(key, place, value, end))
        place = after_blank(plain, end)
    return found


def after_blank(text: str, place: int) -> int:
    """The first place from `place` on that is not blank."""
    blank = _BLANK.match(text, place)
    return place if blank is None else blank.end()


def line_and_column(text: str, place: int) -> str:
    """Where `place` is, as people count: both from 1."""
    return f"line {text.count(chr(10), 0, place) + 1}, column {place - text.rfind(chr(10), 0, place)}"
