"""The bodies and statuses of errors as LM Studio has them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from litestar.types import HTTPScope

from orchestrator.api.errors import ERROR_TABLE, ErrorAnswer
from orchestrator.api.strict_lmstudio import tables
from orchestrator.core.errors import BAD_TOKEN, ErrorInfo, ErrorKind


def is_theirs(path: str) -> bool:
    """Whether LM Studio has the route, too."""
    below = any(path == route or path.startswith(f"{route}/") for route in tables.ROUTES)
    return below and path.rpartition("/")[2] not in tables.OURS


def strict_error(info: ErrorInfo) -> dict[str, Any]:
    """The error object, for replies and for streams."""
    row = tables.ERRORS.get(info.kind, ERROR_TABLE[info.kind])
    message = info.message.removesuffix(".") if info.kind is ErrorKind.MODEL_NOT_FOUND else info.message
    if message == BAD_TOKEN:
        message = tables.BAD_TOKEN
    told: dict[str, Any] = {"type": row.type, "message": message}
    if row.code is not None or info.kind in tables.NULL_CODE:
        told["code"] = row.code
    if info.param is not None:
        told["param"] = info.param
    return told


def pretty(body: Mapping[str, Any]) -> bytes:
    """Two spaces deep; lone surrogates as escapes."""
    try:
        return json.dumps(body, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body, indent=2).encode()


def retold(scope: HTTPScope, info: ErrorInfo, answer: ErrorAnswer) -> ErrorAnswer:
    """`answer`, which tells of `info`, as the strict mode gives it to this request."""
    theirs = is_theirs(scope["path"])
    if info.kind is ErrorKind.UNKNOWN_ENDPOINT or (theirs and info.kind is ErrorKind.METHOD_NOT_ALLOWED):
        where = f"({scope['method'][:16]} {scope['path'][:200]})"
        body = pretty({"error": f"Unexpected endpoint or method. {where}"})
        return ErrorAnswer(tables.UNKNOWN_ENDPOINT_STATUS, body)
    if not theirs:
        return answer
    row = tables.ERRORS.get(info.kind)
    body = pretty({"error": strict_error(info)})
    return replace(answer, body=body) if row is None else replace(answer, body=body, status=row.status)
