"""Threads: chains of responses under one lasting id, for one caller at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Deletion, Page, ResponseGraph, StoredResponse, Thread, ThreadMove, ThreadStore
from orchestrator.service.callers import Caller
from orchestrator.service.ids import new_thread_id


class ThreadService:
    """The caller's threads."""

    def __init__(self, threads: ThreadStore, graph: ResponseGraph, *, keep_skeleton: bool) -> None:
        self._threads = threads
        self._graph = graph
        self._keep_skeleton = keep_skeleton

    async def place(self, thread_id: str | None, caller: Caller) -> ThreadMove:
        """Where a chat goes on that is to be appended to a thread, or to a new one.

        Raises:
            OrchestratorError: `permission_denied`; `invalid_value` on `thread_id` for one that is unknown or
                another owner's, all alike.
        """
        caller.require("chat", "The API token has no permission to chat.")
        if thread_id is None:
            return ThreadMove(new_thread_id(), None)
        thread = await self._threads.find_thread(thread_id, caller.owner)
        if thread is None:
            message = f"There is no stored thread '{thread_id}' to append to."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="thread_id")
        return ThreadMove(thread.id, thread.newest.id)

    async def create(self, response_id: str, caller: Caller) -> Thread:
        """A new thread whose newest response is one that the caller has, however it was made.

        Raises:
            OrchestratorError: `permission_denied`; `invalid_value` on `response_id` for one that is unknown, not stored or
                another owner's, all alike.
        """
        caller.require("chat", "The API token has no permission to make threads.")
        thread = await self._threads.create_thread(new_thread_id(), response_id, caller.owner, datetime.now(UTC))
        if thread is None:
            message = f"There is no stored response '{response_id}' to make a thread of."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_id")
        return thread

    async def list(
        self, caller: Caller, after: tuple[datetime, str] | None, limit: int, through: str | None = None
    ) -> Sequence[Thread]:
        """A page of the caller's threads, the last moved first; with `through` of those that have that response."""
        caller.require("chat", "The API token has no permission to read threads.")
        return await self._threads.list_threads(caller.owner, after, limit, through)

    async def read(
        self, thread_id: str, caller: Caller, from_depth: int, limit: int
    ) -> tuple[Thread, Page[StoredResponse]]:
        """The thread, and a page of its responses, whole, oldest first.

        Raises:
            OrchestratorError: `thread_not_found`, one error for every id that is not there.
        """
        caller.require("chat", "The API token has no permission to read threads.")
        thread = await self._threads.find_thread(thread_id, caller.owner)
        if thread is None:
            raise _not_found()
        page = await self._graph.read_chain(thread.newest.id, caller.owner, from_depth, limit)
        if page is None:  # deleted in between
            raise _not_found()
        return thread, page

    async def delete(
        self, thread_id: str, caller: Caller, *, subtree: bool = False
    ) -> tuple[Deletion, tuple[str, ...]]:
        """Delete a thread with the content of its responses, as far as nothing else goes on from them; and those that stay.

        With `subtree` what goes on from them is deleted with them.

        Raises:
            OrchestratorError: `thread_not_found`, `response_not_finished`, `thread_conflict`.
        """
        caller.require("chat", "The API token has no permission to delete threads.")
        thread = await self._threads.find_thread(thread_id, caller.owner)
        path = None if thread is None else await self._graph.read_path(thread.newest.id, caller.owner)
        at = datetime.now(UTC)
        deleted = await self._threads.delete_thread(
            thread_id,
            caller.owner,
            at,
            subtree=subtree,
            keep_skeleton=self._keep_skeleton,
            token_id=caller.token_id,
        )
        if deleted is None:
            raise _not_found()
        return deleted, tuple(id for id in path or () if id not in deleted.deleted)


def _not_found() -> OrchestratorError:
    message = "There is no such thread, or it is somebody else's."
    return OrchestratorError(ErrorKind.THREAD_NOT_FOUND, message, param="thread_id")
