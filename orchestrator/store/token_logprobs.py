"""How likely the tokens of a message were, as JSON text of one column. Pure."""

import json
from typing import Final, TypeAlias

from orchestrator.core.logprobs import LikelyToken, TokenLogprob

_SAME: Final = True
"""In the place of bytes that are those of the token."""
_Told: TypeAlias = tuple[str, float, str | bool | None]


def logprobs_text(logprobs: tuple[TokenLogprob, ...]) -> str | None:
    """The text; None where nobody asked."""
    if not logprobs:
        return None
    told = [[*_told(one.chosen), [_told(each) for each in one.likeliest]] for one in logprobs]
    return json.dumps(told, separators=(",", ":"))


def logprobs_from(text: str | None) -> tuple[TokenLogprob, ...]:
    """What stands in the text."""
    if text is None:
        return ()
    told: list[tuple[str, float, str | bool | None, list[_Told]]] = json.loads(text)
    return tuple(
        TokenLogprob(_likely(token, logprob, raw), tuple(_likely(*each) for each in likeliest))
        for token, logprob, raw, likeliest in told
    )


def _told(likely: LikelyToken) -> _Told:
    same = likely.raw == likely.token.encode("utf-8", "surrogatepass")
    return likely.token, likely.logprob, _SAME if same else None if likely.raw is None else likely.raw.hex()


def _likely(token: str, logprob: float, raw: str | bool | None) -> LikelyToken:
    if isinstance(raw, str):
        return LikelyToken(token, logprob, bytes.fromhex(raw))
    return LikelyToken(token, logprob, None if raw is None else token.encode("utf-8", "surrogatepass"))
