"""How likely the tokens of a message were, as its engine saw it."""

from dataclasses import dataclass


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
