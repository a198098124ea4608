"""The query of a URL, read like a body: every parameter by its name, and nothing that is not understood."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from orchestrator.api.errors import HttpRequest
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.moments import in_utc

_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}

W = TypeVar("W", bound=str)


class Query:
    """The parameters of a request.

    `known` are the names that are understood, a name that ends in a dot all that begin with it. One that ends in `[]`
    is a list, which may be given piece by piece.

    Raises:
        OrchestratorError: `unrecognized_keys` for another name, `invalid_value` for one that is given twice.
    """

    def __init__(self, request: HttpRequest, known: Iterable[str]) -> None:
        self._given: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {}
        names = tuple(known)
        for name, value in request.query_params.multi_items():
            if not any(name == each or (each.endswith(".") and name.startswith(each)) for each in names):
                listed = ", ".join(f"{each}<key>" if each.endswith(".") else each for each in names) or "none"
                message = f"Unknown query parameter '{name[:100]}'. Known here: {listed}."
                raise OrchestratorError(ErrorKind.UNRECOGNIZED_KEYS, message, param=name[:100])
            if name in self._given and not name.endswith("[]"):
                raise OrchestratorError(ErrorKind.INVALID_VALUE, f"'{name[:100]}' is given twice.", param=name[:100])
            self._given[name] = str(value)
            self._lists.setdefault(name.removesuffix("[]"), []).append(str(value))

    def text(self, name: str) -> str | None:
        """The value, or None where it is not given."""
        return self._given.get(name)

    def listed(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter that may be a list, be it given as `name` or as `name[]`."""
        return tuple(self._lists.get(name, ()))

    def under(self, prefix: str) -> tuple[tuple[str, str], ...]:
        """Name and value of all that begin with `prefix`, without it, by name."""
        length = len(prefix)
        return tuple(sorted((name[length:], value) for name, value in self._given.items() if name.startswith(prefix)))

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`.

        Raises:
            OrchestratorError: `invalid_value`.
        """
        value = self._given.get(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= most):
            raise _invalid(name, f"a whole number from 1 to {most}")
        return int(value)

    def boolean(self, name: str) -> bool:
        """Whether it is `true`; absent is false.

        Raises:
            OrchestratorError: `invalid_value`.
        """
        value = _BOOLEANS.get(self._given.get(name, "false").lower())
        if value is None:
            raise _invalid(name, "true or false")
        return value

    def choice(self, name: str, words: Sequence[W]) -> W | None:
        """One of some words.

        Raises:
            OrchestratorError: `invalid_value`, which lists them.
        """
        value = self._given.get(name)
        if value is None:
            return None
        for word in words:
            if word == value:
                return word
        raise _invalid(name, f"one of {', '.join(words)}")

    def moment(self, name: str) -> datetime | None:
        """A moment as RFC 3339 has it; without a time zone it is UTC, without a time midnight.

        Raises:
            OrchestratorError: `invalid_value`.
        """
        value = self._given.get(name)
        if value is None:
            return None
        # A plus sign in a URL is a space unless somebody has escaped it.
        text = value.strip().replace(" ", "+") if value.count("T") else value.strip()
        try:
            found = msgspec.convert(f"{text}T00:00:00Z" if len(text) == 10 else text, datetime, strict=False)
            return in_utc(found)
        except (msgspec.ValidationError, ValueError):
            raise _invalid(name, "a moment such as 2026-03-01T12:00:00Z") from None


def _invalid(name: str, wanted: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f"'{name}' must be {wanted}.", param=name)
