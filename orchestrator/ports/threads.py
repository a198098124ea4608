"""What the services need of the store for threads: pointers to the newest response of a chain each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.ports.graph import Deletion, ResponseSummary


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread, and the response that it points to."""

    id: str
    owner: str
    created_at: datetime
    updated_at: datetime
    newest: ResponseSummary


class ThreadStore(Protocol):
    """Threads of one owner at a time. An id that is unknown, or another owner's, is answered in one way: None."""

    async def find_thread(self, thread_id: str, owner: str) -> Thread | None: ...

    async def create_thread(self, thread_id: str, response_id: str, owner: str, at: datetime) -> Thread | None:
        """A new thread that points to a stored response of the owner's; None where there is no such response."""
        ...

    async def list_threads(
        self, owner: str, after: tuple[datetime, str] | None, limit: int, through: str | None = None
    ) -> Sequence[Thread]:
        """The last moved first; those beyond the one that moved at a time and has an id.

        With `through` only those in whose chain that response is.
        """
        ...

    async def delete_thread(
        self,
        thread_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        """Delete the thread, and overwrite the content of its responses from the newest upwards.

        What another branch continues or another thread points to stays, and all that comes before it: `kept_by` names
        those branches by their first response, and those threads, before what has some of the content. What failed beside
        them without a call, and nothing goes on from, goes with them: the thread has left it. With `subtree`
        all goes, with whatever continues any of it. The deletion is an event of the audit.

        Raises:
            OrchestratorError: `response_not_finished` on `thread_id`: the newest response runs, or with `subtree` any
                of them. `thread_conflict`: the thread was moved meanwhile. Nothing is deleted.
        """
        ...
