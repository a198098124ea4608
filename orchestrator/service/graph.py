"""Reading, listing, deleting and cancelling stored responses, each within what the caller may see."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import Cancelled, ResponseStatus
from orchestrator.ports import (
    Deletion,
    Page,
    ResponseDetail,
    ResponseFilter,
    ResponseGraph,
    ResponseStore,
    ResponseSummary,
    StoredResponse,
)
from orchestrator.service.callers import Caller
from orchestrator.service.runs import RunService

CANCEL_SECONDS = 2.0
"""How long a request to cancel waits for the end, which mostly comes at once."""

CANCELLED_BY_CLIENT = "cancelled by the client"
NOT_RUN = "The call was not run: the response was cancelled."
EVERYBODY = "*"

T = TypeVar("T")


class GraphService:
    """The graph of responses, for one caller at a time."""

    def __init__(
        self,
        graph: ResponseGraph,
        store: ResponseStore,
        runs: RunService,
        *,
        keep_skeleton: bool,
    ) -> None:
        self._graph = graph
        self._store = store
        self._runs = runs
        self._keep_skeleton = keep_skeleton

    async def detail(self, response_id: str, owner: str | None, caller: Caller) -> ResponseDetail:
        """The response, whole, with its place in the graph; the caller's own, or `owner`'s, `*` for anybody's.

        Raises:
            OrchestratorError: `response_not_found`, one error for every id that is not there; `permission_denied`.
        """
        whose = await self.whose(owner, caller, "response", response_id)
        return _there(await self._graph.read_detail(response_id, whose))

    async def chain(
        self, response_id: str, owner: str | None, caller: Caller, from_depth: int, limit: int
    ) -> Page[StoredResponse]:
        """The path from the root to the response, whole, oldest first.

        Raises:
            OrchestratorError: as `detail`.
        """
        whose = await self.whose(owner, caller, "chain", response_id)
        return _there(await self._graph.read_chain(response_id, whose, from_depth, limit))

    async def tree(
        self, response_id: str, owner: str | None, caller: Caller, after: tuple[int, int] | None, limit: int
    ) -> tuple[tuple[ResponseSummary, ...], tuple[int, int] | None]:
        """All branches of the response's root, level by level, and where the next page begins.

        Raises:
            OrchestratorError: as `detail`.
        """
        whose = await self.whose(owner, caller, "tree", response_id)
        found = _there(await self._graph.read_tree(response_id, whose, after, limit + 1))
        last = found[limit - 1] if len(found) > limit else None
        return found[:limit], None if last is None else (last.depth, last.number)

    async def list(
        self,
        wanted: ResponseFilter,
        owner: str | None,
        caller: Caller,
        after: int | None,
        limit: int,
        *,
        oldest_first: bool,
    ) -> Page[ResponseSummary]:
        """A page of what is `wanted`: the caller's own, or `owner`'s, or everybody's with `*`.

        Raises:
            OrchestratorError: `permission_denied` for others' without `audit.read_all`.
        """
        whose = await self.whose(owner, caller, "responses", None)
        page = replace(wanted, owner=whose)
        return await self._graph.list_responses(page, after, limit, oldest_first=oldest_first)

    async def delete(self, response_id: str, caller: Caller, *, subtree: bool) -> Deletion:
        """Overwrite the content of a response, and with `subtree` of all that continue it.

        Raises:
            OrchestratorError: `response_not_found`, `response_has_children`, `response_not_finished`.
        """
        caller.require("chat", "The API token has no permission to delete responses.")
        deleted = await self._graph.delete_response(
            response_id,
            caller.owner,
            datetime.now(UTC),
            subtree=subtree,
            keep_skeleton=self._keep_skeleton,
            token_id=caller.token_id,
        )
        if deleted is None:
            raise _not_found()
        self._runs.forget(deleted.deleted)
        await self._graph.overwrite()
        return deleted

    async def cancel(self, response_id: str, caller: Caller) -> ResponseStatus:
        """End a response wherever it runs; its status, after a short wait for the end. Asking again changes nothing.

        Raises:
            OrchestratorError: `response_not_found`.
        """
        caller.require("chat", "The API token has no permission to cancel responses.")
        status = await self._graph.request_cancel(response_id, caller.owner, CANCELLED_BY_CLIENT)
        if status is None:
            raise _not_found()
        if status == "awaiting_approval":
            await self._runs.put_away(response_id, caller.owner)
            ending, at = Cancelled(CANCELLED_BY_CLIENT), datetime.now(UTC)
            await self._store.end_suspended(response_id, caller.owner, ending, NOT_RUN, at)
            # Where somebody has just approved, it runs now, and is told.
            status = await self._graph.request_cancel(response_id, caller.owner, CANCELLED_BY_CLIENT)
        live = self._runs.find(response_id)
        if live is not None:
            live.cancel(CANCELLED_BY_CLIENT)
            with anyio.move_on_after(CANCEL_SECONDS):
                await live.ended()
        with anyio.move_on_after(CANCEL_SECONDS):
            while status == "in_progress":
                await anyio.sleep(0 if live is not None else 0.25)
                status = await self._graph.request_cancel(response_id, caller.owner, CANCELLED_BY_CLIENT)
        if status is None:
            raise _not_found()
        return status

    async def whose(self, owner: str | None, caller: Caller, what: str, response_id: str | None) -> str | None:
        """Whose responses are read, None for everybody's. To read another's is written down first.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        caller.require("chat", "The API token has no permission to read responses.")
        if owner in (None, caller.owner):
            return caller.owner
        message = "The API token has no permission to read what is not its own: that needs 'audit.read_all'."
        caller.require("audit.read_all", message, param="owner")
        subject = owner if response_id is None else f"{owner} {response_id}"
        await self._graph.record_reading(datetime.now(UTC), caller.owner, caller.token_id, what, subject)
        return None if owner == EVERYBODY else owner


def _there(found: T | None) -> T:
    if found is None:
        raise _not_found()
    return found


def _not_found() -> OrchestratorError:
    message = "There is no such response, or it is not stored, or it is somebody else's."
    return OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
