"""The audit's in-memory twin: over the twin of the store, in the plainest words, for tests."""

import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime

from orchestrator.core.commands import PlacedCall
from orchestrator.core.items import EphemeralProvider, PluginProvider
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.permissions import normal_label
from orchestrator.ports import JournaledCall, NewResponse
from orchestrator.ports.audit import (
    ArgumentPattern,
    AuditedCall,
    AuditEvent,
    AuditHead,
    CallFilter,
    CallPage,
    CallPlace,
    DurationCount,
    ExportedCall,
    ExportedDefinition,
    ListedCall,
)
from orchestrator.testing_store import MemoryStore


class MemoryAudit:
    """`AuditStore` over a `MemoryStore`; it has no chain, so calls are without links and salts."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.events: list[AuditEvent] = []

    async def list_calls(
        self, wanted: CallFilter, after: CallPlace | None, limit: int, *, newest_first: bool = True
    ) -> CallPage:
        calls = [call.listed for call in self._calls() if _matches(call.listed, wanted)]
        calls.sort(key=_place, reverse=newest_first)
        if after is not None:
            there = after.created_at, after.call_id
            calls = [call for call in calls if (_place(call) < there if newest_first else _place(call) > there)]
        more = len(calls) > limit
        page = calls[:limit]
        return CallPage(tuple(page), CallPlace(*_place(page[-1])) if more else None)

    async def get_call(self, call_id: str, owner: str | None) -> AuditedCall | None:
        for call in self._calls():
            if call.listed.call_id == call_id and owner in (None, call.listed.owner):
                return call
        return None

    async def count_calls(self, wanted: CallFilter, bucket_seconds: int | None) -> Sequence[DurationCount]:
        counts: dict[DurationCount, int] = {}
        for call in (call.listed for call in self._calls()):
            if _matches(call, wanted):
                bucket = 0 if bucket_seconds is None else int(call.created_at.timestamp()) // bucket_seconds
                ended = call.status, call.is_error, call.duration_ms
                count = DurationCount(bucket, call.tool, call.provider, *ended, 0)
                counts[count] = counts.get(count, 0) + 1
        return [count._replace(calls=number) for count, number in counts.items()]

    async def export_calls(self, wanted: CallFilter, rows: int) -> AsyncGenerator[Sequence[ExportedCall]]:
        raise NotImplementedError("what is exported is proved with the databases")
        yield ()

    async def export_definitions(self, wanted: CallFilter) -> AsyncGenerator[Sequence[ExportedDefinition]]:
        offered = {
            call.listed.definition_digest: call.definition for call in self._calls() if _matches(call.listed, wanted)
        }
        for digest, definition in sorted(offered.items(), key=lambda entry: entry[0] or ""):
            if digest is not None and definition is not None:
                yield [ExportedDefinition(digest, definition)]

    async def record_event(
        self, kind: str, at: datetime, actor: str, token_id: str | None, details: JsonObject
    ) -> None:
        self.events.append(AuditEvent(len(self.events) + 1, kind, at, actor, token_id, details, ""))

    async def record_checkpoint(self, at: datetime) -> bool:
        return False

    async def heads(self) -> Sequence[AuditHead]:
        return []

    async def list_events(self, before: int | None, limit: int) -> Sequence[AuditEvent]:
        found = [event for event in reversed(self.events) if before is None or event.sequence < before]
        return found[:limit]

    def _calls(self) -> list[AuditedCall]:
        return [_audited(*entry) for entry in self._store.journal()]


def _audited(new: NewResponse, placed: PlacedCall, call: JournaledCall) -> AuditedCall:
    definitions = {tool.digest: tool.definition.as_json() for tool in new.offered}
    outcome = placed.outcome if new.stored else None
    listed = ListedCall(
        call_id=call.call_id,
        response_id=call.response_id,
        turn=call.turn,
        position=call.position,
        owner=new.owner,
        token_id=new.token_id,
        model=new.model_key,
        model_name=call.model_name,
        tool=call.tool,
        provider=call.provider,
        server=placed.server,
        definition_digest=call.definition_digest,
        arguments=call.arguments,
        status=call.status,
        is_error=call.is_error,
        duration_ms=call.duration_ms,
        created_at=call.created_at,
        settled_at=call.settled_at,
    )
    return AuditedCall(
        listed=listed,
        arguments=call.arguments,
        arguments_text=placed.arguments_text if new.stored else None,
        reason=placed.reason if new.stored else None,
        output=call.output,
        structured=None if outcome is None else outcome.structured,
        shown=None if outcome is None else outcome.shown,
        definition=definitions.get(call.definition_digest or ""),
        arguments_salt=None,
        output_salt=None,
        links=(),
    )


def _place(call: ListedCall) -> tuple[datetime, str]:
    return call.created_at, call.call_id


def _matches(call: ListedCall, wanted: CallFilter) -> bool:
    provider = call.provider
    facts: dict[str, object] = {
        "owner": call.owner,
        "tool": call.tool,
        "plugin_id": provider.plugin_id if isinstance(provider, PluginProvider) else None,
        "server_label": provider.server_label if isinstance(provider, EphemeralProvider) else None,
        "server_address": None if call.server is None else call.server.address,
        "status": call.status,
        "is_error": call.is_error,
        "response_id": call.response_id,
        "model": call.model,
        "definition_digest": call.definition_digest,
    }
    given = wanted.given()
    duration = call.duration_ms
    return (
        all(facts[name] == value for name, value in given.items() if name in facts and name not in _LABELS)
        and all(_alike(facts[name], given[name]) for name in _LABELS if name in given)
        and (wanted.since is None or call.created_at >= wanted.since)
        and (wanted.until is None or call.created_at < wanted.until)
        and (wanted.duration_min is None or (duration is not None and duration >= wanted.duration_min))
        and (wanted.duration_max is None or (duration is not None and duration <= wanted.duration_max))
        and all(_has(call, pattern) for pattern in wanted.arguments)
    )


_LABELS = ("plugin_id", "server_label")


def _alike(label: object, asked: object) -> bool:
    return label is not None and normal_label(str(label)) == normal_label(str(asked))


def _has(call: ListedCall, pattern: ArgumentPattern) -> bool:
    expression = re.compile(_expression(pattern.glob), re.DOTALL)
    return any(path == pattern.path and expression.fullmatch(value) for path, value in _leaves(call.arguments, ""))


def _expression(glob: str) -> str:
    parts: list[str] = re.findall(r"\\?.|\\$", glob, re.DOTALL)
    meanings: dict[str, str] = {"*": ".*", "?": "."}
    return "".join(meanings.get(part) or re.escape(part[1:] if len(part) == 2 else part.strip("\\")) for part in parts)


def _leaves(value: JsonValue, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else name)
        case list():
            for inner in value:
                yield from _leaves(inner, f"{path}[]")
        case str():
            yield path, value
        case _:
            yield path, json.dumps(value)
