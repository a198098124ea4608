"""What the services need of the audit: the journal of everybody's calls, and the proof that it is whole."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple, Protocol

from orchestrator.core.items import ProviderInfo, ServerIdentity
from orchestrator.core.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a chain: who keeps it outside can tell later whether it was cut. `hash` is hexadecimal."""

    owner: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """The first thing that is not as it was chained, about a call or a response. `sequence` is 0 for what no link is about."""

    owner: str
    sequence: int
    call_id: str | None
    what: str
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What was proved. `erased` counts the links of calls whose content is deleted; `heads` are the ends that were reached.

    `responses` counts the links of responses, `responses_erased` those of them whose content is deleted.
    `definitions` counts those beside an export that are what their digests stand for; None: there are none beside it.
    """

    links: int
    events: int
    erased: int
    heads: tuple[AuditHead, ...]
    problem: AuditProblem | None = None
    definitions: int | None = None
    responses: int = 0
    responses_erased: int = 0


@dataclass(frozen=True, slots=True)
class ArgumentPattern:
    """A call has a value at `path` that is like `glob`: `*` any text, `?` any character, `\\` takes away their meaning.

    Names in a path are separated by dots, `[]` behind a name means any element of that array.
    """

    path: str
    glob: str


def plugin_of(text: str) -> str:
    """The id of the plugin that somebody names, with or without `mcp/`."""
    return text if text[:4].lower() == "mcp/" else f"mcp/{text}"


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls; None leaves a question open. `since` is included, `until` is not; durations in ms, both included.

    Of plugins and labels neither the case counts, nor whether it is `_` or `-`.
    """

    owner: str | None = None
    tool: str | None = None
    plugin_id: str | None = None
    server_label: str | None = None
    server_address: str | None = None
    status: str | None = None
    is_error: bool | None = None
    response_id: str | None = None
    model: str | None = None
    definition_digest: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    duration_min: int | None = None
    duration_max: int | None = None
    arguments: tuple[ArgumentPattern, ...] = ()

    def given(self) -> dict[str, object]:
        """The questions that are not left open, by their name."""
        answers = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in answers.items() if value is not None and value != ()}


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where a call stands in a listing: by when it was journaled, then by its id."""

    created_at: datetime
    call_id: str


@dataclass(frozen=True, slots=True)
class ListedCall:
    """A call in a listing. `arguments` is None where there are none, or they are not kept, or too long to be listed."""

    call_id: str
    response_id: str
    turn: int
    position: int
    owner: str
    token_id: str | None
    model: str
    model_name: str
    tool: str | None
    provider: ProviderInfo | None
    server: ServerIdentity | None
    definition_digest: str | None
    arguments: JsonObject | None
    status: str
    is_error: bool
    duration_ms: int | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class CallLink:
    """A link of the chain that is about a call; hashes are hexadecimal."""

    kind: str
    sequence: int
    content_digest: str | None
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class CallApproval:
    """What was decided about a call that needed approval, by whom; `decided_by` None: the time for it was over."""

    decision: str
    reason: str | None
    arguments: JsonObject | None
    decided_by: str | None
    token_id: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A call, whole: as it is listed, and with what else is known of it. Salts are hexadecimal."""

    listed: ListedCall
    arguments: JsonObject | None
    arguments_text: str | None
    reason: str | None
    output: str | None
    structured: str | None
    shown: str | None
    definition: JsonObject | None
    arguments_salt: str | None
    output_salt: str | None
    links: tuple[CallLink, ...]
    approval: CallApproval | None = None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls in order, and where the next page begins; None: there is no more.

    A page may be short, even empty, while there is a next one: a request looks at a bounded number of calls.
    """

    calls: tuple[ListedCall, ...]
    next: CallPlace | None


class DurationCount(NamedTuple):
    """Calls of one tool in one stretch of time that ended alike and took equally long."""

    bucket: int
    tool: str | None
    provider: ProviderInfo | None
    status: str
    is_error: bool
    duration_ms: int | None
    calls: int


class ExportedCall(NamedTuple):
    """A call as it is exported, with its links: enough to prove the chain without the database.

    `arguments` and `decision_arguments` are JSON text, moments are RFC 3339 in UTC, salts, digests and hashes hexadecimal.
    """

    call_id: str
    response_id: str
    turn: int
    position: int
    owner: str
    token_id: str | None
    model: str
    model_name: str
    tool: str | None
    provider_type: str | None
    provider_name: str | None
    server_address: str | None
    server_name: str | None
    server_version: str | None
    definition_digest: str | None
    arguments: str | None
    arguments_text: str | None
    reason: str | None
    status: str
    is_error: bool
    duration_ms: int | None
    output: str | None
    structured: str | None
    shown: str | None
    created_at: str
    settled_at: str | None
    decision: str | None
    decision_reason: str | None
    decision_arguments: str | None
    decided_by: str | None
    decided_token_id: str | None
    decided_at: str | None
    arguments_salt: str | None
    decision_salt: str | None
    output_salt: str | None
    journaled_sequence: int | None
    journaled_digest: str | None
    journaled_previous: str | None
    journaled_hash: str | None
    decided_sequence: int | None
    decided_digest: str | None
    decided_previous: str | None
    decided_hash: str | None
    settled_sequence: int | None
    settled_digest: str | None
    settled_previous: str | None
    settled_hash: str | None


class ExportedDefinition(NamedTuple):
    """A tool's definition as it was offered, redacted, under the digest by which calls name it."""

    digest: str
    definition: JsonObject


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened to the journal as a whole: `reading`, `checkpoint`, `deletion`, `erasure`."""

    sequence: int
    kind: str
    at: datetime
    actor: str
    token_id: str | None
    details: JsonObject
    hash: str


class AuditStore(Protocol):
    """The journal as an auditor sees it."""

    async def list_calls(
        self, wanted: CallFilter, after: CallPlace | None, limit: int, *, newest_first: bool = True
    ) -> CallPage:
        """The calls that are `wanted`, beyond `after`; the order never changes."""
        ...

    async def get_call(self, call_id: str, owner: str | None) -> AuditedCall | None:
        """The call, or None where there is none, or it is not `owner`'s (None: anybody's)."""
        ...

    async def count_calls(self, wanted: CallFilter, bucket_seconds: int | None) -> Sequence[DurationCount]:
        """How many calls ended how, by the tool and by stretches of time, which count from 1970 (None: one stretch)."""
        ...

    def export_calls(self, wanted: CallFilter, rows: int) -> AsyncGenerator[Sequence[ExportedCall]]:
        """Every call that is `wanted` and was journaled before now, oldest first, about `rows` at a time."""
        ...

    def export_definitions(self, wanted: CallFilter) -> AsyncGenerator[Sequence[ExportedDefinition]]:
        """Each definition of the calls that are `wanted` once, by digest, some at a time.

        Where arguments are asked for there may be more of them: those of the calls that possibly have such.
        """
        ...

    async def record_event(
        self, kind: str, at: datetime, actor: str, token_id: str | None, details: JsonObject
    ) -> None:
        """Put an event into the service's own chain."""
        ...

    async def record_checkpoint(self, at: datetime) -> bool:
        """Chain the heads that moved since the last checkpoint; whether any did."""
        ...

    async def heads(self) -> Sequence[AuditHead]:
        """The end of every owner's chain, by owner."""
        ...

    async def list_events(self, before: int | None, limit: int) -> Sequence[AuditEvent]:
        """The service's chain, the newest first, from what came before the event numbered `before`."""
        ...
