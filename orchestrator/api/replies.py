"""JSON replies that are no errors."""

from collections.abc import Mapping
from typing import Final

import msgspec
from litestar.response.base import ASGIResponse

from orchestrator.api.errors import OK
from orchestrator.api.json_text import json_bytes

TOKEN_COUNT_HEADER: Final = "X-Token-Count"


def token_count(*, estimated: bool) -> dict[str, str]:
    """How the tokens in a reply were counted, as a header: the dialects that ask have no field for it."""
    return {TOKEN_COUNT_HEADER: "estimated" if estimated else "exact"}


def json_reply(value: msgspec.Struct, *, status: int = OK, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """`value` as a reply; what is asked for is personal, so nobody keeps it."""
    return ASGIResponse(
        body=json_bytes(value), status_code=status, headers={"Cache-Control": "no-store", **(headers or {})}
    )
