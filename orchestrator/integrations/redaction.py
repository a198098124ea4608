"""Secrets are masked in every text that comes from outside before anybody sees it."""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

Redactor: TypeAlias = Callable[[str], str]

MASK = "•••"
_SHORTEST = 4
_PLAIN = re.compile(r"true|false|none|null|\d{1,5}", re.IGNORECASE)


def redactor(secrets: Iterable[str]) -> Redactor:
    """A function that replaces every one of `secrets`, and every long word of it, by a mask.

    Values that are too short or too common to be a secret stay readable.
    """
    found: set[str] = set()
    for secret in secrets:
        found.add(secret)
        # "Bearer <token>": the token alone is as secret as the whole value.
        found.update(word for word in secret.split() if len(word) >= 2 * _SHORTEST)
    wanted = sorted((text for text in found if _is_maskable(text)), key=len, reverse=True)
    if not wanted:
        return str
    pattern = re.compile("|".join(re.escape(text) for text in wanted))
    return lambda text: pattern.sub(MASK, text)


def _is_maskable(text: str) -> bool:
    return len(text) >= _SHORTEST and _PLAIN.fullmatch(text) is None
