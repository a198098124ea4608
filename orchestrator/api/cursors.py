"""Cursors: where the next page begins, as a text that means nothing to anybody else."""

import base64
import binascii

import msgspec

from orchestrator.core.errors import ErrorKind, OrchestratorError


def cursor_text(*place: int) -> str:
    """The cursor of a place."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).rstrip(b"=").decode()


def cursor_place(cursor: str | None, length: int, *, param: str = "cursor") -> tuple[int, ...] | None:
    """The place, of `length` numbers, or None for no cursor.

    Raises:
        OrchestratorError: `invalid_value` for what `cursor_text` did not make.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(raw, type=tuple[int, ...])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        place = ()
    if len(place) != length or any(not 0 <= number < 2**63 for number in place):
        message = f"'{param}' is not a cursor of this listing; leave it out to begin anew."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
    return place
