"""How likely the tokens of a message were, as its engine saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token and the natural logarithm of its probability.

    `raw` are its bytes, None where the engine does not tell: a token may be a part of a character.
    """

    token: str
    logprob: float
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written, and the likeliest in its place, as many as were asked for."""

    chosen: LikelyToken
    likeliest: tuple[LikelyToken, ...] = ()


MOST_KEPT: Final = 50_000
"""Tokens of one message that are kept, those in the place of others counted: some 2 MB."""


def kept_logprobs(logprobs: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """The beginning of `logprobs`, as long as it may be kept with its message."""
    told = 0
    for number, one in enumerate(logprobs):
        told += 1 + len(one.likeliest)
        if told > MOST_KEPT:
            return tuple(logprobs[:number])
    return tuple(logprobs)
