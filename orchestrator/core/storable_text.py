"""Any Python text as one that databases and files can hold, and back."""

import re
from typing import Final

_ESCAPE: Final = "\x10"
"""DATA LINK ESCAPE: what follows it stands for a character that a database cannot hold."""

_UNSTORABLE: Final = re.compile("[\x00\x10\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x10([0-9a-f]{4})")


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates, which Postgres and UTF-8 do not take; `original` undoes it.

    A text that has neither, nor the escape character, is returned as it is.
    """
    if "\x00" not in text and _ESCAPE not in text:
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _UNSTORABLE.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def original(text: str) -> str:
    """What `storable` was given."""
    if _ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
