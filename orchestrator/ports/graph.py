"""What the services need of the store to read, list, search and prune the graph of responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from orchestrator.core.items import ProviderInfo
from orchestrator.core.response import IncompleteReason, ResponseStatus
from orchestrator.core.search import Snippet, Term
from orchestrator.ports.responses import ForkPoint, StoredResponse

Item = TypeVar("Item", covariant=True)

MAX_CHILDREN = 100
"""How many children a response names; a node with more has the others in its tree."""


@dataclass(frozen=True, slots=True)
class OfferedReference:
    """A tool that a response offered to the model: the name shown, whose it is, and its definition by digest."""

    name: str
    tool: str
    provider: ProviderInfo
    digest: str


@dataclass(frozen=True, slots=True)
class ResponseDetail:
    """A stored response with its place in the graph. `children` are the oldest `MAX_CHILDREN`, in order."""

    response: StoredResponse
    children: tuple[str, ...]
    child_count: int
    offered: tuple[OfferedReference, ...]


@dataclass(frozen=True, slots=True)
class ResponseSummary:
    """A stored response as listings and trees show it. The previews are the beginnings of input and last message.

    `number` is its place in listings, `snippet` where a searched text was found in it.
    """

    number: int
    id: str
    previous_response_id: str | None
    root_id: str
    depth: int
    owner: str
    model_key: str
    status: ResponseStatus
    incomplete_reason: IncompleteReason | None
    metadata: dict[str, str]
    input_preview: str
    output_preview: str
    created_at: datetime
    ended_at: datetime | None
    forked_from: ForkPoint | None = None
    replay_of: str | None = None
    snippet: Snippet | None = None


@dataclass(frozen=True, slots=True)
class ResponseFilter:
    """Which responses: all that is given must hold. `owner` None means everybody's.

    `plugin_id`, `server_label` and `tool` ask for a call that was made, `tool` by the server's own
    name. `created_from` is included, `created_until` is not. `text` asks for input and output.
    """

    owner: str | None
    model_key: str | None = None
    status: ResponseStatus | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    plugin_id: str | None = None
    server_label: str | None = None
    tool: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    text: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of many, in order; `next` is where the following page begins, None after the last one."""

    items: tuple[Item, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a round of retention did: how many lost their content, and where the next round goes on.

    `after` None means that the whole store has been looked through.
    """

    erased: int
    after: int | None


@dataclass(frozen=True, slots=True)
class Deletion:
    """The responses that lost their content, and the others that still have some of it; both the oldest first.

    Forks and replays have content of the response that they were made of, and that one has theirs. Of a thread that
    goes, `kept_by` begins with what goes on from its responses: see `ThreadStore.delete_thread`.
    """

    deleted: tuple[str, ...]
    kept_by: tuple[str, ...]


def continued(count: int) -> str:
    """Why a response that so many others continue is not deleted alone."""
    if count == 1:
        return "1 response continues this one; '?subtree=true' deletes it too."
    return f"{count} responses continue this one; '?subtree=true' deletes them too."


class ResponseGraph(Protocol):
    """The graph as its readers see it. An `owner` of None reads everybody's; nobody writes so.

    An id that is unknown, not stored, deleted or another owner's is answered in one way: None.
    """

    async def read_detail(self, response_id: str, owner: str | None) -> ResponseDetail | None: ...

    async def read_chain(
        self, response_id: str, owner: str | None, from_depth: int, limit: int
    ) -> Page[StoredResponse] | None:
        """The path from the root to the response, from `from_depth` on, whole, oldest first."""
        ...

    async def read_path(self, response_id: str, owner: str | None) -> Sequence[str] | None:
        """The ids from the root to the response, the root's first."""
        ...

    async def read_tree(
        self, response_id: str, owner: str | None, after: tuple[int, int] | None, limit: int
    ) -> tuple[ResponseSummary, ...] | None:
        """All branches of the response's root, level by level, behind the node at `after`: (depth, number)."""
        ...

    async def list_responses(
        self, wanted: ResponseFilter, after: int | None, limit: int, *, oldest_first: bool = False
    ) -> Page[ResponseSummary]:
        """The newest first, or the oldest; those beyond the one whose number is `after`."""
        ...

    async def delete_response(
        self,
        response_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        """Overwrite the content of a response, and with `subtree` of all that continue it.

        A skeleton stays: who called which tool when, with which definition. Without `keep_skeleton`
        that is so only of responses that called tools, because the audit chain proves their calls. A
        thread whose newest response goes points to the nearest that is left. The deletion is an event
        of the audit.

        Raises:
            OrchestratorError: `response_has_children` without `subtree`; `response_not_finished`
                while one of them runs. Nothing is deleted.
        """
        ...

    async def overwrite(self, *, whole: bool = False) -> None:
        """See that the files of the database hold nothing any more of what was deleted, as far as that can be done now.

        With `whole` also the index of words, which an SQLite before 3.42 must write anew for that.
        """
        ...

    async def record_reading(
        self, at: datetime, reader: str, token_id: str | None, what: str, subject: str | None
    ) -> None:
        """Write into the audit that somebody read what is another owner's: `subject` is the response, or the owner."""
        ...

    async def request_cancel(self, response_id: str, owner: str, reason: str) -> ResponseStatus | None:
        """Leave word that the response is to end, for whoever runs it; its status as it was."""
        ...

    async def cancels_requested(self, holder: str) -> Sequence[tuple[str, str]]:
        """The responses that `holder` runs and that are to end, each with the reason."""
        ...

    async def prune_older(
        self, before: datetime, after: int | None, limit: int, at: datetime, *, keep_skeleton: bool
    ) -> Pruning:
        """Erase up to about `limit` responses that began before a moment and have no descendant that did not.

        Safe when several processes do it at once.
        """
        ...

    async def prune_beyond(self, per_owner: int, limit: int, at: datetime, *, keep_skeleton: bool) -> int:
        """Erase up to about `limit` responses of owners that have more than `per_owner`; how many.

        Whole branches go, the one whose end is oldest first; the newest branch of an owner stays.
        """
        ...
