"""The query of the audit's routes, decoded."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from orchestrator.api.errors import HttpRequest
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.moments import in_utc
from orchestrator.ports.audit import ArgumentPattern, CallFilter, CallPlace, plugin_of

T = TypeVar("T")

ARGUMENT: Final = "arguments."
LARGEST_PAGE: Final = 500
DEFAULT_PAGE: Final = 50
MOST_PATTERNS: Final = 8
MOST_MS: Final = 2**31 - 1
STATUSES: Final = (
    "journaled",
    "awaiting_approval",
    "succeeded",
    "failed",
    "refused",
    "invalid",
    "abandoned",
    "edited",
    "replayed",
    "handed_over",
    "answered",
)
_BUCKET: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _refused(name: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f"'{name}' {problem}.", param=name)


def _text(name: str, value: str) -> str:
    if not value:
        raise _refused(name, "is empty")
    return value


def _plugin(name: str, value: str) -> str:
    return plugin_of(_text(name, value))


def _response_id(name: str, value: str) -> str:
    if not re.fullmatch(r"resp_[0-9A-Za-z_-]+", value, re.ASCII):
        raise _refused(name, "is the id of a response, such as resp_0123…")
    return value


def _digest(name: str, value: str) -> str:
    digits = value.removeprefix("sha256:").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits, re.ASCII):
        raise _refused(name, "is a whole digest: 'sha256:' and 64 hexadecimal digits")
    return "sha256:" + digits


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise _refused(name, "is true or false")
    return value == "true"


def _milliseconds(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", value, re.ASCII) or int(value) > MOST_MS:
        raise _refused(name, "is a whole number of milliseconds")
    return int(value)


def _moment(name: str, value: str) -> datetime:
    try:
        # A "+" that nobody escaped has become a space.
        return in_utc(datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value))
    except ValueError:
        raise _refused(
            name, "is a moment such as 2026-03-01 or 2026-03-01T12:00:00Z (UTC where nothing is said)"
        ) from None


def _status(name: str, value: str) -> str:
    if value not in STATUSES:
        raise _refused(name, f"is one of {', '.join(STATUSES)}")
    return value


_FILTERS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "tool": ("tool", _text),
    "plugin": ("plugin_id", _plugin),
    "server_label": ("server_label", _text),
    "server": ("server_address", _text),
    "status": ("status", _status),
    "is_error": ("is_error", _boolean),
    "owner": ("owner", _text),
    "response_id": ("response_id", _response_id),
    "model": ("model", _text),
    "definition_digest": ("definition_digest", _digest),
    "from": ("since", _moment),
    "to": ("until", _moment),
    "duration_min": ("duration_min", _milliseconds),
    "duration_max": ("duration_max", _milliseconds),
}
FILTERS: Final = (*_FILTERS, ARGUMENT + "PATH")


def read_filter(request: HttpRequest, *others: str) -> tuple[CallFilter, dict[str, str]]:
    """The filter that the query asks for, and what it says of `others`.

    Raises:
        OrchestratorError: `unrecognized_keys` or `invalid_value`, on the parameter.
    """
    asked: dict[str, Any] = {}
    patterns: list[ArgumentPattern] = []
    rest: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name.startswith(ARGUMENT):
            patterns.append(ArgumentPattern(_argument_path(name), value))
            continue
        if name not in _FILTERS and name not in others:
            known = ", ".join([*FILTERS, *others])
            message = f"There is no parameter '{name}' here, only: {known}."
            raise OrchestratorError(ErrorKind.UNRECOGNIZED_KEYS, message, param=name)
        if name in seen:
            raise _refused(name, "is given twice")
        seen.add(name)
        if name in _FILTERS:
            field, parse = _FILTERS[name]
            asked[field] = parse(name, value)
        else:
            rest[name] = _text(name, value)
    if len(patterns) > MOST_PATTERNS:
        raise _refused("arguments", f"can be asked for {MOST_PATTERNS} times")
    if "plugin_id" in asked and "server_label" in asked:
        raise _refused("server_label", "cannot be asked for together with 'plugin': a call has one server")
    return CallFilter(**asked, arguments=tuple(patterns)), rest


def read_parameters(request: HttpRequest, *names: str) -> dict[str, str]:
    """What the query says of `names`, and it may say no more.

    Raises:
        OrchestratorError: `unrecognized_keys` or `invalid_value`, on the parameter.
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in names:
            message = f"There is no parameter '{name}' here, only: {', '.join(names)}."
            raise OrchestratorError(ErrorKind.UNRECOGNIZED_KEYS, message, param=name)
        if name in given:
            raise _refused(name, "is given twice")
        given[name] = _text(name, value)
    return given


def _argument_path(name: str) -> str:
    path = name.removeprefix(ARGUMENT)
    if not path:
        raise _refused(name, "names no argument; arguments.path=/etc/* asks for the argument 'path'")
    # An element is asked for by its number as well; the index does not tell elements apart.
    return re.sub(r"\.[0-9]+(?=\.|$)", "[]", path)


def read_limit(rest: Mapping[str, str]) -> int:
    """How many entries a page has.

    Raises:
        OrchestratorError: `invalid_value` on `limit`.
    """
    text = rest.get("limit", str(DEFAULT_PAGE))
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_PAGE:
        raise _refused("limit", f"is a whole number from 1 to {LARGEST_PAGE}")
    return int(text)


def read_order(rest: Mapping[str, str]) -> bool:
    """Whether the newest comes first.

    Raises:
        OrchestratorError: `invalid_value` on `order`.
    """
    order = rest.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _refused("order", "is asc (the oldest first) or desc")
    return order == "desc"


def read_bucket(rest: Mapping[str, str]) -> int | None:
    """How long a stretch of time is, in seconds; None: there is one.

    Raises:
        OrchestratorError: `invalid_value` on `bucket`.
    """
    text = rest.get("bucket")
    if text is None:
        return None
    found = _BUCKET.fullmatch(text)
    if found is None:
        raise _refused("bucket", "is a length of time such as 15m, 1h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def cursor_text(place: CallPlace | None) -> str | None:
    """Where to go on, as clients hand it back."""
    if place is None:
        return None
    microseconds = (place.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds}:{place.call_id}".encode()).decode().rstrip("=")


def read_cursor(rest: Mapping[str, str]) -> CallPlace | None:
    """Where the client wants to go on.

    Raises:
        OrchestratorError: `invalid_value` on `cursor`.
    """
    text = rest.get("cursor")
    if text is None:
        return None
    try:
        microseconds, _, call_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
        return CallPlace(_EPOCH + timedelta(microseconds=int(microseconds)), call_id)
    except (ValueError, OverflowError, binascii.Error):
        raise _refused("cursor", "is not one that a page came with") from None


def read_number_cursor(rest: Mapping[str, str]) -> int | None:
    """Where the client wants to go on among numbered entries.

    Raises:
        OrchestratorError: `invalid_value` on `cursor`.
    """
    text = rest.get("cursor")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise _refused("cursor", "is not one that a page came with")
    return int(text)
