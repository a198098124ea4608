"""Pictures and files that a request brings along: what they are is told by their bytes, not only by their names."""

import base64
import binascii
import re
import urllib.parse
from collections.abc import Sequence
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError

_DATA: Final = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_PICTURES: Final[Sequence[re.Pattern[bytes]]] = (
    re.compile(rb"\x89PNG\r\n\x1a\n"),
    re.compile(rb"\xff\xd8\xff"),
    re.compile(rb"GIF8[79]a"),
    re.compile(rb"RIFF....WEBP", re.DOTALL),
)
_READABLE: Final = re.compile(
    r"text/.*|application/(.*[+-])?(json|xml|yaml|toml|javascript|typescript|sql|sh|python|csv|octet-stream|jsonl|ndjson)|",
    re.IGNORECASE,
)
_DOCUMENTS: Final = (b"%PDF-", b"PK\x03\x04", b"{\\rtf")
"""How files begin that can be made of plain characters, and still are no text."""


def sent_picture(url: str, path: str) -> str:
    """A picture that is sent as a `data:` URL, as it is.

    Raises:
        OrchestratorError: it is somewhere else, or no picture of a kind that models are shown.
    """
    if url.lower().startswith(("http:", "https:")):
        raise _wrong(path, "is an address, and nothing is fetched here: send the picture as 'data:image/…;base64,…'")
    head = _DATA.match(url)
    if head is None or not head[1].lower().startswith("image/") or not head[2].lower().endswith(";base64"):
        raise _wrong(path, "must be a picture as a data:image/…;base64,… URL")
    try:
        raw = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise _wrong(path, "must be a picture as a data:image/…;base64,… URL; this is not base64") from None
    if not any(kind.match(raw) for kind in _PICTURES):
        raise _wrong(path, "has bytes of no picture that can be shown to a model: there are PNG, JPEG, GIF and WebP")
    return url


def file_text(data: str, path: str) -> str:
    """The text of a file that is sent as base64, or as a `data:` URL.

    Raises:
        OrchestratorError: there is none in it.
    """
    head = _DATA.match(data)
    encoded = True
    if head is not None:
        if _READABLE.fullmatch(head[1].strip()) is None:
            raise _wrong(path, f"is '{head[1][:100]}', of which no text is read here: send its text")
        encoded, data = head[2].lower().endswith(";base64"), data[head.end() :]
    try:
        raw = base64.b64decode(data, validate=True) if encoded else urllib.parse.unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        raise _wrong(path, "is neither base64 nor a data: URL") from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or raw.startswith(_DOCUMENTS):
        raise _wrong(path, "is no text in UTF-8; other files are not read here: send their text")
    return text


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
