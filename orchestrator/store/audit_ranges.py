"""Which part of which chains is meant by what an auditor writes: numbers of links, or moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store import audit_links as links
from orchestrator.store.database import Database
from orchestrator.store.tables import audit_chain, audit_heads, tool_calls

_OWNERS: Final = select(audit_heads.c.owner).where(audit_heads.c.owner != links.SERVICE).order_by(audit_heads.c.owner)


@dataclass(frozen=True, slots=True)
class AuditRange:
    """Which part of which chains: sequence numbers, both ends included."""

    owner: str | None = None
    first: int = 1
    last: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self == AuditRange()


async def ranges(database: Database, owner: str | None, first: str | None, last: str | None) -> Sequence[AuditRange]:
    """The parts from `first` to `last` of `owner`'s chain; None: of every chain that has calls in between.

    Raises:
        OrchestratorError: `invalid_value`: a bound is neither a number nor a moment, a number is of no single
            chain, or nobody has calls there.
    """
    if first is None and last is None:
        return [AuditRange(owner)]
    bounds = [_bound(text) for text in (first, last) if text is not None]
    owners = [owner] if owner is not None else await database.read(lambda found: [*found.execute(_OWNERS).scalars()])
    if len(owners) > 1 and any(isinstance(bound, int) for bound in bounds):
        several = ", ".join(f"'{name}'" for name in owners[:5]) + (", …" if len(owners) > 5 else "")
        message = f"The number of a link is of one owner's chain, and there are {several}: name one with --owner."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message)
    found: list[AuditRange] = []
    for each in owners:
        start = 1 if first is None else await _sequence_at(database, each, _bound(first), last=False)
        end = None if last is None else await _sequence_at(database, each, _bound(last), last=True)
        if start is not None and (last is None or end is not None):
            found.append(AuditRange(each, start, end))
    if not found:
        bounds_said = " ".join(f"{word} {text}" for word, text in (("since", first), ("until", last)) if text)
        who = "Nobody has" if owner is None else f"'{owner}' has no"
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"{who} calls {bounds_said}.")
    return found


def _bound(text: str) -> int | datetime:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return max(1, int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"'{text}' is neither the number of a link nor a moment such as 2026-03-01T12:00:00Z."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


async def _sequence_at(database: Database, owner: str, bound: int | datetime, *, last: bool) -> int | None:
    """The link that `bound` means: the first of the calls since a moment, or the last one of those until then."""
    if isinstance(bound, int):
        return bound
    sequence, at = audit_chain.c.sequence, tool_calls.c.created_at
    query = select(func.max(sequence) if last else func.min(sequence))
    query = query.join_from(tool_calls, audit_chain, audit_chain.c.call_id == tool_calls.c.call_id)
    query = query.where(tool_calls.c.owner == owner, at <= bound if last else at >= bound)
    return await database.read(lambda connection: connection.execute(query).scalar())
