"""Moving threads: pointers to responses, changed by compare-and-swap."""

from sqlalchemy import Connection, insert, update

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import NewResponse
from orchestrator.store.search_tables import threads


def move_thread(connection: Connection, response: NewResponse) -> None:
    """Let the thread of a response that is being opened point to it; see `ResponseStore.open_response`.

    Responses are locked before threads, here as everywhere.
    """
    move = response.thread
    if move is None:
        return
    at = response.created_at
    if move.newest is None:
        made = {"id": move.thread_id, "owner": response.owner, "newest_response_id": response.id}
        connection.execute(insert(threads), made | {"created_at": at, "updated_at": at})
        return
    unmoved = update(threads).where(
        threads.c.id == move.thread_id,
        threads.c.owner == response.owner,
        threads.c.newest_response_id == move.newest,
    )
    if connection.execute(unmoved.values(newest_response_id=response.id, updated_at=at)).rowcount == 0:
        raise thread_conflict()


def thread_conflict() -> OrchestratorError:
    """Somebody was faster."""
    message = "Another request moved or deleted this thread meanwhile. Read it, and ask again."
    return OrchestratorError(ErrorKind.THREAD_CONFLICT, message, param="thread_id")
