"""`mcp.json` as people write it: JSON in which comments and trailing commas do no harm. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Final

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENTS: Final = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_TRAILING_COMMAS: Final = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_LETTER: Final = re.compile(r"[^\r\n]")


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
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
