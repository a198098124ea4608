"""Who may see which calls, and that it is written down who looked at those of others."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

import anyio
import structlog

from orchestrator.core.calls import CUT_OFF
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.tools import provider_label
from orchestrator.ports.audit import (
    AuditedCall,
    AuditEvent,
    AuditHead,
    AuditStore,
    CallFilter,
    CallPage,
    CallPlace,
    DurationCount,
    ExportedCall,
    ExportedDefinition,
)
from orchestrator.service.callers import Caller
from orchestrator.service.ids import new_export_id

CHECKPOINT_SECONDS: Final = 600.0
EVERYBODY: Final = "*"
"""What stands for every owner in a request."""

EXPORT_ROWS: Final = 2_000

log = structlog.stdlib.get_logger(__name__)

_DENIED: Final = "The API token has no permission to read the audit (audit.read)."
_DENIED_ALL: Final = "The API token has no permission to read other owners' calls (audit.read_all)."


@dataclass(frozen=True, slots=True)
class ToolStatistics:
    """How the calls of one tool went in one stretch of time, which begins at `since` (None: the whole time).

    Percentiles in ms are of the calls that ran to an answer or a failure, None where none did.
    """

    since: datetime | None
    tool: str | None
    provider: ProviderInfo | None
    calls: int
    errors: int
    statuses: Mapping[str, int]
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class AuditService:
    """The journal for those who may read it."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def list_calls(
        self, caller: Caller, wanted: CallFilter, after: CallPlace | None, limit: int, *, newest_first: bool
    ) -> CallPage:
        """A page of the calls that are `wanted`.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        wanted = await self._admitted(caller, wanted, "list")
        return await self._store.list_calls(wanted, after, limit, newest_first=newest_first)

    async def get_call(self, caller: Caller, call_id: str) -> AuditedCall:
        """One call, whole.

        Raises:
            OrchestratorError: `permission_denied`; `call_not_found`, also for a call that is not the caller's to see.
        """
        _require_audit(caller)
        found = await self._store.get_call(call_id, None if _sees_all(caller) else caller.owner)
        if found is None:
            message = "There is no such tool call, or it is somebody else's."
            raise OrchestratorError(ErrorKind.CALL_NOT_FOUND, message, param="call_id")
        if found.listed.owner != caller.owner:
            await self._record(caller, "get", {"call_id": call_id})
        return found

    async def response_of(self, call_id: str, caller: Caller) -> str | None:
        """The response in which the caller made this call; None for one that is unknown or somebody else's."""
        found = await self._store.get_call(call_id, caller.owner)
        return None if found is None else found.listed.response_id

    async def is_cut_off(self, call_id: str, caller: Caller) -> bool:
        """Whether it is a call of the caller's that a limit cut off, so that no prompt has it."""
        found = await self._store.get_call(call_id, caller.owner)
        return found is not None and found.reason == CUT_OFF

    async def statistics(
        self, caller: Caller, wanted: CallFilter, bucket_seconds: int | None
    ) -> Sequence[ToolStatistics]:
        """How the calls that are `wanted` went, by stretch of time, server and tool, in that order.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        wanted = await self._admitted(caller, wanted, "stats")
        return summarised(await self._store.count_calls(wanted, bucket_seconds), bucket_seconds)

    async def export_calls(self, caller: Caller, wanted: CallFilter) -> "CallExport":
        """Every call that is `wanted`, oldest first, in pieces.

        Raises:
            OrchestratorError: `permission_denied`, before there is anything to iterate over.
        """
        given = {name: str(value) for name, value in wanted.given().items()}
        wanted = await self._admitted(caller, wanted, "export")
        heads = [head for head in await self._store.heads() if wanted.owner in (None, head.owner)]
        return CallExport(self._store, caller, wanted, given, heads)

    async def export_definitions(
        self, caller: Caller, wanted: CallFilter
    ) -> AsyncGenerator[Sequence[ExportedDefinition]]:
        """The definitions that go with an export of the calls that are `wanted`, each once, by digest.

        Raises:
            OrchestratorError: `permission_denied`, before there is anything to iterate over.
        """
        return self._store.export_definitions(await self._admitted(caller, wanted, "export_definitions"))

    async def list_events(self, caller: Caller, before: int | None, limit: int) -> Sequence[AuditEvent]:
        """What happened to the journal as a whole, the newest first.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        caller.require("audit.read_all", _DENIED_ALL)
        await self._record(caller, "events", {})
        return await self._store.list_events(before, limit)

    async def keep_checkpoints(self) -> None:
        """Chain the heads of the owners' chains now and from time to time; runs until cancelled."""
        while True:
            try:
                await self._store.record_checkpoint(datetime.now(UTC))
            except OrchestratorError as error:
                log.error("no checkpoint could be written", reason=error.info.message)
            await anyio.sleep(CHECKPOINT_SECONDS)

    async def _admitted(self, caller: Caller, wanted: CallFilter, use: str) -> CallFilter:
        """What `caller` may see of what is `wanted`; that others' calls are looked at is recorded first."""
        _require_audit(caller)
        owner = wanted.owner
        if owner is None:
            owner = EVERYBODY if "audit.read_all" in caller.permissions else caller.owner
        if owner == caller.owner:
            return replace(wanted, owner=owner)
        caller.require("audit.read_all", _DENIED_ALL, param="owner")
        wanted = replace(wanted, owner=None if owner == EVERYBODY else owner)
        asked = {name: value for name, value in wanted.given().items() if name != "arguments"}
        # Whoever looks for an argument may know what it should be: the event says which.
        asked |= {f"arguments.{pattern.path}": pattern.glob for pattern in wanted.arguments}
        await self._record(caller, use, asked)
        return wanted

    async def _record(self, caller: Caller, use: str, asked: Mapping[str, object]) -> None:
        details: JsonObject = {"use": use, "asked": {name: str(value) for name, value in asked.items()}}
        await self._store.record_event("reading", datetime.now(UTC), caller.owner, caller.token_id, details)


class CallExport:
    """An export that is being read. Its manifest is an event of the audit, once it was read to its end."""

    def __init__(
        self,
        store: AuditStore,
        caller: Caller,
        wanted: CallFilter,
        given: Mapping[str, str],
        heads: Sequence[AuditHead],
    ) -> None:
        self.id: Final = new_export_id()
        self._store = store
        self._caller = caller
        self._wanted = wanted
        self._given = dict(given)
        self._heads = heads
        self._calls = 0
        self._first: str | None = None
        self._last: str | None = None

    async def pages(self) -> AsyncGenerator[Sequence[ExportedCall]]:
        """The calls."""
        async with aclosing(self._store.export_calls(self._wanted, EXPORT_ROWS)) as pages:
            async for page in pages:
                if page:
                    self._first = self._first or page[0].call_id
                    self._last = page[-1].call_id
                    self._calls += len(page)
                yield page

    async def written(self, form: str, size: int, sha256: str) -> None:
        """All of it was written: so many bytes in this form, with this digest (hexadecimal).

        Raises:
            OrchestratorError: `store_error`.
        """
        heads: list[JsonValue] = [[head.owner, head.sequence, head.hash] for head in self._heads]
        manifest: JsonObject = {
            "export_id": self.id,
            "format": form,
            "asked": {**self._given},
            "calls": self._calls,
            "first_call_id": self._first,
            "last_call_id": self._last,
            "bytes": size,
            "sha256": sha256,
            "heads": heads,
        }
        await self._store.record_event("export", datetime.now(UTC), self._caller.owner, self._caller.token_id, manifest)


def _require_audit(caller: Caller) -> None:
    if "audit.read_all" not in caller.permissions:
        caller.require("audit.read", _DENIED)


def _sees_all(caller: Caller) -> bool:
    return bool({"audit.read_all", "admin"} & caller.permissions)


RAN: Final = frozenset({"succeeded", "failed"})


def summarised(counts: Sequence[DurationCount], bucket_seconds: int | None) -> list[ToolStatistics]:
    """Statistics from counts of equal durations: exact, and with as many numbers as there are durations."""
    groups: dict[_Group, list[DurationCount]] = {}
    for count in counts:
        groups.setdefault((count.bucket, count.provider, count.tool), []).append(count)
    in_order = sorted(groups.items(), key=lambda group: _place(group[0]))
    return [_summary(key, group, bucket_seconds) for key, group in in_order]


_Group: TypeAlias = tuple[int, ProviderInfo | None, str | None]


def _place(group: _Group) -> tuple[int, str, str]:
    bucket, provider, tool = group
    return bucket, "" if provider is None else provider_label(provider), tool or ""


def _summary(key: _Group, group: Sequence[DurationCount], bucket_seconds: int | None) -> ToolStatistics:
    bucket, provider, tool = key
    statuses: dict[str, int] = {}
    durations: dict[int, int] = {}
    for count in group:
        statuses[count.status] = statuses.get(count.status, 0) + count.calls
        if count.status in RAN and count.duration_ms is not None:
            durations[count.duration_ms] = durations.get(count.duration_ms, 0) + count.calls
    ordered = sorted(durations.items())
    return ToolStatistics(
        since=None if bucket_seconds is None else datetime.fromtimestamp(bucket * bucket_seconds, UTC),
        tool=tool,
        provider=provider,
        calls=sum(statuses.values()),
        errors=sum(count.calls for count in group if count.is_error),
        statuses=dict(sorted(statuses.items())),
        p50_ms=percentile(ordered, 50),
        p95_ms=percentile(ordered, 95),
        p99_ms=percentile(ordered, 99),
    )


def percentile(durations: Sequence[tuple[int, int]], percent: int) -> int | None:
    """The nearest-rank percentile of values that are given in order, each with how often it occurs."""
    total = sum(count for _, count in durations)
    rank = -(-total * percent // 100)
    for value, count in durations:
        rank -= count
        if rank <= 0:
            return value
    return None
