"""The order in which responses are listed: by when they began, and a place for each that never changes."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SLOTS: Final = 1024
_MICROSECOND: Final = timedelta(microseconds=1)


def listing_number(created_at: datetime, response_id: str) -> int:
    """The place of a response: greater for one that began later; the id tells apart what began at once.

    A 63-bit number until the year 2255. Where it is taken, the next free one is the place.
    """
    slot = int.from_bytes(hashlib.sha256(response_id.encode()).digest()[:2]) % _SLOTS
    return first_number(created_at) + slot


def first_number(at: datetime) -> int:
    """The least number that a response which began at `at` can have; of moments that no number has, the nearest one."""
    return min(max((at - _EPOCH) // _MICROSECOND * _SLOTS, 0), 2**63 - _SLOTS)
