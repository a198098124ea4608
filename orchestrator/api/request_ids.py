"""The id that a request has in its reply and in every log line."""

import re
import secrets
from collections.abc import Iterable
from typing import Final

from litestar.types import Scope

REQUEST_ID_HEADER: Final = "X-Request-Id"
ANTHROPIC_PATH: Final = "/v1/messages"
ANTHROPIC_REQUEST_ID_HEADER: Final = "request-id"
"""What Anthropic's clients look for."""
ANTHROPIC_VERSION_HEADER: Final = "anthropic-version"
MODEL_ENTRIES_PATH: Final = "/v1/models"
"""A path of two dialects: clients of Anthropic's say their version."""
_KEY: Final = "request_id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def accept_request_id(incoming: Iterable[str]) -> str:
    """The one id that the client sent, if it is sane; else a new one."""
    ids = list(incoming)
    if len(ids) == 1 and _SANE.fullmatch(ids[0]) is not None:
        return ids[0]
    return f"req_{secrets.token_hex(12)}"


def remember_request_id(scope: Scope, request_id: str) -> None:
    """Bind the id to the request."""
    scope["state"][_KEY] = request_id


def request_id_of(scope: Scope) -> str:
    """The id that was bound to the request."""
    return str(scope["state"][_KEY])


def is_anthropic(scope: Scope) -> bool:
    """Whether the request is one of Anthropic's dialect."""
    path = scope["path"]
    if path.startswith(ANTHROPIC_PATH):
        return True
    of_models = path == MODEL_ENTRIES_PATH or path.startswith(f"{MODEL_ENTRIES_PATH}/")
    version = ANTHROPIC_VERSION_HEADER.encode()
    return of_models and any(name.lower() == version for name, _ in scope["headers"])
