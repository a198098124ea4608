"""JSON replies that are no errors."""

from collections.abc import Mapping

import msgspec
from litestar.response.base import ASGIResponse

from orchestrator.api.errors import OK
from orchestrator.api.json_text import json_bytes


def json_reply(value: msgspec.Struct, *, status: int = OK, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """`value` as a reply; what is asked for is personal, so nobody keeps it."""
    return ASGIResponse(
        body=json_bytes(value), status_code=status, headers={"Cache-Control": "no-store", **(headers or {})}
    )
